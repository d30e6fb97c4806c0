"""Pictures that stay encoded until threads decode them, ahead of whoever works with them.

Pillow decodes and scales outside Python's lock, so that threads keep all cores busy.
"""

import collections
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from jxhash.errors import UserError
from jxhash.rows import RowArray

# Decoded pictures that wait to be looked at; each has some 150 kB at 224 x 224.
_AHEAD = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.cache
def _pool() -> ThreadPoolExecutor:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores, thread_name_prefix="decode")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Applies a function in threads, in order, at most `depth` items ahead.

    Yields each item, read only when needed, with its finished future, whose `result()` raises what
    the function raised.

    >>> [future.result() for _, future in ahead(abs, [-1, 2, -3], depth=2)]
    [1, 2, 3]
    """
    items = iter(items)
    waiting = collections.deque(
        (item, _pool().submit(function, item)) for item in islice(items, depth)
    )
    try:
        while waiting:
            item, future = waiting.popleft()
            future.exception()
            waiting.extend((new, _pool().submit(function, new)) for new in islice(items, 1))
            yield item, future
    finally:
        for _, future in waiting:
            future.cancel()


class Pictures(Sequence[bytes]):
    """Encoded pictures that are read from where they lie when they are asked for.

    `read` gives the picture of a place, or raises a UserError; `places` has the place of each.
    """

    def __init__(self, read: Callable[[int], bytes], places: np.ndarray) -> None:
        self._read, self._places = read, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, row: Any) -> Any:
        """The picture of a row number."""
        return self._read(int(self._places[row]))

    def take(self, rows: np.ndarray) -> "Pictures":
        """Some of them."""
        return Pictures(self._read, self._places[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedPictures:
    """Encoded pictures that stand for an array uint8 [n, size, size, 3].

    They stay encoded: rows are decoded, on all cores, whenever they are read.
    """

    pictures: Sequence[Any]  # encoded, or their files
    names: Sequence[Any]  # what messages call them
    # Brings one to uint8 [size, size, 3]; raises a ValueError where it is damaged.
    fit: Callable[[Any], np.ndarray]
    size: int
    rows: np.ndarray | None = None  # which of the pictures are meant; None for all

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that they stand for."""
        return (len(self), self.size, self.size, 3)

    @property
    def nbytes(self) -> int:
        """Of the array that they stand for."""
        return math.prod(self.shape)

    @property
    def described(self) -> str:
        """What they are, in words."""
        return f"the pictures, {self.size} x {self.size} pixels, RGB"

    def __len__(self) -> int:
        return len(self.pictures if self.rows is None else self.rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Decodes rows: a slice, or an array of row numbers of any shape."""
        index = np.arange(len(self))[rows]
        decoded = np.empty((index.size, *self.shape[1:]), np.uint8)
        list(_pool().map(self._decode_into, decoded, index.ravel().tolist()))
        return decoded.reshape(*index.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decodes all rows."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> "EncodedPictures":
        """Some of the pictures, still encoded."""
        return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

    def decode(self, row: int) -> np.ndarray:
        """One row, uint8 [size, size, 3].

        Raises:
          UserError: the picture is damaged; the message names it.
        """
        row = row if self.rows is None else self.rows[row]
        try:
            return self.fit(self.pictures[row])
        except ValueError as error:
            raise UserError(f"{self.names[row]}: {error}") from error

    def _decode_into(self, target: np.ndarray, row: int) -> None:
        target[:] = self.decode(row)


def damage(pictures: EncodedPictures, rows: np.ndarray) -> dict[int, str]:
    """Decodes rows once, a few at a time: the error of each damaged one by row."""
    said = {}
    read = ahead(pictures.decode, rows.tolist(), depth=_AHEAD)
    for row, future in tqdm(read, "checking pictures", len(rows), unit="picture", delay=2):
        try:
            future.result()
        except UserError as error:
            said[row] = str(error)
    return said


def in_squares(pictures: Sequence[Any], names: Sequence[str], size: int) -> EncodedPictures:
    """Pictures padded with white to squares and scaled to `size`, by `efficientnet_lite.fit`."""
    from jxhash.networks import efficientnet_lite

    fit = functools.partial(efficientnet_lite.fit, size=size)
    return EncodedPictures(pictures, names, fit, size)


def said_of(images: RowArray) -> str:
    """What images are, for a card."""
    if isinstance(images, EncodedPictures):
        return images.described
    return f"{images.dtype} {images.shape[1:]} as given"
