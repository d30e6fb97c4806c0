"""How sure a mean over queries is, and whether two methods differ on the same queries."""

import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Values drawn at a time: 32 MB.
_DRAWS = 1 << 22


class Interval(NamedTuple):
    """A mean over queries and the interval that holds it with the stated confidence.

    Attributes:
      mean: the mean of the values.
      low: the lower end.
      high: the upper end.
    """

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two methods on the same queries.

    Attributes:
      difference: the Interval of the mean of the first minus the second.
      p_value: the two-sided probability of a mean difference at least as large, were the two the
        same up to chance.
    """

    difference: Interval
    p_value: float


def bootstrap_interval(
    values: np.ndarray, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a mean over queries.

    The queries are drawn anew with replacement, and the interval lies between the quantiles of the
    means (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). It tells how
    much the choice of queries matters, not the choice of training data or seed.

    Args:
      values: one value a query, [q].
      confidence: the probability that the interval is to have, within (0, 1).
      resamples: the number of draws.
      seed: of the draws.

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
    means = np.concatenate(
        [
            values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
            for draws in _draws(resamples, len(values))
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
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

    The interval is the bootstrap's over the differences; the probability comes from the paired
    randomisation test, which exchanges the two values of each query at random (Smucker, Allan and
    Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007). It is at least 1 / (resamples + 1).

    Args:
      values_a: one value a query of the first method, [q].
      values_b: the same of the second, in the same order.
      confidence: the probability that the interval is to have, within (0, 1).
      resamples: the number of draws.
      seed: of the draws.

    Raises:
      ValueError: the values are not vectors of finite numbers of one length, the confidence is not
        within (0, 1), or there are no resamples.

    >>> paired_comparison(np.array([0.5, 0.7]), np.array([0.5, 0.7])).p_value
    1.0
    """
    values_a, values_b = _checked(values_a), _checked(values_b)
    if values_a.shape != values_b.shape:
        raise ValueError(f"a pair for each query: {values_a.shape} and {values_b.shape} values")
    differences = values_a - values_b
    interval = bootstrap_interval(
        differences, confidence=confidence, resamples=resamples, seed=seed
    )
    rng = np.random.default_rng([seed, 1])
    # As far as rounding can tell, so that equal sums of the same numbers count as equal.
    bound = abs(interval.mean) * (1 - 1e-9)
    reached = sum(
        int(
            np.sum(
                abs(_signs(rng, draws, len(differences)) @ differences) >= bound * len(differences)
            )
        )
        for draws in _draws(resamples, len(differences))
    )
    return Comparison(interval, (reached + 1) / (resamples + 1))


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"one finite value a query, not an array of shape {values.shape}")
    return values


def _draws(resamples: int, num_queries: int) -> Iterator[int]:
    """The resamples in portions that fit into memory."""
    portion = max(1, _DRAWS // num_queries)
    for start in range(0, resamples, portion):
        yield min(portion, resamples - start)


def _signs(rng: np.random.Generator, draws: int, num_queries: int) -> np.ndarray:
    return 2.0 * rng.integers(0, 2, (draws, num_queries), np.int8) - 1
