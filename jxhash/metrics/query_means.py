"""Means over queries of the measures in `jxhash.metrics.per_query`.

`empty` is the rule for queries without a relevant item in the database: "zero" counts them as 0,
"skip" leaves them out (the mean of none is 0), "error" raises ValueError.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jxhash.metrics import first_relevant, per_query
from jxhash.metrics.histogram import Histogram

EMPTY = ("zero", "skip", "error")


class PrecisionRecall(NamedTuple):
    """A precision-recall curve, float64 [K + 1] each: one point per Hamming radius."""

    precision: np.ndarray
    recall: np.ndarray


def mean_over_queries(
    values: np.ndarray, answerable: np.ndarray, *, empty: str = "zero"
) -> np.ndarray:
    """The mean of per-query values, with a rule for queries without a relevant item.

    Args:
      values: [q] or [q, ...].
      answerable: bool [q], as `per_query.answerable` gives it.
      empty: "zero", "skip" or "error".

    Returns:
      float64 of the shape of one query's values.

    Raises:
      ValueError: `empty` is unknown, or it is "error" and there is such a query.

    >>> values, answerable = np.array([0.5, 0.0]), np.array([True, False])
    >>> float(mean_over_queries(values, answerable, empty="skip"))
    0.5
    """
    counted = _counted(answerable, empty)
    means: np.ndarray = values[counted & answerable].sum(axis=0) / max(1, counted.sum())
    return means


def mean_average_precision(
    histogram: Histogram,
    *,
    top_k: int | None = None,
    denominator: str = "min(k, relevant)",
    empty: str = "zero",
) -> float:
    """MAP, or MAP@k with `top_k`: the mean of `per_query.average_precision`.

    Args:
      histogram: of distances or ranks.
      top_k: the cut k; the whole ranking without it.
      denominator: "min(k, relevant)", "relevant" or "retrieved relevant".
      empty: "zero", "skip" or "error".

    Raises:
      ValueError: `top_k` is not within the database, an option is unknown, or a query has no
        relevant item and `empty` is "error".

    >>> h = Histogram(np.array([[1, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> round(mean_average_precision(h), 4)
    0.4167
    """
    values = per_query.average_precision(histogram, top_k=top_k, denominator=denominator)
    return float(_mean(values, histogram, empty))


def precision_at(histogram: Histogram, ks: Sequence[int], *, empty: str = "zero") -> np.ndarray:
    """The mean precision of the first k, for each of `ks`: the top-N curve; [len(ks)].

    >>> h = Histogram(np.array([[1, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> precision_at(h, [1, 2]).tolist()
    [0.0, 0.25]
    """
    return _mean(per_query.precision_at(histogram, ks), histogram, empty)


def recall_at(histogram: Histogram, ks: Sequence[int], *, empty: str = "zero") -> np.ndarray:
    """The mean recall of the first k, for each of `ks`; [len(ks)].

    >>> h = Histogram(np.array([[1, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> recall_at(h, [1, 2]).tolist()
    [0.0, 0.5]
    """
    return _mean(per_query.recall_at(histogram, ks), histogram, empty)


def hit_rate_at(histogram: Histogram, ks: Sequence[int], *, empty: str = "zero") -> np.ndarray:
    """The share of queries with a relevant item among the first k; [len(ks)].

    With the index of the pair as class id: the Recall@K of image-text retrieval.

    >>> h = Histogram(np.array([[1, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> hit_rate_at(h, [1, 2]).round(4).tolist()
    [0.0, 0.5]
    """
    return _mean(per_query.hit_rate_at(histogram, ks), histogram, empty)


def mean_reciprocal_rank(histogram: Histogram, *, empty: str = "zero") -> float:
    """The mean of `first_relevant.reciprocal_rank`.

    >>> h = Histogram(np.array([[1, 3]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> round(mean_reciprocal_rank(h), 4)
    0.3611
    """
    return float(_mean(first_relevant.reciprocal_rank(histogram), histogram, empty))


def median_rank(histogram: Histogram, *, empty: str = "zero") -> float:
    """The median over queries of `first_relevant.first_rank`.

    A query without a relevant item ranks it one past the database, unless `empty` leaves it out;
    the median of no query is NaN.

    >>> h = Histogram(np.array([[1, 3]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> median_rank(h)
    3.0
    """
    counted = _counted(per_query.answerable(histogram), empty)
    ranks = first_relevant.first_rank(histogram)[counted]
    return float(np.median(ranks)) if ranks.size else math.nan


def lookup_precision(histogram: Histogram, radius: int = 2, *, empty: str = "zero") -> float:
    """The mean precision within a Hamming radius; an empty lookup counts as 0.

    >>> h = Histogram(np.array([[0, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> lookup_precision(h, radius=0), lookup_precision(h, radius=1)
    (0.0, 0.5)
    """
    return float(_mean(per_query.lookup_precision(histogram, radius), histogram, empty))


def lookup_recall(histogram: Histogram, radius: int = 2, *, empty: str = "zero") -> float:
    """The mean recall within a Hamming radius.

    >>> h = Histogram(np.array([[1, 2]]), np.array([[1, 1]]), np.array([[1.0, 1]]), None)
    >>> lookup_recall(h, radius=0)
    0.5
    """
    return float(_mean(per_query.lookup_recall(histogram, radius), histogram, empty))


def lookup_success(histogram: Histogram, radius: int = 2, *, empty: str = "zero") -> float:
    """The share of queries with a relevant item within a Hamming radius.

    >>> h = Histogram(np.array([[1, 2]]), np.array([[1, 1]]), np.array([[1.0, 1]]), None)
    >>> lookup_success(h, radius=0)
    1.0
    """
    return float(_mean(per_query.lookup_success(histogram, radius), histogram, empty))


def ndcg(histogram: Histogram, *, top_k: int | None = None, empty: str = "zero") -> float:
    """The mean of `per_query.ndcg`: NDCG, or NDCG@k with `top_k`.

    >>> perfect = Histogram(*map(np.array, ([[1, 1]], [[1, 0]], [[1.0, 0]], [[1, 1]])))
    >>> ndcg(perfect)
    1.0
    """
    return float(_mean(per_query.ndcg(histogram, top_k=top_k), histogram, empty))


def precision_recall_curve(
    histogram: Histogram, *, average: str = "queries", empty: str = "zero"
) -> PrecisionRecall:
    """Precision and recall within each Hamming radius.

    Args:
      histogram: Hamming distances.
      average: "queries": the mean over queries of precision (0 for an empty lookup) and recall
        (macro average); "pairs": pooled over all pairs of query and item, so that queries that
        retrieve more weigh more (micro average).
      empty: "zero", "skip" or "error"; pooled, a query without a relevant item only adds retrieved
        items.

    Returns:
      A PrecisionRecall of K + 1 points.

    Raises:
      ValueError: an option is unknown, the histogram is a ranking, or a query has no relevant item
        and `empty` is "error".

    >>> h = Histogram(np.array([[1, 2]]), np.array([[1, 1]]), np.array([[1.0, 1]]), None)
    >>> curve = precision_recall_curve(h)
    >>> curve.precision.round(4).tolist(), curve.recall.tolist()
    ([1.0, 0.6667], [0.5, 1.0])
    """
    if average not in ("queries", "pairs"):
        raise ValueError(f'average is "queries" or "pairs", not {average!r}')
    per_query.require_distances(histogram)
    histogram = per_query.on_host(histogram)
    counted = _counted(per_query.answerable(histogram), empty)
    hits = np.cumsum(histogram.relevant, axis=1, dtype=np.int64)[counted]
    retrieved = np.cumsum(histogram.retrieved, axis=1, dtype=np.int64)[counted]
    if average == "pairs":
        hits, retrieved = hits.sum(axis=0, keepdims=True), retrieved.sum(axis=0, keepdims=True)
    precision, recall = hits / np.maximum(retrieved, 1), hits / np.maximum(hits[:, -1:], 1)
    number = max(1, len(hits))
    return PrecisionRecall(precision.sum(axis=0) / number, recall.sum(axis=0) / number)


def _counted(answerable: np.ndarray, empty: str) -> np.ndarray:
    """The queries that a mean is taken over, bool [q]."""
    if empty not in EMPTY:
        raise ValueError(f"empty is one of {EMPTY}, not {empty!r}")
    if empty == "error" and not answerable.all():
        raise ValueError(
            f"{np.sum(~answerable)} of {len(answerable)} queries have no relevant item in the "
            "database"
        )
    return answerable if empty == "skip" else np.ones_like(answerable)


def _mean(values: np.ndarray, histogram: Histogram, empty: str) -> np.ndarray:
    return mean_over_queries(values, per_query.answerable(histogram), empty=empty)
