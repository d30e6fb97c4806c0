"""What all losses agree on, in one place: masks, precision and reduction.

A public loss checks its arguments (`jxhash._checks`), calls a jitted kernel for the unreduced loss
and hands that to `reduce`. So its options may be Python numbers, arrays or tracers, and `reduce_fn`
may be any callable without a new compilation of the kernel.
"""

import functools
import inspect
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks

ReduceFn = Callable[..., jax.Array]


def keep_rows(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Zeros for the rows [n, K] that a mask over samples, [n] or [1], leaves out."""
    return x if where is None else jnp.where(where[:, None], x, 0)


def products(a: jax.Array, b: jax.Array) -> jax.Array:
    """The inner product of each row of one matrix with each of another, [m, n].

    Not by a transpose, which a compiler may copy out of a loop over blocks.
    """
    return jnp.einsum("mk,nk->mn", a, b, precision="highest")


def magnitude(x: jax.Array) -> jax.Array:
    """The absolute value, with a slope of 0 at 0, where jnp.abs takes a side."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def weigh(loss: jax.Array, where: jax.Array | None, weights: jax.Array | None) -> jax.Array:
    """The losses times their weights, and zeros for those that do not count."""
    if weights is not None:
        loss = loss * (weights if where is None else jnp.where(where, weights, 0))
    return loss if where is None else jnp.where(where, loss, 0)


def reduce(
    loss: jax.Array,
    where: jax.Array | None,
    weights: ArrayLike | None,
    reduce_fn: ReduceFn | None,
) -> jax.Array:
    """Weights, masks and reduces an unreduced loss.

    A masked entry is 0 and does not count; where nothing counts the result is 0. A `reduce_fn`
    that takes `where`, like `jnp.mean`, is told what counts; another gets zeros there.
    """
    loss = weigh(loss, where, _checks.factors(weights, loss.shape))
    if reduce_fn is None:
        return loss
    # Zeros do not change a sum, so neither the mask nor a count need another pass.
    if where is None or reduce_fn is jnp.sum or not _takes_where(reduce_fn):
        return reduce_fn(loss)
    if reduce_fn is jnp.mean:
        return jnp.sum(loss) / jnp.maximum(count(where, loss.shape), 1)
    reduced = reduce_fn(loss, where=where, **_start(reduce_fn))
    if reduced.ndim == 0:
        counted = jnp.any(where)
    else:
        # Whatever `reduce_fn` makes of rows and columns, a NaN shows where it is read.
        counted = jnp.isnan(reduce_fn(jnp.where(where, jnp.nan, jnp.ones_like(loss))))
    return jnp.where(counted, reduced, 0)


def count(where: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | float:
    """The number of entries that count, of a mask that broadcasts to `shape`."""
    # In floats, since a block may have more entries than int32 counts.
    every = float(math.prod(shape))
    return every if where is None else jnp.sum(where).astype(jnp.float32) * (every / where.size)


def _takes_where(reduce_fn: ReduceFn) -> bool:
    try:
        return "where" in inspect.signature(reduce_fn).parameters
    except ValueError:
        # Some functions of Python itself do not tell.
        return False


def _start(reduce_fn: ReduceFn) -> dict[str, float]:
    """The number to start from, for reductions that need one beside a mask."""
    function, given = reduce_fn, {}
    while isinstance(function, functools.partial):
        function, given = function.func, function.keywords | given
    for known, start in ((jnp.max, -jnp.inf), (jnp.min, jnp.inf)):
        if function is known and "initial" not in given:
            return {"initial": start}
    return {}


def reduce_scalar(loss: jax.Array, weights: ArrayLike | None) -> jax.Array:
    """Weights a loss that is one number."""
    weights = _checks.factors(weights, ())
    return loss if weights is None else loss * weights
