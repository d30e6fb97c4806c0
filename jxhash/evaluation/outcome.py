"""What a finished run leaves: codes, values of the queries, report.json and report.html."""

import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from jxhash import codes
from jxhash.atomic_files import write_atomically
from jxhash.data.dataset import Dataset
from jxhash.evaluation import comparison, measure, report, report_page, retrieval
from jxhash.evaluation.comparison import QUERIES
from jxhash.evaluation.measure import Found
from jxhash.methods.base import HashState, Method

REPORT = "report.json"
PAGE = "report.html"
CODES = "codes.npz"


def validation(method: Method, dataset: Dataset) -> Callable[[HashState], dict[str, float]] | None:
    """A function from states to the MAP of each validation task; None without such tasks.

    It warns of bits that tell nothing apart.
    """
    if not dataset.validation:
        return None

    def measure_state(state: HashState) -> dict[str, float]:
        found = retrieval.retrieve(method, state, dataset.validation)
        _warn_of_wasted_entries(found, "validation database")
        return {task: one.mean_average_precision() for task, one in found.items()}

    return measure_state


def _warn_of_wasted_entries(found: Mapping[str, Found], database: str) -> None:
    lines = measure.wasted_bits(measure.bit_statistics(found)) + measure.wasted_entries(found)
    if lines:
        logging.warning("bits that tell nothing apart in the %s: %s", database, "; ".join(lines))


def is_complete(workdir: pathlib.Path) -> bool:
    """Whether a finished run left all its files in a folder."""
    return all((workdir / name).exists() for name in (CODES, QUERIES, PAGE, REPORT))


def to_json(values: Mapping[str, Any]) -> bytes:
    """Readable JSON, in the order of the keys."""
    return (json.dumps(values, indent=1) + "\n").encode()


def write(
    method: Method,
    state: HashState,
    dataset: Dataset,
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    metrics_lines: list[Mapping[str, Any]],
) -> dict[str, Any]:
    """Measures a trained method and writes codes, queries, page and report, the report last.

    It warns of bits that tell nothing apart.

    Args:
      method: as built for `config` and `dataset`.
      state: as training left it.
      dataset: whose tasks are measured.
      config: kept in the report; its `seed` makes the untrained networks.
      workdir: where the files go.
      metrics_lines: the record of the training, for its curves.

    Returns:
      The report.
    """
    encoded = retrieval.retrieve(method, state, dataset.tasks)
    learned = retrieval.retrieve_learned(method, state, dataset)
    untrained = retrieval.retrieve(
        method, jax.jit(method.init)(jax.random.key(config["seed"])), dataset.tasks
    )
    trained = {measure.ENCODED: encoded} | ({measure.LEARNED: learned} if learned else {})
    searched = [one for by_task in (*trained.values(), untrained) for one in by_task.values()]
    definitions = measure.fitted(measure.DEFAULT, searched)
    results = measure.evaluate(trained, untrained, definitions)
    statistics = measure.bit_statistics(encoded)
    _warn_of_wasted_entries(encoded, "database")
    title = (
        f"{config['method'].upper()} on {dataset.card['name']}, {config['bits']} bits, "
        f"seed {config['seed']}"
    )
    made = report.make_report(
        title, dataset.card, method.distance, results, statistics, config, definitions
    )
    write_atomically(workdir / CODES, _arrays(trained))
    write_atomically(workdir / QUERIES, comparison.to_npz(trained, definitions))
    write_atomically(workdir / PAGE, report_page.make_page(made, encoded, metrics_lines))
    write_atomically(workdir / REPORT, to_json(made))
    return made


def _arrays(trained: Mapping[str, Mapping[str, Found]]) -> bytes:
    """Codes packed to bits, what a distance of the method's own needs as it is, and the labels."""
    arrays = {}
    for protocol, by_task in trained.items():
        for task, found in by_task.items():
            name, kept = task.replace(" ", "_"), np.asarray
            query, database = f"{name}_query", f"{name}_database_{protocol}"
            if found.histogram is not None:
                arrays["num_bits"], kept = np.int32(found.query.shape[1]), codes.pack
            arrays |= {query: kept(found.query), database: kept(found.entries)}
            arrays |= {
                f"{query}_labels": found.task.query.labels,
                f"{database}_labels": found.database.labels,
            }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
