"""Arrays whose rows are read on demand.

`Rows` is such an array, of a file or of parts; `Grouped` one whose items have several rows;
`RowArray` is what they have in common with numpy's arrays and everything else whose rows can be
read.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

_BLOCK_BYTES = 2**24


class RowArray(Protocol):
    """An array whose rows can be read: numpy's, `Rows`, or encoded pictures.

    `array[rows]` reads rows, given as a slice or an array of row numbers, and `np.asarray(array)`
    reads all of them.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype of every row."""

    @property
    def ndim(self) -> int:
        """The number of axes."""

    @property
    def nbytes(self) -> int:
        """The size of the whole array in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> np.ndarray: ...


class Scan(NamedTuple):
    """The result of one pass over an array.

    Attributes:
      sha256: hash of dtype, shape and values.
      not_finite: int64 [m], the numbers of the rows with NaN or infinity.
    """

    sha256: str
    not_finite: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """An array whose rows are read on demand.

    It is indexed along its first axis, by a number, a slice, a mask or an array of numbers of any
    rank, and returns numpy arrays; `np.asarray` reads all rows.

    Attributes:
      shape: the shape of the whole array.
      dtype: the dtype of every row.
      read: maps row numbers (int64 [m], none negative) to a new array [m, ...].
      origin: the array that this one is a view of, and the numbers of its rows; None for no view.
      alike: an array of the same rows, with other axis order or before a function, that is faster
        to scan; None for itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[np.ndarray], np.ndarray]
    origin: "tuple[Rows, np.ndarray] | None" = None
    alike: "Rows | None" = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the whole array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = np.arange(len(self))[index]
        return self.read(np.ravel(numbers)).reshape((*np.shape(numbers), *self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a file are always copied: copy=False is not supported")
        if not self.nbytes:
            return np.empty(self.shape, dtype or self.dtype)
        # A scalar is read as one row.
        return np.asarray(self.read(np.arange(math.prod(self.shape[:1]))), dtype).reshape(
            self.shape
        )

    def take(self, numbers: np.ndarray) -> "Rows":
        """A view of some rows; nothing is read."""
        numbers = np.asarray(numbers, np.int64)
        source, of_source = (self, numbers)
        if self.origin is not None:
            source, of_source = self.origin[0], self.origin[1][numbers]
        return dataclasses.replace(
            self,
            shape=(len(numbers), *self.shape[1:]),
            read=lambda asked: source.read(of_source[asked]),
            origin=(source, of_source),
            alike=None,
        )

    def transposed(self, *axes: int) -> "Rows":
        """A view with the axes of each row, counted from 0 within the row, permuted."""
        order = (0, *(axis + 1 for axis in axes))
        return Rows(
            tuple(self.shape[axis] for axis in order),
            self.dtype,
            lambda numbers: np.ascontiguousarray(self.read(numbers).transpose(order)),
            alike=self.alike or self,
        )

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], dtype: Any) -> "Rows":
        """A view of the rows after a function of them that keeps finite rows finite."""
        if self.origin is not None:
            source, numbers = self.origin
            return source.mapped(function, dtype).take(numbers)
        return Rows(
            self.shape,
            np.dtype(dtype),
            lambda numbers: function(self.read(numbers)),
            alike=self.alike or self,
        )

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields all rows in order, in blocks of some megabytes, with the first row of each."""
        if not self.nbytes:
            return
        size = max(1, _BLOCK_BYTES // max(1, self.nbytes // len(self)))
        for first in range(0, len(self), size):
            yield first, self.read(np.arange(first, min(first + size, len(self))))

    @functools.cached_property
    def scan(self) -> Scan:
        """Hash and rows that are not finite, computed in one pass and cached."""
        if self.alike is not None:
            return self.alike.scan
        digest = hashlib.sha256(f"{self.dtype.str} {self.shape}\n".encode())
        bad = [np.zeros(0, np.int64)]
        for first, block in self.blocks():
            digest.update(np.ascontiguousarray(block).data)
            bad.append(first + rows_not_finite(block))
        return Scan(digest.hexdigest(), np.concatenate(bad))

    def not_finite(self) -> np.ndarray:
        """The numbers of the rows with NaN or infinity."""
        if self.origin is None:
            return self.scan.not_finite
        source, numbers = self.origin
        return np.flatnonzero(np.isin(numbers, source.scan.not_finite))


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """An array of items that have one or more rows each, such as captions.

    Indexing reads the first row of each item; `np.asarray` gives what an item's rows have in
    common: their mean, of integers (token numbers) the first.

    Attributes:
      flat: all rows, those of an item together, items in order.
      counts: int64 [n], how many rows each item has, at least one.
    """

    flat: Rows
    counts: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array with one row an item."""
        return (len(self), *self.flat.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The dtype of every row."""
        return self.flat.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.flat.ndim

    @property
    def nbytes(self) -> int:
        """The size of all rows in memory."""
        return self.flat.nbytes

    @functools.cached_property
    def firsts(self) -> np.ndarray:
        """The number of the first row of each item, int64 [n]."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.flat[self.firsts[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a file are always copied: copy=False is not supported")
        if self.dtype.kind in "iu" and self.dtype.itemsize > 1:
            return np.asarray(self[:], dtype)
        sums = np.add.reduceat(np.asarray(self.flat, np.float32), self.firsts, axis=0)
        counts = self.counts.reshape(-1, *[1] * (self.ndim - 1))
        return np.asarray(sums / counts, dtype or np.float32)

    def drawn(self, index: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """For each item of `index` the row that a number at least 0 draws."""
        return self.flat[self.firsts[index] + draws % self.counts[index]]

    def take(self, numbers: np.ndarray) -> "Grouped":
        """A view of some items; nothing is read."""
        return Grouped(self.flat.take(self.rows_of(numbers)), self.counts[numbers])

    def rows_of(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of the rows of some items, in their order."""
        counts = self.counts[numbers]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(np.repeat(self.firsts[numbers], counts) + within)

    def not_finite(self) -> np.ndarray:
        """The numbers of the items with NaN or infinity."""
        return np.unique(np.repeat(np.arange(len(self)), self.counts)[self.flat.not_finite()])


def rows_not_finite(array: RowArray) -> np.ndarray:
    """The numbers of the rows with NaN or infinity."""
    if array.dtype.kind != "f":
        return np.zeros(0, np.int64)
    rows = np.asarray(array).reshape(len(array), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        # Summing is many times faster than a mask of all entries, but finite rows may overflow.
        suspected = np.flatnonzero(~np.isfinite(rows.sum(axis=1)))
    found: np.ndarray = suspected[~np.isfinite(rows[suspected]).all(axis=1)]
    return found


def in_memory(array: np.ndarray) -> Rows:
    """Wraps an array in memory as `Rows`."""
    return Rows(array.shape, array.dtype, lambda numbers: np.atleast_1d(array)[numbers])


def joined(parts: Sequence[Rows]) -> Rows:
    """Concatenates arrays along the rows; nothing is read.

    Raises:
      ValueError: their rows differ in shape.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"rows of different shapes: {[part.shape for part in parts]}")
    if len(parts) == 1:
        return parts[0]
    dtype = np.result_type(*(part.dtype for part in parts))
    ends = np.cumsum([len(part) for part in parts])

    def read(numbers: np.ndarray) -> np.ndarray:
        rows = np.empty((len(numbers), *parts[0].shape[1:]), dtype)
        of_part = np.searchsorted(ends, numbers, side="right")
        for which, part in enumerate(parts):
            mine = np.flatnonzero(of_part == which)
            rows[mine] = part.read(numbers[mine] - (ends[which] - len(part)))
        return rows

    return Rows((int(ends[-1]), *parts[0].shape[1:]), dtype, read)


def unstacked(rows: Rows) -> Grouped:
    """An array [n, k, ...] as n items with k rows each."""
    number, each = rows.shape[:2]

    def read(numbers: np.ndarray) -> np.ndarray:
        found: np.ndarray = rows.read(numbers // each)[np.arange(len(numbers)), numbers % each]
        return found

    flat = Rows((number * each, *rows.shape[2:]), rows.dtype, read)
    return Grouped(flat, np.full(number, each, np.int64))


def runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields begin and end of each run of consecutive numbers."""
    if not len(numbers):
        return
    breaks = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    yield from zip([0, *breaks], [*breaks, len(numbers)], strict=True)
