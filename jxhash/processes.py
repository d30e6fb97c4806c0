"""Several processes of one training: joining them, agreeing with them, leaving.

Each process has devices of its own, and all run the same program in lockstep: what happens next is
decided by the first of them (`value_from_first`) or by all together (`from_every`, `any_process`).
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from jxhash import parallel
from jxhash.errors import ProcessLostError, UserError

Value = TypeVar("Value")

# Without a heartbeat for this long, a process counts as lost.
_HEARTBEAT_SECONDS = 30
_JOIN_TIMEOUT_SECONDS = 300
# A process that waits for the others for longer says so.
_SILENCE_SECONDS = 5

# The lengths of messages are multiples of this many bytes.
_STEP = 1024

# The coordinator's name where JAX asks the cluster for its address.
AUTO = "auto"


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Joins the processes of one training; call it before anything else that uses JAX.

    Args:
      coordinator: host:port of the first process, or "auto" where JAX detects the cluster (Cloud
        TPU, Slurm, Open MPI).
      processes: how many there are; None with "auto".
      process: the number of this one, from 0; None with "auto".

    Raises:
      UserError: the address is unusable, the others did not come in time, or the processes have
        different numbers of devices.
    """
    address = None if coordinator == AUTO else coordinator
    if address:
        _require_address(address, is_own=process == 0)
    waiting = threading.Timer(_SILENCE_SECONDS, _say_that_it_waits, (process, coordinator))
    waiting.start()
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            initialization_timeout=_JOIN_TIMEOUT_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        fix = "" if address else "; no cluster was detected: give host:port instead of 'auto'"
        raise UserError(f"the processes did not come together: {error}{fix}") from error
    finally:
        waiting.cancel()
    _require_even_devices()
    _connect()


def leave() -> None:
    """Waits until all processes have called it; after that each may exit on its own."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def _require_address(address: str, *, is_own: bool) -> None:
    """Raises a UserError where JAX would abort with many lines, or wait in vain."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(f"the coordinator {address} is not host:port")
    try:
        if not 0 < int(port) < 2**16:
            raise OSError("ports are 1 to 65535")
        socket.getaddrinfo(host.strip("[]"), port)
        if is_own:
            socket.create_server(("", int(port))).close()
    except OSError as error:
        raise UserError(f"the coordinator {address} cannot be used: {error}") from error


def _say_that_it_waits(process: int | None, coordinator: str) -> None:
    who = "this process" if process is None else f"process {process}"
    logging.warning(
        f"{who} waits at {coordinator} for the others; timeout after {_JOIN_TIMEOUT_SECONDS} s"
    )


def _require_even_devices() -> None:
    owners = [device.process_index for device in jax.devices()]
    counts = [owners.count(process) for process in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise UserError(
            f"the processes have {', '.join(map(str, counts))} devices; give each the same number"
        )


def _connect() -> None:
    """Opens every connection now, while all processes are idle.

    Gloo gives up on opening one if another process comes half a minute late; an open connection
    waits for as long as a process takes.
    """
    any_process(False)
    parallel.pmapped(parallel.total, in_axes=(0,))(np.zeros(jax.local_device_count(), np.float32))


@contextlib.contextmanager
def noticing_losses() -> Iterator[None]:
    """Turns a collective that failed because another process ended into a ProcessLostError.

    Raises:
      ProcessLostError: a computation of several processes failed, other than for lack of memory.
    """
    try:
        yield
    # JAX makes a ValueError of an error in a compiled call that runs synchronously.
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not _means_a_loss(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ProcessLostError(
            f"process {jax.process_index()} stops, for another has ended or cannot be reached "
            f"({reason}); start all of them again with the same commands to resume"
        ) from error


def _means_a_loss(error: Exception) -> bool:
    if isinstance(error, UserError) or jax.process_count() == 1:
        return False
    if isinstance(error, jax.errors.JaxRuntimeError):
        return not str(error).startswith("RESOURCE_EXHAUSTED")
    return "Gloo" in str(error)


def is_first() -> bool:
    """Whether this is the first process, which alone writes files; true for a single process."""
    return jax.process_index() == 0


def from_every(make: Callable[[], Value]) -> list[Value]:
    """Makes a value on every process and gives all of them to all, in the order of processes.

    Args:
      make: returns what JSON can hold.

    Raises:
      UserError: `make` raised one on some process; it is raised on all, so that none waits for a
        process that has left.
    """
    if jax.process_count() == 1:
        return [make()]
    own = json.dumps(_tried(make)).encode()
    longest = int(np.max(multihost_utils.process_allgather(np.int32(len(own)))))
    # Each length is compiled; JSON may end in spaces.
    padded = own.ljust(-(-longest // _STEP) * _STEP)
    rows = multihost_utils.process_allgather(np.frombuffer(padded, np.uint8))
    every = [json.loads(row.tobytes()) for row in np.asarray(rows)]
    for _, problem in every:
        if problem:
            raise UserError(problem)
    return [value for value, _ in every]


def _tried(make: Callable[[], Value]) -> tuple[Value | None, str | None]:
    """The value, or the message of the UserError."""
    try:
        return make(), None
    except UserError as error:
        return None, str(error)


def value_from_first(make: Callable[[], Value]) -> Value:
    """Makes a value on the first process and gives it to all; raises as `from_every`."""
    every: list[Any] = from_every(lambda: make() if is_first() else None)
    value: Value = every[0]
    return value


def any_process(flag: bool) -> bool:
    """Whether the flag is set on any process."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def from_first(make: Callable[[], Any], like: Any) -> Any:
    """Makes a tree of arrays on the first process and gives it to all, bit for bit.

    Args:
      make: called on the first process alone.
      like: a tree of arrays, or of their shapes and dtypes, as `make` returns it.

    Returns:
      What `make` returned; on the other processes the same, on the host.

    Raises:
      ValueError: on the first of several processes, where `make` returns other shapes.
    """
    if jax.process_count() == 1:
        return make()
    plain = jax.eval_shape(_without_keys, like)
    own = _checked(_without_keys(make()), plain) if is_first() else jax.tree.map(_zeros, plain)
    # As bytes: a broadcast adds zeros up, which changes -0.
    sent = multihost_utils.broadcast_one_to_all(
        jax.tree.map(lambda array: np.ravel(array).view(np.uint8), own)
    )
    arrays = jax.tree.map(lambda x, leaf: x.view(leaf.dtype).reshape(leaf.shape), sent, plain)
    return jax.tree.map(
        lambda x, leaf: jax.random.wrap_key_data(x) if _is_key(leaf) else x, arrays, like
    )


def _checked(made: Any, plain: Any) -> Any:
    # The other processes expect these shapes, and would wait forever.
    shapes = jax.tree.map(np.shape, made)
    if shapes != (expected := jax.tree.map(np.shape, plain)):
        raise ValueError(f"the shapes of a state changed: {shapes} are not {expected}")
    return jax.tree.map(lambda array, leaf: np.asarray(array, leaf.dtype), made, plain)


def _zeros(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.zeros(leaf.shape, leaf.dtype)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def own_share(array: np.ndarray, axis: int) -> np.ndarray:
    """The part of an array for this process's devices; `axis` counts the devices of all."""
    own = jax.local_device_count()
    first = jax.process_index() * own
    return np.take(array, np.arange(first, first + own), axis)
