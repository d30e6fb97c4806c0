"""Checkpoints of everything that a training needs to go on as if it had never stopped."""

import contextlib
import io
import json
import pathlib
import time
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jxhash.errors import UserError
from jxhash.methods.base import HashState

_KEPT = 2
_SECONDS_OF_OTHER_READS = 1.0


class Checkpoints:
    """The checkpoints of one run, in one folder, the newest two of them.

    A checkpoint is the state and a small JSON record of the place in the training, with a checksum
    of both. Saving copies the state to the host and writes it in the background; a save that was
    cut off leaves no trace that a later run would take for a checkpoint.
    """

    def __init__(self, folder: pathlib.Path, seconds_between: float) -> None:
        """Opens or makes the folder; `seconds_between` is what `due` goes by."""
        self._folder = folder.absolute()
        self._seconds_between = seconds_between
        self._saved_at = time.monotonic()
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, cleanup_tmp_directories=True)
        # Compressing weights takes cores from the training and saves a tenth of the disk.
        state_handler = ocp.PyTreeCheckpointHandler(use_compression=False)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=options,
            item_handlers={"state": state_handler, "place": ocp.JsonCheckpointHandler()},
        )

    def due(self) -> bool:
        """Whether the time between two checkpoints has passed."""
        return time.monotonic() - self._saved_at >= self._seconds_between

    def save(self, state: HashState, place: dict[str, Any]) -> None:
        """Begins to save; waits for a save still under way.

        Once this returns, the memory of the state's arrays may be reused: Orbax holds a copy.
        """
        number = (self._manager.latest_step() or 0) + 1
        state = _to_host(state)
        record = {"place": place, "checksum": _checksum(state, place)}
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), place=ocp.args.JsonSave(record)
        )
        self._manager.save(number, args=arguments)
        self._saved_at = time.monotonic()

    def restore(self, like: HashState) -> tuple[HashState, dict[str, Any]] | None:
        """Reads the newest checkpoint.

        Args:
          like: the shapes and types to expect, as `jax.eval_shape` gives them.

        Returns:
          The state, on the host, and the record of the place; None where nothing was saved yet.

        Raises:
          UserError: the checkpoint cannot be read.
        """
        number = self._manager.latest_step()
        if number is None:
            return None
        template = _host_template(like)
        restore_args = ocp.checkpoint_utils.construct_restore_args(template)
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeRestore(item=template, restore_args=restore_args),
            place=ocp.args.JsonRestore(),
        )
        with _quiet_when_it_fails():
            try:
                restored = self._manager.restore(number, args=arguments)
                state, place = restored["state"], restored["place"]["place"]
                if restored["place"]["checksum"] != _checksum(state, place):
                    raise ValueError("its checksum does not fit its contents")
            # A damaged file shows as whatever the reader of that file happens to raise.
            except Exception as error:
                raise UserError(self._damaged(number, error)) from error
        return _with_key(state), place

    def _damaged(self, number: int, error: Exception) -> str:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else ""
        return (
            f"the checkpoint {self._folder / str(number)} is damaged "
            f"({type(error).__name__}: {reason}); remove this folder to go on from the checkpoint "
            "before it, or from the start where there is none"
        )

    def wait(self) -> None:
        """Waits until what was saved is on the disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for a save under way and releases the folder."""
        self._manager.close()


@contextlib.contextmanager
def _quiet_when_it_fails() -> Iterator[None]:
    """Keeps to itself what the other reads under way print when one of them has failed."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        except UserError:
            time.sleep(_SECONDS_OF_OTHER_READS)
            raise


def _to_host(state: HashState) -> HashState:
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def _checksum(state: HashState, place: dict[str, Any]) -> int:
    checksum = zlib.crc32(json.dumps(place, sort_keys=True).encode())
    for array in jax.tree.leaves(state):
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    return checksum


def _host_template(like: HashState) -> HashState:
    key_data = jax.eval_shape(jax.random.key_data, like.key)
    return jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like.replace(key=key_data))


def _with_key(state: HashState) -> HashState:
    return state.replace(key=jax.random.wrap_key_data(state.key))
