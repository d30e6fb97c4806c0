"""What evaluation.py measures on: codes of queries and of a database, with their labels."""

import functools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jxhash import codes

MILLION = "1,000 queries, 1,000,000 items, 64 bits"
# Queries, items, classes and labels a row.
SIZES = {
    "NUS-WIDE size": (2100, 193_734, 21, 2.4),
    "COCO size": (5000, 117_218, 80, 2.9),
    MILLION: (1000, 1_000_000, 24, 3.8),
}


class Data(NamedTuple):
    """Codes in {-1, +1} (int8) and multi-hot labels of both sides."""

    query_codes: np.ndarray
    database_codes: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray


def draw_labels(rng: np.random.Generator, rows: int, classes: int, mean: float) -> np.ndarray:
    """Multi-hot labels, about `mean` a row and no row without, as unequal as 1 / rank."""
    frequency = 1 / np.arange(1, classes + 1)
    frequency /= frequency.sum()
    labels = rng.random((rows, classes)) < np.minimum(frequency * (mean - 1), 1)
    labels[np.arange(rows), rng.choice(classes, rows, p=frequency)] = True
    return labels.astype(np.int8)


def codes_of(rng: np.random.Generator, labels: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Codes that know the labels through noise, about as well as published methods' codes do."""
    centred = labels - labels.mean(axis=0)
    return codes.sign(centred @ planes + 1.5 * rng.normal(size=(len(labels), planes.shape[1])))


def make_data(queries: np.ndarray, database: np.ndarray, num_bits: int) -> Data:
    """Codes for given labels."""
    rng = np.random.default_rng(num_bits)
    planes = rng.normal(size=(queries.shape[1], num_bits))
    return Data(codes_of(rng, queries, planes), codes_of(rng, database, planes), queries, database)


@functools.cache
def drawn(name: str) -> Data:
    """Codes of 64 bits for drawn labels, the same whichever sizes are measured."""
    rng = np.random.default_rng(1)
    for other, (queries, rows, classes, mean) in SIZES.items():
        labels = draw_labels(rng, queries + rows, classes, mean)
        if other == name:
            return make_data(labels[:queries], labels[queries:], 64)
    raise KeyError(name)


@functools.cache
def mirflickr() -> tuple[Data, str]:
    """Codes of 64 bits for the labels of MIRFLICKR, and where these come from."""
    queries, database, source = mirflickr_labels()
    return make_data(queries, database, 64), source


def mirflickr_labels() -> tuple[np.ndarray, np.ndarray, str]:
    """The labels of 2,000 queries and 18,015 items, and where they come from."""
    rng = np.random.default_rng(0)
    folder = os.environ.get("JXHASH_DATA_DIR")
    if folder:
        labels = np.load(Path(folder) / "mirflickr25k" / "text_labels.npz")["labels"]
        labels, source = labels[rng.permutation(len(labels))].astype(np.int8), "MIRFLICKR-25K"
    else:
        labels, source = draw_labels(rng, 20015, 24, 3.8), "drawn"
    return labels[:2000], labels[2000:], source


def first_queries(data: Data, number: int) -> Data:
    """The same database, some of the queries."""
    return data._replace(
        query_codes=data.query_codes[:number], query_labels=data.query_labels[:number]
    )
