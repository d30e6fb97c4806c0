"""What the readers of all formats share: an array as a file stores it, and what is refused."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jxhash.errors import UserError
from jxhash.rows import Rows, in_memory

# Of an array that cannot be read by rows; a few compressed bytes can claim any size.
_LARGEST_IN_MEMORY = 2**32
_MOST_IN_MEMORY = 2**33

# Texts of a file: one an item, or a list of several an item.
Texts = list[str] | list[list[str]]

# MATLAB's classes of arrays and texts; variables of all others are left alone until asked for.
MATLAB_ARRAYS = (
    *("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("logical", "sparse", "char", "cell"),
)

_NARROW: dict[str, np.dtype] = {
    "f8": np.dtype(np.float32),
    "f16": np.dtype(np.float32),
    "i8": np.dtype(np.int32),
    "u8": np.dtype(np.uint32),
    "b1": np.dtype(np.uint8),
}


class Stored(NamedTuple):
    """An array as a file stores it.

    Attributes:
      rows: the array by its first stored axis.
      columns_first: whether the writer names the axes in reverse: MATLAB and Fortran order.
    """

    rows: Rows
    columns_first: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as the writer names its axes."""
        return self.rows.shape[::-1] if self.columns_first else self.rows.shape

    def along(self, axis: int) -> Rows:
        """The array with one axis as its rows, followed by the others in the writer's order.

        An array whose rows are not contiguous in the file is read into memory. 64-bit numbers
        become 32-bit ones, which is what JAX computes with.

        Raises:
          UserError: the array does not fit into memory, or (when rows are read) into 32 bits.
        """
        source, ndim = self.rows, self.rows.ndim
        axis = ndim - 1 - axis if self.columns_first else axis
        if axis != 0:
            require_memory("an array whose items are not contiguous", source.nbytes)
        others = [other for other in range(ndim) if other != axis]
        order = (axis, *(others[::-1] if self.columns_first else others))
        dtype = narrow(source.dtype)
        shape = tuple(source.shape[one] for one in order)
        if axis != 0:
            whole = np.empty(shape, dtype)
            as_stored = whole.transpose(np.argsort(order))
            for first, block in source.blocks():
                as_stored[first : first + len(block)] = _cast(block, dtype)
            return in_memory(whole)
        return Rows(
            shape,
            dtype,
            lambda numbers: _cast(source.read(numbers).transpose(order), dtype),
            alike=source if dtype == source.dtype else None,
        )


class Entry(NamedTuple):
    """A named array of a file, not yet read.

    Attributes:
      shape: the shape, as the writer names the axes.
      open: returns the array, or texts.
      is_array: False for what the file holds beside arrays, such as a table or a structure of
        MATLAB, which `open` refuses.
    """

    shape: tuple[int, ...]
    open: Callable[[], Stored | Texts]
    is_array: bool = True


def shape_of(value: Stored | Texts) -> tuple[int, ...]:
    """The shape of what an `Entry` opens; of texts [n], or [n, k] with k texts in each row.

    >>> shape_of(["a", "b", "c"]), shape_of([["a"], ["b"]]), shape_of([["a"], ["b", "c"]])
    ((3,), (2, 1), (2,))
    """
    if isinstance(value, Stored):
        return value.shape
    widths = {len(row) for row in value if isinstance(row, list)}
    return (len(value), *widths) if len(widths) == 1 else (len(value),)


def texts_along(texts: Texts, length: int) -> Texts:
    """Texts with their `length` items as rows, which may lie along the first axis or the second.

    >>> texts_along([["a", "b", "c"], ["d", "e", "f"]], 3)
    [['a', 'd'], ['b', 'e'], ['c', 'f']]
    """
    if len(texts) == length or shape_of(texts)[-1] != length:
        return texts
    return [list(row) for row in zip(*texts, strict=True)]


def texts_of(what: str, array: np.ndarray) -> Texts:
    """An array of texts [n] or [n, k] as lists; axes of length 1 are left out, but of one text.

    Raises:
      UserError: there are more axes.
    """
    if array.ndim > 1:
        array = array.squeeze()
    if array.ndim > 2:
        raise UserError(f"{what} holds texts in {array.ndim} axes; give [n], or [n, k] for k each")
    texts: Texts = np.atleast_1d(array).tolist()
    return texts


def widened(values: np.ndarray) -> np.ndarray:
    """bfloat16 entries, as numpy or uint16 hold their two bytes, as float32.

    >>> widened(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def narrow(dtype: np.dtype) -> np.dtype:
    """The dtype of at most 32 bits that stands for a dtype."""
    return _NARROW.get(dtype.kind + str(dtype.itemsize), dtype)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu" and values.dtype.itemsize > dtype.itemsize and values.size:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise UserError(f"an array of integers holds some beyond {limits.max}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype)


def dense(
    values: np.ndarray, rows: np.ndarray, starts: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Expands a sparse matrix by columns, transposed; SciPy's own way trusts the indices.

    Raises:
      ValueError: the column pointers or row numbers contradict the entries or the shape.
    """
    counts: np.ndarray = np.diff(starts.astype(np.int64))
    total = counts.sum()
    if len(counts) != shape[1] or starts[0] or (counts < 0).any():
        raise ValueError("its column pointers are damaged")
    if total > min(len(rows), len(values)):
        raise ValueError("its column pointers point beyond its entries")
    rows, values = rows[:total].astype(np.int64), values[:total]
    if rows.size and not 0 <= rows.min() <= rows.max() < shape[0]:
        raise ValueError("it has entries outside of its shape")
    array = np.zeros(shape[::-1], narrow(values.dtype))
    with np.errstate(over="ignore"):
        array[np.repeat(np.arange(shape[1]), counts), rows] = values
    return array


@contextlib.contextmanager
def reading(what: str | pathlib.Path) -> Iterator[None]:
    """Turns every error while reading a file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    # Each format has errors of its own for files that are truncated, changed or hold objects.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:120]
        raise UserError(f"{what} cannot be read ({type(error).__name__}: {reason})") from error


def require_memory(what: str, num_bytes: int) -> None:
    """Raises a UserError if an array that is read whole is too large for memory."""
    if num_bytes > _LARGEST_IN_MEMORY:
        raise UserError(
            f"{what} would take {num_bytes / 2**30:.1f} GiB of memory; save it as .npy, with "
            "np.savez or as HDF5 with the items along the first axis, to have it read by rows"
        )


class Allowance:
    """How many bytes of one file may be decompressed into memory."""

    def __init__(self) -> None:
        self._left = _MOST_IN_MEMORY

    def take(self, what: str, num_bytes: int) -> None:
        """Raises a UserError if an array, or all so far together, are too large."""
        require_memory(what, num_bytes)
        self._left -= num_bytes
        if self._left < 0:
            raise UserError(
                f"{what} and other arrays of this file would take more than "
                f"{_MOST_IN_MEMORY / 2**30:.0f} GiB of memory; save them in several files"
            )


def require_matlab_array(what: str, kind: str) -> None:
    """Raises a UserError for a variable of a class that is not in `MATLAB_ARRAYS`."""
    if kind not in MATLAB_ARRAYS:
        raise UserError(
            f"{what} is a {kind} of MATLAB, which is not read; save it as a matrix of numbers, or "
            "as a cell array of texts (cellstr)"
        )


def require_numbers(what: str, dtype: np.dtype) -> None:
    """Raises a UserError unless a dtype is of real numbers."""
    if dtype.hasobject:
        raise UserError(
            f"{what} holds Python objects, which are not read; save texts as "
            "np.array(texts, dtype=str), numbers as an array of numbers"
        )
    if dtype.kind == "V" and dtype.names is None:
        raise UserError(
            f"{what} holds numbers of a type of {dtype.itemsize} bytes that numpy does "
            "not know; save it as .astype(np.float32)"
        )
    if dtype.kind not in "biuf":
        raise UserError(f"{what} holds {dtype}, not real numbers")
