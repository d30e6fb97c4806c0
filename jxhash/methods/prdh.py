"""PRDH: Pairwise Relationship Guided Deep Hashing (Yang et al., AAAI 2017).

DCMH asks that similar images and texts have similar codes. PRDH asks the same of two images and of
two texts, and that different bits say different things.

Taken from the paper: the objective J1 + J2 + J3 + lambda J4 + gamma R (pairs between modalities,
pairs of images, pairs of texts, decorrelation of the bits, quantisation with balance); networks and
codes in turn, the codes B shared by both modalities; the pairing of each batch with the outputs of
the whole training set; J4 on the outputs of the batch.

Decided here: J2 and J3 compare a batch with the outputs that its own network stored before, so each
pair is seen from one side at a time, which halves their gradient in proportion to J1's; the pair of
a row with itself is part of them. All terms but J4 are divided by batch size times training rows,
as in DCMH's code. The gradient of J4 is the exact one, twice the printed one. Quantisation and
balance have a weight each, where the paper has gamma for both; J2 and J3 have one, for the paper 1.
The depth of the text network (three layers in the paper) is a setting. First outputs, codes and
hash layers, dropout and the optimiser are as in our DCMH.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from jxhash import losses, parallel, similarity
from jxhash.configuration import (
    read_settings,
    require_not_negative,
    require_positive,
    require_rate,
)
from jxhash.methods.base import (
    Batch,
    HashState,
    Method,
    Metrics,
    Optimizer,
    Spec,
    Stage,
    Update,
    averaged,
    consensus_update,
    descend,
    init_buffered,
    read_rows,
    require_features,
    require_labels,
    row_keys,
    set_rows,
    sum_elsewhere,
)
from jxhash.networks.mlp import HashMLP

MODALITIES = ("image", "text")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: how often images, text and codes are updated in turn.
      image_hidden: widths of the image network's hidden layers.
      text_hidden: widths of the text network's hidden layers.
      image_dropout: the rate after each hidden layer of the image network, in [0, 1).
      text_dropout: the same of the text network.
      hash_init: standard deviation of the hash layers' first weights and biases.
      intra_weight: of the pairs within a modality, J2 and J3.
      decorrelation_weight: lambda, of the squared covariances between bits.
      quantization_weight: gamma, of the distance between outputs and codes.
      balance_weight: gamma too, of the squared sum of the outputs of all rows.
      optimizer: of both networks.
    """

    epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    hash_init: float
    intra_weight: float
    decorrelation_weight: float
    quantization_weight: float
    balance_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "hash_init", "image_hidden", "text_hidden")
        require_not_negative(
            self, "intra_weight", "decorrelation_weight", "quantization_weight", "balance_weight"
        )
        require_rate(self, "image_dropout", "text_dropout")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds PRDH for one config and one data set.

    Args:
      config: `bits` and the part `prdh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.

    Returns:
      The method; `learned` gives the shared codes B.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.prdh, Settings)
    require_features(spec, "PRDH", *MODALITIES)
    require_labels(spec, "PRDH")
    networks = {
        "image": HashMLP(
            config.bits, settings.image_hidden, settings.image_dropout, settings.hash_init
        ),
        "text": HashMLP(
            config.bits, settings.text_hidden, settings.text_dropout, settings.hash_init
        ),
    }
    optimizer = settings.optimizer.over(settings.epochs * spec.steps_per_epoch)

    def init(key: jax.Array) -> HashState:
        return init_buffered(key, networks, optimizer, config.bits, spec)

    def network_update(own: str, other: str) -> Update:
        def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            rows, where = batch.rows["pairs"], batch.rows["pairs"]["where"]
            S = similarity.share_label(rows["labels"], batch.corpus["pairs"]["labels"])
            stored = state.buffers[own]
            B = read_rows(state.codes["pairs"], rows["index"])
            keys = row_keys(state, rows["index"])
            pairs = jnp.sum(where, dtype=jnp.float32) * spec.num_train

            def likelihood(u: jax.Array, outputs: jax.Array) -> jax.Array:
                return losses.pairwise_log_likelihood_loss(
                    u, outputs, S, where=where[:, None], reduce_fn=jnp.sum
                )

            def objective(params: dict) -> tuple[jax.Array, tuple]:
                u = networks[own].apply(params, rows[own], keys)
                inter, intra = likelihood(u, state.buffers[other]), likelihood(u, stored)
                quantization = losses.quantization_loss(u, B, where=where, reduce_fn=jnp.sum)
                index, u_batch, where_batch = parallel.all_rows((rows["index"], u, where))
                written = set_rows(stored, index, jax.lax.stop_gradient(u_batch))
                balance = losses.bit_balance_loss(u, rest=sum_elsewhere(written, rows), where=where)
                J4 = losses.decorrelation_loss(u_batch, where=where_batch)
                separate = inter + settings.intra_weight * intra
                separate += settings.quantization_weight * quantization
                joint = settings.balance_weight * balance
                # Each device has the whole of J4, and counts its share of it.
                pairs_of_all = jnp.sum(where_batch, dtype=jnp.float32) * spec.num_train
                decorrelation = settings.decorrelation_weight * J4 * pairs_of_all
                decorrelation /= parallel.num_devices()
                loss = separate + joint / parallel.num_devices() + decorrelation
                return separate + joint + decorrelation, (written, loss, J4)

            gradients, (written, loss, J4) = jax.grad(objective, has_aux=True)(state.params[own])
            state = descend(state, own, averaged(gradients, pairs), optimizer)
            state = state.replace(buffers=state.buffers | {own: written})
            return state, {
                "loss": (loss, pairs),
                "decorrelation": (J4, jnp.ones(())),
            }

        return Update(own, "minibatch", step)

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        return networks[modality].apply(state.params[modality], inputs)

    def learned(state: HashState, modality: str) -> jax.Array:
        del modality
        return state.codes["pairs"]

    updates = (
        network_update("image", "text"),
        network_update("text", "image"),
        consensus_update(MODALITIES, config.bits),
    )
    stages = (Stage("alternate", settings.epochs, updates),)
    return Method(init=init, stages=stages, encode=encode, learned=learned)
