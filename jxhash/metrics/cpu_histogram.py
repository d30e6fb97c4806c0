"""The counting loop of the histogram on CPU, compiled by numba.

A tile of the database is compared with one query after the other: one vectorised pass computes a
key of distance and shared labels for each item, a second pass counts the keys. The module is
imported lazily, since importing numba is slow.
"""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from jxhash import codes as codes_lib

Ints = np.ndarray
Word = np.uint64

# A tile's keys fit in the L1 cache.
_TILE = 2048
# Below this many pairs a second thread costs more than it saves.
_PAIRS_A_THREAD = 1 << 20


def _compile(function: Callable[..., None]) -> Callable[..., None]:
    options = functools.partial(numba.njit, nogil=True, error_model="numpy")
    try:
        return options(cache=True)(function)
    except RuntimeError:  # no cache folder is writable
        return options()(function)


def _typed_popcount(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


_popcount: Any = intrinsic(_typed_popcount)


@_compile
def _write_keys_of_words(
    keys: Ints, code: Word, codes: Ints, label: Word, labels: Ints, top_level: Word, step: Word
) -> None:
    # Codes and labels of one word each, the usual case, in one pass: 1.5 times as fast.
    for j in range(keys.shape[0]):
        shared = min(_popcount(label & labels[j]), top_level)
        keys[j] = _popcount(code ^ codes[j]) + step * shared


@_compile
def _write_distances(keys: Ints, query: Ints, words: Ints, start: int) -> None:
    word, column = query[0], words[0, start : start + keys.shape[0]]
    for j in range(keys.shape[0]):
        keys[j] = _popcount(word ^ column[j])
    for w in range(1, words.shape[0]):
        word, column = query[w], words[w, start : start + keys.shape[0]]
        for j in range(keys.shape[0]):
            keys[j] += _popcount(word ^ column[j])


@_compile
def _add_shared(
    keys: Ints, shared: Ints, query: Ints, words: Ints, start: int, top_level: Word, step: Word
) -> None:
    shared[:] = 0
    last = words.shape[0] - 1
    for w in range(last):
        word, column = query[w], words[w, start : start + keys.shape[0]]
        for j in range(keys.shape[0]):
            shared[j] += _popcount(word & column[j])
    word, column = query[last], words[last, start : start + keys.shape[0]]
    for j in range(keys.shape[0]):
        keys[j] += step * min(shared[j] + _popcount(word & column[j]), top_level)


@_compile
def _add_same_class(keys: Ints, query: np.int32, classes: Ints, start: int, step: Word) -> None:
    column = classes[start : start + keys.shape[0]]
    for j in range(keys.shape[0]):
        keys[j] += step * np.uint64((query == column[j]) & (query >= 0))


@_compile
def _add_counts(counts: Ints, lanes: Ints, keys: Ints) -> None:
    # Four lanes, because consecutive additions to one counter wait for each other.
    lanes[:] = 0
    whole = keys.shape[0] // 4
    for i in range(whole):
        lanes[0, keys[4 * i]] += 1
        lanes[1, keys[4 * i + 1]] += 1
        lanes[2, keys[4 * i + 2]] += 1
        lanes[3, keys[4 * i + 3]] += 1
    for j in range(4 * whole, keys.shape[0]):
        lanes[0, keys[j]] += 1
    for key in range(counts.shape[0]):
        counts[key] += lanes[0, key] + lanes[1, key] + lanes[2, key] + lanes[3, key]


@_compile
def _count_shared(
    counts: Ints, query_codes: Ints, codes: Ints, query_labels: Ints, labels: Ints, top_level: Word
) -> None:
    keys = np.empty(_TILE, np.uint64)
    shared = np.empty(_TILE, np.uint64)
    lanes = np.empty((4, counts.shape[1]), np.int32)
    step = np.uint64(counts.shape[1]) // (top_level + np.uint64(1))
    one_word = codes.shape[0] == 1 and labels.shape[0] == 1
    for start in range(0, codes.shape[1], _TILE):
        stop = min(start + _TILE, codes.shape[1])
        tile, tile_shared = keys[: stop - start], shared[: stop - start]
        for q in range(counts.shape[0]):
            if one_word:
                code, label = query_codes[q, 0], query_labels[q, 0]
                columns = codes[0, start:stop], labels[0, start:stop]
                _write_keys_of_words(tile, code, columns[0], label, columns[1], top_level, step)
            else:
                _write_distances(tile, query_codes[q], codes, start)
                _add_shared(tile, tile_shared, query_labels[q], labels, start, top_level, step)
            _add_counts(counts[q], lanes, tile)


@_compile
def _count_same_class(
    counts: Ints, query_codes: Ints, codes: Ints, query_classes: Ints, classes: Ints
) -> None:
    keys = np.empty(_TILE, np.uint64)
    lanes = np.empty((4, counts.shape[1]), np.int32)
    step = np.uint64(counts.shape[1] // 2)
    for start in range(0, codes.shape[1], _TILE):
        stop = min(start + _TILE, codes.shape[1])
        tile = keys[: stop - start]
        for q in range(counts.shape[0]):
            _write_distances(tile, query_codes[q], codes, start)
            _add_same_class(tile, query_classes[q], classes, start, step)
            _add_counts(counts[q], lanes, tile)


def count(query: Any, database: Any, num_bits: int, top_level: int) -> np.ndarray:
    """Counts the items at each distance with each number of shared labels, for each query.

    Args:
      query: a pair of `codes`, uint8 [q, bytes] with zeros after the last bit, and `labels`,
        packed multi-hot uint8 [q, bytes] or class ids int32 [q].
      database: the same for the n rows of the database.
      num_bits: the code length K.
      top_level: the largest number S of shared labels with a count of its own; 1 for class ids.

    Returns:
      int32 [q, S + 1, K + 1].
    """
    num_queries, num_items = len(query.codes), len(database.codes)
    counts = np.zeros((num_queries, (top_level + 1) * (num_bits + 1)), np.int32)
    codes = _words_by_column(query.codes, database.codes)
    if query.labels.ndim == 1:
        labels = np.ascontiguousarray(query.labels), np.ascontiguousarray(database.labels)
        kernel = _count_same_class
    else:
        labels = _words_by_column(query.labels, database.labels)
        kernel = functools.partial(_count_shared, top_level=np.uint64(top_level))

    def count_part(part: slice) -> None:
        kernel(counts[part], codes[0][part], codes[1], labels[0][part], labels[1])

    _in_threads(count_part, num_queries, num_items)
    return counts.reshape(num_queries, top_level + 1, num_bits + 1)


def _words_by_column(query: np.ndarray, database: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The words of the queries row by row, those of the database column by column."""
    words = codes_lib.words(query), codes_lib.words(database).T
    return np.ascontiguousarray(words[0]), np.ascontiguousarray(words[1])


def _in_threads(task: Callable[[slice], None], num_queries: int, num_items: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(cores or 1, num_queries, 1 + num_queries * num_items // _PAIRS_A_THREAD)
    if threads == 1:
        task(slice(num_queries))
        return
    # More parts than threads, so that a busy core delays the others little.
    edges = np.linspace(0, num_queries, min(num_queries, 4 * threads) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, [slice(a, b) for a, b in itertools.pairwise(edges)]))
