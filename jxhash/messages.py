"""Sums and gathers over the devices of several processes on CPU, as Gloo carries them fastest.

On accelerators, and between the devices of one process, XLA's own are the best there are. Between
processes on CPU each array is a message of its own, and a step waits for their number more than for
their size: short ones travel together here.
"""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Longer ones take more time to be copied into one message than a message of their own takes.
_SHORT = 2**17  # entries


def work_without_interruption() -> None:
    """Asks Linux not to put off threads that work for those that have just received something.

    Where devices share cores, the steps of a small training are else held up for longer than
    their exchange takes. Threads that are started later are scheduled as those that start them.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    for thread in pathlib.Path("/proc/self/task").glob("*"):
        # It may have ended, or the container does not let processes choose.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))


def total(tree: Any, axis: str) -> Any:
    """Adds each array up over the devices of a mapped axis."""
    return _together(lambda x: jax.lax.psum(x, axis), tree)


def all_rows(tree: Any, axis: str) -> Any:
    """Joins the rows of all devices of a mapped axis, in their order; differentiable."""
    gathered = _together(lambda x: _gather(x, axis), jax.tree.map(_as_words, tree))
    return jax.tree.map(
        lambda x, like: _from_words(jax.lax.collapse(x, 0, 2), like.dtype), gathered, tree
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(x: jax.Array, axis: str) -> jax.Array:
    """[n] of each device -> [devices, n]; its gradient is summed as any other.

    JAX's own gradient is a reduce-scatter, after which Gloo's connections wait for delayed
    acknowledgements: each later message of a megabyte takes half a second.
    """
    return jax.lax.all_gather(x, axis)


def _gather_forward(x: jax.Array, axis: str) -> tuple[jax.Array, None]:
    return _gather(x, axis), None


def _gather_backward(axis: str, _: None, slopes: jax.Array) -> tuple[jax.Array]:
    return (jax.lax.psum(slopes, axis)[jax.lax.axis_index(axis)],)


_gather.defvjp(_gather_forward, _gather_backward)


def _together(exchange: Callable[[jax.Array], jax.Array], tree: Any) -> Any:
    """Exchanges the short arrays of each type as one.

    The axes that an exchange puts before those of its message stand before those of each array.
    """
    leaves, structure = jax.tree.flatten(tree)
    short = [place for place, leaf in enumerate(leaves) if leaf.size <= _SHORT]
    exchanged = [leaf if place in short else exchange(leaf) for place, leaf in enumerate(leaves)]
    # In the same order in all processes.
    for dtype in dict.fromkeys(leaves[place].dtype for place in short):
        own = [place for place in short if leaves[place].dtype == dtype]
        message = exchange(jnp.concatenate([leaves[place].ravel() for place in own]))
        ends = np.cumsum([leaves[place].size for place in own])[:-1]
        for place, part in zip(own, jnp.split(message, ends, axis=-1), strict=True):
            exchanged[place] = part.reshape(*message.shape[:-1], *leaves[place].shape)
    return structure.unflatten(exchanged)


def _as_words(x: jax.Array) -> jax.Array:
    """As float32, so that arrays of all types travel together; of whole numbers the bits."""
    if x.dtype.itemsize > 4:
        return x
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(jnp.float32)
    return jax.lax.bitcast_convert_type(x.astype(jnp.int32), jnp.float32)


def _from_words(x: jax.Array, dtype: np.dtype) -> jax.Array:
    if dtype.itemsize > 4 or jnp.issubdtype(dtype, jnp.floating):
        return x.astype(dtype)
    return jax.lax.bitcast_convert_type(x, jnp.int32).astype(dtype)
