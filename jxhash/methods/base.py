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

from jxhash import codes, parallel
from jxhash.configuration import require_not_negative, require_positive
from jxhash.errors import UserError

Arrays = Mapping[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]


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
    """

    name: str
    kind: Literal["minibatch", "full", "host"]
    step: Callable[[HashState, Batch], tuple[HashState, Metrics]]
    sampling: Literal["shuffled", "fresh", "in_order"] = "shuffled"
    repeats: int = 1


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
      distances: (state, query outputs, entries) -> [q, n].
      learned: (state, modality) -> entries of the training rows as training left them, or None.
    """

    init: Callable[[jax.Array], HashState]
    stages: tuple[Stage, ...]
    encode: Callable[[HashState, str, jax.Array], jax.Array]
    index: Callable[[HashState, str, jax.Array], jax.Array] = signs
    distances: Callable[[HashState, jax.Array, jax.Array], jax.Array] = hamming_distances
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
        _require_one_of("name", self.name, ("sgd", "adam"))
        _require_one_of("decay", self.decay, ("linear", "geometric"))

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


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"config key {name!r} is one of {', '.join(known)}, not {value!r}")


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
        raise UserError(f"the source {source!r} lacks {', '.join(missing)}; it has {list(have)}")


def require_tokens(spec: Spec, method: str) -> int:
    """The size of the vocabulary; raises a UserError where texts are no token numbers."""
    if spec.vocabulary_size is None or spec.inputs["pairs"]["text"][1].kind not in "iu":
        raise UserError(
            f"{method} reads sentences, and this data set's texts are no token numbers; choose "
            "clipart-sentences or clipart-regions, or make them with jxhash.data.text"
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
    index, rows = parallel.all_rows((index, rows))
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
