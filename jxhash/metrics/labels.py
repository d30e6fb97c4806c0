"""Validates labels, and counts those that queries and items share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import codes

Array = jax.Array | np.ndarray


def check_labels(query_labels: Array, database_labels: Array) -> None:
    """Checks labels as `shared_labels` takes them; their values unless a function is traced.

    Raises:
      ValueError: a side is empty or of another form, the sides are over different classes, or
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
    # As multi-hot labels, all ids above 0 would be the same label.
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
    # Larger ids, such as image ids, are renumbered; an id below 0 means no label.
    sides = np.asarray(query_labels), np.asarray(database_labels)
    every = np.concatenate([ids.astype(np.uint64) for ids in sides])
    numbers = np.unique(every, return_inverse=True)[1].astype(np.int32)
    numbers[np.concatenate([ids < 0 for ids in sides])] = -1
    return numbers[: len(query_labels)], numbers[len(query_labels) :]


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
    return np.asarray(label_relevance(query_labels, database_labels)(slice(None)), np.int32)


def label_relevance(
    query_labels: np.ndarray, database_labels: np.ndarray
) -> Callable[[Any], Array]:
    """`shared_labels` a block of queries at a time, as `measure_ranking` takes it.

    The labels are checked, with the errors of `shared_labels`, and packed once.

    Returns:
      A function from the indices of b queries (a slice or an array) to whole numbers [b, n].

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
