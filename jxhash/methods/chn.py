"""CHN: Correlation Hashing Network (Cao, Long, Wang and Yu, BMVC 2017, arXiv 1602.06697).

From the paper: the objective L + lambda Q on the angles between outputs, with one margin delta in
both terms. L is the squared hinge on the cosine of each image-text pair; Q asks that the angle of
an output to its code be small, by a hinge that is not squared. Both networks learn together, on all
pairs of a batch, with outputs after tanh.

Ours: L and Q are means, so that lambda and the learning rate do not depend on the batch size;
similar pairs, which are rarer, may weigh more; we know no lambda by the authors.
"""

import jax.numpy as jnp

from jxhash import losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, NotNegative, Optimizer, Positive, Share, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True)


@settings
class Settings:
    #: passes over the training pairs
    epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    #: delta, the cosine that is enough: of a pair, and of an output with its code
    margin: Share
    #: of a similar pair beside a dissimilar one; the paper: 1
    similar_weight: Positive[float]
    #: lambda, of the angle between outputs and codes
    quantization_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    networks = settings.layers.networks(bits)
    margin = settings.margin

    def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        u, v = jnp.tanh(net("image")), jnp.tanh(net("text"))
        S = similarity.signed(batch.labels, batch.labels)
        weights = jnp.where(S > 0, settings.similar_weight, 1.0)
        L = losses.cosine_margin_loss(u, v, S, margin=margin, where=batch.pairs, weights=weights)
        Q = sum(
            losses.cosine_quantization_loss(z, margin=margin, where=batch.where) for z in (u, v)
        )
        loss = L + settings.quantization_weight * Q
        return updates.Terms(loss, {"correlation": L, "quantization": Q})

    joint = updates.descent("networks", networks, objective, settings.optimizer)
    stages = (contract.Stage("joint", settings.epochs, (joint,)),)
    return updates.method(networks, stages, spec, squash=jnp.tanh)
