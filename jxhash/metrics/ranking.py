"""Rankings by real-valued distances, and with ties in database order.

A ranking is a Histogram whose groups are the tied items in order, so all measures of positions
apply to it. It is as wide as the database, so it is built for one block of queries at a time.
"""

import operator
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from jxhash.metrics.histogram import Array, Histogram, Ranking, count_groups, whole_relevance

TIES = ("expected", "database_order")

# A ranking and its measures take about 100 bytes a pair: 200 MB.
_PAIRS_A_BLOCK = 1 << 21


def ranked_relevance(distances: Array, relevance: Array, *, ties: str = "expected") -> Ranking:
    """Ranks the items of each query by any distance, nearest first.

    Args:
      distances: [q, n] real-valued distances of any dtype; infinite ones rank last.
      relevance: [q, n] whole numbers: how relevant an item is (for multi-hot labels the number
        that is shared), 0 if not at all, at most 96; bool is 0 and 1.
      ties: the rule for items at equal distance: "expected" keeps them as one group, over whose
        orders measures are expectations; "database_order" ranks them in the order of the database,
        as published code with a stable sort does.

    Returns:
      A Ranking in numpy, padded with empty groups to the largest number of groups of a query;
      measures within a radius refuse it.

    Raises:
      ValueError: shapes do not fit, there is nothing in them, a distance is NaN, relevance is not
        in whole numbers or `ties` is unknown.

    >>> distances, relevance = np.array([[0.5, 0.1, 0.5]]), np.array([[0, 1, 1]])
    >>> ranked_relevance(distances, relevance).retrieved.tolist()
    [[1, 2]]
    >>> ranked_relevance(distances, relevance, ties="database_order").relevant.tolist()
    [[1, 0, 1]]
    """
    if ties not in TIES:
        raise ValueError(f"ties is one of {TIES}, not {ties!r}")
    distances, relevance = np.asarray(distances), whole_relevance(distances, relevance)
    if np.isnan(distances).any():
        raise ValueError(f"{np.isnan(distances).sum()} distances are NaN")
    if ties == "database_order":
        order = np.argsort(_narrowed(distances), axis=1, kind="stable")
        return _one_each(np.take_along_axis(relevance, order, axis=1))
    order = np.argsort(distances, axis=1)
    ordered = np.take_along_axis(distances, order, axis=1)
    ranks = np.zeros(order.shape, np.int64)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, out=ranks[:, 1:])
    ordered_relevance = np.take_along_axis(relevance, order, axis=1)
    return Ranking(*count_groups(ranks, ordered_relevance, int(ranks[:, -1].max()) + 1))


def _one_each(relevance: np.ndarray) -> Ranking:
    """The ranking without ties of items whose relevance, uint8 [q, n], is in ranking order."""
    worth = 2.0 ** np.arange(max(1, relevance.max()) + 1) - 1
    levels = [np.count_nonzero(relevance == level, axis=1) for level in range(len(worth))]
    return Ranking(
        retrieved=np.broadcast_to(np.int32(1), relevance.shape),
        relevant=(relevance > 0).astype(np.int32),
        gains=worth[relevance],
        levels=np.stack(levels, axis=1).astype(np.int32),
    )


def query_blocks(num_queries: int, num_items: int) -> Iterator[slice]:
    """Splits the queries into blocks of about two million pairs of query and item.

    >>> list(query_blocks(3, 1 << 20))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    rows = max(1, _PAIRS_A_BLOCK // max(1, num_items))
    for start in range(0, num_queries, rows):
        yield slice(start, min(start + rows, num_queries))


def measure_ranking(
    measures: Mapping[str, Callable[[Histogram], np.ndarray]],
    distances: Callable[[slice], np.ndarray],
    relevance: Callable[[slice], Array],
    num_queries: int,
    num_items: int,
    *,
    ties: str = "expected",
) -> dict[str, np.ndarray]:
    """Measures rankings by any distance with bounded memory, a block of queries at a time.

    Args:
      measures: functions of a Histogram that give a value, or several, for each query, such as
        those of `per_query`.
      distances: gives the distances [b, n] of the queries of a slice.
      relevance: gives their relevance [b, n], as `ranked_relevance` takes it.
      num_queries: the number q of queries.
      num_items: the number n of database items.
      ties: "expected" or "database_order".

    Returns:
      For each measure its values [q] or [q, ...].

    Raises:
      ValueError: as `ranked_relevance`; or a number is below 1, or differs from that of the rows or
        columns of a block.

    >>> from jxhash.metrics import per_query
    >>> matrix = np.array([[0.1, 0.2], [0.2, 0.1]])
    >>> found = measure_ranking(
    ...     {"MAP": per_query.average_precision}, matrix.__getitem__, np.eye(2).__getitem__, 2, 2
    ... )
    >>> found["MAP"].tolist()
    [1.0, 1.0]
    """
    if operator.index(num_queries) < 1 or operator.index(num_items) < 1:
        raise ValueError(f"{num_queries} queries over {num_items} items are no rankings")
    found: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for block in query_blocks(num_queries, num_items):
        ranking = ranked_relevance(
            _of_block(distances, block, num_items), relevance(block), ties=ties
        )
        for name, measure in measures.items():
            found[name].append(measure(ranking))
    return {name: np.concatenate(values) for name, values in found.items()}


def _of_block(distances: Callable[[slice], np.ndarray], block: slice, num_items: int) -> np.ndarray:
    found, expected = distances(block), (block.stop - block.start, num_items)
    if np.shape(found) != expected:
        raise ValueError(
            f"distances of the queries {block.start} to {block.stop - 1} are of shape {expected}, "
            f"not {np.shape(found)}"
        )
    return found


def _narrowed(distances: np.ndarray) -> np.ndarray:
    """Whole numbers in 8 or 16 bits if they fit, whose stable sort is linear."""
    if not np.issubdtype(distances.dtype, np.integer) or distances.min() < 0:
        return distances
    dtype = np.min_scalar_type(distances.max())
    return distances.astype(dtype) if dtype.itemsize <= 2 else distances
