"""THN: Transitive Hashing Network (Cao, Long, Wang and Yang, AAAI 2017, arXiv 1608.04307).

Queries of one modality and a database of the other come from different collections, without any
pair between them. An auxiliary collection of labelled image-text pairs teaches what belongs
together; the maximum mean discrepancy (MMD) draws the codes of the two unpaired collections to the
codes of the auxiliary rows of the same modality, so that what was learnt carries over.

From the paper: the objective C = L + lambda Q + mu (D_q + D_d) on tanh outputs, inner products
without the factor 1/2, a Gaussian kernel, the MMD within a batch.

Ours: the similarity covers auxiliary pairs alone, labels of the two other collections are not read;
L and Q are means over the pairs of a batch (a mean over pairs of a sum over both points is the sum
of the means over rows); the kernel's width follows the median squared distance of the pooled rows;
similar pairs, which are rare, may weigh more, and the squared mean of each bit may be added: else L
pushes all images away from all texts by bits that are constant in both, with opposite signs;
lambda, mu, optimiser and layers are settings.
"""

import jax.numpy as jnp

from jxhash import losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, NotNegative, Optimizer, Positive, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True, unpaired=True)


@settings
class Settings:
    #: passes over the auxiliary pairs
    epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    #: of a similar pair beside a dissimilar one; the paper: 1
    similar_weight: Positive[float]
    #: of the squared mean of each bit's outputs, which keeps bits from being constant; the paper: 0
    balance_weight: NotNegative[float]
    #: lambda, of minus the logarithm of the outputs' magnitudes
    quantization_weight: NotNegative[float]
    #: mu, of the discrepancies; 0 learns from the auxiliary pairs alone
    mmd_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    networks = settings.layers.networks(bits)
    domains = {m: s for s in ("query", "database") for m in networks if m in spec.inputs[s]}

    def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        z = {m: jnp.tanh(net(m)) for m in networks}
        S = similarity.share_label(batch.labels, batch.labels)
        weights = jnp.where(S > 0, settings.similar_weight, 1.0)
        L = losses.pairwise_log_likelihood_loss(
            z["image"], z["text"], S, scale=1.0, where=batch.pairs, weights=weights
        )
        Q = sum(losses.log_magnitude_loss(z[m], where=batch.where) for m in networks)
        D = sum(
            losses.mmd_loss(
                jnp.tanh(net(m, source=domains[m], stream=1)),
                z[m],
                gamma="median",
                where_x=batch[domains[m]].where,
                where_y=batch.where,
            )
            for m in networks
        )
        number = jnp.maximum(jnp.sum(batch.where), 1)
        E = sum(losses.bit_balance_loss(z[m] / number, where=batch.where) for m in networks)
        C = L + settings.quantization_weight * Q + settings.mmd_weight * D
        C += settings.balance_weight * E
        return updates.Terms(C, {"likelihood": L, "quantization": Q, "mmd": D, "balance": E})

    joint = updates.descent("networks", networks, objective, settings.optimizer)
    stages = (contract.Stage("joint", settings.epochs, (joint,)),)
    return updates.method(networks, stages, spec, squash=jnp.tanh)
