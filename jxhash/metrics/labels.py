"""Labels of queries and items: what is refused of them, and how many are shared."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import codes

Array = jax.Array | np.ndarray


def check_labels(query_labels: Array, database_labels: Array) -> None:
    """Refuses what is neither multi-hot labels nor class ids over the same classes on both sides.

    Values are looked at where they are known: not while a function is being traced.

    Args:
      query_labels: [q, C] multi-hot labels of any real or bool dtype, or integer class ids [q].
      database_labels: [n, C] or [n], in the same form.

    Raises:
      ValueError: a side is empty or no such thing, the sides are over different classes, or
        multi-hot labels hold a negative value or NaN, or are class ids in a column.
      TypeError: class ids are not integers.
    """
    for side, labels in (("query", query_labels), ("database", database_labels)):
        if labels.ndim not in (1, 2) or labels.size == 0:
            raise ValueError(
                f"{side} labels are rows of multi-hot labels or class ids, not {labels.shape}"
            )
        if labels.ndim == 1 and not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(f"class ids are integers; the {side} labels are {labels.dtype}")
        if labels.ndim == 2 and not isinstance(labels, jax.core.Tracer):
            _check_multi_hot(labels, side)
    if query_labels.shape[1:] != database_labels.shape[1:]:
        raise ValueError(
            "labels are over the same classes or class ids on both sides, "
            f"not {query_labels.shape} (query) and {database_labels.shape} (database)"
        )


def _check_multi_hot(labels: Array, side: str) -> None:
    if labels.dtype == bool:
        return
    if not codes.every(lambda x: x >= 0, labels):
        raise ValueError(f"{side} labels are multi-hot, but hold a negative value or NaN")
    # Read as multi-hot, every id above 0 would be the one and same label.
    if labels.shape[1] == 1 and not codes.all_among((0, 1), labels):
        raise ValueError(
            f"{side} labels are one column of other values than 0 and 1; class ids have no "
            "columns: pass labels[:, 0]"
        )


def packed_labels(query_labels: Array, database_labels: Array) -> tuple[Array, Array]:
    """Multi-hot labels as bits, uint8 [rows, bytes]; class ids as int32."""
    if query_labels.ndim == 2:
        return codes.pack(query_labels), codes.pack(database_labels)
    if all(np.can_cast(ids.dtype, np.int32) for ids in (query_labels, database_labels)):
        return query_labels.astype(np.int32), database_labels.astype(np.int32)
    if any(isinstance(ids, jax.core.Tracer) for ids in (query_labels, database_labels)):
        raise TypeError(
            "class ids in a transformed function are int32, "
            f"not {query_labels.dtype} and {database_labels.dtype}"
        )
    return _renumbered(np.asarray(query_labels), np.asarray(database_labels))


def _renumbered(query_ids: np.ndarray, database_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of any size, such as the numbers of pictures, as places among those of the database."""
    known = np.unique(database_ids[database_ids >= 0])
    if len(known) == 0:
        return np.full(query_ids.shape, -1, np.int32), np.full(database_ids.shape, -1, np.int32)
    return _places(known, query_ids), _places(known, database_ids)


def _places(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place] == ids, place, -1).astype(np.int32)


def shared_labels(query_labels: np.ndarray, database_labels: np.ndarray) -> np.ndarray:
    """Counts the labels that each query shares with each item: graded relevance.

    Args:
      query_labels: [q, C] multi-hot labels of any real or bool dtype (positive: has the label), or
        integer class ids [q], where a negative id means no label.
      database_labels: [n, C] or [n], in the same form.

    Returns:
      int32 [q, n].

    Raises:
      ValueError: a side is empty, the two are not labels over the same classes, multi-hot labels
        hold a negative value or NaN, or are class ids in a column.
      TypeError: class ids are not integers.

    >>> shared_labels(np.array([[1, 1, 0]]), np.array([[1, 1, 1], [0, 0, 1]])).tolist()
    [[2, 0]]
    """
    return label_relevance(query_labels, database_labels)(slice(None)).astype(np.int32)


def label_relevance(
    query_labels: np.ndarray, database_labels: np.ndarray
) -> Callable[[Any], np.ndarray]:
    """`shared_labels` a block of queries at a time, as `measure_ranking` takes it.

    The labels are checked and packed once, not for every block.

    Args:
      query_labels: as `shared_labels` takes them.
      database_labels: the same.

    Returns:
      A function from the numbers of b queries (a slice or an array) to whole numbers [b, n].

    Raises:
      ValueError, TypeError: as `shared_labels`.

    >>> label_relevance(np.array([0, 1, 7]), np.array([1, 0, 0]))(slice(0, 2)).astype(int).tolist()
    [[0, 1, 1], [1, 0, 0]]
    """
    query_labels, database_labels = np.asarray(query_labels), np.asarray(database_labels)
    check_labels(query_labels, database_labels)
    query, database = packed_labels(query_labels, database_labels)
    if query.ndim == 1:
        return lambda rows: (query[rows, None] == database) & (query[rows, None] >= 0)
    query, database = codes.words(query), codes.words(database)
    return lambda rows: codes.set_bits(np.bitwise_and, query[rows], database)
