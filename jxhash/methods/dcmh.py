"""DCMH: Deep Cross-Modal Hashing (Jiang and Li, CVPR 2017, arXiv 1602.02255).

From the paper: the objective (its equation 2); the three updates in turn (image network, text
network, codes); one code matrix B for both modalities; each step's loss divided by batch size times
training rows, and N(0, 1) noise as first outputs (both the authors' code).

Ours: an epoch goes through each row once; the image network is a multilayer perceptron over
features, or a pretrained one trained from pixels (the paper: CNN-F); dropout, the spread of the
first hash layers and the optimiser are settings.
"""

import jax
import jax.numpy as jnp

from jxhash import discrete, losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLP, ImageNetwork, NotNegative, Optimizer, Positive, settings

NEEDS = Needs(image={"features", "pixels"}, text={"features"}, labels=True)


@settings
class Settings:
    #: how often the image network, the text network and the codes are updated in turn
    epochs: Positive[int]
    image: ImageNetwork
    text: MLP
    #: gamma, of the distance between outputs and codes
    quantization_weight: NotNegative[float]
    #: eta, of the squared sum of the outputs of all rows
    balance_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    networks = {"image": settings.image.network(bits, spec), "text": settings.text.network(bits)}

    def start(key: jax.Array) -> updates.Start:
        F, G = jax.random.normal(key, (2, spec.num_train, bits))
        return {"buffers": {"image": F, "text": G}, "codes": {"pairs": discrete.consensus(F, G)}}

    def network_update(own: str, other: str) -> contract.Update:
        def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
            f, F, G = net(own), batch.buffers[own], batch.buffers[other]
            S, where = similarity.share_label(batch.labels, batch.all_labels), batch.where
            J = losses.pairwise_log_likelihood_loss(
                f, G, S, where=where[:, None], reduce_fn=jnp.sum
            )
            B = batch.take(batch.codes["pairs"])
            J += settings.quantization_weight * losses.quantization_loss(
                f, B, where=where, reduce_fn=jnp.sum
            )
            J += settings.balance_weight * losses.bit_balance_loss(
                f, rest=batch.rest(F, f), where=where
            )
            return updates.Terms(J / (batch.count * spec.num_train), keep={own: f})

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
