"""Where the first relevant item of each query ranks, for data whose relevance is "the same pair".

Values are exact expectations over the orders of ties, float64 on the host, as in `per_query`. The
first group with relevant items has n items, r of them relevant, and follows N others; its first
relevant item is the j-th with probability C(n - j, r - 1) / C(n, r).
"""

import numpy as np

from jxhash.metrics.histogram import Array, Histogram
from jxhash.metrics.per_query import TERMS, log_binomial, on_host


def first_rank(histogram: Histogram) -> np.ndarray:
    """The expected rank of the first relevant item, from 1; one past the database without any.

    The first of r items among n is expected at (n + 1) / (r + 1).

    Returns:
      float64 [q].

    >>> h = Histogram(np.array([[1, 3]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> first_rank(h).tolist()
    [3.0]
    """
    before, size, relevant = _first_group(on_host(histogram))
    return np.asarray(before + (size + 1) / (relevant + 1))


def reciprocal_rank(histogram: Histogram) -> np.ndarray:
    """The expected reciprocal of the rank of the first relevant item; 0 without any.

    Returns:
      float64 [q].

    >>> h = Histogram(np.array([[1, 3]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> reciprocal_rank(h).round(4).tolist()  # (1/2 + 1/3 + 1/4) / 3
    [0.3611]
    """
    groups = np.stack(_first_group(on_host(histogram)), axis=1)
    # A random ranking has the same group for every query.
    distinct, inverse = np.unique(groups, axis=0, return_inverse=True)
    values = np.zeros(len(distinct))
    found = np.flatnonzero(distinct[:, 2])
    terms = (distinct[:, 1] - distinct[:, 2] + 1)[found]
    for some in np.array_split(found, min(len(found), 1 + terms.sum() // TERMS) or 1):
        if some.size:
            values[some] = _expected_reciprocals(*distinct[some].T)
    return values[inverse.ravel()]


def _first_group(histogram: Histogram) -> tuple[Array, Array, Array]:
    """N, n and r of the first group with relevant items; the database, 0 and 0 without any."""
    rows, group = np.arange(len(histogram.relevant)), np.argmax(histogram.relevant > 0, axis=1)
    after = np.cumsum(histogram.retrieved, axis=1, dtype=np.int64)
    size, relevant = (
        part[rows, group].astype(np.int64) for part in (histogram.retrieved, histogram.relevant)
    )
    before = after[rows, group] - size
    none = relevant == 0
    return np.where(none, after[:, -1], before), np.where(none, 0, size), relevant


def _expected_reciprocals(before: Array, size: Array, relevant: Array) -> np.ndarray:
    """The expectation for groups with relevant items, all their positions after each other."""
    positions = size - relevant + 1
    firsts = np.cumsum(positions) - positions
    group = np.repeat(np.arange(len(size)), positions)
    place = 1 + np.arange(len(group)) - firsts[group]
    n, r = size[group], relevant[group]
    chances = np.exp(log_binomial(n - place, r - 1) - log_binomial(n, r))
    expected: np.ndarray = np.add.reduceat(chances / (before[group] + place), firsts)
    return expected
