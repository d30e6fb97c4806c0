"""DCMH: Deep Cross-Modal Hashing (Jiang and Li, CVPR 2017, arXiv 1602.02255).

Taken from the paper: the objective (its equation 2), the three updates in turn (image network,
text network, codes), one code matrix B shared by both modalities in training, the division of each
step's loss by batch size times training rows that the authors' code makes, and the first weights
0.01 N(0, 1) of the hash layer.

Decided here: the order image, text, codes (paper and the authors' TensorFlow code); outputs start
as N(0, 1) noise and B as the sign of their sum (the same code); an epoch goes through each row once
("shuffled") where that code draws a new random batch at each step; both networks are multilayer
perceptrons over given features, or the image network is a pretrained one (the paper: CNN-F) trained
from pixels, of moved and mirrored pictures; dropout (the paper has none) and the optimiser are
settings.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import ml_collections

from jxhash import losses, parallel, similarity
from jxhash.configuration import (
    read_settings,
    require_not_negative,
    require_one_of,
    require_positive,
    require_rate,
)
from jxhash.errors import UserError
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
    has_pictures,
    init_buffered,
    read_rows,
    require_features,
    require_inputs,
    require_labels,
    row_keys,
    sum_elsewhere,
    write_rows,
)
from jxhash.networks import encoders
from jxhash.networks.mlp import HashMLP
from jxhash.networks.picture_hash import PictureHash, slow_network

MODALITIES = ("image", "text")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: how often images, text and codes are updated in turn.
      image_network: "mlp", over features; or one of `networks.encoders`, over pixels.
      image_weights: the file of its first weights; "" where an installed package has them.
      image_reach: pixels by which pictures are moved in training.
      image_pace: of the optimiser's steps, the share that a pretrained image network takes; its
        hash layer and the text network take whole ones.
      image_hidden: widths of the hidden layers of the "mlp".
      text_hidden: widths of the text network's hidden layers.
      image_dropout: the rate after each hidden layer of the "mlp", in [0, 1).
      text_dropout: the same of the text network.
      hash_init: standard deviation of the hash layers' first weights and biases.
      quantization_weight: gamma, of the distance between outputs and codes.
      balance_weight: eta, of the squared sum of the outputs of all rows.
      optimizer: of both networks.
    """

    epochs: int
    image_network: str
    image_weights: str
    image_reach: int
    image_pace: float
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    hash_init: float
    quantization_weight: float
    balance_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "hash_init", "image_hidden", "text_hidden", "image_pace")
        require_not_negative(self, "quantization_weight", "balance_weight", "image_reach")
        require_one_of(self, "image_network", ("mlp", *encoders.NAMES))
        require_rate(self, "image_dropout", "text_dropout")


def _image_network(settings: Settings, bits: int, spec: Spec) -> HashMLP | PictureHash:
    shape, dtype = spec.inputs["pairs"]["image"]
    if has_pictures(spec) != (settings.image_network != "mlp"):
        raise UserError(
            f"config key 'image_network' is {settings.image_network!r}, and the images are {dtype} "
            f"{shape}; 'mlp' reads features, {', '.join(encoders.NAMES)} read uint8 pictures"
        )
    if settings.image_network == "mlp":
        require_features(spec, "DCMH", "image")
        return HashMLP(bits, settings.image_hidden, settings.image_dropout, settings.hash_init)
    weights = pathlib.Path(settings.image_weights) if settings.image_weights else None
    encoder = encoders.load(settings.image_network, weights)
    encoder.require(shape)
    return PictureHash(encoder, bits, settings.hash_init, settings.image_reach)


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds DCMH for one config and one data set.

    Args:
      config: `bits` and the part `dcmh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.

    Returns:
      The method; `learned` gives the shared codes B.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.dcmh, Settings)
    require_inputs(spec, "pairs", "image")
    require_features(spec, "DCMH", "text")
    require_labels(spec, "DCMH")
    networks = {
        "image": _image_network(settings, config.bits, spec),
        "text": HashMLP(
            config.bits, settings.text_hidden, settings.text_dropout, settings.hash_init
        ),
    }
    optimizer = slow_network(
        settings.optimizer.over(settings.epochs * spec.steps_per_epoch), settings.image_pace
    )

    def init(key: jax.Array) -> HashState:
        return init_buffered(key, networks, optimizer, config.bits, spec)

    def network_update(own: str, other: str) -> Update:
        def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            rows, where = batch.rows["pairs"], batch.rows["pairs"]["where"]
            S = similarity.share_label(rows["labels"], batch.corpus["pairs"]["labels"])
            F, G = state.buffers[own], state.buffers[other]
            B = read_rows(state.codes["pairs"], rows["index"])
            keys = row_keys(state, rows["index"])
            pairs = jnp.sum(where, dtype=jnp.float32) * spec.num_train

            def objective(params: dict) -> tuple[jax.Array, tuple]:
                f = networks[own].apply(params, rows[own], keys)
                likelihood = losses.pairwise_log_likelihood_loss(
                    f, G, S, where=where[:, None], reduce_fn=jnp.sum
                )
                quantization = losses.quantization_loss(f, B, where=where, reduce_fn=jnp.sum)
                written = write_rows(F, rows["index"], jax.lax.stop_gradient(f))
                balance = losses.bit_balance_loss(f, rest=sum_elsewhere(written, rows), where=where)
                separate = likelihood + settings.quantization_weight * quantization
                joint = settings.balance_weight * balance
                return separate + joint, (written, separate, joint)

            gradients, (written, separate, joint) = jax.grad(objective, has_aux=True)(
                state.params[own]
            )
            state = descend(state, own, averaged(gradients, pairs), optimizer)
            state = state.replace(buffers=state.buffers | {own: written})
            # The balance of all rows is known to every device: each counts its share of it.
            loss = separate + joint / parallel.num_devices()
            return state, {"loss": (loss, pairs)}

        return Update(own, "minibatch", step, reads=frozenset({own, "labels"}))

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
