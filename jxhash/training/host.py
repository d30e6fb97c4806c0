"""Host updates: plain Python and numpy over all training rows, given up at a stop."""

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from jxhash import processes
from jxhash.methods.contract import Batch, Done, HashState
from jxhash.training import batches

_SECONDS_BETWEEN_LOOKS = 0.5


def every_row(training: batches.Sources) -> Batch:
    """All training rows as one batch, in numpy arrays."""
    rows = {}
    for source, arrays in batches.in_memory(training).items():
        number = batches.num_rows(arrays)
        rows[source] = batches.with_index(arrays, np.arange(number), number)
    return Batch(rows, batches.labels_of(training))


def unless_stopped(work: Callable[[], Any], stop: threading.Event) -> Any:
    """Returns what the work returns; None if a stop is requested first.

    Its thread is abandoned then: the work may take minutes in one compiled call, during which
    Python handles no signal.
    """
    found: futures.Future[Any] = futures.Future()

    def make() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    # No daemon: Python would abort it in compiled code when the process ends.
    threading.Thread(target=make, name="host update").start()
    while not stop.is_set():
        if futures.wait([found], timeout=_SECONDS_BETWEEN_LOOKS).done:
            return found.result()
    return None


def shared_by_all(done: Done | None, state: HashState) -> HashState:
    """The state after a host update, from the first process, which alone ran it.

    Args:
      done: what the update left; None on other processes.
      state: before the update.
    """
    made = done.state if done else state
    like = state.replace(constants={})
    bare: HashState = processes.from_first(lambda: made.replace(constants={}), like)
    return bare.replace(constants=constants_from_first(made.constants))


def constants_from_first(constants: dict[str, Any]) -> dict[str, Any]:
    """The constants of the first process, whose shapes the others do not know."""
    if jax.process_count() == 1:
        return constants
    flat = flax.traverse_util.flatten_dict(constants, sep="/")
    described = processes.value_from_first(
        lambda: {name: [np.shape(x), str(np.asarray(x).dtype)] for name, x in flat.items()}
    )
    like = {
        name: jax.ShapeDtypeStruct(tuple(shape), dtype)
        for name, (shape, dtype) in described.items()
    }
    found = processes.from_first(lambda: flat, like)
    arrays: dict[str, Any] = flax.traverse_util.unflatten_dict(found, sep="/")
    return arrays
