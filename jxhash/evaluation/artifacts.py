"""The artifacts of a finished run: codes.npz, queries.npz, report.html and report.json."""

import io
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jxhash import codes
from jxhash.atomic_files import write_atomically
from jxhash.auto_settings import Resolved
from jxhash.data.dataset import Dataset
from jxhash.evaluation import comparison, measure, report, report_page, retrieval, verdict
from jxhash.evaluation.comparison import QUERIES
from jxhash.evaluation.measure import Definitions, Found
from jxhash.methods.contract import HashState, Method

REPORT = "report.json"
PAGE = "report.html"
CODES = "codes.npz"


def validation(method: Method, dataset: Dataset) -> Callable[[HashState], dict[str, float]] | None:
    """From states to the score of each validation task (see `Found.score`), or None.

    Says once where codes tell nothing, beside the progress bar.
    """
    if not dataset.validation:
        return None
    said: set[str] = set()

    def measure_state(state: HashState) -> dict[str, float]:
        found = retrieval.retrieve(method, state, dataset.validation)
        lines = [] if said else verdict.of_codes(found, "validation rows")
        if lines:
            tqdm.write("\n".join(f"warning: {line}" for line in lines), file=sys.stderr)
            said.update(lines)
        return {task: one.score() for task, one in found.items()}

    return measure_state


def is_complete(workdir: pathlib.Path) -> bool:
    """Whether the folder holds every artifact of a finished run."""
    return all((workdir / name).exists() for name in (CODES, QUERIES, PAGE, REPORT))


def to_json(values: Mapping[str, Any]) -> bytes:
    """Indented JSON in the order of the keys."""
    return (json.dumps(values, indent=1) + "\n").encode()


def write(
    method: Method,
    state: HashState,
    dataset: Dataset,
    settled: Resolved,
    workdir: pathlib.Path,
    metrics_lines: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Measures a trained method, writes all artifacts into a folder and returns the report.

    The seed of the config also initialises the untrained networks; `metrics_lines` are those of
    metrics.jsonl, for the training curves.
    """
    config = settled.config.to_dict()
    encoded = retrieval.retrieve(method, state, dataset.tasks)
    learned = retrieval.retrieve_learned(method, state, dataset)
    start = jax.jit(method.init)(jax.random.key(config["seed"]))
    trained = {measure.ENCODED: encoded} | ({measure.LEARNED: learned} if learned else {})
    searched = trained | {measure.UNTRAINED: retrieval.retrieve(method, start, dataset.tasks)}
    everything = [found for by_task in searched.values() for found in by_task.values()]
    definitions = measure.fitted(measure.DEFAULT, everything)
    results = measure.evaluate(searched, definitions)
    by_pairs = any(task.by_pairs for task in dataset.tasks)
    made = report.make_report(
        f"{config['method'].upper()} on {dataset.card['name']}, {config['bits']} bits, "
        f"seed {config['seed']}",
        dataset.card,
        method.code.name,
        results,
        measure.bit_statistics(encoded),
        config,
        definitions,
        relevance=measure.SAME_PAIR if by_pairs else measure.SHARED_LABEL,
        chosen=settled.chosen,
        verdict=[*verdict.of_codes(encoded), *verdict.of_results(encoded, results)],
    )
    arrays = _codes(trained) | _index(method, state, dataset)
    write_atomically(workdir / CODES, to_npz(arrays))
    write_report(workdir, made, trained, definitions, encoded, metrics_lines)
    return made


def write_report(
    folder: pathlib.Path,
    made: Mapping[str, Any],
    trained: Mapping[str, Mapping[str, Found]],
    definitions: Definitions,
    examples: Mapping[str, Found],
    metrics_lines: Sequence[Mapping[str, Any]],
) -> None:
    """Writes queries.npz, report.html and report.json, in this order: a report is complete.

    `made` is of `report.make_report`; `trained` maps protocol and task to the search results whose
    queries are kept; `examples` maps a task to search results to show, or is empty.
    """
    write_atomically(folder / QUERIES, to_npz(comparison.query_values(trained, definitions)))
    write_atomically(folder / PAGE, report_page.make_page(made, examples, metrics_lines))
    write_atomically(folder / REPORT, to_json(made))


def to_npz(arrays: Mapping[str, Any]) -> bytes:
    """The content of a compressed .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _index(method: Method, state: HashState, dataset: Dataset) -> dict[str, Any]:
    """Database entries of all items that the data set wants indexed, as "image_index"."""
    entries = {
        f"{modality}_index": retrieval.entries(method, state, modality, items)
        for modality, items in dataset.index.items()
    }
    if method.code.levels is None:
        return entries
    return {name: codes.pack(one) for name, one in entries.items()}


def _codes(trained: Mapping[str, Mapping[str, Found]]) -> dict[str, Any]:
    """Packed codes (or unchanged what a method's own distance needs) and labels."""
    arrays: dict[str, Any] = {}
    for protocol, by_task in trained.items():
        for task, found in by_task.items():
            name = task.replace(" ", "_")
            query, database = f"{name}_query", f"{name}_database_{protocol}"
            arrays |= {
                query: found.query,
                database: found.entries,
                f"{query}_labels": found.task.query.labels,
                f"{database}_labels": found.database.labels,
            }
            if found.histogram is not None:
                arrays |= {name: codes.pack(arrays[name]) for name in (query, database)}
                arrays["num_bits"] = np.int32(found.query.shape[1])
    return arrays
