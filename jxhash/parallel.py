"""The only file that knows how work is spread over devices and processes.

A step is written for the rows of one device. Inside `pmapped` the helpers below speak to the other
devices; outside of it, or with one device, each helper is the identity. The rule for gradients:
add up or average the *gradients* over devices, never the loss that is differentiated.

Several processes, each with devices of its own, run the same program in step: whatever decides what
is done next is decided by the first of them (`from_first`) or by all together (`any_process`).
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from jxhash import messages
from jxhash.errors import ProcessLostError, UserError

AXIS = "devices"

# A process that is gone is known to be gone after this time, if its connections did not tell.
_HEARTBEAT_SECONDS = 30
_PATIENCE_SECONDS = 300
# Who waits for the others for longer says so.
_SILENCE_SECONDS = 5

# What a coordinator is called that the cluster is asked for.
AUTO = "auto"


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Joins the processes of one training; before anything else that uses JAX.

    Args:
      coordinator: host:port of the first process, or "auto" where JAX finds out about the cluster
        by itself (Cloud TPU, Slurm, Open MPI).
      processes: how many there are; None with "auto".
      process: which of them this is, from 0; None with "auto".

    Raises:
      UserError: they do not come together.
    """
    address = None if coordinator == AUTO else coordinator
    if address:
        _require_address(address, is_own=process == 0)
    telling = threading.Timer(_SILENCE_SECONDS, _tell_of_waiting, (process, coordinator))
    telling.start()
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            initialization_timeout=_PATIENCE_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        mend = "" if address else "; no cluster was found here: give host:port instead of 'auto'"
        raise UserError(f"the processes did not come together: {error}{mend}") from error
    finally:
        telling.cancel()
    _require_even_devices()
    _connect()


def part() -> None:
    """Waits until all processes have come here, after which each may end as it likes."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def _require_address(address: str, *, is_own: bool) -> None:
    """Raises a UserError where JAX would abort, in many lines, or wait in vain."""
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


def _tell_of_waiting(process: int | None, coordinator: str) -> None:
    who = "this process" if process is None else f"process {process}"
    logging.warning(
        f"{who} waits at {coordinator} for the others, and gives up after {_PATIENCE_SECONDS} s"
    )


def _require_even_devices() -> None:
    owners = [device.process_index for device in jax.devices()]
    counts = [owners.count(process) for process in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise UserError(
            f"the processes have {', '.join(map(str, counts))} devices; give all of them as many"
        )


def _connect() -> None:
    """Opens all connections, while nobody has work of his own.

    Where one is opened later, Gloo gives up if another process comes half a minute after the first.
    An open one waits for as long as a process takes.
    """
    any_process(False)
    pmapped(total, in_axes=(0,))(np.zeros(jax.local_device_count(), np.float32))
    if _between_cpus():
        messages.work_without_interruption()


@contextlib.contextmanager
def noticing_losses() -> Iterator[None]:
    """Within it, a computation that fails because another process has ended says so.

    Raises:
      ProcessLostError: a computation of several processes failed, other than for want of memory.
    """
    try:
        yield
    # Of a compiled call that runs at once JAX makes a ValueError.
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not _tells_of_a_loss(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ProcessLostError(
            f"process {jax.process_index()} stops, for another has ended or cannot be reached "
            f"({reason}); start all of them again with the same commands to go on"
        ) from error


def _tells_of_a_loss(error: Exception) -> bool:
    if isinstance(error, UserError) or jax.process_count() == 1:
        return False
    if isinstance(error, jax.errors.JaxRuntimeError):
        return not str(error).startswith("RESOURCE_EXHAUSTED")
    return "Gloo" in str(error)


def is_first() -> bool:
    """Whether this is the first process, which alone writes files; true where it is the only."""
    return jax.process_index() == 0


def from_first(make: Callable[[], Any], like: Any) -> Any:
    """Makes arrays on the first process and gives them to all, bit for bit.

    Args:
      make: called on the first process alone.
      like: a tree of arrays, or of their shapes and types, as `make` returns it.

    Returns:
      What `make` returned; on other processes the same, on the host.

    Raises:
      ValueError: on the first of several processes, where `make` returns other shapes.
    """
    if jax.process_count() == 1:
        return make()
    described = jax.eval_shape(_without_keys, like)
    wanted, structure = jax.tree.flatten(described)
    own = _bytes_of(_without_keys(make()), described) if is_first() else b""
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in wanted]
    content = _bytes_from_first(own, sum(sizes))
    parts = np.split(np.frombuffer(content, np.uint8), np.cumsum(sizes)[:-1])
    arrays = [
        np.frombuffer(part, leaf.dtype).reshape(leaf.shape)
        for part, leaf in zip(parts, wanted, strict=True)
    ]
    return jax.tree.map(
        lambda array, leaf: jax.random.wrap_key_data(array) if _is_key(leaf) else array,
        structure.unflatten(arrays),
        like,
    )


def _bytes_of(made: Any, like: Any) -> bytes:
    # The others count on as many bytes as `like` has, and would wait for ever.
    shapes = jax.tree.map(np.shape, made)
    if shapes != (expected := jax.tree.map(np.shape, like)):
        raise ValueError(f"the shapes of a state changed: {shapes} are not {expected}")
    arrays = jax.tree.map(lambda array, leaf: np.asarray(array, leaf.dtype), made, like)
    return b"".join(array.tobytes() for array in jax.tree.leaves(arrays))


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def value_from_first(make: Callable[[], Any]) -> Any:
    """Makes a value on the first process and gives it to all; one that JSON can hold.

    Raises:
      UserError: `make` raised one; on all processes, so that none waits for those that leave.
    """
    if jax.process_count() == 1:
        return make()
    content = json.dumps(_tried(make)).encode() if is_first() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int64(len(content))))
    value, problem = json.loads(_bytes_from_first(content, size))
    if problem:
        raise UserError(problem)
    return value


def _tried(make: Callable[[], Any]) -> tuple[Any, str | None]:
    """What is made, or what is wrong."""
    try:
        return make(), None
    except UserError as error:
        return None, str(error)


def _bytes_from_first(content: bytes, size: int) -> bytes:
    own = np.frombuffer(content, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).tobytes()


def any_process(flag: bool) -> bool:
    """Whether the flag is set on any process."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def same_everywhere(digest: bytes) -> bool:
    """Whether all processes brought the same bytes; they must be of one length."""
    if jax.process_count() == 1:
        return True
    every = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    return bool((every == every[0]).all())


def own_share(array: np.ndarray, axis: int) -> np.ndarray:
    """The part of an array, one of whose axes counts devices, that is for this process's own."""
    own = jax.local_device_count()
    first = jax.process_index() * own
    return np.take(array, np.arange(first, first + own), axis)


def _several() -> bool:
    """Whether other devices take part; a collective of one device would copy every gradient."""
    try:
        return jax.lax.axis_size(AXIS) > 1
    except NameError:
        return False


def pmapped(
    function: Callable,
    *,
    in_axes: tuple,
    donate: tuple[int, ...] = (),
    devices: list[jax.Device] | None = None,
) -> Callable:
    """Maps a function over all devices.

    Args:
      function: a pure function of positional arguments.
      in_axes: for each argument the axis that is split over devices (its length is the number of
        this process's devices, and it is gone inside), or None for what every device gets whole.
      donate: the positions of arguments whose memory the result may reuse.
      devices: all those of all processes, which must then all call; or `jax.local_devices()`.

    Returns:
      A function whose results are the same on every device and carry no device axis.
    """
    return jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=in_axes,
        out_axes=None,
        donate_argnums=donate,
        devices=devices,
    )


def num_devices() -> int:
    """The number of devices that run the step: the axis inside `pmapped`, 1 outside."""
    return jax.lax.axis_size(AXIS) if _several() else 1


def all_rows(tree: Any) -> Any:
    """Joins the rows of all devices, in device order; differentiable."""
    if not _several():
        return tree
    if _between_cpus():
        return messages.all_rows(tree, AXIS)
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, axis=0, tiled=True), tree)


def total(tree: Any) -> Any:
    """Adds each array up over devices."""
    if not _several():
        return tree
    return messages.total(tree, AXIS) if _between_cpus() else jax.lax.psum(tree, AXIS)


def mean(tree: Any) -> Any:
    """Averages each array over devices."""
    return jax.tree.map(lambda x: x / num_devices(), total(tree)) if _several() else tree


def _between_cpus() -> bool:
    return jax.process_count() > 1 and jax.default_backend() == "cpu"


def replicate(tree: Any) -> Any:
    """Puts a whole copy of each array on every device of this process, once.

    An array that lies on one device is otherwise copied to the others at every call.
    """
    mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), (AXIS,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(tree, everywhere)
