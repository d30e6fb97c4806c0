"""The code alphabet {-1, +1}: sign, packing into bytes, Hamming distance.

Every function takes numpy or jax arrays and answers in the same kind, so that codes can be
handled on a machine's host without touching a device, and inside a jitted function alike.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray

# Rows that a check of values looks at together.
_ROWS = 16384


def _namespace(*arrays: Array) -> ModuleType:
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def sign(x: Array, previous: Array | int | None = None) -> Array:
    """Maps real outputs to codes; the one place that decides what becomes of zero.

    Args:
      x: outputs of any shape and real dtype.
      previous: what an exact zero becomes: a number or an array that broadcasts to `x`, read by
        its sign (negative: -1, otherwise +1). Without it a zero becomes +1.

    Returns:
      int8 codes in {-1, +1} of the shape of `x`. A NaN is treated like a zero.

    >>> sign(np.array([0.3, -2.0, 0.0])).tolist()
    [1, -1, 1]
    >>> sign(np.array([0.3, -2.0, 0.0]), previous=-1).tolist()
    [1, -1, -1]
    """
    xp = _namespace(x)
    at_zero = xp.where(xp.asarray(1 if previous is None else previous) < 0, -1, 1)
    return xp.where(x > 0, 1, xp.where(x < 0, -1, at_zero)).astype(xp.int8)


def every(condition: Callable[[Array], Array], array: Array) -> bool:
    """Tells whether a condition holds for all entries, without anything as large as the array."""
    if isinstance(array, jax.Array):
        return bool(condition(array).all())
    starts = range(0, len(array), _ROWS)
    return all(condition(array[start : start + _ROWS]).all() for start in starts)


def all_among(values: Sequence[int], array: Array) -> bool:
    """Tells whether an array holds no other values than these.

    >>> all_among((-1, 1), np.array([1, -1])), all_among((-1, 1), np.array([1, 0]))
    (True, False)
    """
    return every(lambda x: functools.reduce(operator.or_, [x == v for v in values]), array)


def pack(codes: Array) -> Array:
    """Packs codes into bytes, eight a byte, the first bit highest, zero bits at the end.

    This is numpy's big-endian bit order, which FAISS's binary indexes and sentence-transformers'
    "ubinary" arrays share.

    Args:
      codes: [..., K] codes in {-1, +1} (what is positive becomes a set bit).

    Returns:
      uint8 [..., ceil(K / 8)].

    >>> pack(np.array([[1, -1, -1, -1, -1, -1, -1, 1, 1]], np.int8)).tolist()
    [[129, 128]]
    """
    return _namespace(codes).packbits(codes > 0, axis=-1)


def unpack(packed: Array, num_bits: int) -> Array:
    """Unpacks what `pack` packed.

    Args:
      packed: uint8 [..., bytes].
      num_bits: the code length K, at most 8 bits a byte.

    Returns:
      int8 [..., K] in {-1, +1}.

    Raises:
      TypeError: `packed` is not uint8.
      ValueError: `num_bits` does not fit the number of bytes.

    >>> unpack(np.array([[129, 128]], np.uint8), 9).tolist()
    [[1, -1, -1, -1, -1, -1, -1, 1, 1]]
    """
    _check_num_bits(packed, num_bits)
    bits = _namespace(packed).unpackbits(packed, axis=-1, count=num_bits)
    return 2 * bits.view(np.int8) - 1


def common_length(a: Array, b: Array, num_bits: int | None = None) -> int:
    """The number of bits of codes that are to be compared, after a check of their form.

    Args:
      a: [m, K] codes, or packed uint8 [m, bytes].
      b: [n, K] or [n, bytes], in the same form as `a`.
      num_bits: K of packed codes; all bits of their bytes without it.

    Raises:
      TypeError: one side is packed and the other is not.
      ValueError: the sides are not matrices of one width, or `num_bits` is another.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"codes are matrices with a row an item, not {a.shape} and {b.shape}")
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
        raise ValueError(f"num_bits={num_bits} takes {needed} bytes a code, not {packed.shape[-1]}")


def hamming_distance(a: Array, b: Array) -> Array:
    """Counts the differing bits of every code of `a` against every code of `b`.

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
    if a.dtype != np.uint8:
        return _signed_distance(a, b)
    xp = _namespace(a, b)
    a, b = words(xp.asarray(a)), words(xp.asarray(b))
    return set_bits(xp.bitwise_xor, a, b).astype(xp.int32)


def words(packed: Array) -> Array:
    """Bytes [n, b] as wide words, zeros at the end: uint64 in numpy, uint32 in jax."""
    xp = _namespace(packed)
    width = 8 if xp is np else 4
    padded = xp.pad(packed, ((0, 0), (0, -packed.shape[1] % width)))
    if xp is np:
        return np.ascontiguousarray(padded).view(np.uint64)
    return jax.lax.bitcast_convert_type(padded.reshape(len(padded), -1, width), jnp.uint32)


def set_bits(combine: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """Counts the bits set in the combination of each row of `a` with each of `b`.

    Args:
      combine: such as `np.bitwise_xor`.
      a: `words` [m, w].
      b: `words` [n, w] of the same kind.

    Returns:
      [m, n], int32 in jax, in numpy the narrowest unsigned dtype that holds any count.
    """
    xp = _namespace(a, b)
    dtype = jnp.int32 if xp is jnp else np.min_scalar_type(64 * a.shape[1])
    # Word by word, so that nothing larger than the [m, n] answer is held.
    return sum(
        xp.bitwise_count(combine(a[:, word, None], b[None, :, word])).astype(dtype)
        for word in range(a.shape[1])
    )


def _signed_distance(a: Array, b: Array) -> Array:
    num_bits = a.shape[1]
    if _namespace(a, b) is np:
        agreement = np.asarray(a, np.float32) @ np.asarray(b, np.float32).T
        return np.rint((num_bits - agreement) / 2).astype(np.int32)
    # float32 holds these sums exactly; int8 products would overflow from 128 bits on.
    agreement = jnp.matmul(
        jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32).T, precision="highest"
    )
    return jnp.rint((num_bits - agreement) / 2).astype(jnp.int32)
