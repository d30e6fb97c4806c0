"""CMHH: Cross-Modal Hamming Hashing (Cao, Liu, Long and Wang, ECCV 2018).

Built for lookups: a query should find what it looks for within Hamming radius 2, and not merely
rank it before the rest.

From the paper: similarity as a probability p = exp(-beta d) that decays with the Hamming distance,
for which d = K/2 (1 - cos) of the outputs stands; the focal loss of p, whose gradient goes to
similar pairs outside of the radius; the prior L + lambda Q, where Q is the same distance between
the magnitudes of an output and (1, ..., 1). Both networks learn together on the pairs of a batch,
outputs after tanh.

Ours, since we know of no published values: Q does not carry beta; similar pairs weigh more by as
much as they are rarer, counted in each batch; L and Q are means; all settings.
"""

import jax.numpy as jnp

from jxhash import losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, NotNegative, Optimizer, Positive, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True)


@settings
class Settings:
    #: passes over the training pairs
    epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    #: how fast the probability decays: it halves every log(2) / beta bits
    beta: Positive[float]
    #: gamma, how little the pairs count that are already on their side; 0 for the cross-entropy
    focusing: NotNegative[float]
    #: lambda, of the distance between outputs and codes, in bits
    quantization_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    networks = settings.layers.networks(bits)

    def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        u, v = jnp.tanh(net("image")), jnp.tanh(net("text"))
        S = similarity.share_label(batch.labels, batch.labels)
        L = losses.hamming_focal_loss(
            u,
            v,
            S,
            beta=settings.beta,
            focusing=settings.focusing,
            where=batch.pairs,
            weights=losses.balanced_weights(S, where=batch.pairs),
        )
        # K/2 (1 - cos(|u|, 1)): the angle between output and code, in bits.
        Q = sum(
            bits / 2 * losses.cosine_quantization_loss(z, margin=1.0, where=batch.where)
            for z in (u, v)
        )
        loss = L + settings.quantization_weight * Q
        return updates.Terms(loss, {"focal": L, "quantization": Q})

    joint = updates.descent("networks", networks, objective, settings.optimizer)
    stages = (contract.Stage("joint", settings.epochs, (joint,)),)
    return updates.method(networks, stages, spec, squash=jnp.tanh)
