"""CDQ: Collective Deep Quantization (Cao, Long, Wang and Liu, AAAI 2017).

Both networks map to one space of real numbers. What a database keeps of an item is the numbers of M
codewords, one from each of M codebooks of W words that the two modalities share; their sum stands
for the output. A query keeps its real output: items are ranked by their inner product with it, M
look-ups each.

Taken from the paper and its code: tanh outputs; the likelihood of the similarities with inner
products times alpha, cut at 15; lambda times the squared distances to the sums of codewords;
whole-space codewords that start as those of a product quantizer, after a pass with lambda = 0; in
each epoch then assignments by iterated conditional modes from nothing, in random order, and
codebooks by least squares with a ridge of 1e-3.

Decided here: assignments follow from the outputs of the networks as they stand, not from those
collected during the epoch before; means over the pairs of a batch (the code's, the paper writes
sums); both networks are multilayer perceptrons over given features; one optimiser for both; lambda,
alpha, dropout and the schedule are settings.
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

# Of inner products, in the authors' code.
CLIP = 15.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      first_epochs: passes of the networks before there are codebooks.
      epochs: passes after that, each with new assignments and codebooks before it.
      image_hidden: widths of the image network's hidden layers.
      text_hidden: widths of the text network's hidden layers.
      image_dropout: the rate after each hidden layer of the image network, in [0, 1).
      text_dropout: the same of the text network.
      width: R, of the outputs; a multiple of the number of codebooks.
      codewords: W, the words of a codebook, a power of two up to 256; the number of codebooks is
        M = bits / log2 W.
      icm_sweeps: how often an item's choice from each codebook is made anew.
      scale: alpha, of the inner products.
      quantization_weight: lambda, of the squared distances to the sums of codewords.
      optimizer: of both networks.
    """

    first_epochs: int
    epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    width: int
    codewords: int
    icm_sweeps: int
    scale: float
    quantization_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "first_epochs", "epochs", "image_hidden", "text_hidden")
        require_positive(self, "width", "icm_sweeps", "scale")
        require_not_negative(self, "quantization_weight")
        require_rate(self, "image_dropout", "text_dropout")
        if self.codewords not in [2**bits for bits in range(1, 9)]:
            raise UserError(
                f"config key 'codewords' is a power of two from 2 to 256, not {self.codewords}"
            )


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds CDQ for one config and one data set.

    Args:
      config: `bits` and the part `cdq`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.

    Returns:
      The method; its entries are uint8 [n, M] numbers of codewords, its distances minus inner
      products, and `learned` gives the assignments of each modality.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.cdq, Settings)
    require_features(spec, "CDQ", *MODALITIES)
    require_labels(spec, "CDQ")
    M = _num_codebooks(config.bits, settings)
    networks = {
        "image": HashMLP(settings.width, settings.image_hidden, settings.image_dropout),
        "text": HashMLP(settings.width, settings.text_hidden, settings.text_dropout),
    }
    passes = settings.first_epochs + settings.epochs
    optimizer = settings.optimizer.over(passes * spec.steps_per_epoch)

    def init(key: jax.Array) -> HashState:
        networks_key, noise_key, training_key = jax.random.split(key, 3)
        params = init_parameters(networks_key, networks, spec)
        noise = jax.random.normal(noise_key, (M, settings.codewords, settings.width))
        outputs = jnp.zeros((spec.num_train, settings.width))
        assignments = jnp.zeros((spec.num_train, M), jnp.uint8)
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params={"networks": params},
            opt_state={"networks": optimizer.init(params)},
            key=training_key,
            buffers={"image": outputs, "text": outputs, "codebooks": noise},
            codes={"image": assignments, "text": assignments},
        )

    def network_update(quantization_weight: float) -> Update:
        def objective(params: dict, state: HashState, batch: Batch) -> tuple[jax.Array, dict]:
            pairs = batch.rows["pairs"]
            u, quantized = {}, {}
            for stream, modality in enumerate(MODALITIES):
                keys = row_keys(state, pairs["index"], stream)
                z = networks[modality].apply(params[modality], pairs[modality], keys)
                u[modality] = jnp.tanh(z)
                words = read_rows(state.codes[modality], pairs["index"])
                quantized[modality] = discrete.decode(words, state.buffers["codebooks"])
            u, quantized, where, labels = parallel.all_rows(
                (u, quantized, pairs["where"], pairs["labels"])
            )
            L = losses.pairwise_log_likelihood_loss(
                u["image"],
                u["text"],
                similarity.share_label(labels, labels),
                scale=settings.scale,
                clip=CLIP,
                where=where[:, None] & where[None, :],
            )
            Q = sum(losses.quantization_loss(u[m], quantized[m], where=where) for m in MODALITIES)
            return L + quantization_weight * Q, {"likelihood": L, "quantization": Q}

        def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            (loss, terms), gradients = jax.value_and_grad(objective, has_aux=True)(
                state.params["networks"], state, batch
            )
            state = descend(state, "networks", parallel.mean(gradients), optimizer)
            return state, {name: (x, jnp.ones(())) for name, x in {"loss": loss, **terms}.items()}

        return Update("networks", "minibatch", step)

    def refresh_outputs(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        pairs = batch.rows["pairs"]
        written = {
            m: write_rows(state.buffers[m], pairs["index"], encode(state, m, pairs[m]))
            for m in MODALITIES
        }
        return state.replace(buffers=state.buffers | written), {}

    def first_codebooks(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        del batch
        points = jnp.concatenate([state.buffers[m] for m in MODALITIES])
        key = jax.random.fold_in(state.key, state.step)
        C = discrete.product_codebooks(key, points, M, settings.codewords)
        return state.replace(buffers=state.buffers | {"codebooks": C}), {}

    def assign(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        index, where = batch.rows["pairs"]["index"], batch.rows["pairs"]["where"]
        C, key = state.buffers["codebooks"], jax.random.fold_in(state.key, state.step)
        assigned, error = {}, 0.0
        for stream, modality in enumerate(MODALITIES):
            points = read_rows(state.buffers[modality], index)
            b = discrete.icm(
                points, C, key=jax.random.fold_in(key, stream), sweeps=settings.icm_sweeps
            )
            error += losses.quantization_loss(
                points, discrete.decode(b, C), where=where, reduce_fn=jnp.sum
            )
            assigned[modality] = write_rows(state.codes[modality], index, b)
        return state.replace(codes=assigned), {"quantization": (error, jnp.sum(where))}

    def fit_codebooks(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        index, where = batch.rows["pairs"]["index"], batch.rows["pairs"]["where"]
        points, b = (
            jnp.concatenate([read_rows(arrays[m], index) for m in MODALITIES])
            for arrays in (state.buffers, state.codes)
        )
        where = jnp.concatenate([where] * len(MODALITIES))
        C = discrete.fit_codebooks(points, b, settings.codewords, where=where)
        error = losses.quantization_loss(
            points, discrete.decode(b, C), where=where, reduce_fn=jnp.sum
        )
        items = jnp.sum(where) / len(MODALITIES)
        state = state.replace(buffers=state.buffers | {"codebooks": C})
        return state, {"quantization": (error, items)}

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        return jnp.tanh(networks[modality].apply(state.params["networks"][modality], inputs))

    def index(state: HashState, modality: str, outputs: jax.Array) -> jax.Array:
        del modality
        b = discrete.icm(outputs, state.buffers["codebooks"], sweeps=settings.icm_sweeps)
        return b.astype(jnp.uint8)

    def distances(state: HashState, outputs: jax.Array, entries: jax.Array) -> jax.Array:
        return -discrete.quantized_inner_products(outputs, entries, state.buffers["codebooks"])

    def learned(state: HashState, modality: str) -> jax.Array:
        return state.codes[modality]

    refresh = Update("outputs", "minibatch", refresh_outputs, sampling="in_order")
    quantize = (
        refresh,
        Update("assignments", "full", assign),
        Update("codebooks", "full", fit_codebooks),
    )
    stages = (
        Stage("networks", settings.first_epochs, (network_update(0.0),)),
        Stage("first codebooks", 1, (refresh, Update("first codebooks", "host", first_codebooks))),
        Stage(
            "alternate", settings.epochs, (*quantize, network_update(settings.quantization_weight))
        ),
    )
    return Method(
        init=init,
        stages=stages,
        encode=encode,
        index=index,
        distances=distances,
        distance="minus the inner product of a query's output with the sum of an item's codewords",
        learned=learned,
    )


def _num_codebooks(bits: int, settings: Settings) -> int:
    bits_of_a_word = settings.codewords.bit_length() - 1
    if bits % bits_of_a_word:
        raise UserError(
            f"config key 'bits' must be a multiple of {bits_of_a_word}, which number one of "
            f"{settings.codewords} codewords, not {bits}"
        )
    codebooks = bits // bits_of_a_word
    if settings.width % codebooks:
        raise UserError(
            f"config key 'width' must be a multiple of the {codebooks} codebooks, "
            f"not {settings.width}"
        )
    return codebooks
