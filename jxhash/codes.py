"""The code alphabet {-1, +1}: sign, packing into bytes, Hamming distance.

Every function takes numpy or jax arrays and returns the same kind, so it works on the host without
touching a device, and inside a jitted function.
"""

import operator
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jxhash._sharding import any_mesh, pair_sharded

Array = jax.Array | np.ndarray
Kind = TypeVar("Kind", bound=Array)

# The number of rows that a check of values reads at a time.
_ROWS = 16384


def namespace(*arrays: Any) -> ModuleType:
    """jax.numpy if any of the arrays is a jax array, else numpy."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def sign(x: Kind, previous: Array | int | None = None) -> Kind:
    """Maps real outputs to codes; the one place that defines the sign of zero.

    Args:
      x: outputs of any shape and real dtype.
      previous: a number or an array that broadcasts to `x`, whose sign replaces an exact zero
        (negative: -1, otherwise +1); None makes it +1.

    Returns:
      int8 codes in {-1, +1} of the shape of `x`. A NaN is treated like a zero.

    >>> sign(np.array([0.3, -2.0, 0.0])).tolist()
    [1, -1, 1]
    >>> sign(np.array([0.3, -2.0, 0.0]), previous=-1).tolist()
    [1, -1, -1]
    """
    xp = namespace(x)
    at_zero = xp.where(xp.asarray(1 if previous is None else previous) < 0, -1, 1)
    codes: Kind = xp.where(x > 0, 1, xp.where(x < 0, -1, at_zero)).astype(xp.int8)
    return codes


def every(condition: Callable[[Array], Array], array: Array) -> bool:
    """Whether a condition holds for all entries; numpy arrays are read in blocks of rows."""
    if isinstance(array, jax.Array):
        return bool(condition(array).all())
    starts = range(0, len(array), _ROWS)
    return all(condition(array[start : start + _ROWS]).all() for start in starts)


def all_among(values: Sequence[int], array: Array) -> bool:
    """Whether an array holds only the given values.

    >>> all_among((-1, 1), np.array([1, -1])), all_among((-1, 1), np.array([1, 0]))
    (True, False)
    """
    return every(lambda x: namespace(x).isin(x, np.asarray(values)), array)


def pack(codes: Array) -> Array:
    """Packs codes into bytes, most significant bit first, padded with zero bits.

    This is numpy's big-endian bit order, which FAISS's binary indexes and sentence-transformers'
    "ubinary" arrays share.

    Args:
      codes: [..., K] codes in {-1, +1}; positive values become set bits.

    Returns:
      uint8 [..., ceil(K / 8)].

    >>> pack(np.array([[1, -1, -1, -1, -1, -1, -1, 1, 1]], np.int8)).tolist()
    [[129, 128]]
    """
    packed: Array = namespace(codes).packbits(codes > 0, axis=-1)
    return packed


def unpack(packed: Array, num_bits: int) -> Array:
    """The inverse of `pack`.

    Args:
      packed: uint8 [..., bytes].
      num_bits: the code length K.

    Returns:
      int8 [..., K] in {-1, +1}.

    Raises:
      TypeError: `packed` is not uint8.
      ValueError: `num_bits` does not fit the number of bytes.

    >>> unpack(np.array([[129, 128]], np.uint8), 9).tolist()
    [[1, -1, -1, -1, -1, -1, -1, 1, 1]]
    """
    _check_num_bits(packed, num_bits)
    bits: Array = namespace(packed).unpackbits(packed, axis=-1, count=num_bits)
    return 2 * bits.view(np.int8) - 1


def common_length(a: Array, b: Array, num_bits: int | None = None) -> int:
    """Checks two sets of codes to be compared, and returns their number of bits.

    Args:
      a: [m, K] codes, or packed uint8 [m, bytes].
      b: [n, K] or [n, bytes], in the same form as `a`.
      num_bits: K of packed codes; None for all bits of their bytes.

    Raises:
      TypeError: one side is packed and the other is not.
      ValueError: the sides are not matrices of one width, or `num_bits` does not fit them.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"codes are matrices with one row per item, not {a.shape} and {b.shape}")
    packed = (a.dtype == np.uint8, b.dtype == np.uint8)
    if any(packed) != all(packed):
        raise TypeError(f"either both sides are packed (uint8) or none: {a.dtype} and {b.dtype}")
    width = a.shape[1]
    if b.shape[1] != width:
        unit = "bytes" if all(packed) else "bits"
        raise ValueError(
            f"codes have one length on both sides, not {width} and {b.shape[1]} {unit}"
        )
    if all(packed):
        num_bits = 8 * width if num_bits is None else num_bits
        _check_num_bits(a, num_bits)
        return num_bits
    if num_bits not in (None, width):
        raise ValueError(f"num_bits={num_bits}, but the codes have {width} bits")
    return width


def _check_num_bits(packed: Array, num_bits: int) -> None:
    if packed.dtype != np.uint8:
        raise TypeError(f"packed codes are uint8, not {packed.dtype}")
    needed = -(-operator.index(num_bits) // 8)
    if needed != packed.shape[-1]:
        raise ValueError(
            f"num_bits={num_bits} takes {needed} bytes per code, not {packed.shape[-1]}"
        )


@any_mesh(pair_sharded)
def hamming_distance(a: Array, b: Array) -> Array:
    """The Hamming distance of every code of `a` to every code of `b`.

    Args:
      a: [m, K] codes in {-1, +1} of any signed integer or float dtype, or packed uint8 [m, bytes].
      b: [n, K] or [n, bytes], in the same form as `a`.

    Returns:
      int32 [m, n].

    Raises:
      TypeError: one side is packed and the other is not.
      ValueError: the sides are not matrices of one width.

    >>> a = np.array([[1, 1, -1], [1, -1, -1]], np.int8)
    >>> hamming_distance(a, a[:1]).tolist()
    [[0], [1]]
    >>> hamming_distance(pack(a), pack(a[:1])).tolist()
    [[0], [1]]
    """
    common_length(a, b)
    xp = namespace(a, b)
    if a.dtype != np.uint8:
        a, b = pack(a), pack(b)
    a, b = words(xp.asarray(a)), words(xp.asarray(b))
    return set_bits(xp.bitwise_xor, a, b).astype(xp.int32)


def words(packed: Array) -> Array:
    """Bytes [n, b] as wide words, zero-padded: uint64 in numpy, uint32 in jax."""
    xp = namespace(packed)
    width = 8 if xp is np else 4
    padded = xp.pad(packed, ((0, 0), (0, -packed.shape[1] % width)))
    if xp is np:
        return np.ascontiguousarray(padded).view(np.uint64)
    return jax.lax.bitcast_convert_type(padded.reshape(len(padded), -1, width), jnp.uint32)


def set_bits(combine: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """Counts the set bits of a bitwise operation between each row of `a` and each of `b`.

    Args:
      combine: the operation, such as `np.bitwise_xor`.
      a: `words` [m, w].
      b: `words` [n, w] of the same kind.

    Returns:
      [m, n], int32 in jax; in numpy the narrowest unsigned dtype that holds every count.
    """
    xp = namespace(a, b)
    dtype = jnp.int32 if xp is jnp else np.min_scalar_type(64 * a.shape[1])
    # Word by word, so that nothing larger than the [m, n] result is held.
    counts: Array = sum(
        xp.bitwise_count(combine(a[:, word, None], b[None, :, word])).astype(dtype)
        for word in range(a.shape[1])
    )
    return counts
