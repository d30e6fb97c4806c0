"""Retrieval under a named protocol: which codes the database has, and what is read off."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jxhash import codes, metrics
from jxhash.data.dataset import Dataset, Items, Task
from jxhash.evaluation.encode import encode
from jxhash.methods.base import HashState, Method

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
    "precision_recall": "mean precision and mean recall within each Hamming radius",
}
RELEVANCE = "relevant: shares at least one label with the query"


class Found(NamedTuple):
    """What the queries of one task found, under one protocol.

    Attributes:
      task: the direction and its items.
      database: the items searched; under "learned" the training rows.
      query_codes: int8 [q, K].
      database_codes: int8 [n, K].
      histogram: counts of retrieved and relevant items at each distance.
    """

    task: Task
    database: Items
    query_codes: np.ndarray
    database_codes: np.ndarray
    histogram: metrics.Histogram


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
        query = _encoded(method, state, task.query_modality, task.query)
        database = _encoded(method, state, task.database_modality, task.database)
        found[task.name] = _found(task, task.database, query, database)
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
        query = _encoded(method, state, task.query_modality, task.query)
        found[task.name] = _found(task, dataset.trained, query, np.asarray(learned))
    return found


def _encoded(method: Method, state: HashState, modality: str, items: Items) -> np.ndarray:
    outputs = encode(method, state, modality, items.inputs[modality])
    return np.asarray(codes.sign(outputs))


def _found(task: Task, database: Items, query: np.ndarray, entries: np.ndarray) -> Found:
    histogram = metrics.distance_histogram(
        query, entries, task.query.labels, database.labels, graded=True
    )
    return Found(task, database, query, entries, histogram)


def measures(histogram: metrics.Histogram) -> dict[str, Any]:
    """Reads every measure of `MEASURES` off a histogram, as JSON values."""
    size = int(histogram.retrieved[0].sum())
    ks = [k for k in TOP if k <= size]
    radius = min(RADIUS, histogram.retrieved.shape[1] - 1)
    cut = min(CUT, size)
    precision = metrics.precision_at(histogram, ks).tolist()
    curve = metrics.precision_recall_curve(histogram)
    return {
        "map": metrics.mean_average_precision(histogram),
        f"map_at_{CUT}": metrics.mean_average_precision(histogram, top_k=cut),
        f"ndcg_at_{CUT}": metrics.ndcg(histogram, top_k=cut),
        "lookup_precision": metrics.lookup_precision(histogram, radius),
        "precision_at": dict(zip(map(str, ks), precision, strict=True)),
        "precision_recall": {
            "precision": curve.precision.tolist(),
            "recall": curve.recall.tolist(),
        },
    }


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
        results[task] = {
            protocol: measures(by_task[task].histogram) for protocol, by_task in trained.items()
        }
        results[task][UNTRAINED] = measures(found.histogram)
        random = measures(metrics.random_ranking(found.histogram))
        # A ranking has no radius to look within.
        results[task][RANDOM] = random | {"lookup_precision": None}
    return results


def bit_statistics(found: Mapping[str, Found]) -> dict[str, Any]:
    """How the bits of each modality's database codes are used.

    Returns:
      modality -> "mean" (of each bit over the items, 0 is balanced), "correlation" (mean absolute
      correlation of two bits), "distinct" (different codes), "items", "constant" (bits that never
      change).
    """
    statistics = {}
    for one in found.values():
        entries = one.database_codes.astype(np.float64)
        mean, deviation = entries.mean(axis=0), entries.std(axis=0)
        alive = (entries - mean)[:, deviation > 0] / deviation[deviation > 0]
        correlation = np.abs(alive.T @ alive / len(entries))
        pairs = correlation[np.triu_indices(len(correlation), k=1)]
        statistics[one.task.database_modality] = {
            "mean": mean.tolist(),
            "correlation": float(pairs.mean()) if pairs.size else 0.0,
            "distinct": len(np.unique(codes.pack(one.database_codes), axis=0)),
            "items": len(entries),
            "constant": int(np.sum(deviation == 0)),
        }
    return statistics
