"""Shared by all losses: masks, precision and reduction.

A public loss checks its arguments (`jxhash._checks`), calls a jitted kernel for the unreduced loss
and passes that to `reduce`. Options may thus be Python numbers, arrays or tracers, and a new
`reduce_fn` does not recompile the kernel.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import aligned

ReduceFn = Callable[..., jax.Array]


def check_samples(u: ArrayLike, where: ArrayLike | None) -> tuple[jax.Array, jax.Array | None]:
    """Checks outputs u [n, K] and a mask that broadcasts to [n]."""
    u = _checks.outputs("u", u)
    _checks.require_rows(u=u)
    return u, _checks.mask("where", where, u.shape[:1])


def keep_rows(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Zeroes the masked rows of [n, K]; the mask over samples is [n] or [1]."""
    return x if where is None else keep(x, where[:, None])


def keep(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Zeroes the masked entries, in the dtype of `x`."""
    return x if where is None else jnp.where(where, x, jnp.zeros((), x.dtype))


def cast(settings: tuple[Any, ...], dtype: jax.typing.DTypeLike) -> tuple[Any, ...]:
    """Settings in the dtype of the outputs; one that is None stays None."""
    return tuple(None if x is None else jnp.asarray(x, dtype) for x in settings)


def products(a: jax.Array, b: jax.Array) -> jax.Array:
    """The inner products of all pairs of rows, [m, n].

    An einsum: XLA may hoist an explicit transpose out of a loop over blocks, as a copy.
    """
    return jnp.einsum("mk,nk->mn", a, b, precision="highest")


def magnitude(x: jax.Array) -> jax.Array:
    """The absolute value with gradient 0 at 0, where that of jnp.abs is 1."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def weigh(loss: jax.Array, where: jax.Array | None, weights: jax.Array | None) -> jax.Array:
    """Multiplies losses with their weights and zeroes masked ones."""
    if weights is not None:
        weights = aligned(weights.astype(loss.dtype), loss)
        loss = loss * keep(weights, where)
    return keep(loss, where)


def reduce(
    loss: jax.Array, where: jax.Array | None, weights: ArrayLike | None, reduce_fn: ReduceFn | None
) -> jax.Array:
    """Weights, masks and reduces an unreduced loss.

    Masked entries are 0 and ignored; with every entry masked the result is 0. A `reduce_fn` with a
    `where` argument, like `jnp.mean`, receives the mask; any other sees zeros there.
    """
    where = None if where is None else aligned(where, loss)
    loss = weigh(loss, where, _checks.factors(weights, loss.shape))
    if reduce_fn is None:
        return loss
    # Zeros do not change a sum, so it needs no second pass over the mask.
    if where is None or reduce_fn is jnp.sum or not _takes_where(reduce_fn):
        return reduce_fn(loss)
    if reduce_fn is jnp.mean:
        return jnp.sum(loss) / jnp.maximum(count(where, loss.shape, loss.dtype), 1)
    reduced = reduce_fn(loss, where=where, **_start(reduce_fn))
    if reduced.ndim == 0:
        counted = jnp.any(where)
    else:
        # Propagate NaN through `reduce_fn` to see which results read an unmasked entry.
        counted = jnp.isnan(reduce_fn(jnp.where(where, jnp.nan, jnp.ones_like(loss))))
    return jnp.where(counted, reduced, 0)


def count(
    where: jax.Array | None, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> jax.Array | float:
    """The number of unmasked entries of a mask that broadcasts to `shape`."""
    # In float: a block may have more entries than int32 can count.
    every = float(math.prod(shape))
    return every if where is None else jnp.sum(where).astype(dtype) * (every / where.size)


def _takes_where(reduce_fn: ReduceFn) -> bool:
    try:
        return "where" in inspect.signature(reduce_fn).parameters
    except ValueError:
        # Some builtins have no signature.
        return False


def _start(reduce_fn: ReduceFn) -> dict[str, float]:
    """The `initial` value that jnp.max and jnp.min need with a mask."""
    # A partial of a partial is one of its function.
    called: functools.partial[Any] = functools.partial(reduce_fn)
    start = {jnp.max: -jnp.inf, jnp.min: jnp.inf}.get(called.func)
    return {} if start is None or "initial" in called.keywords else {"initial": start}


def reduce_scalar(loss: jax.Array, weights: ArrayLike | None) -> jax.Array:
    """Weights a scalar loss."""
    return reduce(loss, None, weights, None)
