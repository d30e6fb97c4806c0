"""Counts of database items at every Hamming distance, from which all measures are computed.

K bits have K + 1 distances, so a ranking of any database has at most K + 1 tied groups per query.
The numbers of items and of relevant items in each say all about it; nothing is sorted.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import codes as codes_lib
from jxhash import parallel
from jxhash._sharding import any_mesh, row_sharded
from jxhash.metrics.labels import check_labels, packed_labels

Array = jax.Array | np.ndarray

# Block sizes of the JAX implementation: 4 MB of keys.
_QUERY_BLOCK = 64
_DATABASE_BLOCK = 16384
# Larger numbers of shared labels are clipped, so that the sum of 2^s over any int32 number of items
# is finite in float32.
_MOST_SHARED = 96


class Histogram(NamedTuple):
    """Counts per query and tied group, in ranking order (nearest first).

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
    """A Histogram whose groups are ranks, not distances: lookups within a radius are undefined."""

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
    nothing. Pairs are processed in blocks: by numba on all cores for arrays on the host; by JAX on
    accelerators (with the database sharded over all devices), inside a transformed function, and
    without numba.

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
    query, database = _Rows(query_codes, query_labels), _Rows(database_codes, database_labels)
    _check_rows(query, "query", traced)
    _check_rows(database, "database", traced)
    if num_bits is None and query_codes.dtype == database_codes.dtype == np.uint8:
        raise ValueError("uint8 codes are packed: pass their length as num_bits")
    num_bits = codes_lib.common_length(query_codes, database_codes, num_bits)
    check_labels(query_labels, database_labels)
    query, database = _packed(query, database, num_bits)
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
    """The histogram of given integer distances and relevance.

    Args:
      distances: [q, n] whole numbers in 0 .. max_distance, any real dtype.
      relevance: [q, n] whole numbers: how relevant an item is (for multi-hot labels the number
        that is shared), 0 if not at all, at most 96; bool is 0 and 1.
      max_distance: the largest possible distance.

    Returns:
      A Histogram with max_distance + 1 groups, in numpy; `join` concatenates blocks of queries.

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
    """Concatenates histograms of different queries over the same database.

    Raises:
      ValueError: there are none, or they have different numbers of groups.

    >>> found = block_histogram(np.array([[0, 1, 1]]), np.array([[1, 0, 0]]), max_distance=1)
    >>> join([found, found]).retrieved.tolist()
    [[1, 2], [1, 2]]
    """
    kinds = {(type(histogram), histogram.retrieved.shape[1]) for histogram in histograms}
    if len(kinds) != 1:
        raise ValueError(
            "join takes at least one histogram, all of one kind and one number of groups"
        )
    width = max(histogram.levels.shape[1] for histogram in histograms)
    padded = [
        one._replace(levels=np.pad(one.levels, ((0, 0), (0, width - one.levels.shape[1]))))
        for one in histograms
    ]
    joined: Histogram = jax.tree.map(lambda *arrays: np.concatenate(arrays), *padded)
    return joined


def random_ranking(histogram: Histogram) -> Ranking:
    """Merges all items of the database into one tied group: a random ranking.

    Every measure of positions (not of radii) of the result is that measure's exact expected value
    under a uniformly random order of the database: the floor that a method has to beat. Any
    histogram over the same database gives the same.

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


def _is_on_host(array: Array) -> bool:
    if isinstance(array, jax.Array):
        return all(device.platform == "cpu" for device in array.devices())
    return jax.default_backend() == "cpu"


@functools.cache
def _compiled_count() -> Callable[[_Rows, _Rows, int, int], Array] | None:
    try:
        from jxhash.metrics import cpu_histogram
    except ImportError:
        return None
    return cpu_histogram.count


def _check_rows(rows: _Rows, side: str, traced: bool) -> None:
    codes, labels = rows
    if codes.ndim != 2 or codes.size == 0:
        raise ValueError(f"{side} codes are a matrix with rows, not of shape {codes.shape}")
    if labels.shape[:1] != codes.shape[:1]:
        raise ValueError(
            f"{codes.shape[0]} {side} codes need as many rows of multi-hot labels "
            f"or class ids, not {labels.shape}"
        )
    are_bits = codes.dtype == bool
    if traced or codes.dtype == np.uint8:
        return
    if not are_bits and codes_lib.all_among((-1, 1), codes):
        return
    # The sign of a 0 is +1, so codes of 0 and 1 would all become +1.
    if are_bits or codes_lib.all_among((0, 1), codes):
        raise ValueError(
            f"{side} codes hold 0 and 1 for -1 and +1: take 2 * bits - 1, or pack the bits"
        )
    raise ValueError(f"{side} codes hold more than -1 and +1: pass them through codes.sign")


def _packed(query: _Rows, database: _Rows, num_bits: int) -> tuple[_Rows, _Rows]:
    query_codes, database_codes = query.codes, database.codes
    if query_codes.dtype == np.uint8:
        # Other packers may set the padding bits after the last bit.
        used = np.packbits(np.arange(8 * query_codes.shape[1]) < num_bits)[None]
        query_codes, database_codes = query_codes & used, database_codes & used
    else:
        query_codes, database_codes = codes_lib.pack(query_codes), codes_lib.pack(database_codes)
    labels = packed_labels(query.labels, database.labels)
    return _Rows(query_codes, labels[0]), _Rows(database_codes, labels[1])


def _top_level(query: _Rows, database: _Rows) -> int:
    """The largest number of labels that a query and an item could share."""
    xp = codes_lib.namespace(query.labels, database.labels)
    return max(1, min(int(xp.bitwise_count(x.labels).sum(1).max()) for x in (query, database)))


def _from_counts(counts: Array) -> Histogram:
    """From the joint counts [q, S + 1, groups] of shared labels and group."""
    dtype = codes_lib.namespace(counts).result_type(float)
    gains = [
        counts[:, level].astype(dtype) * (2.0**level - 1) for level in range(1, counts.shape[1])
    ]
    return Histogram(
        retrieved=counts.sum(axis=1, dtype=np.int32),
        relevant=counts[:, 1:].sum(axis=1, dtype=np.int32),
        gains=functools.reduce(operator.add, gains),
        levels=counts.sum(axis=2, dtype=np.int32),
    )


def _count_over_devices(query: _Rows, database: _Rows, num_bits: int, top_level: int) -> jax.Array:
    """The counts, with the database rows sharded over this process's devices."""
    query, database = jax.tree.map(_unplaced, (query, database))
    present = np.ones(database.codes.shape[0], bool)
    shares = jax.tree.map(lambda x: _blocks(x, jax.local_device_count()), (database, present))
    return _pmapped_count(num_bits, top_level)(query, *shares)


def _unplaced(array: Array) -> Array:
    """An array that a caller has placed, on the host; what is packed is small."""
    return np.asarray(array) if isinstance(array, jax.Array) and array.committed else array


@functools.lru_cache(maxsize=32)
def _pmapped_count(num_bits: int, top_level: int) -> Callable[..., jax.Array]:
    def count(query: _Rows, database: _Rows, present: jax.Array) -> Any:
        return parallel.total(_count(query, database, num_bits, top_level, present))

    return parallel.pmapped(count, in_axes=(None, 0, 0), devices=jax.local_devices())


@any_mesh(row_sharded)
def _count(
    query: _Rows, database: _Rows, num_bits: int, top_level: int, present: jax.Array | bool = True
) -> jax.Array:
    """The counts int32 [q, S + 1, K + 1] in JAX, block by block."""
    num_queries, num_items = query.codes.shape[0], database.codes.shape[0]
    num_keys = (top_level + 1) * (num_bits + 1)
    query, database = (
        _Rows(codes_lib.words(codes), labels if labels.ndim == 1 else codes_lib.words(labels))
        for codes, labels in jax.tree.map(jnp.asarray, (query, database))
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

    counts: jax.Array = jax.lax.map(
        lambda block: jax.lax.map(functools.partial(count_block, block), items).sum(axis=0), queries
    )
    return counts.reshape(-1, top_level + 1, num_bits + 1)[:num_queries]


def _blocks(array: Array, number: int) -> Array:
    """The rows in `number` blocks of one length, zeros after the last."""
    length = -(-array.shape[0] // number)
    padding = ((0, number * length - array.shape[0]),) + ((0, 0),) * (array.ndim - 1)
    padded: Array = codes_lib.namespace(array).pad(array, padding)
    return padded.reshape(number, length, *array.shape[1:])


def _shared(query_labels: Array, database_labels: Array) -> Array:
    if query_labels.ndim == 2:
        return codes_lib.set_bits(jnp.bitwise_and, query_labels, database_labels)
    same = query_labels[:, None] == database_labels[None, :]
    return (same & (query_labels >= 0)[:, None]).astype(jnp.int32)


def _count_keys(keys: jax.Array, num_keys: int) -> jax.Array:
    """How often each of 0 .. num_keys - 1 occurs in each row [b, n]; int32 [b, num_keys]."""
    counts: jax.Array = jax.lax.platform_dependent(
        keys,
        cpu=functools.partial(_count_by_scatter, num_keys=num_keys),
        default=functools.partial(_count_by_comparison, num_keys=num_keys),
    )
    return counts


def _count_by_scatter(keys: jax.Array, num_keys: int) -> jax.Array:
    rows = jnp.arange(keys.shape[0])[:, None]
    counts = jnp.zeros((keys.shape[0], num_keys), jnp.int32)
    return counts.at[rows, keys].add(1, mode="drop")


def _count_by_comparison(keys: jax.Array, num_keys: int) -> jax.Array:
    # On accelerators scatter-add is sequential, comparison is parallel.
    counts: jax.Array = jax.lax.map(
        lambda key: jnp.sum(keys == key, axis=1), jnp.arange(num_keys, dtype=jnp.int32)
    )
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
