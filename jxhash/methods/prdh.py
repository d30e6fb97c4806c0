"""PRDH: Pairwise Relationship Guided Deep Hashing (Yang et al., AAAI 2017).

DCMH asks that similar images and texts have similar codes. PRDH asks the same of two images and of
two texts, and that different bits say different things.

From the paper: the objective J1 + J2 + J3 + lambda J4 + gamma R (pairs between modalities, pairs of
images, pairs of texts, decorrelation of the bits, quantisation with balance); networks and codes in
turn, the codes B shared by both modalities; the pairing of each batch with the outputs of the whole
training set; J4 on the outputs of the batch.

Ours: J2 and J3 compare a batch with the outputs that its own network stored before, so that each
pair is seen from one side at a time, which halves their gradient in proportion to J1's; the pair of
a row with itself is part of them. All terms but J4 are divided by batch size times training rows,
as in DCMH's code. The gradient of J4 is the exact one, twice the printed one. Quantisation and
balance have a weight each, where the paper has gamma for both; J2 and J3 have one, for the paper 1.
The depth of the text network (three layers in the paper) is a setting. First outputs, codes and
hash layers, dropout and the optimiser are as in our DCMH.
"""

import jax
import jax.numpy as jnp

from jxhash import discrete, losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, NotNegative, Optimizer, Positive, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True)


@settings
class Settings:
    #: how often the image network, the text network and the codes are updated in turn
    epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    #: of the pairs within a modality, J2 and J3
    intra_weight: NotNegative[float]
    #: lambda, of the squared covariances between bits
    decorrelation_weight: NotNegative[float]
    #: gamma, of the distance between outputs and codes
    quantization_weight: NotNegative[float]
    #: gamma too, of the squared sum of the outputs of all rows
    balance_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    networks = settings.layers.networks(bits)

    def start(key: jax.Array) -> updates.Start:
        U, V = jax.random.normal(key, (2, spec.num_train, bits))
        return {"buffers": {"image": U, "text": V}, "codes": {"pairs": discrete.consensus(U, V)}}

    def network_update(own: str, other: str) -> contract.Update:
        def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
            u, U, V = net(own), batch.buffers[own], batch.buffers[other]
            S, where = similarity.share_label(batch.labels, batch.all_labels), batch.where

            def likelihood(outputs: jax.Array) -> jax.Array:
                return losses.pairwise_log_likelihood_loss(
                    u, outputs, S, where=where[:, None], reduce_fn=jnp.sum
                )

            B = batch.take(batch.codes["pairs"])
            J = likelihood(V) + settings.intra_weight * likelihood(U)
            J += settings.quantization_weight * losses.quantization_loss(
                u, B, where=where, reduce_fn=jnp.sum
            )
            J += settings.balance_weight * losses.bit_balance_loss(
                u, rest=batch.rest(U, u), where=where
            )
            J4 = losses.decorrelation_loss(u, where=where)
            loss = J / (batch.count * spec.num_train) + settings.decorrelation_weight * J4
            return updates.Terms(loss, {"decorrelation": J4}, keep={own: u})

        return updates.descent(
            own, networks, objective, settings.optimizer, trains=[own], reads=[own, "labels"]
        )

    in_turn = (
        network_update("image", "text"),
        network_update("text", "image"),
        updates.consensus_update(("image", "text")),
    )
    stages = (contract.Stage("alternate", settings.epochs, in_turn),)
    return updates.method(networks, stages, spec, start=start, learned="pairs")
