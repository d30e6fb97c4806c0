"""Checkpoints of everything that a training needs to go on as if it had never stopped."""

import contextlib
import errno
import functools
import json
import logging
import os
import pathlib
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from jxhash.atomic_files import MENDS, unwritable
from jxhash.errors import UserError
from jxhash.methods.base import HashState

_KEPT = 2

_ASIDE = "damaged-"
_NUMBERED = re.compile(rf"(?:{_ASIDE})?(\d+)")

# Of a read that fails for what the process may or has, and not for what lies on the disk.
_NOT_DAMAGE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _DamagedError(Exception):
    """A checkpoint is not what was once saved."""


class Checkpoints:
    """The checkpoints of one run, in one folder, the newest two of them; for the first process.

    A checkpoint is the state and a small JSON record: the place in the training, the shapes of the
    state, and checksums of all. Saving copies the state to the host and writes it in the
    background; a save that was cut off leaves no trace that a later run would take for a
    checkpoint. A number is never used twice, so nothing is ever written over.
    """

    def __init__(self, folder: pathlib.Path, seconds_between: float) -> None:
        """Opens or makes the folder; `seconds_between` is what `due` goes by.

        Raises:
          UserError: the folder cannot be written.
        """
        self._folder = folder.absolute()
        self._seconds_between = seconds_between
        # The clock on the wall may be set back or forth; this one only goes on.
        self._saved_at = time.monotonic()
        _hush_echoes()
        with self._writing():
            self._manager = self._open()
            self._newest = max(_numbers_in(self._folder), default=0)

    def _open(self) -> ocp.CheckpointManager:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The others do not take part, nor wait.
        of_first = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
        # What stands in a checkpoint is read, and judged, by `restore` alone.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEPT,
            create=False,
            cleanup_tmp_directories=True,
            lightweight_initialize=True,
            multiprocessing_options=of_first,
        )
        # Compressing weights takes cores from the training and saves a tenth of the disk.
        state_handler = ocp.PyTreeCheckpointHandler(
            use_compression=False, multiprocessing_options=of_first
        )
        place_handler = ocp.JsonCheckpointHandler(multiprocessing_options=of_first)
        return ocp.CheckpointManager(
            self._folder,
            options=options,
            item_handlers={"state": state_handler, "place": place_handler},
        )

    def due(self) -> bool:
        """Whether the time between two checkpoints has passed."""
        return time.monotonic() - self._saved_at >= self._seconds_between

    def save(self, state: HashState, place: dict[str, Any]) -> None:
        """Begins to save; waits for a save still under way.

        Once this returns, the memory of the state's arrays may be reused: Orbax holds a copy.

        Raises:
          UserError: this save, or the one before, cannot be written; older ones are kept.
        """
        state = _to_host(state)
        record = _record(state, place)
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), place=ocp.args.JsonSave(record)
        )
        self._newest += 1
        with self._writing():
            self._manager.save(self._newest, args=arguments)
        self._saved_at = time.monotonic()

    def restore(self, like: HashState) -> tuple[HashState, dict[str, Any]] | None:
        """Reads the newest whole checkpoint; moves newer ones, which are damaged, aside.

        Args:
          like: the shapes and types to expect, as `jax.eval_shape` gives them.

        Returns:
          The state, on the host, and the record of the place; None where nothing whole was saved.

        Raises:
          UserError: the newest whole checkpoint is of another training, or it cannot be read for
            a reason that lies outside of it; nothing was moved then.
        """
        damaged: dict[int, str] = {}
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._read(number, like)
            except _DamagedError as error:
                damaged[number] = str(error)
                continue
            self._move_aside(damaged, f"checkpoint {number}")
            return found
        self._move_aside(damaged, "the start, since no other checkpoint is left")
        return None

    def _read(self, number: int, like: HashState) -> tuple[HashState, dict[str, Any]]:
        template = _host_template(like)
        with self._reading(number):
            record = self._restored(number, place=ocp.args.JsonRestore())
            place, contents = record["place"], record["contents"]
            if record["checksums"]["record"] != _checksum_of_json(place, contents):
                raise ValueError("its record does not fit its checksum")
        self._require_same_contents(number, contents, _contents(template))
        restore_args = ocp.checkpoint_utils.construct_restore_args(template)
        arguments = ocp.args.PyTreeRestore(item=template, restore_args=restore_args)
        with self._reading(number):
            state = self._restored(number, state=arguments)
            if record["checksums"]["state"] != _checksum_of_arrays(state):
                raise ValueError("its arrays do not fit their checksum")
        return _with_key(state), place

    def _restored(self, number: int, **item: Any) -> Any:
        (name,) = item
        return self._manager.restore(number, args=ocp.args.Composite(**item))[name]

    @contextlib.contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        """Tells damage from what else may go wrong."""
        try:
            yield
        except MemoryError:
            raise
        # A damaged file shows as whatever the reader of that file happens to raise.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0][:120]
            if _number_of(error, _NOT_DAMAGE) is not None:
                raise UserError(
                    f"the checkpoint {self._folder / str(number)} cannot be read ({reason}); make "
                    "it readable, then give the same command again"
                ) from error
            raise _DamagedError(f"{type(error).__name__}: {reason}") from error

    def _require_same_contents(
        self, number: int, found: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> None:
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                raise UserError(
                    f"the checkpoint {self._folder / str(number)} is whole, but of another "
                    f"training (state{name}: {found.get(name)} there, {wanted.get(name)} here); "
                    "choose another --workdir"
                )

    def _move_aside(self, damaged: Mapping[int, str], goes_on_from: str) -> None:
        if not damaged:
            return
        # The manager counts what it found: a damaged one would push a whole one out.
        self._manager.close()
        with self._writing():
            for number in damaged:
                (self._folder / str(number)).rename(self._folder / f"{_ASIDE}{number}")
            self._manager = self._open()
        each = ", ".join(f"{number} ({reason})" for number, reason in damaged.items())
        absl_logging.warning(
            "damaged checkpoints in %s: %s; moved aside as %s; the training goes on from %s",
            self._folder,
            each,
            ", ".join(f"{_ASIDE}{number}" for number in damaged),
            goes_on_from,
        )

    def wait(self) -> None:
        """Waits until what was saved is on the disk; raises as `save`."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for a save under way and releases the folder; raises as `save`."""
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Makes one line of a write that fails, now or in the background before."""
        try:
            yield
        except (OSError, ValueError) as error:
            number = _number_of(error, MENDS)
            if number is None:
                raise
            raise unwritable(self._folder, number) from error


@functools.cache
def _hush_echoes() -> None:
    """Drops what Orbax's other threads print of an error that is raised besides, once it is."""
    absl_logging.get_absl_logger().addFilter(
        lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
    )
    logging.getLogger("asyncio").addFilter(
        lambda record: "exception was never retrieved" not in record.getMessage()
    )
    show = sys.unraisablehook

    def show_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            show(unraisable)

    sys.unraisablehook = show_others


def _number_of(error: Exception, known: Iterable[int]) -> int | None:
    """Which of the system's errors an exception tells of: TensorStore gives them as text."""
    text = str(error)
    if text.startswith("NOT_FOUND") and errno.ENOENT in known:
        return errno.ENOENT
    return next((number for number in known if os.strerror(number) in text), None)


def _numbers_in(folder: pathlib.Path) -> Iterator[int]:
    found = (_NUMBERED.match(path.name) for path in folder.iterdir())
    return (int(match[1]) for match in found if match)


def _to_host(state: HashState) -> HashState:
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def _record(state: HashState, place: dict[str, Any]) -> dict[str, Any]:
    contents = _contents(state)
    checksums = {
        "record": _checksum_of_json(place, contents),
        "state": _checksum_of_arrays(state),
    }
    return {"place": place, "contents": contents, "checksums": checksums}


def _contents(state: HashState) -> dict[str, Any]:
    """The shape and the type of every array, by its place in the state."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path): [list(np.shape(leaf)), str(np.asarray(leaf).dtype)]
        for path, leaf in leaves
    }


def _checksum_of_json(*values: Any) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _checksum_of_arrays(state: HashState) -> int:
    checksum = 0
    for array in jax.tree.leaves(state):
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    return checksum


def _host_template(like: HashState) -> HashState:
    key_data = jax.eval_shape(jax.random.key_data, like.key)
    return jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like.replace(key=key_data))


def _with_key(state: HashState) -> HashState:
    return state.replace(key=jax.random.wrap_key_data(state.key))
