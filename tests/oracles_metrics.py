"""The measures as plain loops over one ranking, and as averages over every order of its ties."""

import itertools

import numpy as np

from jxhash import metrics
from jxhash.metrics import first_relevant, per_query


def orders(distances):
    """All rankings of the items by distance, as tuples of item numbers."""
    groups = [np.flatnonzero(distances == d) for d in np.unique(distances)]
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [item for part in parts for item in part]


def average_precision(ranked, k, denominator):
    total, hits = 0.0, 0
    for position, shared in enumerate(ranked[:k], start=1):
        if shared:
            hits += 1
            total += hits / position
    relevant = sum(shared > 0 for shared in ranked)
    divisor = {
        "min(k, relevant)": min(k, relevant),
        "relevant": relevant,
        "retrieved relevant": hits,
    }[denominator]
    return total / divisor if divisor else 0.0


def first_relevant_precision(ranked, k):
    positions = [p for p, shared in enumerate(ranked, start=1) if shared][:k]
    if not positions:
        return 0.0
    return sum(hit / position for hit, position in enumerate(positions, start=1)) / len(positions)


def precision(ranked, k):
    return sum(shared > 0 for shared in ranked[:k]) / k


def recall(ranked, k):
    relevant = sum(shared > 0 for shared in ranked)
    return sum(shared > 0 for shared in ranked[:k]) / relevant if relevant else 0.0


def hit_rate(ranked, k):
    return float(any(shared > 0 for shared in ranked[:k]))


def reciprocal_rank(ranked, k):
    del k  # of the whole ranking
    return next((1 / place for place, shared in enumerate(ranked, start=1) if shared), 0.0)


def first_rank(ranked):
    places = [place for place, shared in enumerate(ranked, start=1) if shared]
    return places[0] if places else len(ranked) + 1


def ndcg(ranked, k):
    def dcg(levels):
        return sum((2**s - 1) / np.log2(1 + p) for p, s in enumerate(levels[:k], start=1))

    best = dcg(sorted(ranked, reverse=True))
    return dcg(ranked) / best if best else 0.0


def over_orders(measure, distances, shared, *options):
    """The mean of a measure over all orders of the ties."""
    values = [measure([shared[i] for i in order], *options) for order in orders(distances)]
    return sum(values) / len(values)


# The measures of the first k positions: the library's, and the plain loop.
MEASURES_AT_K = {
    "AP, min(k, relevant)": (
        lambda h, k: per_query.average_precision(h, top_k=k),
        lambda ranked, k: average_precision(ranked, k, "min(k, relevant)"),
    ),
    "AP, relevant": (
        lambda h, k: per_query.average_precision(h, top_k=k, denominator="relevant"),
        lambda ranked, k: average_precision(ranked, k, "relevant"),
    ),
    "AP, retrieved relevant": (
        lambda h, k: per_query.average_precision(h, top_k=k, denominator="retrieved relevant"),
        lambda ranked, k: average_precision(ranked, k, "retrieved relevant"),
    ),
    "precision": (lambda h, k: per_query.precision_at(h, [k])[:, 0], precision),
    "recall": (lambda h, k: per_query.recall_at(h, [k])[:, 0], recall),
    "hit rate": (lambda h, k: per_query.hit_rate_at(h, [k])[:, 0], hit_rate),
    "reciprocal rank": (lambda h, k: first_relevant.reciprocal_rank(h), reciprocal_rank),
    "NDCG": (lambda h, k: per_query.ndcg(h, top_k=k), ndcg),
}


def assert_same(a, b):
    for part, (left, right) in zip(metrics.Histogram._fields, zip(a, b, strict=True), strict=True):
        np.testing.assert_array_equal(left, right, err_msg=part)
