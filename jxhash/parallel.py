"""The only file that knows how work is spread over devices.

A step is written for the rows of one device. Inside `pmapped` the helpers below speak to the other
devices; outside of it, or with one device, each helper is the identity. The rule for gradients:
add up or average the *gradients* over devices, never the loss that is differentiated.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

AXIS = "devices"


def _several() -> bool:
    """Whether other devices take part; a collective of one device would copy every gradient."""
    try:
        return jax.lax.axis_size(AXIS) > 1
    except NameError:
        return False


def pmapped(function: Callable, *, in_axes: tuple, donate: tuple[int, ...] = ()) -> Callable:
    """Maps a function over all devices.

    Args:
      function: a pure function of positional arguments.
      in_axes: for each argument the axis that is split over devices (its length is the number of
        devices, and it is gone inside), or None for what every device gets whole.
      donate: the positions of arguments whose memory the result may reuse.

    Returns:
      A function whose results are the same on every device and carry no device axis.
    """
    return jax.pmap(function, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=donate)


def num_devices() -> int:
    """The number of devices that run the step: the axis inside `pmapped`, 1 outside."""
    return jax.lax.axis_size(AXIS) if _several() else 1


def all_rows(tree: Any) -> Any:
    """Joins the rows of all devices, in device order; differentiable."""
    if not _several():
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, axis=0, tiled=True), tree)


def total(tree: Any) -> Any:
    """Adds each array up over devices."""
    return jax.lax.psum(tree, AXIS) if _several() else tree


def mean(tree: Any) -> Any:
    """Averages each array over devices."""
    return jax.lax.pmean(tree, AXIS) if _several() else tree


def replicate(tree: Any) -> Any:
    """Puts a whole copy of each array on every device, once.

    An array that lies on one device is otherwise copied to the others at every call.
    """
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), (AXIS,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(tree, everywhere)
