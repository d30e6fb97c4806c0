"""Search results of a task, and every measure of them under named definitions."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jxhash import codes, metrics
from jxhash.data.dataset import Items, Task
from jxhash.metrics import first_relevant, per_query

TOP = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

ENCODED = "encoded"
LEARNED = "learned"
GIVEN = "given"
UNTRAINED = "untrained networks"
RANDOM = "random ranking"

# Database rows per block of the bit statistics.
_ROWS = 1 << 16

# Of the bootstrap interval beside MAP.
CONFIDENCE = 0.95

SHARED_LABEL = "relevant: shares at least one label with the query"
SAME_PAIR = "relevant: belongs to the pair of the query"

# Of Recall@N, where relevant is what belongs to the pair.
RECALLS = (1, 5, 10)

Measures = Mapping[str, Callable[[metrics.Histogram], np.ndarray]]


class Definitions(NamedTuple):
    """Choices on which published numbers differ; the defaults are this library's.

    Attributes:
      cut: k of MAP@k and NDCG@k.
      radius: of lookups, in bits.
      denominator: of MAP@k: "min(k, relevant)", "relevant" or "retrieved relevant".
      empty: a query without a relevant item counts as 0 ("zero"), is left out ("skip") or is
        refused ("error").
      ties: items at equal distance: the expectation over their orders ("expected"), or
        "database_order".
    """

    cut: int = 50
    radius: int = 2
    denominator: str = "min(k, relevant)"
    empty: str = "zero"
    ties: str = "expected"

    def in_words(self) -> dict[str, str]:
        """Describes each measure of `measures`, by its name."""
        empty = {"zero": "counts as 0", "skip": "is left out", "error": "is refused"}[self.empty]
        ties = {
            "expected": "expected over the order of ties",
            "database_order": "ties in the order of the database",
        }[self.ties]
        words = {
            "map": f"mean average precision over the whole ranking, {ties}; a query without a "
            f"relevant item {empty}",
            "map_interval": f"{CONFIDENCE:.0%} bootstrap interval of that mean over the queries",
            f"map_at_{self.cut}": f"the same over the first {self.cut}, divided by "
            + self.denominator.replace("k", str(self.cut), 1).replace("relevant", "relevant items"),
            f"ndcg_at_{self.cut}": "normalised discounted cumulative gain of the first "
            f"{self.cut}, gain 2^shared - 1",
            "lookup_precision": f"precision within Hamming radius {self.radius}, an empty lookup "
            "counts as 0",
            "lookup_recall": f"recall within Hamming radius {self.radius}",
            "lookup_success": "share of queries with a relevant item within Hamming radius "
            f"{self.radius}",
            "precision_at": "precision of the first N",
            "recall_at": "recall of the first N",
            "hit_rate_at": "share of queries with a relevant item among the first N; Recall@N "
            "where relevant is what belongs to the pair",
            "median_rank": "median over the queries of the rank of the first relevant item",
            "mean_reciprocal_rank": "mean of the reciprocal of that rank",
            "precision_recall": "mean precision and mean recall within each Hamming radius; for "
            "other distances of the first N",
        }
        if self.ties == "database_order":
            words[f"first_{self.cut}_relevant"] = (
                f"mean precision at the first {self.cut} relevant items wherever they rank; much "
                f"published code calls this MAP@{self.cut}"
            )
        return words


DEFAULT = Definitions()


@dataclasses.dataclass(frozen=True)
class Found:
    """The search results of one task under one protocol.

    Attributes:
      task: the direction and its items.
      database: the items searched; under "learned" the training rows.
      query: one row per query: its code, or its output if the method has a distance of its own.
      entries: one row per database item: its code, or what the method's distance needs.
      distances: from the indices of b queries (a slice or an array) to their distances [b, n].
      histogram: counts at each Hamming distance; None if the method has a distance of its own.
    """

    task: Task
    database: Items
    query: np.ndarray
    entries: np.ndarray
    distances: Callable[[Any], np.ndarray]
    histogram: metrics.Histogram | None

    @cached_property
    def unranked(self) -> metrics.Histogram:
        """The whole database as one tied group: what a random ranking finds."""
        if self.histogram is not None:
            return metrics.random_ranking(self.histogram)
        equal = np.ones((len(self.query), 1), np.int8), np.ones((len(self.database), 1), np.int8)
        labels = self.task.query.labels, self.database.labels
        return metrics.random_ranking(metrics.distance_histogram(*equal, *labels, graded=True))

    @property
    def answerable(self) -> np.ndarray:
        """Whether the database holds anything relevant to each query, bool [q]."""
        return per_query.answerable(self.unranked)

    def read(self, measures: Measures, ties: str = DEFAULT.ties) -> dict[str, np.ndarray]:
        """Measures every query; rankings are made in blocks of queries."""
        if self.histogram is not None and ties == "expected":
            return {name: measure(self.histogram) for name, measure in measures.items()}
        size = len(self.query), len(self.database)
        relevance = metrics.label_relevance(self.task.query.labels, self.database.labels)
        with tqdm(total=len(self.query), desc="ranking", unit="query", delay=3, leave=False) as bar:

            def distances(queries: slice) -> np.ndarray:
                bar.update(queries.stop - queries.start)
                return self.distances(queries)

            return metrics.measure_ranking(measures, distances, relevance, *size, ties=ties)

    @property
    def by_pairs(self) -> bool:
        """Whether relevant is what belongs to the query's pair."""
        return self.task.by_pairs

    def score(self) -> float:
        """What models are chosen by: MAP, or by pairs the mean of Recall@1, @5 and @10."""
        if not self.by_pairs:
            return float(self.read({"map": per_query.average_precision})["map"].mean())
        ks = [min(k, len(self.database)) for k in RECALLS]
        return float(
            self.read({"recalls": partial(per_query.hit_rate_at, ks=ks)})["recalls"].mean()
        )


def found_by_codes(task: Task, database: Items, query: np.ndarray, entries: np.ndarray) -> Found:
    """Searches by Hamming distance among codes, [q, K] and [n, K] in {-1, +1}."""
    histogram = metrics.distance_histogram(
        query, entries, task.query.labels, database.labels, graded=True
    )
    packed = codes.pack(query), codes.pack(entries)

    def hamming(queries: Any) -> np.ndarray:
        return np.asarray(codes.hamming_distance(packed[0][queries], packed[1]))

    return Found(task, database, query, entries, hamming, histogram)


def fitted(definitions: Definitions, searched: Iterable[Found]) -> Definitions:
    """Limits cut and radius to the smallest database and the shortest code."""
    searched = list(searched)
    radii = [one.entries.shape[1] for one in searched if one.histogram is not None]
    return definitions._replace(
        cut=min([definitions.cut, *(len(one.database) for one in searched)]),
        radius=min([definitions.radius, *radii]),
    )


def measures(found: Found, definitions: Definitions = DEFAULT) -> dict[str, Any]:
    """Every measure of `Definitions.in_words`, as JSON values; without codes no lookups (None).

    Raises:
      ValueError: the cut exceeds the database, the radius exceeds the code length, or `empty` is
        "error" and a query has no relevant item.
    """
    of_positions = _of_positions(found, definitions)
    if definitions.ties == "database_order":
        of_positions[f"first_{definitions.cut}_relevant"] = partial(
            per_query.first_relevant_precision, top_k=definitions.cut
        )
    of_queries = found.read(of_positions, definitions.ties)
    values = _means(of_queries, found, definitions)
    counted = _counted(of_queries["map"], found, definitions)
    if counted.size:
        _, *values["map_interval"] = metrics.bootstrap_interval(counted, confidence=CONFIDENCE)
    return values if found.histogram is None else values | _of_radii(found.histogram, definitions)


def _of_radii(histogram: metrics.Histogram, definitions: Definitions) -> dict[str, Any]:
    radius, empty = definitions.radius, definitions.empty
    curve = metrics.precision_recall_curve(histogram, empty=empty)._asdict()
    return {
        "lookup_precision": metrics.lookup_precision(histogram, radius, empty=empty),
        "lookup_recall": metrics.lookup_recall(histogram, radius, empty=empty),
        "lookup_success": metrics.lookup_success(histogram, radius, empty=empty),
        "precision_recall": {name: values.tolist() for name, values in curve.items()},
    }


def average_precisions(found: Found, definitions: Definitions = DEFAULT) -> np.ndarray:
    """The average precision of each query that counts; MAP is their mean."""
    values = found.read({"map": per_query.average_precision}, definitions.ties)["map"]
    return _counted(values, found, definitions)


def _counted(values: np.ndarray, found: Found, definitions: Definitions) -> np.ndarray:
    return values[found.answerable] if definitions.empty == "skip" else values


def random_measures(found: Found, definitions: Definitions = DEFAULT) -> dict[str, Any]:
    """The expectation of every measure over all orders of the database."""
    of_positions = _of_positions(found, definitions)
    of_queries = {name: measure(found.unranked) for name, measure in of_positions.items()}
    return _means(of_queries, found, definitions)


def _of_positions(
    found: Found, definitions: Definitions
) -> dict[str, Callable[[metrics.Histogram], np.ndarray]]:
    """The measures that every ranking has."""
    cut, ks = definitions.cut, _curve_positions(found)
    return {
        "map": per_query.average_precision,
        f"map_at_{cut}": partial(
            per_query.average_precision, top_k=cut, denominator=definitions.denominator
        ),
        f"ndcg_at_{cut}": partial(per_query.ndcg, top_k=cut),
        "precision_at": partial(per_query.precision_at, ks=ks),
        "recall_at": partial(per_query.recall_at, ks=ks),
        "hit_rate_at": partial(per_query.hit_rate_at, ks=ks),
        "median_rank": first_relevant.first_rank,
        "mean_reciprocal_rank": first_relevant.reciprocal_rank,
    }


def _curve_positions(found: Found) -> list[int]:
    """The N of curves over the first N."""
    size = len(found.database)
    return [*(k for k in TOP if k < size), size]


def _means(
    of_queries: Mapping[str, np.ndarray], found: Found, definitions: Definitions
) -> dict[str, Any]:
    """The means over the queries as JSON values; None for measures that only codes have."""
    ks, of_queries = _curve_positions(found), dict(of_queries)
    ranks = _counted(of_queries.pop("median_rank"), found, definitions)
    means = {"median_rank": float(np.median(ranks)) if ranks.size else None} | {
        name: metrics.mean_over_queries(values, found.answerable, empty=definitions.empty).tolist()
        for name, values in of_queries.items()
    }
    curves = {name: means.pop(f"{name}_at") for name in ("precision", "recall", "hit_rate")}
    return means | {
        **dict.fromkeys(("map_interval", "lookup_precision", "lookup_recall", "lookup_success")),
        **{f"{name}_at": dict(zip(map(str, ks), at, strict=True)) for name, at in curves.items()},
        "precision_recall": {"precision": curves["precision"], "recall": curves["recall"]},
    }


def evaluate(
    searched: Mapping[str, Mapping[str, Found]], definitions: Definitions = DEFAULT
) -> dict[str, dict[str, Any]]:
    """The numbers of a report.

    Args:
      searched: protocol or baseline name -> task name -> search results. The first protocol's
        databases are also ranked at random.
      definitions: of the measures.

    Returns:
      task name -> protocol or baseline name -> measures.
    """
    first = next(iter(searched.values()))
    return {
        task: {name: measures(by_task[task], definitions) for name, by_task in searched.items()}
        | {RANDOM: random_measures(found, definitions)}
        for task, found in first.items()
    }


def bit_statistics(found: Mapping[str, Found]) -> dict[str, Any]:
    """How the bits of each modality's database codes are used.

    Returns:
      modality, if its entries are codes -> "mean" (of each bit over the items, 0 is balanced),
      "correlation" (mean absolute correlation of two bits), "distinct" (number of distinct codes),
      "items", "constant" (number of constant bits).
    """
    return {
        one.task.database_modality: bits_of(one.entries)
        for one in found.values()
        if one.histogram is not None
    }


def constant_components(entries: np.ndarray) -> int:
    """How many columns of database entries [n, width], such as codeword numbers, are constant."""
    return int((entries == entries[:1]).all(axis=0).sum())


def bits_of(entries: np.ndarray) -> dict[str, Any]:
    """How the bits of database codes [n, K] are used; the values of `bit_statistics`."""
    mean, products = np.zeros(entries.shape[1]), np.zeros((entries.shape[1],) * 2)
    for start in range(0, len(entries), _ROWS):
        block = entries[start : start + _ROWS].astype(np.float32)
        # Sums of +-1 over a block are exact in float32, their totals in float64.
        mean += block.sum(axis=0)
        products += block.T @ block
    mean, products = mean / len(entries), products / len(entries)
    deviation = np.sqrt(1 - mean**2)
    alive = deviation > 0
    covariance = (products - np.outer(mean, mean))[np.ix_(alive, alive)]
    correlation = np.abs(covariance / np.outer(deviation[alive], deviation[alive]))
    pairs = correlation[np.triu_indices(len(correlation), k=1)]
    return {
        "mean": mean.tolist(),
        "correlation": float(pairs.mean()) if pairs.size else 0.0,
        "distinct": len(np.unique(codes.pack(entries), axis=0)),
        "items": len(entries),
        "constant": int(np.sum(~alive)),
    }
