"""Draws each loss as a function of its argument, for docs/losses.md.

python experiments/plot_losses.py --output=docs/figures
"""

import argparse
import pathlib
from collections.abc import Callable

import jax.numpy as jnp
import matplotlib
import numpy as np

from jxhash import losses

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ("#1b6ca8", "#c8553d", "#4d8c57", "#8d6a9f")
# One bit, so that an inner product is the output itself.
ONE = np.ones((1, 1), np.float32)
Curve = tuple[str, np.ndarray, np.ndarray]


def draw(path: pathlib.Path, title: str, argument: str, curves: list[Curve]) -> None:
    """Writes one figure."""
    figure, axes = plt.subplots(figsize=(4.8, 3.0), layout="constrained")
    for (label, x, y), colour in zip(curves, COLOURS, strict=False):
        axes.plot(x, y, label=label, color=colour, linewidth=1.8)
    axes.set(title=title, xlabel=argument, ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def column(x: np.ndarray) -> np.ndarray:
    """Numbers as outputs of one bit."""
    return x[:, None].astype(np.float32)


def directions(angles: np.ndarray) -> np.ndarray:
    """Outputs of two bits at given angles to the first axis."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def each(loss: Callable, *arrays: np.ndarray, **options: float) -> np.ndarray:
    """The unreduced loss, as a row."""
    return np.asarray(loss(*arrays, reduce_fn=None, **options)).ravel()


def pairwise_log_likelihood() -> tuple[str, list[Curve]]:
    """By the logit of a pair."""
    x = np.linspace(-20, 20, 401)
    curves = []
    for label, target, clip in (
        ("similar", 1, None),
        ("dissimilar", 0, None),
        ("dissimilar, clip=15", 0, 15.0),
    ):
        similarity = np.full((1, len(x)), target)
        y = each(
            losses.pairwise_log_likelihood_loss, ONE, column(x), similarity, scale=1, clip=clip
        )
        curves.append((label, x, y))
    return "θ = scale ⟨u, v⟩", curves


def bit_cross_entropy() -> tuple[str, list[Curve]]:
    """By the logit of a bit."""
    x = np.linspace(-5, 5, 201)
    curves = []
    for target in (1.0, 0.75, 0.5):
        bits = np.full((len(x), 1), target)
        curves.append((f"bit {target:g}", x, each(losses.bit_cross_entropy_loss, column(x), bits)))
    return "logit", curves


def cosine_margin() -> tuple[str, list[Curve]]:
    """By the cosine of a pair."""
    cosines = np.linspace(-1, 1, 201)
    first, others = directions(np.zeros(1)), directions(np.arccos(cosines))
    curves = []
    for label, sign, power in (
        ("similar, power=2", 1, 2),
        ("dissimilar, power=2", -1, 2),
        ("similar, power=1", 1, 1),
    ):
        similarity = np.full((1, len(cosines)), sign)
        y = each(losses.cosine_margin_loss, first, others, similarity, margin=0.8, power=power)
        curves.append((label, cosines, y))
    return "cos(u, v), margin 0.8", curves


def cosine_quantization() -> tuple[str, list[Curve]]:
    """By the angle of an output of two bits."""
    degrees = np.linspace(0, 90, 181)
    u = directions(np.radians(degrees))
    curves = [
        (f"margin {margin:g}", degrees, each(losses.cosine_quantization_loss, u, margin=margin))
        for margin in (1.0, 0.95, 0.8)
    ]
    return "angle of an output of two bits, in degrees (a code at 45)", curves


def hamming_focal() -> tuple[str, list[Curve]]:
    """By the distance of a pair of 32 bits."""
    distances = np.linspace(0.05, 32, 320)
    angles = np.arccos(1 - distances / 16)
    wide = np.zeros((len(angles), 32), np.float32)
    wide[:, :2] = directions(angles)
    first = wide[:1] * 0
    first[0, 0] = 1
    curves = []
    for label, target, focusing in (
        ("similar", 1, 2.0),
        ("dissimilar", 0, 2.0),
        ("similar, focusing=0", 1, 0.0),
        ("dissimilar, focusing=0", 0, 0.0),
    ):
        similarity = np.full((1, len(angles)), target)
        y = each(losses.hamming_focal_loss, first, wide, similarity, beta=0.2, focusing=focusing)
        curves.append((label, distances, y))
    return "Hamming distance of 32 bits, beta 0.2", curves


def of_one_output(loss: Callable, reach: float, **options: float) -> list[Curve]:
    """A loss of one output, over a range about zero."""
    x = np.linspace(-reach, reach, 400)
    return [("", x, each(loss, column(x), **options))]


def quantization() -> tuple[str, list[Curve]]:
    """By an output, to the nearer code."""
    x = np.linspace(-2, 2, 401)
    curves = [
        (
            f"code {code:+d}",
            x,
            each(losses.quantization_loss, column(x), np.full((len(x), 1), code)),
        )
        for code in (1, -1)
    ]
    return "output", curves


def log_magnitude() -> tuple[str, list[Curve]]:
    """By an output after tanh."""
    return "output", of_one_output(losses.log_magnitude_loss, 1.0)


def bit_margin() -> tuple[str, list[Curve]]:
    """By an output."""
    return "output, margin 0.5", of_one_output(losses.bit_margin_loss, 1.0, margin=0.5)


def bit_balance() -> tuple[str, list[Curve]]:
    """By the share of positive bits among 100."""
    shares = np.arange(101)
    y = [
        float(losses.bit_balance_loss(column(np.where(np.arange(100) < positive, 1.0, -1.0))))
        for positive in shares
    ]
    return "positive bits among 100 samples", [("", shares, np.array(y))]


def decorrelation() -> tuple[str, list[Curve]]:
    """By the correlation of two bits."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(200, 2))
    normal = np.sqrt(200) * np.linalg.qr(normal - normal.mean(axis=0))[0]
    correlations = np.linspace(-1, 1, 101)
    y = []
    for r in correlations:
        second = r * normal[:, 0] + np.sqrt(1 - r**2) * normal[:, 1]
        u = np.stack([normal[:, 0], second], axis=1).astype(np.float32)
        y.append(float(losses.decorrelation_loss(u)))
    return "correlation of two bits of variance 1", [("", correlations, np.array(y))]


def mmd() -> tuple[str, list[Curve]]:
    """By the distance between two clouds."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(100, 2)).astype(np.float32) for _ in range(2))
    shifts = np.linspace(0, 8, 81)
    curves = []
    for label, gamma in (("0.02", 0.02), ("0.5", 0.5), ("(0.02, 0.5)", (0.02, 0.5))):
        values = [
            float(losses.mmd_loss(x, y + jnp.array([[shift, 0.0]]), gamma=gamma))
            for shift in shifts
        ]
        curves.append((f"gamma {label}", shifts, np.array(values)))
    values = [
        float(losses.mmd_loss(x, y + jnp.array([[shift, 0.0]]), gamma="median")) for shift in shifts
    ]
    curves.append(("gamma median", shifts, np.array(values)))
    return "distance between the means of two clouds of 100", curves


def trace() -> tuple[str, list[Curve]]:
    """By the number of agreeing bits of a pair."""
    agreeing = np.arange(17)
    first = np.ones((1, 16), np.int8)
    curves = []
    for label, sign in (("similar", 1), ("dissimilar", -1)):
        y = [
            float(
                losses.trace_loss(
                    first, np.where(np.arange(16) < n, 1, -1)[None], np.array([[sign]])
                )
            )
            for n in agreeing
        ]
        curves.append((label, agreeing, np.array(y)))
    return "agreeing bits of a pair, of 16", curves


FIGURES = {
    f"{form.__name__}_loss": form
    for form in (
        pairwise_log_likelihood,
        bit_cross_entropy,
        cosine_margin,
        cosine_quantization,
        hamming_focal,
        quantization,
        log_magnitude,
        bit_margin,
        bit_balance,
        decorrelation,
        mmd,
        trace,
    )
}


def main() -> None:
    """Draws all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/figures"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"svg.hashsalt": "jxhash", "svg.fonttype": "none"})
    for name, form in FIGURES.items():
        argument, curves = form()
        draw(folder / f"{name}.svg", name, argument, curves)


if __name__ == "__main__":
    main()
