"""Retrieval under a named protocol: which codes the database has, and what is read off."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jxhash import codes, metrics
from jxhash.data.dataset import Dataset, Items, Task
from jxhash.evaluation.encode import encode
from jxhash.methods.base import HashState, Method, hamming_distances
from jxhash.metrics import per_query

TOP = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CUT = 50
RADIUS = 2

ENCODED = "encoded"
LEARNED = "learned"
UNTRAINED = "untrained networks"
RANDOM = "random ranking"

MEASURES = {
    "map": "mean average precision over the whole ranking, expected over the order of ties; "
    "a query without a relevant item counts as 0",
    f"map_at_{CUT}": f"the same over the first {CUT}, divided by min({CUT}, relevant items)",
    f"ndcg_at_{CUT}": f"normalised discounted cumulative gain of the first {CUT}, "
    "gain 2^shared - 1",
    "lookup_precision": f"precision within Hamming radius {RADIUS}, an empty lookup counts as 0",
    "precision_at": "precision among the first N",
    "precision_recall": "mean precision and mean recall within each Hamming radius; for other "
    "distances among the first N",
}
RELEVANCE = "relevant: shares at least one label with the query"


Measures = Mapping[str, Callable[[metrics.Histogram], np.ndarray]]


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

    def read(self, measures: Measures) -> dict[str, np.ndarray]:
        """The values of measures of positions for each query; rankings are made in blocks."""
        if self.histogram is not None:
            return {name: measure(self.histogram) for name, measure in measures.items()}
        size = len(self.query), len(self.database)
        return metrics.measure_ranking(measures, self.distances, self._shared_labels, *size)

    def mean_average_precision(self) -> float:
        """MAP over the whole ranking."""
        return float(self.read({"map": per_query.average_precision})["map"].mean())

    def _shared_labels(self, block: slice) -> np.ndarray:
        return metrics.shared_labels(self.task.query.labels[block], self.database.labels)


def retrieve(method: Method, state: HashState, tasks: tuple[Task, ...]) -> dict[str, Found]:
    """Searches with the queries of each task among the encoded items of its database.

    Args:
      method: encodes.
      state: trained or not.
      tasks: the directions.

    Returns:
      task name -> what was found.
    """
    found = {}
    for task in tasks:
        modality = task.database_modality
        outputs = encode(method, state, modality, task.database.inputs[modality])
        entries = np.asarray(method.index(state, modality, jnp.asarray(outputs)))
        found[task.name] = _search(method, state, task, task.database, entries)
    return found


def retrieve_learned(method: Method, state: HashState, dataset: Dataset) -> dict[str, Found]:
    """Searches among the training rows, under the codes that training left for them.

    Returns:
      task name -> what was found; empty where the method learns no codes for its training rows, or
      the data set gives them no place in a database.
    """
    found = {}
    for task in dataset.tasks:
        learned = method.learned(state, task.database_modality)
        if learned is None or dataset.trained is None:
            return {}
        found[task.name] = _search(method, state, task, dataset.trained, np.asarray(learned))
    return found


def _search(
    method: Method, state: HashState, task: Task, database: Items, entries: np.ndarray
) -> Found:
    modality = task.query_modality
    outputs = encode(method, state, modality, task.query.inputs[modality])
    if method.distances is not hamming_distances:
        on_device = jnp.asarray(entries)

        def distances(queries: Any) -> np.ndarray:
            return np.asarray(method.distances(state, jnp.asarray(outputs[queries]), on_device))

        return Found(task, database, outputs, entries, distances, None)

    query = np.asarray(codes.sign(outputs))
    histogram = metrics.distance_histogram(
        query, entries, task.query.labels, database.labels, graded=True
    )

    def hamming(queries: Any) -> np.ndarray:
        return np.asarray(codes.hamming_distance(query[queries], entries))

    return Found(task, database, query, entries, hamming, histogram)


def _measures_of_positions(size: int) -> Measures:
    """Per-query measures that any ranking of `size` items has."""
    cut, ks = min(CUT, size), _positions(size)
    return {
        "map": per_query.average_precision,
        f"map_at_{CUT}": functools.partial(per_query.average_precision, top_k=cut),
        f"ndcg_at_{CUT}": functools.partial(per_query.ndcg, top_k=cut),
        "precision_at": functools.partial(per_query.precision_at, ks=ks),
        "recall_at": functools.partial(per_query.recall_at, ks=ks),
    }


def _positions(size: int) -> list[int]:
    return [k for k in TOP if k < size] + [size]


def _as_json(values: Mapping[str, np.ndarray], size: int) -> dict[str, Any]:
    """Means over queries as JSON values; a query without a relevant item counts as 0."""
    means = {name: of_queries.mean(axis=0).tolist() for name, of_queries in values.items()}
    precision, recall = means.pop("precision_at"), means.pop("recall_at")
    positions = dict(zip(map(str, _positions(size)), precision, strict=True))
    curve = {"precision": precision, "recall": recall}
    return {**means, "lookup_precision": None, "precision_at": positions, "precision_recall": curve}


def measures(found: Found) -> dict[str, Any]:
    """Every measure of `MEASURES`, as JSON values; a ranking has no radius to look within."""
    size = len(found.database)
    values = _as_json(found.read(_measures_of_positions(size)), size)
    if found.histogram is None:
        return values
    radius = min(RADIUS, found.histogram.retrieved.shape[1] - 1)
    curve = metrics.precision_recall_curve(found.histogram)
    return values | {
        "lookup_precision": metrics.lookup_precision(found.histogram, radius),
        "precision_recall": {
            "precision": curve.precision.tolist(),
            "recall": curve.recall.tolist(),
        },
    }


def _random_measures(found: Found) -> dict[str, Any]:
    """The expectation of every measure over all orders of the database."""
    alike = np.ones((len(found.query), 1), np.int8), np.ones((len(found.database), 1), np.int8)
    labels = found.task.query.labels, found.database.labels
    histogram = metrics.random_ranking(metrics.distance_histogram(*alike, *labels, graded=True))
    size = len(found.database)
    read = {name: of(histogram) for name, of in _measures_of_positions(size).items()}
    return _as_json(read, size)


def evaluate(
    trained: Mapping[str, Mapping[str, Found]], untrained: Mapping[str, Found]
) -> dict[str, dict[str, Any]]:
    """The numbers of a report.

    Args:
      trained: protocol name -> task name -> what the trained method found.
      untrained: task name -> what the same networks found before training.

    Returns:
      task name -> protocol or baseline name -> measures.
    """
    results: dict[str, dict[str, Any]] = {}
    for task, found in untrained.items():
        results[task] = {protocol: measures(by_task[task]) for protocol, by_task in trained.items()}
        results[task][UNTRAINED] = measures(found)
        results[task][RANDOM] = _random_measures(found)
    return results


def bit_statistics(found: Mapping[str, Found]) -> dict[str, Any]:
    """How the bits of each modality's database codes are used.

    Returns:
      modality, where its entries are codes -> "mean" (of each bit over the items, 0 is balanced),
      "correlation" (mean absolute correlation of two bits), "distinct" (different codes), "items",
      "constant" (bits that never change).
    """
    statistics = {}
    for one in found.values():
        if one.histogram is None:
            continue
        entries = one.entries.astype(np.float64)
        mean, deviation = entries.mean(axis=0), entries.std(axis=0)
        alive = (entries - mean)[:, deviation > 0] / deviation[deviation > 0]
        correlation = np.abs(alive.T @ alive / len(entries))
        pairs = correlation[np.triu_indices(len(correlation), k=1)]
        statistics[one.task.database_modality] = {
            "mean": mean.tolist(),
            "correlation": float(pairs.mean()) if pairs.size else 0.0,
            "distinct": len(np.unique(codes.pack(one.entries), axis=0)),
            "items": len(entries),
            "constant": int(np.sum(deviation == 0)),
        }
    return statistics
