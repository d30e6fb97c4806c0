"""What public functions check of their arguments, in one place.

Shapes are checked always, values where they are known: not while a function is being traced, and
not in arrays of more than a million entries. Each message names the argument and the shapes.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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
WHOLE = Alphabet(lambda x: (x >= 0) & (x == np.round(x)), "a whole number, not negative")
COUNT = Alphabet(lambda x: (x >= 1) & (x == np.round(x)), "a whole number, at least 1")
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


def _known(x: ArrayLike, where: ArrayLike | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The values of `x` and which of them count; None where they cannot be looked at."""
    for array in jax.tree.leaves((x, where)):
        if isinstance(array, jax.core.Tracer) or getattr(array, "size", 1) > _MAX_CHECKED:
            return None
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return None
    values = np.asarray(x).astype(np.float32)
    mask = np.asarray(True if where is None else where)
    of_rows = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
    return values, np.broadcast_to(of_rows, values.shape)


def require_values(
    name: str, x: ArrayLike, alphabet: Alphabet, where: ArrayLike | None = None
) -> None:
    """Refuses known values outside of an alphabet; a NaN passes, so that it shows in the loss.

    Args:
      name: the argument, for the message.
      x: its values.
      alphabet: what is allowed.
      where: a mask of the rank of `x` or of its rows; what it leaves out may hold anything.
    """
    known = _known(x, where)
    if known is None:
        return
    values, counted = known
    wrong = counted & ~(alphabet.allowed(values) | np.isnan(values))
    if wrong.any():
        shape = f" of shape {values.shape}" if values.ndim else ""
        raise ValueError(
            f"{name}{shape} is {alphabet.described}, but holds {values[wrong].flat[0]:g}"
        )


def setting(name: str, x: ArrayLike, alphabet: Alphabet) -> None:
    """Refuses a setting that is not one number, or is known and outside of its alphabet."""
    if np.shape(x):
        raise ValueError(f"{name} is one number, not an array of the shape {np.shape(x)}")
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        raise TypeError(f"{name} is a number, not {x!r}")
    require_values(name, x, alphabet)


def warn_of_agreement(similarity: ArrayLike, where: ArrayLike | None = None) -> None:
    """Warns where no pair that counts is dissimilar, so that all codes would be one."""
    known = _known(similarity, where)
    if known is None:
        return
    values, counted = known
    if counted.any() and not (counted & (values < 0)).any():
        warnings.warn(
            f"similarity of shape {values.shape} holds nothing negative, so the best codes are "
            "all alike; take similarity.signed",
            stacklevel=3,
        )
