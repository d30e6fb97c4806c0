"""Pictures decoded by threads, ahead of whoever works with them.

Pillow decodes and scales outside Python's lock, so that threads keep all cores busy.
"""

import collections
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from jxhash.errors import UserError

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


class EncodedPictures:
    """Encoded pictures that stand for an array uint8 [n, size, size, 3].

    They stay encoded: rows are decoded, on all cores, whenever they are read.

    Attributes:
      shape, dtype, ndim, nbytes: of the array that they stand for.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self, pictures: Sequence[Any], fit: Callable[[Any], np.ndarray], size: int
    ) -> None:
        """Takes pictures without opening them.

        Args:
          pictures: encoded pictures, or their files.
          fit: brings one to uint8 [size, size, 3], such as `networks.cnn_f.fit`; raises a
            ValueError where it is damaged.
          size: height and width of the rows.
        """
        self._pictures, self._fit, self._size = pictures, fit, size
        self.shape = (len(pictures), size, size, 3)
        self.nbytes = len(pictures) * size * size * 3

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Decodes rows: a slice, or an array of row numbers of any shape."""
        index = np.arange(len(self))[rows]
        decoded = np.empty((index.size, *self.shape[1:]), np.uint8)
        list(_pool().map(self._decode_into, decoded, index.ravel().tolist()))
        return decoded.reshape(*index.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decodes all rows."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def of(self, rows: np.ndarray) -> "EncodedPictures":
        """Some of the pictures, still encoded."""
        return EncodedPictures([self._pictures[row] for row in rows], self._fit, self._size)

    def _decode_into(self, target: np.ndarray, row: int) -> None:
        try:
            target[:] = self._fit(self._pictures[row])
        except ValueError as error:
            raise UserError(f"the picture of row {row} cannot be read: {error}") from error
