"""TVDB: Textual-Visual Deep Binaries (Shen, Liu, Shao and Song, ICCV 2017, arXiv 1708.02531).

Pictures are sequences of regions, from dominant to minor, each with its features and place;
sentences are read in three overlapping crops. For every batch the codes of both modalities are
found first, by coordinate steps on the trace of B S H' and their distance to the outputs; then each
network takes one step towards its codes.

Taken from the paper: the objective; codes and networks in turn on every batch; the picture network
(a bidirectional LSTM over regions, the mean of its outputs, ReLU, two dense layers); the sentence
network (12 words, embedded linearly in 128 numbers; crops of 10, 9 and 8 words, each through
convolutions of its own; two dense layers). The coordinate step is exact and takes all entries at
once: see `discrete.trace_step`.

Decided here: S is 1 for similar pairs and 0 for others, divided by the geometric mean of how many
rows of the batch each of the two is similar to, less its mean over all pairs. In {0, 1} one code
for all is best; in {-1, +1}, where most pairs are dissimilar, one code for all images and its
opposite for all texts; and large labels would outweigh small ones. A row's codes start where its
last batch left them, at random before the first: the trace is a sum over bits, so bits that start
alike, as the signs of untrained outputs do, end alike. Outputs are those with dropout off in the
codes' turn; both codes take turns `rounds` times; the crops are the first, the middle and the last
words; convolutions see `text_kernels` words, their maxima over the crop's words are taken; outputs
are linear; widths, eta, dropout and optimiser.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from jxhash import discrete, losses, parallel, similarity
from jxhash.configuration import (
    read_settings,
    require_not_negative,
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
    descend,
    init_parameters,
    read_rows,
    require_inputs,
    require_labels,
    require_tokens,
    row_keys,
    write_rows,
)
from jxhash.networks.sequence import RegionHashLSTM, SentenceHashConvolutions

MODALITIES = ("image", "text")

SENTENCE_LENGTH = 12
CROPS = ((0, 10), (1, 9), (4, 8))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: passes over the training pairs.
      image_width: outputs of the LSTM over regions in each direction.
      image_hidden: width of the first dense layer of the picture network.
      text_embedding: numbers a word is turned into.
      text_kernels: the numbers of words that the convolutions see at once.
      text_filters: outputs of each convolution.
      text_hidden: width of the first dense layer of the sentence network.
      image_dropout: the rate before and after the first dense layer of the picture network.
      text_dropout: the same of the sentence network.
      output_weight: eta, of the distance between codes and outputs.
      rounds: how often the codes of both modalities take turns on a batch.
      optimizer: of both networks.
    """

    epochs: int
    image_width: int
    image_hidden: int
    text_embedding: int
    text_kernels: tuple[int, ...]
    text_filters: int
    text_hidden: int
    image_dropout: float
    text_dropout: float
    output_weight: float
    rounds: int
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "image_width", "image_hidden", "rounds")
        require_positive(self, "text_embedding", "text_kernels", "text_filters", "text_hidden")
        require_not_negative(self, "output_weight")
        require_rate(self, "image_dropout", "text_dropout")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds TVDB for one config and one data set.

    Args:
      config: `bits` and the part `tvdb`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image` as sequences of regions, `text` as 12 token numbers,
        and `labels`.

    Returns:
      The method; `learned` gives B for images and H for texts, as the last batch with a row left
      them.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.tvdb, Settings)
    require_inputs(spec, "pairs", *MODALITIES)
    require_labels(spec, "TVDB")
    words = require_tokens(spec, "TVDB")
    _require_sequences(spec)
    networks = {
        "image": RegionHashLSTM(
            config.bits, settings.image_width, (settings.image_hidden,), settings.image_dropout
        ),
        "text": SentenceHashConvolutions(
            config.bits,
            words,
            settings.text_embedding,
            CROPS,
            settings.text_kernels,
            settings.text_filters,
            (settings.text_hidden,),
            settings.text_dropout,
        ),
    }
    optimizer = settings.optimizer.over(settings.epochs * spec.steps_per_epoch)
    eta = settings.output_weight

    def init(key: jax.Array) -> HashState:
        networks_key, codes_key, training_key = jax.random.split(key, 3)
        params = init_parameters(networks_key, networks, spec)
        B, H = jax.random.rademacher(codes_key, (2, spec.num_train, config.bits), jnp.int8)
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state={modality: optimizer.init(params[modality]) for modality in MODALITIES},
            key=training_key,
            codes={"image": B, "text": H},
        )

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        return networks[modality].apply(state.params[modality], inputs)

    def update_codes(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        rows, where = batch.rows["pairs"], batch.rows["pairs"]["where"]
        F, G = (encode(state, modality, rows[modality]) for modality in MODALITIES)
        labels, counts = parallel.all_rows((rows["labels"], where))
        # The same rows on both sides: S of these images and all texts is also that of these texts
        # and all images.
        S = _even_similarity(rows["labels"], labels, where, counts)
        B, H = (read_rows(state.codes[modality], rows["index"]) for modality in MODALITIES)
        for _ in range(settings.rounds):
            B = discrete.trace_step(F, parallel.all_rows(H), S, eta=eta, previous=B)
            H = discrete.trace_step(G, parallel.all_rows(B), S, eta=eta, previous=H)
        trace = losses.trace_loss(B, parallel.all_rows(H), S, where=where[:, None])
        distance = sum(
            losses.quantization_loss(outputs, own, where=where, reduce_fn=jnp.sum)
            for outputs, own in ((F, B), (G, H))
        )
        state = state.replace(
            codes={
                "image": write_rows(state.codes["image"], rows["index"], B),
                "text": write_rows(state.codes["text"], rows["index"], H),
            }
        )
        return state, {"loss": (trace + eta * distance, jnp.sum(where))}

    def network_update(own: str, stream: int) -> Update:
        def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            rows, where = batch.rows["pairs"], batch.rows["pairs"]["where"]
            own_codes = read_rows(state.codes[own], rows["index"])
            keys = row_keys(state, rows["index"], stream)

            def objective(params: dict) -> jax.Array:
                outputs = networks[own].apply(params, rows[own], keys)
                distance = losses.quantization_loss(
                    outputs, own_codes, where=where, reduce_fn=jnp.sum
                )
                return eta * distance

            loss, gradients = jax.value_and_grad(objective)(state.params[own])
            count = jnp.sum(where)
            state = descend(state, own, averaged(gradients, count), optimizer)
            return state, {"loss": (loss, count)}

        return Update(own, "minibatch", step)

    def learned(state: HashState, modality: str) -> jax.Array:
        return state.codes[modality]

    updates = (
        Update("codes", "minibatch", update_codes),
        network_update("image", 0),
        network_update("text", 1),
    )
    stages = (Stage("alternate", settings.epochs, updates, interleaved=True),)
    return Method(init=init, stages=stages, encode=encode, learned=learned)


def _even_similarity(
    labels: jax.Array, all_labels: jax.Array, where: jax.Array, all_where: jax.Array
) -> jax.Array:
    """S of this device's rows [m] and those of all devices [n]; 0 beside padding."""
    counts = where[:, None] & all_where[None, :]
    shared = jnp.where(counts, similarity.share_label(labels, all_labels), 0)
    similar = jnp.maximum(jnp.sum(shared, axis=1), 1)
    even = shared / jnp.sqrt(similar[:, None] * parallel.all_rows(similar)[None, :])
    mean = parallel.total(jnp.sum(even)) / parallel.total(jnp.sum(counts))
    return jnp.where(counts, even - mean, 0)


def _require_sequences(spec: Spec) -> None:
    """Raises a UserError unless images are sequences of regions, and sentences 12 words long."""
    image, text = (spec.inputs["pairs"][modality][0] for modality in MODALITIES)
    if len(image) != 2 or text != (SENTENCE_LENGTH,):
        raise UserError(
            "TVDB reads images as [regions, width] and sentences of "
            f"{SENTENCE_LENGTH} tokens, not {image} and {text}; choose clipart-regions, or make "
            "them with jxhash.data.pictures.regions and jxhash.inputs.text"
        )
