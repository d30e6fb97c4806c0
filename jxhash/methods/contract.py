"""The contract between a method and the engine; read this first.

A method is a handful of pure functions over one state. The engine owns devices, padding, keys,
logging, checkpoints and the epoch loop; a method owns the mathematics. Most methods are written
with `updates.descent` and `updates.method`, which build what stands here.

A method's file holds a docstring (the paper; what is taken from it; what is ours), and three names:

- `NEEDS`: what it needs of a data set, a `needs.Needs`.
- `Settings`: the method's part of a config, a class under `settings.settings`.
- `build(settings, bits, spec) -> Method`: the method for these settings, the code length `bits` and
  the data that `spec` describes, which meets `NEEDS`. It raises a UserError where a setting does
  not fit the data. `methods.get(name).build(config, spec)` reads the settings, checks the needs and
  calls it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
from flax import struct

from jxhash.methods.code import Code

Arrays = Mapping[str, Any]
Sampling = Literal["shuffled", "fresh", "in_order"]
# One number of all rows that it counts, and how many these are: their ratio is a mean.
Metrics = dict[str, tuple[Any, Any]]


class Spec(NamedTuple):
    """What building a method needs to know of the data.

    Attributes:
      num_train: rows of the source "pairs".
      num_labels: number of label names; 0 for data without labels.
      inputs: source -> name of an array -> (shape of one row, dtype); where a modality has several
        views, a mapping from their names to such.
      steps_per_epoch: minibatch steps that make one epoch.
      vocabulary_size: number of words where texts are token numbers; 0 for other texts.
      single_label: whether every pair has one label.
    """

    num_train: int
    num_labels: int
    inputs: Mapping[str, Mapping[str, Any]]
    steps_per_epoch: int
    vocabulary_size: int = 0
    single_label: bool = False


class Batch(NamedTuple):
    """What one step sees.

    Attributes:
      rows: for each source the rows of this device: its named arrays, and `index` (int32, the row
        in the training set; the number of rows marks padding) and `where` (False for padding).
      corpus: for each source the arrays of all its training rows that the update names, and
        `labels` where there are any.
      passed: what the update before passed on, on the same batch of an interleaved stage.
      repeat: how often the update has run on this batch before.
    """

    rows: Mapping[str, Arrays]
    corpus: Mapping[str, Arrays]
    passed: Arrays = {}
    repeat: int = 0


class HashState(struct.PyTreeNode):
    """Everything that training changes, hence everything that a checkpoint holds.

    Attributes:
      step: int32, minibatches taken so far; the engine counts.
      params: network -> parameters.
      opt_state: optimiser -> network -> its state.
      key: the key from which every random draw of the training descends.
      model_state: network -> what it keeps besides parameters (batch statistics); no optimiser
        moves it.
      buffers: name -> outputs of all training rows, or what a host update computed.
      codes: name -> codes of all training rows.
      constants: name -> arrays that a host update writes once (neighbour graphs). They are saved
        once, not with every checkpoint.
    """

    step: jax.Array
    params: dict[str, Any]
    opt_state: dict[str, Any]
    key: jax.Array
    model_state: dict[str, Any] = struct.field(default_factory=dict)
    buffers: dict[str, Any] = struct.field(default_factory=dict)
    codes: dict[str, Any] = struct.field(default_factory=dict)
    constants: dict[str, Any] = struct.field(default_factory=dict)


class Done(NamedTuple):
    """What a step leaves.

    Attributes:
      state: after the step.
      metrics: (sum, count) over this device's rows.
      passed: values for the next update on the same batch.
    """

    state: HashState
    metrics: Metrics = {}
    passed: Arrays = {}


class Descends(NamedTuple):
    """What an update that steps optimisers says of them to `updates.method`, which makes them.

    Attributes:
      networks: those that move.
      optimizer: of each of them, a `settings.Optimizer`.
      opt_state: the name under which a state keeps the states of their optimisers.
    """

    networks: tuple[str, ...]
    optimizer: Any
    opt_state: str


class Update(NamedTuple):
    """One update of the state; the engine runs it on all devices.

    Attributes:
      name: shown to the user and kept with the metrics.
      kind: "minibatch": one batch of rows, split over devices; "full": once over all training rows
        (their labels, indices and the state, without inputs), split over devices; "host": plain
        Python and numpy on all training arrays, run once.
      step: (state, batch) -> Done.
      sampling: how a minibatch update draws an epoch: each row once in random order ("shuffled"),
        a new random subset at each step ("fresh"), or each row once as stored ("in_order").
      repeats: how often the update runs each time that the stage comes to it: on each batch of an
        interleaved stage, else over the whole epoch.
      reads: names of the arrays that a minibatch update reads, where others need not be brought to
        it; None for all.
      corpus: names of arrays of the pairs that the update sees whole; they must fit on the device.
      descends: the optimisers that it steps; None for none.
    """

    name: str
    kind: Literal["minibatch", "full", "host"]
    step: Callable[[HashState, Batch], Done]
    sampling: Sampling = "shuffled"
    repeats: int = 1
    reads: frozenset[str] | None = None
    corpus: frozenset[str] = frozenset()
    descends: Descends | None = None


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


class Method(NamedTuple):
    """A published method, built for one config and one data set.

    Attributes:
      init: key -> the state before the first step.
      stages: what training consists of.
      encode: (state, modality, inputs) -> real outputs [n, K], dropout off.
      code: the alphabet: database entries from outputs, and distances between the two.
      learned: (state, modality) -> entries of the training rows as training left them; None for
        methods that learn no codes for their training rows.
    """

    init: Callable[[jax.Array], HashState]
    stages: tuple[Stage, ...]
    encode: Callable[[HashState, str, Any], jax.Array]
    code: Code
    learned: Callable[[HashState, str], jax.Array] | None = None
