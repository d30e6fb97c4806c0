"""DDCMH: Dual Deep Neural Networks Cross-Modal Hashing (Chen, Yu, Li, Nie and Xu, AAAI 2018).

The two networks are trained one after the other and never on pairs: a hash of a single modality
gives each training row a code, the image network learns these bits as if they were labels, its
codes are averaged over rows that share labels, and the text network learns the averages. So an
epoch costs as much as one of a classifier.

Taken from the paper: the three stages, COSDISH for the first codes, the cross-entropy of each bit,
the reconstruction b^xr_i = l_i L' B^x / ||l_i L'||_1 (the number of shared labels is the weight of
a row, its own included), its values as soft targets, and sign(0) = 0 for bits in {0, 1}, here -1.

Decided here: COSDISH's codes follow from the labels alone, but its classifier may tell a share of
the bits from the texts, so that classes whose texts are alike have codes that are alike; the best
of several draws of COSDISH is taken, because how evenly its codes lie apart differs much from draw
to draw; the reconstruction is a stage of its own between those of the networks; a row without
labels keeps its own image code; both networks are multilayer perceptrons over given features, with
dropout and optimisers as settings (the paper gives none); the codes that a database of training
rows has are the reconstructed ones, cut at 1/2.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from jxhash import codes, discrete, losses
from jxhash.configuration import read_settings, require_positive, require_rate
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
    descend,
    init_parameters,
    read_rows,
    require_features,
    require_labels,
    row_keys,
    write_rows,
)
from jxhash.networks.mlp import HashMLP

MODALITIES = ("image", "text")

# What an output of 0 becomes, so that its sign is the paper's bit 0 for queries and items alike.
BELOW_ZERO = -1e-30

InitialCodes = Callable[[jax.Array, np.ndarray, np.ndarray, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      cosdish_restarts: how many draws of COSDISH are made, of which the best is kept.
      reencoded_share: the share of the bits whose first codes COSDISH's classifier tells from the
        texts, in [0, 1]; those of the others follow from the labels.
      image_epochs: passes of the image network over the training rows.
      text_epochs: passes of the text network.
      image_hidden: widths of the image network's hidden layers.
      text_hidden: widths of the text network's hidden layers.
      image_input_dropout: the rate of the image features, in [0, 1).
      image_dropout: the rate after each hidden layer of the image network, in [0, 1).
      text_dropout: the same of the text network.
      image_optimizer: of the image network.
      text_optimizer: of the text network.
    """

    cosdish_restarts: int
    reencoded_share: float
    image_epochs: int
    text_epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_input_dropout: float
    image_dropout: float
    text_dropout: float
    image_optimizer: Optimizer
    text_optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "cosdish_restarts", "image_epochs", "text_epochs")
        require_positive(self, "image_hidden", "text_hidden")
        require_rate(self, "image_input_dropout", "image_dropout", "text_dropout")
        if not 0 <= self.reencoded_share <= 1:
            raise UserError(
                f"config key 'reencoded_share' is a share of the bits, from 0 to 1, not "
                f"{self.reencoded_share}"
            )


def cosdish_codes(restarts: int, reencoded_share: float) -> InitialCodes:
    """The paper's first codes: COSDISH, which has a code for a row's labels and one for its text.

    Args:
      restarts: how many draws are made, of which the best is kept.
      reencoded_share: the share of the bits that COSDISH's classifier tells from the text.

    Returns:
      A function as `build` takes it.
    """

    def initial_codes(
        key: jax.Array, texts: np.ndarray, labels: np.ndarray, num_bits: int
    ) -> np.ndarray:
        B = discrete.cosdish(key, labels, num_bits, restarts=restarts)
        told = round(reencoded_share * num_bits)
        B[:, :told] = _classified(texts, B[:, :told])
        return B

    return initial_codes


def _classified(texts: np.ndarray, B: np.ndarray) -> np.ndarray:
    """What COSDISH says of unseen texts: signs of a ridge regression on standardised features."""
    X = np.asarray(texts, np.float64)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    return codes.sign(X @ np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ B), previous=-1)


def build(
    config: ml_collections.ConfigDict,
    spec: Spec,
    *,
    initial_codes: InitialCodes | None = None,
) -> Method:
    """Builds DDCMH for one config and one data set.

    Args:
      config: `bits` and the part `ddcmh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.
      initial_codes: the hash of a single modality that the method extends to two: (key, texts of
        all training rows, their labels, K) -> codes [n, K] in {-1, +1}. It runs once, on the host.
        None for COSDISH.

    Returns:
      The method; `learned` gives the reconstructed codes.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.ddcmh, Settings)
    require_features(spec, "DDCMH", *MODALITIES)
    require_labels(spec, "DDCMH")
    if initial_codes is None and spec.num_train <= config.bits:
        raise UserError(
            f"COSDISH samples as many training rows as there are bits: {spec.num_train} rows are "
            f"too few for {config.bits} bits; take fewer bits or more rows"
        )
    initial_codes = initial_codes or cosdish_codes(
        settings.cosdish_restarts, settings.reencoded_share
    )
    networks = {
        "image": HashMLP(
            config.bits,
            settings.image_hidden,
            settings.image_dropout,
            input_dropout=settings.image_input_dropout,
        ),
        "text": HashMLP(config.bits, settings.text_hidden, settings.text_dropout),
    }
    optimizers = {
        "image": settings.image_optimizer.over(settings.image_epochs * spec.steps_per_epoch),
        "text": settings.text_optimizer.over(settings.text_epochs * spec.steps_per_epoch),
    }
    shape = (spec.num_train, config.bits)

    def init(key: jax.Array) -> HashState:
        networks_key, training_key = jax.random.split(key)
        params = init_parameters(networks_key, networks, spec)
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state={m: optimizers[m].init(params[m]) for m in MODALITIES},
            key=training_key,
            buffers={"reconstructed": jnp.full(shape, 0.5)},
            codes={name: jnp.ones(shape, jnp.int8) for name in ("initial", "image")},
        )

    def hash_texts(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        pairs, key = batch.rows["pairs"], jax.random.fold_in(state.key, state.step)
        B = np.asarray(initial_codes(key, pairs["text"], pairs["labels"], config.bits))
        if B.shape != shape or not np.isin(B, (-1, 1)).all():
            raise UserError(
                f"initial_codes gives codes of shape {shape} in -1 and +1, not an array of shape "
                f"{B.shape} that holds {np.unique(B)[:3]}"
            )
        return state.replace(codes=state.codes | {"initial": B.astype(np.int8)}), {}

    def network_update(own: str, targets: Callable[[HashState], jax.Array]) -> Update:
        def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            rows, where = batch.rows["pairs"], batch.rows["pairs"]["where"]
            t = read_rows(targets(state), rows["index"])
            keys = row_keys(state, rows["index"])
            bits = jnp.sum(where) * config.bits

            def objective(params: dict) -> jax.Array:
                z = networks[own].apply(params, rows[own], keys)
                return losses.bit_cross_entropy_loss(z, t, where=where[:, None], reduce_fn=jnp.sum)

            loss, gradients = jax.value_and_grad(objective)(state.params[own])
            state = descend(state, own, averaged(gradients, bits), optimizers[own])
            return state, {"loss": (loss, bits)}

        return Update(own, "minibatch", step)

    def hash_images(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        rows = batch.rows["pairs"]
        B = codes.sign(encode(state, "image", rows["image"]))
        taught = read_rows(state.codes["initial"], rows["index"])
        written = write_rows(state.codes["image"], rows["index"], B)
        bits = jnp.sum(rows["where"]) * config.bits
        agreeing = jnp.sum(taught == B, where=rows["where"][:, None])
        state = state.replace(codes=state.codes | {"image": written})
        return state, {"bits as taught": (agreeing, bits)}

    def reconstruct(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        rows = batch.rows["pairs"]
        own = read_rows(state.codes["image"], rows["index"])
        R = discrete.reconstruct(rows["labels"], own > 0, where=rows["where"])
        written = write_rows(state.buffers["reconstructed"], rows["index"], R)
        changed = jnp.sum((R > 0.5) != (own > 0), where=rows["where"][:, None])
        bits = jnp.sum(rows["where"]) * config.bits
        return state.replace(buffers={"reconstructed": written}), {"changed bits": (changed, bits)}

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        z = networks[modality].apply(state.params[modality], inputs)
        return jnp.where(z == 0, BELOW_ZERO, z)

    def learned(state: HashState, modality: str) -> jax.Array:
        del modality
        return codes.sign(state.buffers["reconstructed"] - 0.5, previous=-1)

    image = network_update("image", lambda state: state.codes["initial"] > 0)
    text = network_update("text", lambda state: state.buffers["reconstructed"])
    stages = (
        Stage("first codes", 1, (Update("hash texts", "host", hash_texts),)),
        Stage("image network", settings.image_epochs, (image,)),
        Stage(
            "reconstruction",
            1,
            (
                Update("hash images", "minibatch", hash_images, sampling="in_order"),
                Update("reconstruct", "full", reconstruct),
            ),
        ),
        Stage("text network", settings.text_epochs, (text,)),
    )
    return Method(init=init, stages=stages, encode=encode, learned=learned)
