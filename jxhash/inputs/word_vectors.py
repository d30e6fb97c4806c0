"""Vectors of English words that ship with the package: 100 numbers each, from GloVe 6B.

`experiments/embedded_data/word_vectors.py` makes the files; the card names source and licence.
"""

import functools
import io
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jxhash.inputs import package_files

FOLDER = pathlib.Path(__file__).resolve().parent
WIDTH = 100


def vectors(words: Sequence[str]) -> np.ndarray:
    """The vectors of m words, float32 [m, 100]; a word without one has a row of zeros.

    Raises:
      UserError: the file of vectors is missing or damaged.

    >>> vectors(["king", "qwrtzp"]).any(axis=1).tolist()
    [True, False]
    """
    table = _table()
    rows = _rows(words)
    found: np.ndarray = table.entries[rows] * table.scales[rows, None]
    return found


def ranks(words: Sequence[str]) -> np.ndarray:
    """How frequent m words are, int32 [m]: 1 for the most frequent word, 0 for one without vector.

    >>> ranks(["the", "qwrtzp", "of"]).tolist()
    [1, 0, 4]
    """
    found: np.ndarray = _table().ranks[_rows(words)]
    return found


class _Table(NamedTuple):
    """The vectors, and behind them the row of zeros of words that have none."""

    rows: dict[str, int]
    ranks: np.ndarray
    scales: np.ndarray  # of a row of entries
    entries: np.ndarray


def _rows(words: Sequence[str]) -> np.ndarray:
    rows = _table().rows
    return np.array([rows.get(word, len(rows)) for word in words], np.int64)


@functools.cache
def _table() -> _Table:
    card = json.loads(package_files.read(FOLDER / "word_vectors.card.json"))
    content = package_files.read(FOLDER / "word_vectors.npz", card["sha256"])
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        entries, scales, ranks = arrays["entries"], arrays["scales"], arrays["ranks"]
    return _Table(
        rows={word: row for row, word in enumerate(words)},
        ranks=np.append(ranks, np.int32(0)),
        scales=np.append(scales, np.float32(0)),
        entries=np.concatenate([entries, np.zeros((1, WIDTH), np.int8)]),
    )
