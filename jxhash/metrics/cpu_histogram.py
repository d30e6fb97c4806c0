"""The histogram's counting loop for a machine's own cores, compiled by numba.

A tile of the database is compared with one query after the other: one vectorised pass makes a key
of distance and shared labels for each item, a second pass counts the keys. Imported only where it
is used, since importing numba takes a while.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from jxhash import codes as codes_lib

# A tile's keys stay in the first-level cache.
_TILE = 2048
# Below this many pairs a second thread costs more than it saves.
_PAIRS_A_THREAD = 1 << 20


def _compile(function: Callable) -> Callable:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**options)(function)


@intrinsic
def _popcount(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@_compile
def _write_keys_of_words(keys, code, codes, label, labels, top_level, step):  # noqa: ANN001, ANN202
    # Codes and labels of one word each, the usual case, in one pass: 1.5 times as fast.
    for j in range(keys.shape[0]):
        shared = min(_popcount(label & labels[j]), top_level)
        keys[j] = _popcount(code ^ codes[j]) + step * shared


@_compile
def _write_distances(keys, query, words, start):  # noqa: ANN001, ANN202
    word, column = query[0], words[0, start : start + keys.shape[0]]
    for j in range(keys.shape[0]):
        keys[j] = _popcount(word ^ column[j])
    for w in range(1, words.shape[0]):
        word, column = query[w], words[w, start : start + keys.shape[0]]
        for j in range(keys.shape[0]):
            keys[j] += _popcount(word ^ column[j])


@_compile
def _add_shared(keys, shared, query, words, start, top_level, step):  # noqa: ANN001, ANN202
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
def _add_same_class(keys, query, classes, start, step):  # noqa: ANN001, ANN202
    column = classes[start : start + keys.shape[0]]
    for j in range(keys.shape[0]):
        keys[j] += step * np.uint64((query == column[j]) & (query >= 0))


@_compile
def _add_counts(counts, lanes, keys):  # noqa: ANN001, ANN202
    # Four lanes, because an addition to the count that was just written has to wait for it.
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
def _count_shared(counts, query_codes, codes, query_labels, labels, top_level):  # noqa: ANN001, ANN202
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
def _count_same_class(counts, query_codes, codes, query_classes, classes):  # noqa: ANN001, ANN202
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
    """Counts the items of each distance and each number of shared labels, for each query.

    Args:
      query: a pair of `codes`, uint8 [q, bytes] with zeros after the last bit, and `labels`,
        packed multi-hot uint8 [q, bytes] or class ids int32 [q].
      database: the same for the n rows of the database.
      num_bits: the code length K.
      top_level: the largest number S of shared labels that is told apart; 1 for class ids.

    Returns:
      int32 [q, S + 1, K + 1].
    """
    num_queries, num_items = len(query.codes), len(database.codes)
    counts = np.zeros((num_queries, (top_level + 1) * (num_bits + 1)), np.int32)
    codes = codes_lib.words(query.codes), np.ascontiguousarray(codes_lib.words(database.codes).T)
    if query.labels.ndim == 1:
        labels = np.ascontiguousarray(query.labels), np.ascontiguousarray(database.labels)

        def count_part(part: slice) -> None:
            _count_same_class(counts[part], codes[0][part], codes[1], labels[0][part], labels[1])
    else:
        labels = (
            codes_lib.words(query.labels),
            np.ascontiguousarray(codes_lib.words(database.labels).T),
        )
        top = np.uint64(top_level)

        def count_part(part: slice) -> None:
            _count_shared(counts[part], codes[0][part], codes[1], labels[0][part], labels[1], top)

    _in_threads(count_part, num_queries, num_items)
    return counts.reshape(num_queries, top_level + 1, num_bits + 1)


def _in_threads(task: Callable[[slice], None], num_queries: int, num_items: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(cores, num_queries, 1 + num_queries * num_items // _PAIRS_A_THREAD)
    if threads == 1:
        task(slice(num_queries))
        return
    # More parts than threads, so that a core that others also use holds nobody up for long.
    edges = np.linspace(0, num_queries, min(num_queries, 4 * threads) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, [slice(a, b) for a, b in itertools.pairwise(edges)]))
