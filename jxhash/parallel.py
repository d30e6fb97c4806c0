"""The device axis: how one step is spread over devices.

A step is written for the rows of one device. Inside `pmapped` the functions below exchange with the
other devices; outside of it, or with one device, each is the identity. The rule for gradients: sum
or average the *gradients* over devices, never the loss that is differentiated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

AXIS = "devices"

# What maps a step over devices: "pmap", or "shard_map", which takes one process only.
IMPLEMENTATION = "pmap"


def pmapped(
    function: Callable[..., Any],
    *,
    in_axes: Sequence[int | None],
    donate: tuple[int, ...] = (),
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Any]:
    """Maps a function over all devices.

    Args:
      function: a pure function of positional arguments.
      in_axes: for each argument the axis that is split over devices (its length is the number of
        this process's devices, and it is gone inside), or None for an argument that every device
        gets whole.
      donate: the positions of arguments whose memory the result may reuse.
      devices: those of all processes by default, which must then all call; or
        `jax.local_devices()`.

    Returns:
      A function whose results are the same on every device and carry no device axis.
    """
    if IMPLEMENTATION == "shard_map":
        return _shard_mapped(function, in_axes, donate, devices)
    mapped: Callable[..., Any] = jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=tuple(in_axes),
        out_axes=None,
        donate_argnums=donate,
        devices=devices,
    )
    return mapped


def _shard_mapped(
    function: Callable[..., Any],
    in_axes: Sequence[int | None],
    donate: tuple[int, ...],
    devices: Sequence[jax.Device] | None,
) -> Callable[..., Any]:
    def on_one_device(*arguments: Any) -> Any:
        return function(*map(_without_axis, arguments, in_axes))

    mapped = jax.shard_map(
        on_one_device,
        mesh=_mesh(jax.devices() if devices is None else devices),
        in_specs=tuple(_spec(axis) for axis in in_axes),
        out_specs=jax.P(),
        # Gradients are summed by the function itself, not by JAX in addition.
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donate)


def _without_axis(tree: Any, axis: int | None) -> Any:
    return tree if axis is None else jax.tree.map(lambda x: jax.lax.squeeze(x, (axis,)), tree)


def _spec(axis: int | None) -> jax.P:
    return jax.P() if axis is None else jax.P(*(None,) * axis, AXIS)


def _mesh(devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
    # Not `jax.make_mesh`, whose axes are Explicit.
    return jax.sharding.Mesh(np.asarray(devices), (AXIS,))


def _several() -> bool:
    """Whether other devices take part; a collective of one device would copy every gradient."""
    try:
        return bool(jax.lax.axis_size(AXIS) > 1)
    except NameError:
        return False


def num_devices() -> int:
    """The number of devices that run the step: the axis inside `pmapped`, 1 outside."""
    return jax.lax.axis_size(AXIS) if _several() else 1


def all_rows(tree: Any) -> Any:
    """Joins the rows of all devices, in device order; differentiable."""
    if not _several():
        return tree
    return jax.tree.map(_gathered, tree)


def _gathered(x: jax.Array) -> jax.Array:
    if jax.process_count() == 1 or jax.default_backend() != "cpu":
        gathered: jax.Array = jax.lax.all_gather(x, AXIS, axis=0, tiled=True)
        return gathered
    # The gradient of all_gather is a reduce-scatter, which slows all later messages of Gloo down.
    to_each = jnp.broadcast_to(x[None], (num_devices(), *x.shape))
    return jax.lax.collapse(jax.lax.all_to_all(to_each, AXIS, 0, 0), 0, 2)


def share_of_rows(tree: Any) -> Any:
    """This device's share of rows that every device has, for `all_rows` to join again.

    Shares are of one size: where the rows do not divide evenly, zeros follow the last of them.
    """
    if not _several():
        return tree

    def share(x: jax.Array) -> jax.Array:
        size = -(-len(x) // num_devices())
        padding = ((0, size * num_devices() - len(x)), *((0, 0),) * (x.ndim - 1))
        return jax.lax.dynamic_slice_in_dim(
            jnp.pad(x, padding), jax.lax.axis_index(AXIS) * size, size
        )

    return jax.tree.map(share, tree)


def total(tree: Any) -> Any:
    """Sums each array over devices."""
    return jax.lax.psum(tree, AXIS) if _several() else tree


def mean(tree: Any) -> Any:
    """Averages each array over devices."""
    return jax.lax.pmean(tree, AXIS) if _several() else tree


def replicate(tree: Any) -> Any:
    """Puts a whole copy of each array on every device of this process, once.

    An array that lies on one device is otherwise copied to the others at every call.
    """
    everywhere = jax.sharding.NamedSharding(_mesh(jax.local_devices()), jax.P())
    return jax.device_put(tree, everywhere)
