"""Which rows each step sees, and how they reach the devices.

Row numbers are drawn on the host, once an epoch, from the seed and the place in the training alone:
the same epoch draws the same rows whether or not the run was interrupted before.
"""

import functools
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import parallel, processes
from jxhash.errors import UserError
from jxhash.rows import Grouped, RowArray, Rows

Sources = Mapping[str, Mapping[str, RowArray]]
Names = frozenset[str] | None  # of the arrays that a call reads; None for all

PAIRS = "pairs"

# In a plan: numbers that draw one of the rows that an item has (see `rows.Grouped`).
DRAWS = "draws"

# One call's share of streamed rows: enough steps to hide the dispatch, little beside the data.
STREAMED_BYTES = 2**26


def num_rows(arrays: Mapping[str, RowArray]) -> int:
    """The number of rows that the arrays of a source have in common."""
    return len(jax.tree.leaves(arrays)[0])


def num_steps(rows: int, batch_size: int) -> int:
    """The steps that visit each of `rows` rows once."""
    return -(-rows // batch_size)


def epoch_plan(
    training: Sources, batch_size: int, sampling: str, seed: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Draws the rows of every step of an epoch.

    The source "pairs" decides the number of steps; its last batch is padded. Other sources are gone
    through as often as the epoch lasts.

    Args:
      training: the training arrays of each source.
      batch_size: rows a step over all devices; made a multiple of the devices by padding.
      sampling: "shuffled", "fresh" or "in_order" (see `methods.contract.Update`).
      seed: the numbers that name this epoch.

    Returns:
      For each source int32 [steps, devices, rows a device], of the devices of this process; the
      number of rows marks padding. Where pairs have several rows of an array, the same of `DRAWS`.
    """
    steps = num_steps(num_rows(training[PAIRS]), batch_size)
    wanted = steps * batch_size
    plan = {}
    for number, (source, arrays) in enumerate(sorted(training.items())):
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((*seed, number))))
        rows = num_rows(arrays)
        order = _one_pass(sampling, generator, rows, steps, batch_size)
        while source != PAIRS and len(order) < wanted:
            more = _one_pass(sampling, generator, rows, steps, batch_size)
            order = np.concatenate([order, more])
        order = np.pad(order[:wanted], (0, max(0, wanted - len(order))), constant_values=rows)
        plan[source] = _over_devices(order.reshape(steps, batch_size), rows)
    if any(isinstance(array, Grouped) for array in training[PAIRS].values()):
        generator = np.random.Generator(
            np.random.Philox(np.random.SeedSequence((*seed, len(plan))))
        )
        draws = generator.integers(0, 2**31, (steps, batch_size), np.int64)
        plan[DRAWS] = _over_devices(draws, 0)
    return plan


def _one_pass(
    sampling: str, generator: np.random.Generator, rows: int, steps: int, batch_size: int
) -> np.ndarray:
    if sampling == "in_order":
        return np.arange(rows)
    if sampling == "shuffled":
        return generator.permutation(rows)
    size = min(batch_size, rows)
    drawn = [generator.choice(rows, size, replace=False, shuffle=False) for _ in range(steps)]
    return np.concatenate(drawn)


def _over_devices(drawn: np.ndarray, rows: int) -> np.ndarray:
    steps, batch = drawn.shape
    devices = jax.device_count()
    missing = -batch % devices
    drawn = np.pad(drawn, ((0, 0), (0, missing)), constant_values=rows)
    return processes.own_share(drawn.reshape(steps, devices, -1).astype(np.int32), axis=1)


def all_rows_plan(training: Sources) -> dict[str, np.ndarray]:
    """Every row once, in order: for each source int32 [own devices, rows a device], padded."""
    return {
        source: _over_devices(np.arange(num_rows(arrays))[None], num_rows(arrays))[0]
        for source, arrays in training.items()
    }


def labels_of(training: Sources) -> dict[str, dict[str, np.ndarray]]:
    """The part of the training arrays that every step may see whole: the labels."""
    return {
        source: {name: np.asarray(array) for name, array in arrays.items() if name == "labels"}
        for source, arrays in training.items()
    }


class Resident:
    """Training arrays that lie whole on every device; a step picks its rows there."""

    arrays_axis = None
    steps_per_call = None

    def __init__(self, training: Sources) -> None:
        self._arrays = parallel.replicate(
            {source: jax.tree.map(_whole, dict(arrays)) for source, arrays in training.items()}
        )

    def arrays(self, plan: Mapping[str, np.ndarray], first: int, names: Names = None) -> Any:
        """What a call that starts at step `first` is given: the same arrays each time."""
        del plan, first
        return {
            source: {n: array for n, array in arrays.items() if names is None or n in names}
            for source, arrays in self._arrays.items()
        }

    @staticmethod
    def read(
        arrays: Mapping[str, Any], index: jax.Array, offset: Any, draws: Any = None
    ) -> dict[str, Any]:
        """The rows of one step, within the call; padding reads the last row, to be masked."""
        del offset

        def rows(array: Any) -> jax.Array:
            if not isinstance(array, _WholeGroups):
                return jnp.take(array, index, axis=0, mode="clip")
            firsts, counts = (
                jnp.take(of_item, index, mode="clip") for of_item in (array.firsts, array.counts)
            )
            return jnp.take(array.flat, firsts + draws % counts, axis=0)

        return {
            name: jax.tree.map(rows, array, is_leaf=_is_groups) for name, array in arrays.items()
        }

    def whole(self, names: frozenset[str]) -> dict[str, jax.Array]:
        """Named arrays of all pairs.

        Raises:
          ValueError: the pairs have no such array.
        """
        if missing := names - self._arrays[PAIRS].keys():
            raise ValueError(f"an update samples from {sorted(missing)}, which the pairs lack")
        found = {name: self._arrays[PAIRS][name] for name in names}
        return {n: x.flat[x.firsts] if _is_groups(x) else x for n, x in found.items()}


class _WholeGroups(NamedTuple):
    """A `Grouped` array on the devices."""

    flat: Any
    firsts: Any
    counts: Any


def _is_groups(array: Any) -> bool:
    return isinstance(array, _WholeGroups)


def _whole(array: RowArray) -> Any:
    if not isinstance(array, Grouped):
        return np.asarray(array)
    return _WholeGroups(np.asarray(array.flat), np.int32(array.firsts), np.int32(array.counts))


def _read(array: RowArray, index: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return array.drawn(index, draws) if isinstance(array, Grouped) else array[index]


class Streamed:
    """Training arrays that stay on the host; the rows of a few steps are sent with each call.

    A thread reads ahead, so that rows which take long to read (pictures that are decoded) are ready
    when the devices are.
    """

    arrays_axis = 1

    def __init__(self, training: Sources, steps_per_call: int) -> None:
        self._training = training
        self.steps_per_call = steps_per_call
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._plan: Any = None
        self._steps: dict[int, Future[Any]] = {}

    def arrays(self, plan: Mapping[str, np.ndarray], first: int, names: Names = None) -> Any:
        """The rows of the steps from `first` on; a short last block repeats its last step."""
        if plan is not self._plan:
            for waiting in self._steps.values():
                waiting.cancel()
            self._plan, self._steps = plan, {}
        steps, end = len(plan[PAIRS]), first + self.steps_per_call
        for step in range(first, min(end + self.steps_per_call, steps)):
            if step not in self._steps:
                self._steps[step] = self._reader.submit(self._read_step, plan, step, names)
        self._steps = {step: rows for step, rows in self._steps.items() if step >= first}
        block = [self._steps[min(step, steps - 1)].result() for step in range(first, end)]
        return jax.tree.map(lambda *rows: np.stack(rows), *block)

    def _read_step(self, plan: Mapping[str, np.ndarray], step: int, names: Names) -> Any:
        found, draws = {}, plan[DRAWS][step] if DRAWS in plan else np.zeros(1, int)
        for source, arrays in self._training.items():
            read = {n: array for n, array in arrays.items() if names is None or n in names}
            index = np.minimum(plan[source][step], num_rows(arrays) - 1)
            drawn = functools.partial(_read, index=index, draws=draws)
            found[source] = jax.tree.map(drawn, read)
        return found

    def whole(self, names: frozenset[str]) -> dict[str, jax.Array]:
        """Refuses: what is streamed is never whole on a device.

        Raises:
          UserError: any array is named.
        """
        if names:
            raise UserError(
                f"the method samples from {', '.join(sorted(names))} of all training rows, which "
                "must fit on every device; raise the config key 'resident_gigabytes', and use one "
                "process"
            )
        return {}

    @staticmethod
    def read(
        arrays: Mapping[str, Any], index: jax.Array, offset: Any, draws: Any = None
    ) -> dict[str, Any]:
        """The rows of one step, within the call."""
        del index, draws
        return {name: jax.tree.map(lambda x: x[offset], a) for name, a in arrays.items()}


def with_index(arrays: Mapping[str, Any], index: Any, rows: int) -> dict[str, Any]:
    """The rows of a source as a step sees them: the arrays, `index` and `where`."""
    return {**arrays, "index": index, "where": index < rows}


def in_memory(training: Sources) -> dict[str, dict[str, np.ndarray]]:
    """The same arrays, those that are read by rows read whole."""
    return {source: jax.tree.map(np.asarray, dict(arrays)) for source, arrays in training.items()}


def place(training: Sources, resident_bytes: float, batch_size: int) -> Resident | Streamed:
    """Puts the training arrays on the devices where they fit, else prepares to stream them.

    With several processes they are streamed: each reads the rows of its own devices alone.
    What only stands for an array, such as encoded pictures, is streamed a step a call: such a step
    takes long, and XLA's convolutions on CPU are ten times slower inside the loop of a longer call.
    """
    every = jax.tree.leaves(dict(training))
    if not all(isinstance(array, np.ndarray | Rows | Grouped) for array in every):
        return Streamed(training, steps_per_call=1)
    if jax.process_count() == 1 and sum(array.nbytes for array in every) <= resident_bytes:
        return Resident(training)
    row = sum(array.nbytes // len(array) for array in every)
    fitting = max(1, STREAMED_BYTES // (row * batch_size))
    return Streamed(training, min(fitting, num_steps(num_rows(training[PAIRS]), batch_size)))
