"""What queries found, and every measure that is read from it, under named definitions."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jxhash import codes, metrics
from jxhash.data.dataset import Items, Task
from jxhash.metrics import per_query

TOP = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

ENCODED = "encoded"
LEARNED = "learned"
GIVEN = "given"
UNTRAINED = "untrained networks"
RANDOM = "random ranking"

# Database rows whose bits are looked at together.
_ROWS = 1 << 16

# Of the interval that stands beside MAP.
CONFIDENCE = 0.95

RELEVANCE = "relevant: shares at least one label with the query"

Measures = Mapping[str, Callable[[metrics.Histogram], np.ndarray]]


class Definitions(NamedTuple):
    """What the literature mixes, each by its name; the defaults are this library's.

    Attributes:
      cut: k of MAP@k and NDCG@k.
      radius: of lookups, in bits.
      denominator: of MAP@k: "min(k, relevant)", "relevant" or "retrieved relevant".
      empty: a query for which nothing is relevant counts as 0 ("zero"), is left out ("skip") or is
        refused ("error").
      ties: items at one distance: "expected" over their orders, or in "database_order".
    """

    cut: int = 50
    radius: int = 2
    denominator: str = "min(k, relevant)"
    empty: str = "zero"
    ties: str = "expected"

    def in_words(self) -> dict[str, str]:
        """Each measure of `measures`, by its name."""
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
            "lookup_recall": f"share of the relevant items within Hamming radius {self.radius}",
            "lookup_success": "share of queries with something relevant within Hamming radius "
            f"{self.radius}",
            "precision_at": "precision among the first N",
            "recall_at": "share of the relevant items among the first N",
            "hit_rate_at": "share of queries with something relevant among the first N",
            "precision_recall": "mean precision and mean recall within each Hamming radius; for "
            "other distances among the first N",
        }
        if self.ties == "database_order":
            words[f"first_{self.cut}_relevant"] = (
                f"mean precision at the first {self.cut} relevant items wherever they rank, which "
                f"much published code calls MAP@{self.cut}"
            )
        return words


DEFAULT = Definitions()


@dataclasses.dataclass(frozen=True)
class Found:
    """What the queries of one task found, under one protocol.

    Attributes:
      task: the direction and its items.
      database: the items searched; under "learned" the training rows.
      query: what a query is searched with, rows first: codes, or outputs where the method has a
        distance of its own.
      entries: what the database keeps of each item, rows first.
      distances: from the numbers of some queries (a slice or an array) to distances [b, n].
      histogram: counts at each Hamming distance; None where the method has a distance of its own.
    """

    task: Task
    database: Items
    query: np.ndarray
    entries: np.ndarray
    distances: Callable[[Any], np.ndarray]
    histogram: metrics.Histogram | None

    def read(self, measures: Measures, ties: str = DEFAULT.ties) -> dict[str, np.ndarray]:
        """The values of measures of positions for each query; rankings are made in blocks."""
        if self.histogram is not None and ties == "expected":
            return {name: measure(self.histogram) for name, measure in measures.items()}
        size = len(self.query), len(self.database)
        relevance = metrics.label_relevance(self.task.query.labels, self.database.labels)
        with tqdm(total=len(self.query), desc="ranking", unit="query", delay=3, leave=False) as bar:

            def distances(queries: slice) -> np.ndarray:
                bar.update(queries.stop - queries.start)
                return self.distances(queries)

            return metrics.measure_ranking(measures, distances, relevance, *size, ties=ties)

    def mean_average_precision(self) -> float:
        """MAP over the whole ranking."""
        return float(self.read({"map": per_query.average_precision})["map"].mean())


def found_by_codes(task: Task, database: Items, query: np.ndarray, entries: np.ndarray) -> Found:
    """Searches with codes among codes, both [n, K] in {-1, +1}, by Hamming distance."""
    histogram = metrics.distance_histogram(
        query, entries, task.query.labels, database.labels, graded=True
    )
    packed = codes.pack(query), codes.pack(entries)

    def hamming(queries: Any) -> np.ndarray:
        return codes.hamming_distance(packed[0][queries], packed[1])

    return Found(task, database, query, entries, hamming, histogram)


def fitted(definitions: Definitions, searched: Iterable[Found]) -> Definitions:
    """The definitions with no larger a cut and radius than the databases and codes have."""
    searched = list(searched)
    radii = [one.entries.shape[1] for one in searched if one.histogram is not None]
    return definitions._replace(
        cut=min([definitions.cut, *(len(one.database) for one in searched)]),
        radius=min([definitions.radius, *radii]),
    )


def measures(found: Found, definitions: Definitions = DEFAULT) -> dict[str, Any]:
    """Every measure of `Definitions.in_words`, as JSON values.

    Within a radius only codes can be looked up; for other distances that is None.

    Raises:
      ValueError: the cut is not within the database, the radius beyond the code length, or a query
        has nothing relevant and that is an error.
    """
    everything = _everything(found)
    of_positions = _of_positions(everything, definitions)
    if definitions.ties == "database_order":
        of_positions[f"first_{definitions.cut}_relevant"] = functools.partial(
            per_query.first_relevant_precision, top_k=definitions.cut
        )
    of_queries = found.read(of_positions, definitions.ties)
    values = _in_means(of_queries, everything, definitions)
    values["map_interval"] = _interval(_counted(of_queries["map"], everything, definitions))
    return values if found.histogram is None else values | _of_radii(found.histogram, definitions)


def _of_radii(histogram: metrics.Histogram, definitions: Definitions) -> dict[str, Any]:
    radius, empty = definitions.radius, definitions.empty
    curve = metrics.precision_recall_curve(histogram, empty=empty)
    return {
        "lookup_precision": metrics.lookup_precision(histogram, radius, empty=empty),
        "lookup_recall": metrics.lookup_recall(histogram, radius, empty=empty),
        "lookup_success": metrics.lookup_success(histogram, radius, empty=empty),
        "precision_recall": {
            "precision": curve.precision.tolist(),
            "recall": curve.recall.tolist(),
        },
    }


def average_precisions(found: Found, definitions: Definitions = DEFAULT) -> np.ndarray:
    """The average precision of each query that counts; MAP is their mean."""
    values = found.read({"map": per_query.average_precision}, definitions.ties)["map"]
    return _counted(values, _everything(found), definitions)


def _counted(
    values: np.ndarray, everything: metrics.Histogram, definitions: Definitions
) -> np.ndarray:
    return values[per_query.answerable(everything)] if definitions.empty == "skip" else values


def _interval(values: np.ndarray) -> list[float] | None:
    if not values.size:
        return None
    interval = metrics.bootstrap_interval(values, confidence=CONFIDENCE)
    return [interval.low, interval.high]


def random_measures(found: Found, definitions: Definitions = DEFAULT) -> dict[str, Any]:
    """The expectation of every measure over all orders of the database."""
    everything = _everything(found)
    of_positions = _of_positions(everything, definitions)
    of_queries = {name: measure(everything) for name, measure in of_positions.items()}
    return _in_means(of_queries, everything, definitions)


def _everything(found: Found) -> metrics.Histogram:
    """The whole database as one group."""
    if found.histogram is not None:
        return metrics.random_ranking(found.histogram)
    alike = np.ones((len(found.query), 1), np.int8), np.ones((len(found.database), 1), np.int8)
    labels = found.task.query.labels, found.database.labels
    histogram = metrics.distance_histogram(*alike, *labels, graded=True)
    return metrics.random_ranking(histogram)


def _of_positions(
    everything: metrics.Histogram, definitions: Definitions
) -> dict[str, Callable[[metrics.Histogram], np.ndarray]]:
    """The measures that every ranking has."""
    cut, ks = definitions.cut, _first(everything)
    return {
        "map": per_query.average_precision,
        f"map_at_{cut}": functools.partial(
            per_query.average_precision, top_k=cut, denominator=definitions.denominator
        ),
        f"ndcg_at_{cut}": functools.partial(per_query.ndcg, top_k=cut),
        "precision_at": functools.partial(per_query.precision_at, ks=ks),
        "recall_at": functools.partial(per_query.recall_at, ks=ks),
        "hit_rate_at": functools.partial(per_query.hit_rate_at, ks=ks),
    }


def _first(everything: metrics.Histogram) -> list[int]:
    """The N of curves over the first N."""
    size = int(everything.retrieved[0, 0])
    return [*(k for k in TOP if k < size), size]


def _in_means(
    of_queries: Mapping[str, np.ndarray], everything: metrics.Histogram, definitions: Definitions
) -> dict[str, Any]:
    """The means over the queries as JSON values; None where there is no such measure."""
    answerable, ks = per_query.answerable(everything), _first(everything)
    means = {
        name: metrics.mean_over_queries(values, answerable, empty=definitions.empty).tolist()
        for name, values in of_queries.items()
    }
    curves = {name: means.pop(f"{name}_at") for name in ("precision", "recall", "hit_rate")}
    return means | {
        **dict.fromkeys(("map_interval", "lookup_precision", "lookup_recall", "lookup_success")),
        **{f"{name}_at": dict(zip(map(str, ks), at, strict=True)) for name, at in curves.items()},
        "precision_recall": {"precision": curves["precision"], "recall": curves["recall"]},
    }


def evaluate(
    trained: Mapping[str, Mapping[str, Found]],
    untrained: Mapping[str, Found],
    definitions: Definitions = DEFAULT,
) -> dict[str, dict[str, Any]]:
    """The numbers of a report.

    Args:
      trained: protocol name -> task name -> what the trained method found.
      untrained: task name -> what the same networks found before training.
      definitions: of the measures.

    Returns:
      task name -> protocol or baseline name -> measures.
    """
    results: dict[str, dict[str, Any]] = {}
    for task, found in untrained.items():
        results[task] = {
            protocol: measures(by_task[task], definitions) for protocol, by_task in trained.items()
        }
        results[task][UNTRAINED] = measures(found, definitions)
        results[task][RANDOM] = random_measures(found, definitions)
    return results


def bit_statistics(found: Mapping[str, Found]) -> dict[str, Any]:
    """How the bits of each modality's database codes are used.

    Returns:
      modality, where its entries are codes -> "mean" (of each bit over the items, 0 is balanced),
      "correlation" (mean absolute correlation of two bits), "distinct" (different codes), "items",
      "constant" (bits that never change).
    """
    return {
        one.task.database_modality: _bits_of(one.entries)
        for one in found.values()
        if one.histogram is not None
    }


def wasted_bits(statistics: Mapping[str, Any]) -> list[str]:
    """Which modalities have bits that tell nothing apart, in words; empty where none has.

    Args:
      statistics: as `bit_statistics` gives them.

    >>> used = {"mean": [1.0, 0.5, 0.0], "distinct": 3, "items": 4, "constant": 1}
    >>> wasted_bits({"image": used, "text": used | {"constant": 0}})
    ['image: 1 of 3 bits never changes over 4 codes']
    >>> wasted_bits({"image": used | {"constant": 3, "distinct": 1}})
    ['image: all 4 codes are equal']
    """
    lines = []
    for modality, values in statistics.items():
        items, constant, bits = values["items"], values["constant"], len(values["mean"])
        if items > 1 and values["distinct"] == 1:
            lines.append(f"{modality}: all {items} codes are equal")
        elif items > 1 and constant:
            never = "never changes" if constant == 1 else "never change"
            lines.append(f"{modality}: {constant} of {bits} bits {never} over {items} codes")
    return lines


def wasted_entries(found: Mapping[str, Found]) -> list[str]:
    """The same of database entries that are no codes, such as numbers of codewords."""
    lines = []
    for one in found.values():
        items, width = one.entries.shape
        constant = int((one.entries == one.entries[:1]).all(axis=0).sum())
        if one.histogram is None and items > 1 and constant:
            modality = one.task.database_modality
            lines.append(
                f"{modality}: {constant} of {width} numbers are equal in all {items} entries"
            )
    return lines


def _bits_of(entries: np.ndarray) -> dict[str, Any]:
    mean, products = np.zeros(entries.shape[1]), np.zeros((entries.shape[1],) * 2)
    for start in range(0, len(entries), _ROWS):
        block = entries[start : start + _ROWS].astype(np.float32)
        # Sums of so many +-1 are exact in float32, and whole numbers in float64.
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
        "distinct": _distinct(codes.words(codes.pack(entries))),
        "items": len(entries),
        "constant": int(np.sum(~alive)),
    }


def _distinct(rows: np.ndarray) -> int:
    ordered = rows[np.lexsort(rows.T)]
    return 1 + int(np.any(ordered[1:] != ordered[:-1], axis=1).sum())
