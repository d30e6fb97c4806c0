"""The contract between a method and the engine, and what several methods share.

A method is a handful of pure functions over one state. The engine owns devices, padding, keys,
logging, checkpoints and the epoch loop; a method owns the mathematics.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jxhash import codes, discrete, parallel
from jxhash.configuration import require_not_negative, require_one_of, require_positive
from jxhash.errors import UserError

Arrays = Mapping[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]
Outputs = Callable[[str, str, int], jax.Array]


class Spec(NamedTuple):
    """What building a method needs to know of the data.

    Attributes:
      num_train: rows of the source "pairs".
      num_labels: number of label names; 0 for data without labels.
      inputs: for each source of training rows the arrays that it brings: name -> (shape of one
        row, dtype).
      steps_per_epoch: minibatch steps that make one epoch.
      vocabulary_size: number of words where texts are token numbers, else None.
    """

    num_train: int
    num_labels: int
    inputs: Mapping[str, Mapping[str, tuple[tuple[int, ...], Any]]]
    steps_per_epoch: int
    vocabulary_size: int | None = None


class Batch(NamedTuple):
    """What one step sees.

    Attributes:
      rows: for each source the rows of this device: its named arrays, and `index` (int32, the row
        in the training set; the number of rows marks padding) and `where` (False for padding).
      corpus: for each source what the method needs of all its training rows besides: `labels`.
    """

    rows: Mapping[str, Arrays]
    corpus: Mapping[str, Arrays]


class HashState(struct.PyTreeNode):
    """Everything that training changes, hence everything that a checkpoint holds.

    Attributes:
      step: int32, minibatches taken so far; the engine counts.
      params: network -> parameters.
      opt_state: network -> optimiser state.
      model_state: network -> what a network keeps besides parameters (running statistics).
      buffers: name -> outputs of all training rows, or what a host update worked out.
      codes: name -> int8 codes of all training rows.
      key: the key from which every random draw of the training descends.
    """

    step: jax.Array
    params: dict[str, Any]
    opt_state: dict[str, Any]
    key: jax.Array
    model_state: dict[str, Any] = struct.field(default_factory=dict)
    buffers: dict[str, Any] = struct.field(default_factory=dict)
    codes: dict[str, Any] = struct.field(default_factory=dict)


class Update(NamedTuple):
    """One update of the state; the engine runs it on all devices.

    Attributes:
      name: shown to the user and kept with the metrics.
      kind: "minibatch": one batch of rows, split over devices; "full": once over all training rows
        (their labels, indices and the state, without inputs), split over devices; "host": plain
        Python and numpy on all training arrays, run once.
      step: (state, batch) -> (state, metrics). Metrics are (sum, count) of this device's rows.
      sampling: how a minibatch update draws an epoch: each row once in random order ("shuffled"),
        a new random subset at each step ("fresh"), or each row once as stored ("in_order").
      repeats: epochs over the data each time that the stage comes to this update.
      reads: names of the arrays that a minibatch update reads, where others need not be brought to
        it; None for all.
    """

    name: str
    kind: Literal["minibatch", "full", "host"]
    step: Callable[[HashState, Batch], tuple[HashState, Metrics]]
    sampling: Literal["shuffled", "fresh", "in_order"] = "shuffled"
    repeats: int = 1
    reads: frozenset[str] | None = None


class Stage(NamedTuple):
    """A number of epochs of the same updates.

    Attributes:
      name: kept with the metrics.
      epochs: how often the stage goes through its updates.
      updates: in the order in which they run.
      interleaved: True: all updates on each batch (minibatch updates only); False: each update
        over the whole epoch in turn.
    """

    name: str
    epochs: int
    updates: tuple[Update, ...]
    interleaved: bool = False


def signs(state: HashState, modality: str, outputs: jax.Array) -> jax.Array:
    """The usual database entries: the signs of the outputs, int8 [n, K]."""
    del state, modality
    return codes.sign(outputs)


def hamming_distances(state: HashState, outputs: jax.Array, entries: jax.Array) -> jax.Array:
    """The usual distances: Hamming between the signs of the queries and the entries."""
    del state
    return codes.hamming_distance(codes.sign(outputs), entries)


def nothing_learned(state: HashState, modality: str) -> None:
    """For methods that learn no codes for their training rows."""
    del state, modality


class Method(NamedTuple):
    """A published method, built for one config and one data set.

    Attributes:
      init: key -> the state before the first step.
      stages: what training consists of.
      encode: (state, modality, inputs) -> real outputs [n, K], dropout off.
      index: (state, modality, outputs) -> what a database keeps of each item.
      distances: (state, query outputs, entries) -> [q, n]; smaller is nearer.
      distance: what `distances` gives, in words, for the report.
      learned: (state, modality) -> entries of the training rows as training left them, or None.
    """

    init: Callable[[jax.Array], HashState]
    stages: tuple[Stage, ...]
    encode: Callable[[HashState, str, jax.Array], jax.Array]
    index: Callable[[HashState, str, jax.Array], jax.Array] = signs
    distances: Callable[[HashState, jax.Array, jax.Array], jax.Array] = hamming_distances
    distance: str = "Hamming distance between signs"
    learned: Callable[[HashState, str], jax.Array | None] = nothing_learned


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The part of a config that describes an optimiser.

    Attributes:
      name: "sgd" or "adam".
      learning_rate: at the first step.
      final_learning_rate: at the last step; between the two the rate falls as `decay` says.
      decay: "linear" or "geometric" (a straight line in the logarithm).
      momentum: of sgd; 0 for none.
      weight_decay: times the weights, added to their gradients.
    """

    name: str
    learning_rate: float
    final_learning_rate: float
    decay: str
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        require_positive(self, "learning_rate", "final_learning_rate")
        require_not_negative(self, "momentum", "weight_decay")
        require_one_of(self, "name", ("sgd", "adam"))
        require_one_of(self, "decay", ("linear", "geometric"))

    def over(self, steps: int) -> optax.GradientTransformation:
        """The optimiser whose learning rate reaches its end after `steps` steps."""
        rate = self._schedule(max(steps, 1))
        decay = optax.add_decayed_weights(self.weight_decay)
        if self.name == "adam":
            return optax.chain(decay, optax.adam(rate))
        return optax.chain(decay, optax.sgd(rate, momentum=self.momentum or None))

    def _schedule(self, steps: int) -> optax.Schedule:
        if self.decay == "linear":
            return optax.linear_schedule(self.learning_rate, self.final_learning_rate, steps)
        ratio = self.final_learning_rate / self.learning_rate
        return optax.exponential_decay(self.learning_rate, steps, ratio)


_MEND_IMAGES = "features are made of pictures by python -m jxhash.data.extract"


def has_pictures(spec: Spec) -> bool:
    """Whether the images of the training pairs are pictures, uint8 [height, width, 3]."""
    shape, dtype = spec.inputs["pairs"]["image"]
    return len(shape) == 3 and dtype == jnp.uint8


def require_labels(spec: Spec, method: str) -> None:
    """Raises a UserError where a method learns from labels and the data has none."""
    if "labels" not in spec.inputs.get("pairs", {}):
        raise UserError(
            f"{method} learns from labels, and this data set has none for its training pairs; "
            "bring labels or choose an unsupervised method"
        )


def require_inputs(spec: Spec, source: str, *names: str) -> None:
    """Raises a UserError where a source, or an array of it, is missing from the data."""
    have = spec.inputs.get(source)
    if have is None:
        raise UserError(f"the method needs the source {source!r}; the data has {list(spec.inputs)}")
    missing = [name for name in names if name not in have]
    if missing:
        mend = f"; {_MEND_IMAGES}" if "image" in missing else ""
        raise UserError(
            f"the source {source!r} lacks {', '.join(missing)}; it has {', '.join(have)}{mend}"
        )


def require_features(spec: Spec, method: str, *modalities: str) -> None:
    """Raises a UserError unless the training pairs bring a vector of features of each modality."""
    require_inputs(spec, "pairs", *modalities)
    if "image" in modalities and has_pictures(spec):
        raise UserError(
            f"{method} reads one vector of features a row, and this data set's images are "
            f"pictures; {_MEND_IMAGES}, or choose a method that learns from pixels (docs/data.md)"
        )
    for modality in modalities:
        shape, _ = spec.inputs["pairs"][modality]
        if len(shape) != 1:
            raise UserError(
                f"{method} reads one vector of features a row, and {modality} rows have the shape "
                f"{shape}; bring features, or choose a method that reads sequences"
            )
    if "text" in modalities and spec.vocabulary_size is not None:
        raise UserError(
            f"{method} reads texts as features, and this data set's are token numbers; choose data "
            "with bags of words, or make them with jxhash.inputs.text"
        )


def require_tokens(spec: Spec, method: str) -> int:
    """The size of the vocabulary; raises a UserError where texts are no token numbers."""
    if spec.vocabulary_size is None or spec.inputs["pairs"]["text"][1].kind not in "iu":
        raise UserError(
            f"{method} reads sentences, and this data set's texts are no token numbers; choose "
            "clipart-sentences or clipart-regions, put '-sentences' behind a prepared data set, or "
            "make them with jxhash.inputs.text"
        )
    return spec.vocabulary_size


def init_parameters(key: jax.Array, networks: Mapping[str, nn.Module], spec: Spec) -> dict:
    """First parameters of one network a modality, for inputs as the training pairs bring them."""
    parameters = {}
    for modality, own_key in zip(networks, jax.random.split(key, len(networks)), strict=True):
        shape, dtype = spec.inputs["pairs"][modality]
        parameters[modality] = networks[modality].init(own_key, jnp.zeros((1, *shape), dtype))
    return parameters


def row_keys(state: HashState, index: jax.Array, stream: int = 0) -> jax.Array:
    """One key a row for this step, whatever device the row lies on.

    Args:
      state: whose key and step the keys descend from.
      index: int32 [n], the rows in the training set.
      stream: a number of its own for each set of draws within one step.

    Returns:
      [n] typed keys.
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


def write_rows(buffer: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    """Writes the rows of all devices into a buffer of all training rows; padding is dropped."""
    return set_rows(buffer, *parallel.all_rows((index, rows)))


def set_rows(buffer: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    """Writes rows that every device already has, those of all; padding is dropped."""
    return buffer.at[index].set(rows.astype(buffer.dtype), mode="drop")


def read_rows(buffer: jax.Array, index: jax.Array) -> jax.Array:
    """Reads this device's rows of a buffer; padding reads the last row, to be masked."""
    return jnp.take(buffer, index, axis=0, mode="clip")


def descend(
    state: HashState, network: str, gradients: Any, optimizer: optax.GradientTransformation
) -> HashState:
    """One step of a network's optimiser; the gradients are already those of all devices."""
    changes, opt_state = optimizer.update(
        gradients, state.opt_state[network], state.params[network]
    )
    params = optax.apply_updates(state.params[network], changes)
    return state.replace(
        params=state.params | {network: params}, opt_state=state.opt_state | {network: opt_state}
    )


def averaged(gradients: Any, count: jax.Array) -> Any:
    """The gradients of the mean over the rows of all devices.

    Args:
      gradients: of the sum over this device's rows.
      count: what the mean divides by, this device's part of it; it is exchanged with the gradients,
        so that a step need not wait for it before.
    """
    gradients, count = parallel.total((gradients, count.astype(jnp.float32)))
    return jax.tree.map(lambda gradient: gradient / count, gradients)


def joint_method(
    networks: Mapping[str, nn.Module],
    objective: Callable[[Outputs, Batch], dict[str, jax.Array]],
    optimizer: Optimizer,
    epochs: int,
    spec: Spec,
) -> Method:
    """A method that descends one loss of all its networks at once; outputs are those after tanh.

    Args:
      networks: one a modality.
      objective: (outputs, batch) -> named terms, of which "loss" is descended. The terms are those
        of the whole batch, the same on every device. `outputs(source, modality, stream)` gives the
        outputs [n, K] of this device's rows, dropout on; `stream` is as in `row_keys`.
      optimizer: of all networks.
      epochs: passes over the training rows.
      spec: of the data.

    Returns:
      The method: one stage of one update.
    """
    descent = optimizer.over(epochs * spec.steps_per_epoch)

    def init(key: jax.Array) -> HashState:
        networks_key, training_key = jax.random.split(key)
        params = init_parameters(networks_key, networks, spec)
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params={"networks": params},
            opt_state={"networks": descent.init(params)},
            key=training_key,
        )

    def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        def loss_and_terms(params: dict) -> tuple[jax.Array, dict[str, jax.Array]]:
            def outputs(source: str, modality: str, stream: int) -> jax.Array:
                rows = batch.rows[source]
                keys = row_keys(state, rows["index"], stream)
                return jnp.tanh(networks[modality].apply(params[modality], rows[modality], keys))

            terms = objective(outputs, batch)
            return terms["loss"], terms

        gradients, terms = jax.grad(loss_and_terms, has_aux=True)(state.params["networks"])
        state = descend(state, "networks", parallel.mean(gradients), descent)
        return state, {name: (term, jnp.ones(())) for name, term in terms.items()}

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        return jnp.tanh(networks[modality].apply(state.params["networks"][modality], inputs))

    stages = (Stage("joint", epochs, (Update("networks", "minibatch", step),)),)
    return Method(init=init, stages=stages, encode=encode)


def init_buffered(
    key: jax.Array,
    networks: Mapping[str, nn.Module],
    optimizer: optax.GradientTransformation,
    bits: int,
    spec: Spec,
) -> HashState:
    """The first state of networks that learn in turn against stored outputs of all rows.

    Args:
      key: of all draws.
      networks: one a modality; each has an optimiser state of its own.
      optimizer: of each network.
      bits: code length.
      spec: of the data.

    Returns:
      A state with N(0, 1) noise as outputs of each modality, and as codes "pairs" their consensus.
    """
    networks_key, outputs_key, training_key = jax.random.split(key, 3)
    params = init_parameters(networks_key, networks, spec)
    outputs = jax.random.normal(outputs_key, (len(networks), spec.num_train, bits))
    return HashState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state={modality: optimizer.init(params[modality]) for modality in networks},
        key=training_key,
        buffers=dict(zip(networks, outputs, strict=True)),
        codes={"pairs": discrete.consensus(*outputs)},
    )


def sum_elsewhere(buffer: jax.Array, rows: Arrays) -> jax.Array:
    """The sum of all rows of a buffer but those of this device's part of a batch, [K]."""
    here = jnp.sum(read_rows(buffer, rows["index"]), axis=0, where=rows["where"][:, None])
    return jnp.sum(buffer, axis=0) - here


def consensus_update(modalities: tuple[str, ...], bits: int) -> Update:
    """The update of the codes "pairs", shared by all modalities: the sign of the outputs' sum.

    Args:
      modalities: whose stored outputs are summed.
      bits: code length.

    Returns:
      An update over all training rows.
    """

    def step(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        index, where = batch.rows["pairs"]["index"], batch.rows["pairs"]["where"]
        outputs = (read_rows(state.buffers[modality], index) for modality in modalities)
        previous = read_rows(state.codes["pairs"], index)
        B = discrete.consensus(*outputs, previous=previous)
        flipped = jnp.sum(previous != B, where=where[:, None])
        codes_of_all = write_rows(state.codes["pairs"], index, B)
        state = state.replace(codes=state.codes | {"pairs": codes_of_all})
        return state, {"flipped bits": (flipped, jnp.sum(where) * bits)}

    return Update("codes", "full", step)
