"""Counts of database items at every Hamming distance, from which all measures are read.

K bits have K + 1 distances, so that a ranking of any database is, for each query, no more than
K + 1 tied groups: how many items each holds, and how many of them are relevant. Nothing is sorted.
"""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import codes as codes_lib
from jxhash import parallel
from jxhash.metrics.labels import check_labels, packed_labels

Array = jax.Array | np.ndarray

# Blocks of pairs that the JAX form holds at a time: 4 MB of keys.
_QUERY_BLOCK = 64
_DATABASE_BLOCK = 16384
# The sum of 2^s over as many items as an int32 counts is finite in float32; items that share more
# labels than this count as sharing so many.
_MOST_SHARED = 96


class Histogram(NamedTuple):
    """What each query finds, by tied groups in ranking order (nearest first).

    In a histogram of Hamming distances group d holds the items at distance d.

    Attributes:
      retrieved: int32 [q, groups], the number of items in the group.
      relevant: int32 [q, groups], the number of them that are relevant.
      gains: float64 [q, groups], the sum over the group of 2^s - 1, where s is the number of labels
        that query and item share; with binary relevance the same numbers as `relevant`.
      levels: int32 [q, S + 1], the number of database items of each s, whatever their distance; the
        ideal ranking of NDCG is made from it.
    """

    retrieved: Array
    relevant: Array
    gains: Array
    levels: Array


class Ranking(Histogram):
    """A Histogram whose groups are ranks and no distances, so that nothing is within a radius."""

    __slots__ = ()


class _Rows(NamedTuple):
    """One side of the comparison: packed codes, and packed multi-hot labels or class ids."""

    codes: Array
    labels: Array


def distance_histogram(
    query_codes: Array,
    database_codes: Array,
    query_labels: Array,
    database_labels: Array,
    *,
    num_bits: int | None = None,
    graded: bool = False,
) -> Histogram:
    """Counts the database items, and the relevant ones, at each Hamming distance of each query.

    An item is relevant if it shares a label with the query; a row without labels is relevant to
    nothing. The work is done in blocks: by compiled code on all cores for arrays on the host, by
    JAX on accelerators (all devices share the database rows), inside a transformed function and
    where numba is not installed.

    Args:
      query_codes: [q, K] codes in {-1, +1} of any signed or float dtype, or packed uint8 [q, bytes]
        as `codes.pack` (FAISS, "ubinary") makes them.
      database_codes: [n, K] or [n, bytes], in the same form.
      query_labels: [q, C] multi-hot labels of any real or bool dtype (positive: has the label), or
        integer class ids [q], where a negative id means no label.
      database_labels: [n, C] or [n], in the same form.
      num_bits: the code length K of packed codes.
      graded: whether gains and levels count shared labels; otherwise relevance is 0 or 1.

    Returns:
      A Histogram with K + 1 groups, in numpy (inside a transformed function: in jax, with gains in
      float32).

    Raises:
      ValueError: a side is empty, shapes do not fit, packed codes come without `num_bits`, codes
        hold a third value or labels a negative one.
      TypeError: one side is packed and the other is not, or class ids are not integers.

    >>> query = np.array([[1, 1, 1]])
    >>> database = np.array([[1, 1, 1], [1, 1, -1], [-1, 1, 1], [-1, -1, -1]])
    >>> h = distance_histogram(query, database, np.array([0]), np.array([0, 0, 1, 1]))
    >>> h.retrieved.tolist(), h.relevant.tolist()
    ([[1, 2, 0, 1]], [[1, 1, 0, 0]])
    """
    arrays = (query_codes, database_codes, query_labels, database_labels)
    traced = any(isinstance(array, jax.core.Tracer) for array in arrays)
    on_host = not traced and all(map(_is_on_host, arrays))
    query_codes, database_codes, query_labels, database_labels = (
        array if isinstance(array, jax.Array) and not on_host else np.asarray(array)
        for array in arrays
    )
    num_bits = _check_codes(query_codes, database_codes, num_bits)
    _check_rows(query_codes, query_labels, "query")
    _check_rows(database_codes, database_labels, "database")
    check_labels(query_labels, database_labels)
    if not traced:
        _check_values(query_codes, "query")
        _check_values(database_codes, "database")

    query, database = _packed(
        _Rows(query_codes, query_labels), _Rows(database_codes, database_labels), num_bits
    )
    top_level = 1
    if graded and query_labels.ndim == 2:
        top_level = query_labels.shape[1] if traced else _top_level(query, database)
        top_level = min(top_level, _MOST_SHARED)
    if traced:
        return _from_counts(_count(query, database, num_bits, top_level))
    count = _compiled_count() if on_host else None
    counts = (count or _count_over_devices)(query, database, num_bits, top_level)
    return _from_counts(np.asarray(counts))


def block_histogram(distances: Array, relevance: Array, *, max_distance: int) -> Histogram:
    """The histogram of given whole-number distances and relevance, for what labels cannot say.

    Args:
      distances: [q, n] whole numbers in 0 .. max_distance, any real dtype.
      relevance: [q, n] whole numbers: how relevant an item is (for multi-hot labels the number
        that is shared), 0 if not at all, at most 96; bool is 0 and 1.
      max_distance: the largest possible distance.

    Returns:
      A Histogram with max_distance + 1 groups, in numpy. Blocks of queries are put together by
      `join`.

    Raises:
      ValueError: shapes do not fit, there is nothing in them, or an entry is not such a number.

    >>> h = block_histogram(np.array([[2, 0, 2]]), np.array([[0, 1, 1]]), max_distance=2)
    >>> h.retrieved.tolist(), h.relevant.tolist()
    ([[1, 0, 2]], [[1, 0, 1]])
    """
    distances, relevance = np.asarray(distances), whole_relevance(distances, relevance)
    with np.errstate(invalid="ignore"):
        keys = distances.astype(np.int64)
    if not np.all((keys == distances) & (keys >= 0) & (keys <= max_distance)):
        raise ValueError(f"distances are whole numbers from 0 to max_distance={max_distance}")
    return count_groups(keys, relevance, max_distance + 1)


def join(histograms: Sequence[Histogram]) -> Histogram:
    """Puts histograms of different queries over the same database below each other.

    Args:
      histograms: with the same number of groups.

    Returns:
      One Histogram with the queries of all.

    Raises:
      ValueError: there are none, or they have different numbers of groups.

    >>> found = block_histogram(np.array([[0, 1, 1]]), np.array([[1, 0, 0]]), max_distance=1)
    >>> join([found, found]).retrieved.tolist()
    [[1, 2], [1, 2]]
    """
    kinds = {(type(histogram), histogram.retrieved.shape[1]) for histogram in histograms}
    if len(kinds) != 1:
        raise ValueError("histograms to join are some, of one kind and one number of groups")
    width = max(histogram.levels.shape[1] for histogram in histograms)
    levels = [
        np.pad(histogram.levels, ((0, 0), (0, width - histogram.levels.shape[1])))
        for histogram in histograms
    ]
    parts = [
        histogram._replace(levels=level)
        for histogram, level in zip(histograms, levels, strict=True)
    ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def random_ranking(histogram: Histogram) -> Ranking:
    """Puts all items of the database into one tied group: what a random ranking would find.

    Every measure of positions (not of radii) read from the result is that measure's exact expected
    value under a uniformly random order of the database: the floor that a method has to beat.

    Args:
      histogram: what any ranking of the same database found.

    Returns:
      A Ranking with one group.

    >>> found = block_histogram(np.array([[0, 1, 1]]), np.array([[1, 0, 0]]), max_distance=1)
    >>> random_ranking(found).retrieved.tolist(), random_ranking(found).relevant.tolist()
    ([[3]], [[1]])
    """
    return Ranking(
        retrieved=histogram.retrieved.sum(axis=1, keepdims=True),
        relevant=histogram.relevant.sum(axis=1, keepdims=True),
        gains=histogram.gains.sum(axis=1, keepdims=True),
        levels=histogram.levels,
    )


def _xp(array: Array) -> ModuleType:
    return jnp if isinstance(array, jax.Array) else np


def _is_on_host(array: Array) -> bool:
    if isinstance(array, jax.Array):
        return all(device.platform == "cpu" for device in array.devices())
    return jax.default_backend() == "cpu"


@functools.cache
def _compiled_count() -> Callable | None:
    try:
        from jxhash.metrics import cpu_histogram
    except ImportError:
        return None
    return cpu_histogram.count


def _check_codes(query_codes: Array, database_codes: Array, num_bits: int | None) -> int:
    for side, codes in (("query", query_codes), ("database", database_codes)):
        if codes.ndim != 2 or codes.size == 0:
            raise ValueError(f"{side} codes are a matrix with rows, not of shape {codes.shape}")
    if num_bits is None and query_codes.dtype == database_codes.dtype == np.uint8:
        raise ValueError("uint8 codes are packed: pass their length as num_bits")
    return codes_lib.common_length(query_codes, database_codes, num_bits)


def _check_rows(codes: Array, labels: Array, side: str) -> None:
    if labels.shape[:1] != codes.shape[:1]:
        raise ValueError(
            f"{codes.shape[0]} {side} codes need as many rows of multi-hot labels "
            f"or class ids, not {labels.shape}"
        )


def _check_values(codes: Array, side: str) -> None:
    are_bits = codes.dtype == bool
    if codes.dtype == np.uint8 or (not are_bits and codes_lib.all_among((-1, 1), codes)):
        return
    # The sign of a 0 is +1, so that codes of 0 and 1 would become all the same.
    if are_bits or codes_lib.all_among((0, 1), codes):
        raise ValueError(
            f"{side} codes hold 0 and 1 for -1 and +1: take 2 * bits - 1, or pack the bits"
        )
    raise ValueError(f"{side} codes hold more than -1 and +1: pass them through codes.sign")


def _packed(query: _Rows, database: _Rows, num_bits: int) -> tuple[_Rows, _Rows]:
    query_codes, database_codes = query.codes, database.codes
    if query_codes.dtype == np.uint8:
        # What a foreign packer left after the last bit must not count.
        used = np.packbits(np.arange(8 * query_codes.shape[1]) < num_bits)[None]
        query_codes, database_codes = query_codes & used, database_codes & used
    else:
        query_codes, database_codes = codes_lib.pack(query_codes), codes_lib.pack(database_codes)
    labels = packed_labels(query.labels, database.labels)
    return _Rows(query_codes, labels[0]), _Rows(database_codes, labels[1])


def _top_level(query: _Rows, database: _Rows) -> int:
    """The largest number of labels that a query and an item could share."""
    most = [
        _xp(side.labels).bitwise_count(side.labels).sum(axis=1).max() for side in (query, database)
    ]
    return max(1, int(min(most)))


def _from_counts(counts: Array) -> Histogram:
    """From the joint counts [q, S + 1, groups] of shared labels and group."""
    worth = [2.0**level - 1 for level in range(counts.shape[1])]
    return Histogram(
        retrieved=counts.sum(axis=1, dtype=np.int32),
        relevant=counts[:, 1:].sum(axis=1, dtype=np.int32),
        gains=sum(counts[:, level] * worth[level] for level in range(1, counts.shape[1])),
        levels=counts.sum(axis=2, dtype=np.int32),
    )


def _count_over_devices(query: _Rows, database: _Rows, num_bits: int, top_level: int) -> jax.Array:
    """The counts, each device of this process having taken a share of the database rows."""
    present = _xp(database.codes).ones(database.codes.shape[0], bool)
    shares = jax.tree.map(lambda x: _blocks(x, jax.local_device_count()), (database, present))
    return _pmapped_count(num_bits, top_level)(query, *shares)


@functools.lru_cache(maxsize=32)
def _pmapped_count(num_bits: int, top_level: int) -> Callable:
    def count(query: _Rows, database: _Rows, present: jax.Array) -> jax.Array:
        return parallel.total(_count(query, database, num_bits, top_level, present))

    return parallel.pmapped(count, in_axes=(None, 0, 0), devices=jax.local_devices())


def _count(
    query: _Rows,
    database: _Rows,
    num_bits: int,
    top_level: int,
    present: jax.Array | bool = True,
) -> jax.Array:
    """The counts int32 [q, S + 1, K + 1] in JAX, block by block."""
    num_queries, num_items = query.codes.shape[0], database.codes.shape[0]
    num_keys = (top_level + 1) * (num_bits + 1)
    query, database = (
        _Rows(codes_lib.words(jnp.asarray(codes)), _words_or_ids(jnp.asarray(labels)))
        for codes, labels in (query, database)
    )
    present = jnp.broadcast_to(present, num_items)
    queries = jax.tree.map(lambda x: _blocks(x, -(-num_queries // _QUERY_BLOCK)), query)
    items = jax.tree.map(
        lambda x: _blocks(x, -(-num_items // _DATABASE_BLOCK)), (database, present)
    )

    def count_block(queries: _Rows, items: tuple[_Rows, jax.Array]) -> jax.Array:
        rows, present = items
        distances = codes_lib.set_bits(jnp.bitwise_xor, queries.codes, rows.codes)
        shared = _shared(queries.labels, rows.labels)
        keys = distances + (num_bits + 1) * jnp.minimum(shared, top_level)
        return _count_keys(jnp.where(present[None], keys, num_keys), num_keys)

    counts = jax.lax.map(
        lambda block: jax.lax.map(functools.partial(count_block, block), items).sum(axis=0),
        queries,
    )
    return counts.reshape(-1, top_level + 1, num_bits + 1)[:num_queries]


def _blocks(array: Array, number: int) -> Array:
    """The rows in `number` blocks of one length, zeros after the last."""
    length = -(-array.shape[0] // number)
    padding = ((0, number * length - array.shape[0]),) + ((0, 0),) * (array.ndim - 1)
    return _xp(array).pad(array, padding).reshape(number, length, *array.shape[1:])


def _words_or_ids(labels: jax.Array) -> jax.Array:
    return labels if labels.ndim == 1 else codes_lib.words(labels)


def _shared(query_labels: jax.Array, database_labels: jax.Array) -> jax.Array:
    if query_labels.ndim == 2:
        return codes_lib.set_bits(jnp.bitwise_and, query_labels, database_labels)
    same = query_labels[:, None] == database_labels[None, :]
    return (same & (query_labels >= 0)[:, None]).astype(jnp.int32)


def _count_keys(keys: jax.Array, num_keys: int) -> jax.Array:
    """How often each of 0 .. num_keys - 1 occurs in each row [b, n]; int32 [b, num_keys]."""
    return jax.lax.platform_dependent(
        keys,
        cpu=functools.partial(_count_by_scatter, num_keys=num_keys),
        default=functools.partial(_count_by_comparison, num_keys=num_keys),
    )


def _count_by_scatter(keys: jax.Array, num_keys: int) -> jax.Array:
    rows = jnp.arange(keys.shape[0])[:, None]
    counts = jnp.zeros((keys.shape[0], num_keys), jnp.int32)
    return counts.at[rows, keys].add(1, mode="drop")


def _count_by_comparison(keys: jax.Array, num_keys: int) -> jax.Array:
    # Accelerators add to scattered places one after the other; comparing is parallel.
    counts = jax.lax.map(lambda key: jnp.sum(keys == key, axis=1), jnp.arange(num_keys))
    return counts.T.astype(jnp.int32)


def whole_relevance(distances: Array, relevance: Array) -> np.ndarray:
    """Relevance as uint8, after a check that it is a matrix of whole numbers like the distances."""
    relevance = np.asarray(relevance)
    if relevance.ndim != 2 or relevance.size == 0 or np.shape(distances) != relevance.shape:
        raise ValueError(
            "distances and relevance are matrices of one shape with rows, "
            f"not {np.shape(distances)} and {relevance.shape}"
        )
    with np.errstate(invalid="ignore"):
        whole = relevance.astype(np.uint8)
    if not np.all((whole == relevance) & (whole <= _MOST_SHARED)):
        raise ValueError(f"relevance is in whole numbers from 0 to {_MOST_SHARED}")
    return whole


def count_groups(groups: np.ndarray, relevance: np.ndarray, num_groups: int) -> Histogram:
    """The Histogram of items whose group, int64 [q, n], and relevance, uint8 [q, n], are known."""
    rows = np.arange(len(groups))[:, None]
    worth = 2.0 ** np.arange(max(1, relevance.max()) + 1) - 1
    cells = (rows * num_groups + groups).ravel()
    levels = (rows * len(worth) + relevance).ravel()
    shape = len(groups), num_groups

    def count(cells: np.ndarray, shape: tuple[int, int], **weights: np.ndarray) -> np.ndarray:
        return np.bincount(cells, minlength=shape[0] * shape[1], **weights).reshape(shape)

    return Histogram(
        retrieved=count(cells, shape).astype(np.int32),
        relevant=count(cells[relevance.ravel() > 0], shape).astype(np.int32),
        gains=count(cells, shape, weights=worth[relevance.ravel()]),
        levels=count(levels, (len(groups), len(worth))).astype(np.int32),
    )
