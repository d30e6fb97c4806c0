"""Checkpoints of everything that a training needs to go on as if it had never stopped."""

import contextlib
import errno
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

from jxhash.atomic_files import FIXES, unwritable
from jxhash.errors import UserError
from jxhash.methods.contract import HashState
from jxhash.training.sidecars import Sidecars

_KEPT = 2
_SIDECARS = "checkpoint_arrays"
_RECORDED = ("place", "contents", "sidecars")

_ASIDE = "damaged-"
_NUMBERED = re.compile(rf"(?:{_ASIDE})?(\d+)")

# Errors of a read that are no damage: permissions, open files, memory.
_NOT_DAMAGE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


# What encoding and evaluating a state needs of it.
_EVALUATED = ("params", "model_state", "buffers", "codes")


class _DamagedError(Exception):
    """A checkpoint is not what was once saved."""


class Checkpoints:
    """The checkpoints of one run, in one folder, the newest two of them; for the first process.

    A checkpoint is the state and a small JSON record: the place in the training, the shapes of the
    state, and checksums of all. Constants, and the best state so far, are in files of their own,
    to which the record refers. Saving copies the state to the host and writes it in the
    background; a save that was cut off leaves no trace that a later run would take for a
    checkpoint. A number is never used twice, so nothing is ever written over.
    """

    def __init__(self, folder: pathlib.Path, seconds_between: float) -> None:
        """Opens or creates the folder; `due` compares with `seconds_between`.

        Raises:
          UserError: the folder cannot be written.
        """
        self._folder = folder.absolute()
        self._seconds_between = seconds_between
        # Monotonic: the wall clock may be set.
        self._saved_at = time.monotonic()
        self._sidecars = Sidecars(self._folder.with_name(_SIDECARS), _KEPT)
        self._constants: tuple[dict[str, Any], str] | None = None
        with self._writing():
            self._manager = self._open()
            self._newest = max(_numbers_in(self._folder), default=0)

    def _open(self) -> ocp.CheckpointManager:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Other processes neither take part nor wait.
        of_first = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
        # `restore` alone reads and verifies checkpoints.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEPT,
            create=False,
            cleanup_tmp_directories=True,
            lightweight_initialize=True,
            multiprocessing_options=of_first,
        )
        # Compression takes cores from the training and saves a tenth of the disk.
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
        with self._writing():
            sidecars = self._sidecars_of(state, place)
        state = _to_host(state)
        record = _record(state, place, sidecars)
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), place=ocp.args.JsonSave(record)
        )
        self._newest += 1
        with self._writing():
            self._manager.save(self._newest, args=arguments)
            self._sidecars.refer(sidecars.values())
        self._saved_at = time.monotonic()

    def save_best(self, state: HashState) -> str:
        """Writes what evaluation needs of a state; returns its name, for "best" in a place.

        Raises:
          UserError: it cannot be written.
        """
        parts = {name: getattr(state, name) for name in _EVALUATED}
        with self._writing():
            return self._sidecars.save(parts)

    def read_best(self, name: str, state: HashState) -> HashState:
        """A state whose evaluated parts are those that were saved under a name."""
        found = self._sidecars.read(name)
        return state.replace(**{part: found.get(part, {}) for part in _EVALUATED})

    def _sidecars_of(self, state: HashState, place: Mapping[str, Any]) -> dict[str, str]:
        """What a checkpoint refers to: constants, which are written once, and the best state."""
        found = {"best": place["best"]} if place.get("best") else {}
        if not state.constants:
            return found
        if self._constants is None or self._constants[0] is not state.constants:
            self._constants = state.constants, self._sidecars.save(state.constants)
        return found | {"constants": self._constants[1]}

    def restore(self, like: HashState) -> tuple[HashState, dict[str, Any]] | None:
        """Reads the newest intact checkpoint; moves damaged newer ones aside.

        Args:
          like: the shapes and types to expect, as `jax.eval_shape` gives them.

        Returns:
          The state, on the host, and its place; None if there is no intact checkpoint.

        Raises:
          UserError: the newest intact checkpoint is of another training, or cannot be read for a
            reason other than damage; nothing is moved then.
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
            place, contents, sidecars = (record[name] for name in _RECORDED)
            if record["checksums"]["record"] != _checksum_of_json(place, contents, sidecars):
                raise ValueError("its record does not fit its checksum")
        self._require_same_contents(number, contents, _contents(template))
        restore_args = ocp.checkpoint_utils.construct_restore_args(template)
        arguments = ocp.args.PyTreeRestore(item=template, restore_args=restore_args)
        with self._reading(number):
            state = self._restored(number, state=arguments)
            if record["checksums"]["state"] != _checksum_of_arrays(state):
                raise ValueError("its arrays do not fit their checksum")
            found = {name: self._sidecars.read(file) for name, file in sidecars.items()}
        return _with_key(state).replace(constants=found.get("constants", {})), place

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
        # A damaged file raises many kinds of errors.
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
            number = _number_of(error, FIXES)
            if number is None:
                raise
            raise unwritable(self._folder, number) from error


@contextlib.contextmanager
def without_echoes() -> Iterator[None]:
    """Hides what Orbax's threads print of an error that is raised as well; no option does.

    After an error more of it may be printed at any time, so it stays hidden then.
    """
    every = (absl_logging.get_absl_logger(), logging.getLogger("asyncio"))
    loggers = [logger for logger in every if _is_no_echo not in logger.filters]
    hook = sys.unraisablehook
    for logger in loggers:
        logger.addFilter(_is_no_echo)
    sys.unraisablehook = lambda one: str(one.exc_value) == "Event loop is closed" or hook(one)
    yield
    sys.unraisablehook = hook
    for logger in loggers:
        logger.removeFilter(_is_no_echo)


def _is_no_echo(record: logging.LogRecord) -> bool:
    if record.levelno < logging.ERROR:
        return True
    return "orbax" not in record.pathname and "was never retrieved" not in record.getMessage()


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
    bare = state.replace(key=jax.random.key_data(state.key), constants={})
    on_host: HashState = jax.device_get(bare)
    return on_host


def _record(state: HashState, place: dict[str, Any], sidecars: Mapping[str, str]) -> dict[str, Any]:
    recorded = place, _contents(state), sidecars
    checksums = {"record": _checksum_of_json(*recorded), "state": _checksum_of_arrays(state)}
    return {**dict(zip(_RECORDED, recorded, strict=True)), "checksums": checksums}


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
        # numpy's stubs declare the buffer of an array from Python 3.12 on.
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)  # type: ignore[arg-type]
    return checksum


def _host_template(like: HashState) -> HashState:
    key_data = jax.eval_shape(jax.random.key_data, like.key)
    bare = like.replace(key=key_data)
    template: HashState = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), bare)
    return template


def _with_key(state: HashState) -> HashState:
    return state.replace(key=jax.random.wrap_key_data(state.key))
