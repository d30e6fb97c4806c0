"""CDQ: Collective Deep Quantization (Cao, Long, Wang and Liu, AAAI 2017).

Both networks map to one space of real numbers. What a database keeps of an item is the numbers of M
codewords, one from each of M codebooks of W words that the two modalities share; their sum stands
for the output. A query keeps its real output: items are ranked by their inner product with it, M
look-ups each.

From the paper and its code: tanh outputs; the likelihood of the similarities with inner products
times alpha, cut at 15; lambda times the squared distances to the sums of codewords; whole-space
codewords that start as those of a product quantizer, after a pass with lambda = 0; in each epoch
then assignments by iterated conditional modes from nothing, in random order, and codebooks by least
squares with a ridge of 1e-3.

Ours: assignments follow from the outputs of the networks as they stand, not from those collected
during the epoch before; means over the pairs of a batch (the code's, the paper writes sums); both
networks are multilayer perceptrons over given features; one optimiser for both; lambda, alpha,
dropout and the schedule are settings.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from jxhash import discrete, losses, similarity
from jxhash.errors import UserError
from jxhash.methods import code, contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, NotNegative, Optimizer, Positive, Range, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True)

# Of inner products, in the authors' code.
CLIP = 15.0


@settings
class Settings:
    #: passes of the networks before there are codebooks
    first_epochs: Positive[int]
    #: passes after that, each with new assignments and codebooks before it
    epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    #: R, of the outputs; a multiple of the number of codebooks
    width: Positive[int]
    #: W, the words of a codebook; the number of codebooks is M = bits / log2 W
    codewords: Annotated[
        int, Range("a power of two from 2 to 256", lambda W: W in [2**b for b in range(1, 9)])
    ]
    #: how often an item's choice from each codebook is made anew
    icm_sweeps: Positive[int]
    #: alpha, of the inner products
    scale: Positive[float]
    #: lambda, of the squared distances to the sums of codewords
    quantization_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    M, W, R, N = _num_codebooks(settings, bits), settings.codewords, settings.width, spec.num_train
    networks = settings.layers.networks(R)

    def start(key: jax.Array) -> updates.Start:
        outputs, assignments = jnp.zeros((N, R)), jnp.zeros((N, M), jnp.uint8)
        return {
            "buffers": dict.fromkeys(networks, outputs)
            | {"codebooks": jax.random.normal(key, (M, W, R))},
            "codes": dict.fromkeys(networks, assignments),
        }

    def network_update(quantization_weight: float) -> contract.Update:
        def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
            u, v = outputs = [jnp.tanh(net(m)) for m in networks]
            S = similarity.share_label(batch.labels, batch.labels)
            L = losses.pairwise_log_likelihood_loss(
                u, v, S, scale=settings.scale, clip=CLIP, where=batch.pairs
            )
            C = batch.buffers["codebooks"]
            quantized = [discrete.decode(batch.take(batch.codes[m]), C) for m in networks]
            Q = sum(
                losses.quantization_loss(z, q, where=batch.where)
                for z, q in zip(outputs, quantized, strict=True)
            )
            loss = L + quantization_weight * Q
            return updates.Terms(loss, {"likelihood": L, "quantization": Q})

        return updates.descent("networks", networks, objective, settings.optimizer)

    def refresh_outputs(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        return updates.Terms(keep={m: jnp.tanh(net(m)) for m in networks})

    def first_codebooks(state: contract.HashState, batch: contract.Batch) -> contract.Done:
        points = jnp.concatenate([state.buffers[m] for m in networks])
        key = jax.random.fold_in(state.key, state.step)
        C = discrete.product_codebooks(key, points, M, W)
        return contract.Done(state.replace(buffers=state.buffers | {"codebooks": C}))

    def assign(rows: updates.Seen) -> updates.Terms:
        C, assigned, error = rows.buffers["codebooks"], {}, jnp.zeros(())
        for number, m in enumerate(networks):
            points, key = rows.take(rows.buffers[m]), jax.random.fold_in(rows.key, number)
            assigned[m] = discrete.icm(points, C, key=key, sweeps=settings.icm_sweeps)
            error += losses.quantization_loss(
                points, discrete.decode(assigned[m], C), where=rows.where
            )
        return updates.Terms(shown={"quantization": error}, codes=assigned)

    def fit_codebooks(rows: updates.Seen) -> updates.Terms:
        points, b = (
            jnp.concatenate([rows.take(arrays[m]) for m in networks])
            for arrays in (rows.buffers, rows.codes)
        )
        where = jnp.concatenate([rows.where] * len(networks))
        C = discrete.fit_codebooks(points, b, W, where=where)
        error = losses.quantization_loss(points, discrete.decode(b, C), where=where)
        return updates.Terms(shown={"quantization": len(networks) * error}, whole={"codebooks": C})

    refresh = updates.forward("outputs", networks, refresh_outputs)
    first = contract.Update("first codebooks", "host", first_codebooks)
    in_turn = (
        refresh,
        updates.full("assignments", assign),
        updates.full("codebooks", fit_codebooks),
        network_update(settings.quantization_weight),
    )
    stages = (
        contract.Stage("networks", settings.first_epochs, (network_update(0.0),)),
        contract.Stage("first codebooks", 1, (refresh, first)),
        contract.Stage("alternate", settings.epochs, in_turn),
    )
    return updates.method(
        networks,
        stages,
        spec,
        squash=jnp.tanh,
        start=start,
        learned=lambda state, modality: state.codes[modality],
        code=code.codewords("codebooks", sweeps=settings.icm_sweeps),
    )


def _num_codebooks(settings: Settings, bits: int) -> int:
    bits_of_a_word = settings.codewords.bit_length() - 1
    if bits % bits_of_a_word:
        raise UserError(
            f"config key 'bits' must be a multiple of {bits_of_a_word}, which number one of "
            f"{settings.codewords} codewords, not {bits}"
        )
    codebooks = bits // bits_of_a_word
    if settings.width % codebooks:
        raise UserError(
            f"config key 'width' must be a multiple of the {codebooks} codebooks, "
            f"not {settings.width}"
        )
    return codebooks
