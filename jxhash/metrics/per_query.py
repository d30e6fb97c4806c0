"""The measures of each single query; `jxhash.metrics` exports their means under the same names.

Each value is the exact expectation over uniformly random orders inside every tied group
(McSherry and Najork, "Computing information retrieval performance measures efficiently in the
presence of tied scores", ECIR 2008), also where a cut falls inside a group. All of it is float64
on the host: a float32 difference of harmonic numbers is wrong by 1e-4 at 100,000 items.

Everywhere `ks` are numbers of positions and `radius` is the largest Hamming distance of a lookup;
a position outside of the database, a radius beyond the code length and any radius of a `Ranking`
raise ValueError. A query without a relevant item has the value 0.

Notation: a group of n items, r of them relevant, follows N items of which R are relevant.
"""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

from jxhash.metrics.histogram import Array, Histogram, Ranking

# Terms per block of the hypergeometric sums, which fit in the cache.
TERMS = 1 << 16

DENOMINATORS = ("min(k, relevant)", "relevant", "retrieved relevant")


def on_host(histogram: Histogram) -> Histogram:
    """Converts a histogram to numpy, whose sums neither overflow nor round as jax's do."""
    parts = histogram._asdict().items()
    return histogram._replace(**{n: np.asarray(part) for n, part in parts if part is not None})


def answerable(histogram: Histogram) -> np.ndarray:
    """Whether the database holds a relevant item, for each query; bool [q]."""
    return np.asarray(np.any(histogram.relevant, axis=1))


def average_precision(
    histogram: Histogram, *, top_k: int | None = None, denominator: str = "min(k, relevant)"
) -> np.ndarray:
    """Average precision, over the whole ranking or its first `top_k` positions.

    The sum over relevant items in the first k positions of the precision at their position,
    divided by the denominator. The t-th position of a group holds a relevant item with probability
    r / n, and then R + 1 + (t - 1)(r - 1) / (n - 1) relevant items are expected up to it.

    Args:
      histogram: of distances or ranks.
      top_k: the cut k; the whole ranking without it.
      denominator: by what the sum is divided:
        "min(k, relevant)": the most relevant items that k positions can hold, so a perfect ranking
          has 1;
        "relevant": all relevant items of the database (Manning et al., "Introduction to
          Information Retrieval", 8.4, with precision 0 for what is not retrieved);
        "retrieved relevant": the relevant items among the first k, 0 if there are none (with ties
          the value is the expectation of the ratio). It rewards a ranking that finds one item
          early and no other.
        Without `top_k` the three are the same.

    Returns:
      float64 [q].

    Raises:
      ValueError: `top_k` is not within the database, or the denominator is unknown.

    >>> h = Histogram(np.array([[1, 2]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> average_precision(h).round(4).tolist()  # one relevant item, at position 2 or 3
    [0.4167]
    """
    if denominator not in DENOMINATORS:
        raise ValueError(f"denominator is one of {DENOMINATORS}, not {denominator!r}")
    histogram = on_host(histogram)
    cut = _cut(histogram, top_k)
    if denominator == "retrieved relevant":
        return _precision_over_hits(histogram, cut)
    total = histogram.relevant.sum(axis=1)
    if denominator == "min(k, relevant)":
        total = np.minimum(total, cut)
    return _ratio(_summed_precision(histogram, cut).sum(axis=1), total)


def first_relevant_precision(histogram: Histogram, top_k: int) -> np.ndarray:
    """What widely copied code computes as "MAP@k"; for comparison with its tables only.

    The mean precision at the first min(k, relevant) relevant items, wherever they rank, with ties
    in database order. It is no measure of the first k positions.

    Args:
      histogram: a ranking without ties: `ranked_relevance(..., ties="database_order")`.
      top_k: the number k of relevant items.

    Returns:
      float64 [q].

    Raises:
      ValueError: the ranking has ties, or k is not within the database.

    >>> ones, relevant = np.ones((1, 4), int), np.array([[1, 0, 0, 1]])
    >>> first_relevant_precision(Histogram(ones, relevant, relevant, None), 2).tolist()
    [0.75]
    """
    histogram = on_host(histogram)
    cut = _cut(histogram, top_k)
    if not (histogram.retrieved == 1).all():
        raise ValueError('ties have no order here: use ranked_relevance(ties="database_order")')
    first = np.cumsum(histogram.relevant, axis=1) <= cut
    total = np.minimum(histogram.relevant.sum(axis=1), cut)
    return _ratio(np.sum(_precision_at_items(histogram.relevant) * first, axis=1), total)


def precision_at(histogram: Histogram, ks: Sequence[int]) -> np.ndarray:
    """The expected precision of the first k, for each of `ks`; float64 [q, len(ks)]."""
    return _ratio(_hits(on_host(histogram), ks), np.asarray(ks))


def recall_at(histogram: Histogram, ks: Sequence[int]) -> np.ndarray:
    """The expected recall of the first k, for each of `ks`; float64 [q, len(ks)]."""
    histogram = on_host(histogram)
    return _ratio(_hits(histogram, ks), histogram.relevant.sum(axis=1)[:, None])


def hit_rate_at(histogram: Histogram, ks: Sequence[int]) -> np.ndarray:
    """The probability that a relevant item is among the first k, for each of `ks`.

    For paired data (class ids: the index of the pair) this is what image-text retrieval calls
    Recall@K. Of the group in which the cut falls m items are seen, none of them relevant with
    probability C(n - r, m) / C(n, m).

    Returns:
      float64 [q, len(ks)].

    >>> h = Histogram(np.array([[1, 3]]), np.array([[0, 1]]), np.array([[0.0, 1]]), None)
    >>> hit_rate_at(h, [1, 2, 4]).round(4).tolist()
    [[0.0, 0.3333, 1.0]]
    """
    rates = []
    for size, relevant, before, seen in _last_groups(on_host(histogram), ks):
        spare = size - relevant
        log_missed = log_binomial(spare, np.minimum(seen, spare)) - log_binomial(size, seen)
        found = (before > 0) | (seen > spare)
        rates.append(np.where(found, 1.0, 1 - np.exp(log_missed)))
    return np.stack(rates, axis=1)


def lookup_precision(histogram: Histogram, radius: int = 2) -> np.ndarray:
    """The precision within a Hamming radius, 0 for an empty lookup; float64 [q]."""
    retrieved, relevant = _within(on_host(histogram), radius)
    return _ratio(relevant, retrieved)


def lookup_recall(histogram: Histogram, radius: int = 2) -> np.ndarray:
    """The recall within a Hamming radius; float64 [q]."""
    histogram = on_host(histogram)
    return _ratio(_within(histogram, radius)[1], histogram.relevant.sum(axis=1))


def lookup_success(histogram: Histogram, radius: int = 2) -> np.ndarray:
    """Whether a relevant item is within a Hamming radius, 0 or 1; float64 [q]."""
    return np.asarray(_within(on_host(histogram), radius)[1] > 0, np.float64)


def ndcg(histogram: Histogram, *, top_k: int | None = None) -> np.ndarray:
    """Normalised discounted cumulative gain.

    DCG = sum over positions p <= k of (2^s - 1) / log2(1 + p) (Burges et al., "Learning to rank
    using gradient descent", ICML 2005), s the number of labels that the item at p shares with the
    query, divided by the DCG of the best ranking of the database. In a histogram that is not graded
    s is 0 or 1.

    Args:
      histogram: of distances or ranks.
      top_k: the cut k; the whole ranking without it.

    Returns:
      float64 [q].

    Raises:
      ValueError: `top_k` is not within the database, or the histogram has no levels.

    >>> h = Histogram(*map(np.array, ([[1, 1]], [[0, 1]], [[0.0, 1]], [[1, 1]])))
    >>> ndcg(h).round(4).tolist()
    [0.6309]
    """
    histogram = on_host(histogram)
    if histogram.levels is None:
        raise ValueError("this histogram has no levels, which the ideal ranking needs")
    cut = _cut(histogram, top_k)
    discounts = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, cut + 2)))])
    before, after = _cut_groups(histogram.retrieved, cut)
    gains = _ratio(histogram.gains, histogram.retrieved)
    found = np.sum(gains * (discounts[after] - discounts[before]), axis=1)
    best_first = histogram.levels[:, ::-1]
    before, after = _cut_groups(best_first, cut)
    worth = 2.0 ** np.arange(best_first.shape[1])[::-1] - 1
    return _ratio(found, (discounts[after] - discounts[before]) @ worth)


def require_distances(histogram: Histogram) -> None:
    """Raises a ValueError for a Ranking, which has no radius."""
    if isinstance(histogram, Ranking):
        raise ValueError(
            "a ranking has ranks, not distances, so lookups within a radius are undefined"
        )


def _whole(name: str, number: int) -> int:
    try:
        return operator.index(number)
    except TypeError as error:
        raise TypeError(f"{name} is a whole number, not {number!r}") from error


def _cut(histogram: Histogram, top_k: int | None) -> int:
    size = int(histogram.retrieved[0].sum())
    if top_k is None:
        return size
    if not 1 <= _whole("k", top_k) <= size:
        raise ValueError(f"k={top_k} is not within the database of {size} items")
    return int(top_k)


def _within(histogram: Histogram, radius: int) -> tuple[Array, Array]:
    """The items and the relevant items within a radius, both [q]."""
    require_distances(histogram)
    last = histogram.retrieved.shape[1] - 1
    if not 0 <= _whole("radius", radius) <= last:
        raise ValueError(f"radius={radius} is not among the distances 0 to {last}")
    within = slice(radius + 1)
    return histogram.retrieved[:, within].sum(axis=1), histogram.relevant[:, within].sum(axis=1)


def _ratio(numerator: Array, denominator: Array) -> np.ndarray:
    """The quotient in float64, 0 where the denominator is 0."""
    zeros = np.zeros(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)))
    return np.divide(numerator, denominator, out=zeros, where=np.not_equal(denominator, 0))


def _cut_groups(sizes: Array, cut: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions before and after each group, both no further than the cut."""
    after = np.cumsum(sizes, axis=1, dtype=np.int64)
    return np.minimum(after - sizes, cut), np.minimum(after, cut)


def _last_groups(
    histogram: Histogram, ks: Sequence[int]
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """For each k the group in which it falls, for each query: n, r, R and the items up to k."""
    rows = np.arange(len(histogram.retrieved))
    after = np.cumsum(histogram.retrieved, axis=1, dtype=np.int64)
    found = np.cumsum(histogram.relevant, axis=1, dtype=np.int64)
    if len(ks) == 0:
        raise ValueError("ks holds no number of positions")
    for k in ks:
        group = np.argmax(after >= _cut(histogram, k), axis=1)
        size, relevant = histogram.retrieved[rows, group], histogram.relevant[rows, group]
        yield size, relevant, found[rows, group] - relevant, k - after[rows, group] + size


def _hits(histogram: Histogram, ks: Sequence[int]) -> np.ndarray:
    """The relevant items expected among the first k, [q, len(ks)]."""
    hits = [
        before + seen * relevant / size
        for size, relevant, before, seen in _last_groups(histogram, ks)
    ]
    return np.stack(hits, axis=1)


def _summed_precision(histogram: Histogram, cut: int) -> Array:
    """The expected sum of precisions at the relevant items of each group, up to the cut."""
    if (histogram.retrieved == 1).all():
        return _precision_at_items(histogram.relevant[:, :cut])
    before, after = _cut_groups(histogram.retrieved, cut)
    relevant_before = np.cumsum(histogram.relevant, axis=1) - histogram.relevant
    return _group_precision(
        histogram.retrieved,
        histogram.relevant,
        before,
        relevant_before,
        after - before,
        _harmonic_numbers(cut),
    )


def _precision_at_items(relevant: Array) -> Array:
    """The precision at each relevant item, 0 at others, where every group is one item."""
    return relevant * (np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1))


def _group_precision(
    sizes: Array,
    relevant: Array,
    before: Array,
    relevant_before: Array,
    seen: Array,
    harmonic: np.ndarray,
) -> np.ndarray:
    """The expected sum of precisions at relevant items in the first `seen` positions of a group.

    With a = (r - 1) / (n - 1) the sum over t = 1 .. m of (r / n)(R + 1 + a (t - 1)) / (N + t) is
    (r / n) ((R + 1 - a (N + 1)) (H(N + m) - H(N)) + a m), H the harmonic numbers.
    """
    slope = _ratio(relevant - 1, sizes - 1)
    constant = relevant_before + 1 - slope * (before + 1)
    rise: np.ndarray = harmonic[before + seen] - harmonic[before]
    return _ratio(relevant, sizes) * (constant * rise + slope * seen)


def _harmonic_numbers(last: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(1 / np.arange(1, last + 1))])


def _precision_over_hits(histogram: Histogram, cut: int) -> np.ndarray:
    """The expectation of the summed precision divided by the number of hits up to the cut.

    Only the group in which the cut falls leaves the number of hits open. Given h hits in its first
    m positions (hypergeometric), those m are themselves a group of m items, h of them relevant.
    """
    harmonic = _harmonic_numbers(cut)
    before, after = _cut_groups(histogram.retrieved, cut)
    rows, last = np.arange(len(after)), np.argmax(after == cut, axis=1)
    size, relevant = (
        part[rows, last].astype(np.int64) for part in (histogram.retrieved, histogram.relevant)
    )
    start, seen = before[rows, last], cut - before[rows, last]
    summed, found = (
        np.sum(part * (np.arange(part.shape[1]) < last[:, None]), axis=1)
        for part in (_summed_precision(histogram, cut), histogram.relevant)
    )
    least, most = np.maximum(0, seen - size + relevant), np.minimum(relevant, seen)
    numbers, spare = most - least + 1, size - relevant
    values = np.empty(len(last))
    # All possible numbers of hits of some queries after each other.
    for some in np.array_split(rows, min(len(rows), 1 + numbers.sum() // TERMS)):
        query, firsts = np.repeat(some, numbers[some]), np.cumsum(numbers[some]) - numbers[some]
        hits = np.arange(len(query)) + np.repeat(least[some] - firsts, numbers[some])
        final = _group_precision(
            seen[query], hits, start[query], found[query], seen[query], harmonic
        )
        log_weights = log_binomial(relevant[query], hits)
        log_weights += log_binomial(spare[query], seen[query] - hits)
        largest = np.maximum.reduceat(log_weights, firsts)
        weights = np.exp(log_weights - np.repeat(largest, numbers[some]))
        ratios = _ratio(summed[query] + final, found[query] + hits)
        values[some] = np.add.reduceat(weights * ratios, firsts) / np.add.reduceat(weights, firsts)
    return values


def log_binomial(n: Array, k: Array) -> Any:
    """The logarithm of n over k, for 0 <= k <= n."""
    return -special.betaln(n - k + 1.0, k + 1.0) - np.log(n + 1.0)
