"""What the losses cost, beside the same formulas written by hand.

    python experiments/benchmarks/losses.py --out experiments/results/bench_losses.json

Times value and gradient of each loss at the sizes of the field (a batch of 128 against 10,000
rows, 256 against 256, 64 bits), interleaved with the same formula in plain jax.numpy and, for the
pairwise log-likelihood, in PyTorch where it is installed; and measures, in processes of their own,
the peak memory of a batch of 512 against 190,000 rows.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import turns

from jxhash import losses

BITS = 64
TURNS = 21
TURN = 0.02
GAMMAS = (0.002, 0.004, 0.008, 0.016, 0.032)
LARGE = (512, 190_000)
# Of the pairwise log-likelihood, whose memory is measured.
FORMS = ("by hand", "ours", "not jitted", "labels")


def unit(x: jax.Array) -> jax.Array:
    """Rows of length one, as one writes them by hand."""
    return x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True) + 1e-12)


def plain_pairwise(u: jax.Array, v: jax.Array, s: jax.Array) -> jax.Array:
    """The log-likelihood of DCMH."""
    theta = 0.5 * u @ v.T
    return jnp.mean(jax.nn.softplus(theta) - s * theta)


def plain_margin(u: jax.Array, v: jax.Array, s: jax.Array) -> jax.Array:
    """The squared hinge of CHN."""
    return jnp.mean(jax.nn.relu(0.8 - (2 * s - 1) * (unit(u) @ unit(v).T)) ** 2)


def plain_focal(u: jax.Array, v: jax.Array, s: jax.Array) -> jax.Array:
    """The focal loss of CMHH."""
    distance = jnp.maximum(BITS / 2 * (1 - unit(u) @ unit(v).T), 1e-6)
    log_p = -0.2 * distance
    p, log_rest = jnp.exp(log_p), jnp.log(-jnp.expm1(log_p))
    return jnp.mean(-s * (1 - p) ** 2.0 * log_p - (1 - s) * p**2.0 * log_rest)


def plain_trace(u: jax.Array, v: jax.Array, s: jax.Array) -> jax.Array:
    """The trace of TVDB."""
    return -jnp.sum((2 * s - 1) * (u @ v.T))


def plain_mmd(x: jax.Array, y: jax.Array) -> jax.Array:
    """The MMD of THN, with the distances of each kernel in turn."""

    def mean_kernel(a: jax.Array, b: jax.Array) -> jax.Array:
        squared = jnp.sum(a**2, 1)[:, None] + jnp.sum(b**2, 1)[None, :] - 2 * a @ b.T
        return sum(jnp.mean(jnp.exp(-g * jnp.maximum(squared, 0))) for g in GAMMAS) / len(GAMMAS)

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def plain_decorrelation(u: jax.Array) -> jax.Array:
    """The decorrelation of PRDH."""
    centred = u - jnp.mean(u, axis=0, keepdims=True)
    covariance = centred.T @ centred / len(u)
    return (jnp.sum(covariance**2) - jnp.sum(jnp.diagonal(covariance) ** 2)) / 2


def signed(loss: Callable, u: jax.Array, v: jax.Array, s: jax.Array, **options: float) -> jax.Array:
    """A loss of similarities in {-1, +1}."""
    return loss(u, v, 2 * s - 1, **options)


PAIRS = {
    "pairwise_log_likelihood_loss": (losses.pairwise_log_likelihood_loss, plain_pairwise),
    "cosine_margin_loss": (
        functools.partial(signed, losses.cosine_margin_loss, margin=0.8),
        plain_margin,
    ),
    "hamming_focal_loss": (functools.partial(losses.hamming_focal_loss, beta=0.2), plain_focal),
    "trace_loss": (functools.partial(signed, losses.trace_loss), plain_trace),
}
SAMPLES = {
    "quantization_loss": (
        losses.quantization_loss,
        lambda u, b: jnp.mean(jnp.sum((u - b) ** 2, axis=1)),
    ),
    "bit_cross_entropy_loss": (
        lambda z, b: losses.bit_cross_entropy_loss(z, (b + 1) / 2),
        lambda z, b: jnp.mean(jax.nn.softplus(z) - (b + 1) / 2 * z),
    ),
    "log_magnitude_loss": (
        lambda u, b: losses.log_magnitude_loss(u),
        lambda u, b: jnp.mean(-jnp.sum(jnp.log(jnp.maximum(jnp.abs(u), 1e-6)), axis=1)),
    ),
    "bit_margin_loss": (
        lambda u, b: losses.bit_margin_loss(u),
        lambda u, b: jnp.mean(jnp.sum(jax.nn.relu(0.5 - jnp.abs(u)), axis=1)),
    ),
    "cosine_quantization_loss": (
        lambda u, b: losses.cosine_quantization_loss(u, margin=0.95),
        lambda u, b: jnp.mean(
            jax.nn.relu(0.95 - jnp.sum(jnp.abs(unit(u)), axis=1) / jnp.sqrt(1.0 * BITS))
        ),
    ),
    "bit_balance_loss": (
        lambda u, b: losses.bit_balance_loss(u),
        lambda u, b: jnp.sum(jnp.sum(u, axis=0) ** 2),
    ),
    "decorrelation_loss": (
        lambda u, b: losses.decorrelation_loss(u),
        lambda u, b: plain_decorrelation(u),
    ),
}


def data(rows: int, columns: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Outputs of two sides and a similarity with one pair in five similar."""
    rng = np.random.default_rng(0)
    u, v = (rng.normal(size=(n, BITS)).astype(np.float32) for n in (rows, columns))
    similarity = (rng.random((rows, columns)) < 0.2).astype(np.float32)
    return tuple(map(jnp.asarray, (u, v, similarity)))


def seconds_of(form: Callable[[], object], calls: int) -> float:
    """What so many calls take together."""
    return turns.timed(lambda: [form() for _ in range(calls)])[0]


def median_times(forms: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds a call, the forms taking turns so that all see the same machine.

    Short calls are timed several at once, so that a turn is no shorter than `TURN`.
    """
    for form in forms.values():
        form()
    calls = max(1, round(TURN / min(seconds_of(form, 3) / 3 for form in forms.values())))

    def turn(form: Callable[[], object]) -> float:
        form()
        return 1e3 * seconds_of(form, calls) / calls

    spent = turns.rounds({name: functools.partial(turn, f) for name, f in forms.items()}, TURNS)
    return {name: round(statistics.median(each), 3) for name, each in spent.items()}


def jitted(function: Callable, *arrays: jax.Array) -> Callable[[], object]:
    """Value and gradient by the first argument, ready to be called."""
    both = jax.jit(jax.value_and_grad(function))
    return lambda: jax.block_until_ready(both(*arrays))


def times() -> list[dict]:
    """One row a loss and size."""
    found = []
    for rows, columns in ((128, 10_000), (256, 256)):
        u, v, similarity = data(rows, columns)
        for name, (ours, plain) in PAIRS.items():
            forms = {
                "ours": jitted(ours, u, v, similarity),
                "by hand": jitted(plain, u, v, similarity),
            }
            if plain is plain_pairwise and turns.installed("torch"):
                import torch_rivals

                forms["torch"] = torch_rivals.pairwise_log_likelihood(u, v, similarity)
            found.append({"loss": name, "size": [rows, columns, BITS], **median_times(forms)})
        codes = jnp.sign(v)
        for name, (ours, plain) in SAMPLES.items():
            forms = {"ours": jitted(ours, v, codes), "by hand": jitted(plain, v, codes)}
            found.append({"loss": name, "size": [columns, BITS], **median_times(forms)})
    x, y, _ = data(1024, 1024)
    ours = functools.partial(losses.mmd_loss, gamma=GAMMAS)
    forms = {"ours": jitted(ours, x, y), "by hand": jitted(plain_mmd, x, y)}
    distances = str(jax.make_jaxpr(ours)(x, y)).count("dot_general")
    row = {"loss": "mmd_loss", "size": [1024, 1024, BITS], "kernels": len(GAMMAS)}
    found.append({**row, **median_times(forms), "matrix products": distances})
    forms = {"median": jitted(functools.partial(losses.mmd_loss, gamma="median"), x, y)}
    found.append({**row, "kernels": "median", "ours": median_times(forms)["median"]})
    return found


def use_memory(form: str) -> None:
    """Runs one form once and prints how far the peak of the process rises, in blocks of pairs."""
    rows, columns = LARGE
    block = 4 * rows * columns
    rng = np.random.default_rng(0)
    # So that the libraries and their threads are there before anything is counted.
    jitted(plain_pairwise, *data(256, 256))()
    before = turns.memory("VmRSS")
    u, v = (jnp.asarray(rng.standard_normal((n, BITS), np.float32)) for n in LARGE)
    if form == "labels":
        function = losses.pairwise_log_likelihood_from_labels_loss
        known = [jnp.asarray(rng.random((n, 24), np.float32) < 0.1, jnp.float32) for n in LARGE]
    else:
        function = plain_pairwise if form == "by hand" else losses.pairwise_log_likelihood_loss
        known = [jnp.ones(LARGE, jnp.float32)]
    both = jax.value_and_grad(function)
    planned = None
    if form != "not jitted":
        both = jax.jit(both).lower(u, v, *known).compile()
        analysis = both.memory_analysis()
        size = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes
        planned = round(size / block, 2)
    turns.forget_peak()  # that of making the data
    spent, _ = turns.timed(lambda: jax.block_until_ready(both(u, v, *known)))
    found = {
        "form": form,
        "size": [*LARGE, BITS],
        "blocks at the peak": round((turns.memory("VmHWM") - before) / block, 2),
        "blocks planned by the compiler": planned,
        "seconds": round(spent, 2),
    }
    turns.say(found)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--memory", choices=FORMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        use_memory(arguments.memory)
        return
    found = {
        "milliseconds": times(),
        "memory": [turns.in_own_process(f"--memory={form}") for form in FORMS],
    }
    turns.keep(found, ("jax", "torch"), arguments.out)


if __name__ == "__main__":
    main()
