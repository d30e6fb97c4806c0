"""What all losses agree on, in one place: checks, masks, precision and reduction.

A public loss checks its arguments here, calls a jitted kernel for the unreduced loss and hands
that to `reduce`. So its options may be Python numbers, arrays or tracers, and `reduce_fn` may be
any callable without a new compilation of the kernel.
"""

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

ReduceFn = Callable[..., jax.Array]

# Looking at more values than this would cost more than the loss itself.
_MAX_CHECKED = 1_000_000


class Alphabet(NamedTuple):
    """The values that an argument may hold: a test that marks them, and the same in words."""

    allowed: Callable[[np.ndarray], np.ndarray]
    described: str


SIMILAR = Alphabet(
    lambda s: (s >= 0) & (s <= 1),
    "1 for a similar pair and 0 for another, or between them (similarity.share_label)",
)
SIGNED = Alphabet(
    lambda s: np.abs(s) == 1,
    "+1 for a similar pair and -1 for another (similarity.signed)",
)
BITS = Alphabet(lambda t: (t >= 0) & (t <= 1), "in [0, 1]; make codes of -1 and +1 bits first")
POSITIVE = Alphabet(lambda x: x > 0, "positive")
NOT_NEGATIVE = Alphabet(lambda x: x >= 0, "not negative")
COSINE = Alphabet(lambda x: (x > 0) & (x <= 1), "above 0 and at most 1")


def outputs(name: str, x: ArrayLike) -> jax.Array:
    """Checks real-valued outputs [n, K] and gives them in at least float32."""
    array = _matrix(name, x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} holds real-valued outputs, not {array.dtype}; cast it to float32")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def real(name: str, x: ArrayLike) -> jax.Array:
    """Checks codes, bits or labels [n, K] of any real dtype and gives them in float32 or wider."""
    array = _matrix(name, x)
    require_real(name, array)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32) if floating else jnp.float32)


def require_real(name: str, array: jax.Array) -> None:
    """Refuses complex numbers."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} holds real numbers, not {array.dtype}")


def _matrix(name: str, x: ArrayLike) -> jax.Array:
    array = jnp.asarray(x)
    if array.ndim != 2:
        raise ValueError(f"{name} has a row a sample, [n, K], not the shape {array.shape}")
    return array


def require_rows(**arrays: jax.Array) -> None:
    """Refuses a batch without rows or without bits."""
    for name, array in arrays.items():
        if 0 in array.shape:
            raise ValueError(f"{name} is empty, of shape {array.shape}; leave such a batch out")


def same_width(**arrays: jax.Array) -> None:
    """Refuses two matrices whose rows differ in length."""
    (first, a), (second, b) = arrays.items()
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{first} and {second} have one width, not the shapes {a.shape} and {b.shape}"
        )


def same_length(**arrays: jax.Array) -> None:
    """Refuses two matrices that differ in their number of rows."""
    (first, a), (second, b) = arrays.items()
    if a.shape[0] != b.shape[0]:
        raise ValueError(
            f"{first} and {second} have as many rows, not the shapes {a.shape} and {b.shape}"
        )


def same_shape(**arrays: jax.Array) -> None:
    """Refuses two arrays of different shapes, which would broadcast silently."""
    (first, a), (second, b) = arrays.items()
    if a.shape != b.shape:
        raise ValueError(f"{first} and {second} have one shape, not {a.shape} and {b.shape}")


def mask(name: str, where: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Checks a mask and gives it the rank of `shape`, without spreading it over it."""
    if where is None:
        return None
    array = jnp.asarray(where)
    if array.dtype != jnp.bool_:
        raise TypeError(f"{name} is boolean, not {array.dtype}; compare it with zero first")
    return _same_rank(name, array, shape)


def row_mask(name: str, where: ArrayLike | None, x: jax.Array) -> jax.Array:
    """A mask over samples, spread over all of them."""
    rows = x.shape[:1]
    where = mask(name, where, rows)
    return jnp.ones(rows, bool) if where is None else jnp.broadcast_to(where, rows)


def factors(weights: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Checks weights and gives them the rank of `shape`, without spreading them over it."""
    if weights is None:
        return None
    array = jnp.asarray(weights)
    require_real("weights", array)
    return _same_rank("weights", array, shape)


def _same_rank(name: str, array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    lengths = zip(array.shape[::-1], shape[::-1], strict=False)
    if array.ndim > len(shape) or any(length not in (1, full) for length, full in lengths):
        raise ValueError(
            f"{name} broadcasts to the unreduced loss {shape}, but has the shape {array.shape}"
        )
    return array.reshape((1,) * (len(shape) - array.ndim) + array.shape)


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


def concrete(x: ArrayLike) -> np.ndarray | None:
    """The values of `x` where they can be looked at, None while a function is being traced."""
    if isinstance(x, jax.core.Tracer):
        return None
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return None
    return np.asarray(x)


def require_values(
    name: str, x: ArrayLike, alphabet: Alphabet, where: jax.Array | None = None
) -> None:
    """Refuses concrete values outside of an alphabet; a NaN passes, so that it shows in the loss.

    Args:
      name: the argument, for the message.
      x: its values.
      alphabet: what is allowed.
      where: a mask of the rank of `x`; what it leaves out may hold anything.
    """
    if isinstance(x, jax.Array | np.ndarray) and x.size > _MAX_CHECKED:
        return
    values, counted = concrete(x), True if where is None else concrete(where)
    if values is None or counted is None:
        return
    values = values.astype(np.float32)
    wrong = counted & ~(alphabet.allowed(values) | np.isnan(values))
    if wrong.any():
        shape = f" of shape {values.shape}" if values.ndim else ""
        raise ValueError(
            f"{name}{shape} is {alphabet.described}, but holds {values[wrong].flat[0]:g}"
        )


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
    loss = weigh(loss, where, factors(weights, loss.shape))
    if reduce_fn is None:
        return loss
    # Zeros do not change a sum, so neither the mask nor a count need another pass.
    if where is None or reduce_fn is jnp.sum or not _takes_where(reduce_fn):
        return reduce_fn(loss)
    counted = reduce_fn(jnp.ones_like(loss), where=where) > 0
    return jnp.where(counted, reduce_fn(loss, where=where), 0)


@functools.lru_cache(maxsize=256)
def _takes_where(reduce_fn: ReduceFn) -> bool:
    return "where" in inspect.signature(reduce_fn).parameters


def reduce_scalar(loss: jax.Array, weights: ArrayLike | None) -> jax.Array:
    """Weights a loss that is one number."""
    weights = factors(weights, ())
    return loss if weights is None else loss * weights
