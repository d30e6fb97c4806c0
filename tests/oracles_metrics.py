"""The measures as plain loops over one ranking, and as averages over every order of its ties."""

import itertools

import numpy as np


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


def ndcg(ranked, k):
    def dcg(levels):
        return sum((2**s - 1) / np.log2(1 + p) for p, s in enumerate(levels[:k], start=1))

    best = dcg(sorted(ranked, reverse=True))
    return dcg(ranked) / best if best else 0.0


def over_orders(measure, distances, shared, *options):
    """The mean of a measure over all orders of the ties."""
    values = [measure([shared[i] for i in order], *options) for order in orders(distances)]
    return sum(values) / len(values)
