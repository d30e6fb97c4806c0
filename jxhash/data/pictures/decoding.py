"""Pictures that stay encoded until threads decode them, ahead of whoever works with them.

Pillow decodes and scales outside Python's lock, so that threads keep all cores busy.
"""

import collections
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from jxhash.arrays import Rows
from jxhash.errors import UserError

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

    Args:
      function: such as the `fit` of a network.
      items: what it is applied to; read only as far as needed.
      depth: results that may wait.

    Yields:
      Each item with its finished future, whose `result()` raises what the function raised.

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
    """Encoded pictures that are read from where they lie when they are asked for."""

    def __init__(self, read: Callable[[int], bytes], places: np.ndarray) -> None:
        """Takes pictures without reading them.

        Args:
          read: gives the picture of a place, or raises a UserError.
          places: int [n], of the pictures.
        """
        self._read, self._places = read, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, row: int) -> bytes:
        return self._read(int(self._places[row]))

    def take(self, rows: np.ndarray) -> "Pictures":
        """Some of them."""
        return Pictures(self._read, self._places[rows])


class EncodedPictures:
    """Encoded pictures that stand for an array uint8 [n, size, size, 3].

    They stay encoded: rows are decoded, on all cores, whenever they are read.

    Attributes:
      shape, dtype, ndim, nbytes: of the array that they stand for.
      described: what they are, in words.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        pictures: Sequence[Any],
        names: Sequence[str],
        fit: Callable[[Any], np.ndarray],
        size: int,
        rows: np.ndarray | None = None,
    ) -> None:
        """Takes pictures without opening them.

        Args:
          pictures: encoded pictures, or their files.
          names: what messages call them.
          fit: brings one to uint8 [size, size, 3], such as `networks.cnn_f.fit`; raises a
            ValueError where it is damaged.
          size: height and width of the rows.
          rows: which of the pictures are meant; None for all.
        """
        self._pictures, self._names, self._fit, self._size = pictures, names, fit, size
        self._rows = np.arange(len(pictures)) if rows is None else rows
        self.shape = (len(self._rows), size, size, 3)
        self.nbytes = math.prod(self.shape)
        self.described = f"the pictures, {size} x {size} pixels, RGB"

    def __len__(self) -> int:
        return len(self._rows)

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
        return EncodedPictures(self._pictures, self._names, self._fit, self._size, self._rows[rows])

    def decode(self, row: int) -> np.ndarray:
        """One row, uint8 [size, size, 3].

        Raises:
          UserError: the picture is damaged; its name is said.
        """
        row = self._rows[row]
        try:
            return self._fit(self._pictures[row])
        except ValueError as error:
            raise UserError(f"{self._names[row]}: {error}") from error

    def _decode_into(self, target: np.ndarray, row: int) -> None:
        target[:] = self.decode(row)


def damage(pictures: EncodedPictures, rows: np.ndarray) -> dict[int, str]:
    """Decodes rows once, a few at a time, and tells what is wrong with those that are damaged."""
    said = {}
    read = ahead(pictures.decode, rows.tolist(), depth=_AHEAD)
    for row, future in tqdm(read, "checking pictures", len(rows), unit="picture", delay=2):
        try:
            future.result()
        except UserError as error:
            said[row] = str(error)
    return said


def in_squares(pictures: Sequence[Any], names: Sequence[str], size: int) -> EncodedPictures:
    """Pictures padded with white to squares and scaled, as `networks.pretrained.fit` does.

    Args:
      pictures: encoded, or their files.
      names: what messages call them.
      size: height and width of the rows.
    """
    from jxhash.networks import pretrained

    return EncodedPictures(pictures, names, functools.partial(pretrained.fit, size=size), size)


def said_of(images: np.ndarray | Rows | EncodedPictures) -> str:
    """What images are, for a card."""
    if isinstance(images, EncodedPictures):
        return images.described
    return f"{images.dtype} {images.shape[1:]} as given"


def some_rows(images: np.ndarray | EncodedPictures, rows: np.ndarray) -> Any:
    """Some rows of an array, or of what stands for one."""
    return images.take(rows) if isinstance(images, EncodedPictures) else images[rows]
