"""Bootstrap intervals of means over queries, and paired tests of two methods."""

import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Values per batch of resamples: 32 MB.
_DRAWS = 1 << 22


class Interval(NamedTuple):
    """A mean over queries and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two methods on the same queries: the mean of the first minus the second.

    `p_value` is the probability of an absolute mean difference at least as large if the methods
    were exchangeable.
    """

    difference: Interval
    p_value: float


def bootstrap_interval(
    values: np.ndarray, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a mean over queries.

    Queries are resampled with replacement; the interval lies between quantiles of the means (Efron
    and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). It shows how much the
    choice of queries matters, not that of training data or seed.

    Args:
      values: one value per query, [q].
      confidence: the nominal coverage, within (0, 1).
      resamples: how often the queries are resampled.
      seed: of the resampling.

    Raises:
      ValueError: the values are not a vector of finite numbers, the confidence is not within
        (0, 1), or there are no resamples.

    >>> bootstrap_interval(np.array([0.5, 0.5, 0.5]))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    values = _checked(values)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is within (0, 1), not {confidence}")
    if operator.index(resamples) < 1:
        raise ValueError(f"resamples is at least 1, not {resamples}")
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(0, len(values), shape)].mean(axis=1)
        for shape in _batches(resamples, len(values))
    ]
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(np.concatenate(means), ends)
    return Interval(float(values.mean()), float(low), float(high))


def paired_comparison(
    values_a: np.ndarray,
    values_b: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compares two methods on the same queries.

    The interval is the bootstrap interval of the differences. The p-value is that of the paired
    randomisation test, which swaps the two values of each query at random (Smucker, Allan and
    Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007); it is at least 1 / (resamples + 1).

    Args:
      values_a: one value per query of the first method, [q].
      values_b: the same of the second, in the same order.
      confidence: the nominal coverage, within (0, 1).
      resamples: how often queries are resampled, and their values swapped.
      seed: of both.

    Raises:
      ValueError: the values are not vectors of finite numbers of one length, the confidence is not
        within (0, 1), or there are no resamples.

    >>> paired_comparison(np.array([0.5, 0.7]), np.array([0.5, 0.7])).p_value
    1.0
    """
    values_a, values_b = _checked(values_a), _checked(values_b)
    if values_a.shape != values_b.shape:
        raise ValueError(f"paired values have one shape, not {values_a.shape} and {values_b.shape}")
    differences = values_a - values_b
    interval = bootstrap_interval(
        differences, confidence=confidence, resamples=resamples, seed=seed
    )
    rng = np.random.default_rng([seed, 1])
    # A tolerance for rounding, so that equal sums of the same numbers count as equal.
    bound = abs(interval.mean) * (1 - 1e-9) * len(differences)
    reached = 0
    for shape in _batches(resamples, len(differences)):
        signs = 2.0 * rng.integers(0, 2, shape, np.int8) - 1
        reached += int(np.sum(abs(signs @ differences) >= bound))
    return Comparison(interval, (reached + 1) / (resamples + 1))


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"one finite value per query is needed, not an array of shape {values.shape}"
        )
    return values


def _batches(resamples: int, num_queries: int) -> Iterator[tuple[int, int]]:
    """The shapes of batches of resamples that fit into memory."""
    batch = max(1, _DRAWS // num_queries)
    for start in range(0, resamples, batch):
        yield min(batch, resamples - start), num_queries
