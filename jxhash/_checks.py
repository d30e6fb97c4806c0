"""Argument checks of the losses and discrete steps.

Shapes are always checked; values are checked outside of tracing, in arrays of at most a million
entries. Each message names the argument and the shapes.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

# Checking more values would cost more than the loss itself.
_MAX_CHECKED = 1_000_000


class Alphabet(NamedTuple):
    """The values that an argument may hold: a predicate and its description."""

    allowed: Callable[[np.ndarray], np.ndarray]
    described: str


SIMILAR = Alphabet(
    lambda s: (s >= 0) & (s <= 1),
    "1 for a similar pair and 0 for another, or between them (similarity.share_label)",
)
SIGNED = Alphabet(
    lambda s: np.abs(s) == 1, "+1 for a similar pair and -1 for another (similarity.signed)"
)
BITS = Alphabet(lambda t: (t >= 0) & (t <= 1), "in [0, 1]; make codes of -1 and +1 bits first")
POSITIVE = Alphabet(lambda x: x > 0, "positive")
NOT_NEGATIVE = Alphabet(lambda x: x >= 0, "not negative")
WHOLE = Alphabet(lambda x: (x >= 0) & (x == np.round(x)), "a whole number, not negative")
COUNT = Alphabet(lambda x: (x >= 1) & (x == np.round(x)), "a whole number, at least 1")
COSINE = Alphabet(lambda x: (x > 0) & (x <= 1), "above 0 and at most 1")


def outputs(name: str, x: ArrayLike) -> jax.Array:
    """Checks real-valued outputs [n, K] and returns them as float32 or wider."""
    array = _matrix(name, x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} holds real-valued outputs, not {array.dtype}; cast it to float32")
    return at_least_float32(array)


def real(name: str, x: ArrayLike) -> jax.Array:
    """Checks codes, bits or labels [n, K] of any real dtype; returns them as float32 or wider."""
    array = _matrix(name, x)
    require_real(name, array)
    return at_least_float32(array)


def at_least_float32(array: jax.Array) -> jax.Array:
    """Casts all but float64 to float32; a promotion, but also under strict dtype promotion."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def one_dtype(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Casts arrays to the widest dtype among them, float32 or float64."""
    widest = max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)
    return tuple(array.astype(widest) for array in arrays)


def require_real(name: str, array: jax.Array) -> None:
    """Refuses complex numbers."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} holds real numbers, not {array.dtype}")


def _matrix(name: str, x: ArrayLike) -> jax.Array:
    array = jnp.asarray(x)
    if array.ndim != 2:
        raise ValueError(f"{name} has one row per sample, [n, K], not the shape {array.shape}")
    return array


def require_rows(**arrays: jax.Array) -> None:
    """Refuses arrays without rows or without columns."""
    for name, array in arrays.items():
        if 0 in array.shape:
            raise ValueError(f"{name} is empty, of shape {array.shape}; skip such a batch")


_AXES = {"shape": slice(None), "length": slice(1), "width": slice(1, None)}


def same(what: Literal["shape", "length", "width"], **arrays: jax.Array) -> None:
    """Refuses two arrays of different shapes, lengths or widths."""
    (first, a), (second, b) = arrays.items()
    axes = _AXES[what]
    if a.shape[axes] != b.shape[axes]:
        raise ValueError(
            f"{first} and {second} need the same {what}, not the shapes {a.shape} and {b.shape}"
        )


def mask(name: str, where: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Checks a mask and gives it the rank of `shape`, without broadcasting it."""
    if where is None:
        return None
    array = jnp.asarray(where)
    if array.dtype != jnp.bool_:
        raise TypeError(f"{name} is boolean, not {array.dtype}; compare it with zero first")
    return _same_rank(name, array, shape)


def row_mask(name: str, where: ArrayLike | None, x: jax.Array) -> jax.Array:
    """Checks a mask over the samples of `x` and broadcasts it to all of them."""
    rows = x.shape[:1]
    where = mask(name, where, rows)
    return jnp.ones(rows, bool) if where is None else jnp.broadcast_to(where, rows)


def factors(weights: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Checks weights and gives them the rank of `shape`, without broadcasting them."""
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


def _known(
    x: ArrayLike | Sequence[float], where: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """The values of `x` and the mask over them; None if they are traced, remote or too many."""
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
    name: str, x: ArrayLike | Sequence[float], alphabet: Alphabet, where: ArrayLike | None = None
) -> None:
    """Refuses known values outside of an alphabet; NaN passes, so that it shows in the loss.

    Where the mask, of the rank of `x` or of its rows, is False, nothing is checked.
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
    """Refuses a setting that is not one number, or has a known value outside of its alphabet."""
    if np.shape(x):
        raise ValueError(f"{name} is one number, not an array of shape {np.shape(x)}")
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        raise TypeError(f"{name} is a number, not {x!r}")
    require_values(name, x, alphabet)


def warn_of_agreement(similarity: ArrayLike, where: ArrayLike | None = None) -> None:
    """Warns if no unmasked pair is dissimilar, since then all optimal codes are equal."""
    known = _known(similarity, where)
    if known is None:
        return
    values, counted = known
    if counted.any() and not (counted & (values < 0)).any():
        warnings.warn(
            f"similarity of shape {values.shape} has no negative value, so all optimal codes "
            "are equal; use similarity.signed",
            stacklevel=3,
        )
