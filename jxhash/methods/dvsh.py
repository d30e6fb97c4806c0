"""DVSH: Deep Visual-Semantic Hashing (Cao, Long, Wang, Yang and Yu, KDD 2016).

A fusion network sees picture and sentence of a pair together and learns their joint code; a picture
network and a sentence network, which see one of both, learn to give the same code alone. Queries
and database are encoded by these two; the fusion network is needed in training only.

Taken from the paper: the two LSTM layers of the fusion network, with the mapped picture added to
the first one's output at every step and tanh after the second; joint codes as means over the words;
the objective L + lambda Q + beta (L_x + L_y), minimised over all parameters together, so that the
joint codes also move towards what the two networks can give; a margin in both terms.

Decided here: L is a mean over the pairs of a batch and Q over its rows (the sums of the paper would
tie lambda and beta to their number), in which similar pairs count more, being fewer; the hashing
networks end in tanh; a sentence's code is the mean over its words, as the joint code is; L_y counts
words alone; a pair without a known word has no joint code and counts nowhere; words pass through an
embedding on their way to the LSTM; pictures are given features, mapped by multilayer perceptrons;
lambda, beta, dropout and optimiser.
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
    Arrays,
    Batch,
    HashState,
    Method,
    Metrics,
    Optimizer,
    Spec,
    Stage,
    Update,
    descend,
    require_features,
    require_inputs,
    require_labels,
    require_tokens,
    row_keys,
)
from jxhash.networks.mlp import HashMLP
from jxhash.networks.sequence import FusionLSTM, SentenceHashLSTM, is_word, masked_mean


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: passes over the training pairs.
      image_hidden: widths of the hidden layers that pictures pass, in both networks that see them.
      text_embedding: numbers a word is turned into.
      text_width: outputs of the sentence network's LSTM; in the fusion network they are the bits.
      image_dropout: the rate after each hidden layer that pictures pass, in [0, 1).
      text_dropout: the rate of embedded words and of the outputs of the LSTMs over words.
      similarity_margin: mu_c, the cosine between joint codes that is enough.
      bit_margin: mu_b, the magnitude of a joint code's bit that is enough.
      similar_weight: how much more a similar pair counts than another, since there are fewer.
      quantization_weight: lambda, of what bits fall short of their margin.
      hashing_weight: beta, of the distance between the two networks' outputs and the joint codes.
      optimizer: of all networks.
    """

    epochs: int
    image_hidden: tuple[int, ...]
    text_embedding: int
    text_width: int
    image_dropout: float
    text_dropout: float
    similarity_margin: float
    bit_margin: float
    similar_weight: float
    quantization_weight: float
    hashing_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "image_hidden", "text_embedding", "text_width")
        require_positive(self, "similarity_margin", "bit_margin", "similar_weight")
        require_not_negative(self, "quantization_weight", "hashing_weight")
        require_rate(self, "image_dropout", "text_dropout")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds DVSH for one config and one data set.

    Args:
      config: `bits` and the part `dvsh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` as token numbers, and `labels`.

    Returns:
      The method.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.dvsh, Settings)
    require_inputs(spec, "pairs", "text")
    require_features(spec, "DVSH", "image")
    require_labels(spec, "DVSH")
    words = require_tokens(spec, "DVSH")
    fusion = FusionLSTM(
        config.bits,
        words,
        settings.text_embedding,
        settings.image_hidden,
        settings.image_dropout,
        settings.text_dropout,
    )
    image = HashMLP(config.bits, settings.image_hidden, settings.image_dropout)
    text = SentenceHashLSTM(
        config.bits, words, settings.text_embedding, settings.text_width, settings.text_dropout
    )
    optimizer = settings.optimizer.over(settings.epochs * spec.steps_per_epoch)

    def init(key: jax.Array) -> HashState:
        fusion_key, image_key, text_key, training_key = jax.random.split(key, 4)
        x, y = (
            jnp.zeros((1, *shape), dtype)
            for shape, dtype in (spec.inputs["pairs"][modality] for modality in ("image", "text"))
        )
        params = {
            "fusion": fusion.init(fusion_key, x, y),
            "image": image.init(image_key, x),
            "text": text.init(text_key, y),
        }
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params={"networks": params},
            opt_state={"networks": optimizer.init(params)},
            key=training_key,
        )

    def objective(params: dict, state: HashState, rows: Arrays) -> tuple[jax.Array, dict]:
        fusion_keys, image_keys, text_keys = (row_keys(state, rows["index"], n) for n in range(3))
        pi = is_word(rows["text"])
        h_t = jnp.tanh(fusion.apply(params["fusion"], rows["image"], rows["text"], fusion_keys))
        h = masked_mean(h_t, pi)
        u = jnp.tanh(image.apply(params["image"], rows["image"], image_keys))
        v_t = jnp.tanh(text.apply(params["text"], rows["text"], text_keys))
        image_distances = jnp.sum(jnp.square(u - h), axis=1)
        text_distances = jnp.sum(masked_mean(jnp.square(v_t - h_t), pi), axis=1)

        h, image_distances, text_distances, labels, where = parallel.all_rows(
            (
                h,
                image_distances,
                text_distances,
                rows["labels"],
                rows["where"] & jnp.any(pi, axis=1),
            )
        )
        S = similarity.signed(labels, labels)
        L = losses.cosine_margin_loss(
            h,
            h,
            S,
            margin=settings.similarity_margin,
            power=1,
            where=where[:, None] & where[None, :],
            weights=jnp.where(S > 0, settings.similar_weight, 1.0),
        )
        Q = losses.bit_margin_loss(h, margin=settings.bit_margin, where=where)
        N = jnp.maximum(jnp.sum(where), 1)
        L_x = jnp.sum(image_distances, where=where) / (2 * N)
        L_y = jnp.sum(text_distances, where=where) / (2 * N)
        loss = L + settings.quantization_weight * Q + settings.hashing_weight * (L_x + L_y)
        return loss, {"loss": loss, "similarity": L, "quantization": Q, "image": L_x, "text": L_y}

    def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        gradients, terms = jax.grad(objective, has_aux=True)(
            state.params["networks"], state, batch.rows["pairs"]
        )
        state = descend(state, "networks", parallel.mean(gradients), optimizer)
        return state, {name: (term, jnp.ones(())) for name, term in terms.items()}

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        params = state.params["networks"]
        if modality == "image":
            return jnp.tanh(image.apply(params["image"], inputs))
        return masked_mean(jnp.tanh(text.apply(params["text"], inputs)), is_word(inputs))

    stages = (Stage("joint", settings.epochs, (Update("networks", "minibatch", step),)),)
    return Method(init=init, stages=stages, encode=encode)
