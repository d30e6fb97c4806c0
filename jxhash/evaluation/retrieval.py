"""Searches with a trained method, among encoded or learned database codes."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jxhash.data.dataset import Dataset, Items, Task
from jxhash.evaluation.encode import encode
from jxhash.evaluation.measure import Found, found_by_codes
from jxhash.methods.contract import HashState, Method


def retrieve(method: Method, state: HashState, tasks: tuple[Task, ...]) -> dict[str, Found]:
    """Task name -> results of its queries among the encoded items of its database."""
    found = {}
    for task in tasks:
        own = entries(method, state, task.database_modality, task.database)
        found[task.name] = _search(method, state, task, task.database, own)
    return found


def entries(method: Method, state: HashState, modality: str, items: Items) -> np.ndarray:
    """What a database keeps of items, [n, width]."""
    outputs = encode(method, state, modality, items.inputs[modality])
    return np.asarray(method.code.entries(state.buffers, outputs))


def retrieve_learned(method: Method, state: HashState, dataset: Dataset) -> dict[str, Found]:
    """The same among the training rows, with the codes that training itself optimised.

    Empty if the method learns no codes for them, or the data set has no such database.
    """
    found: dict[str, Found] = {}
    if method.learned is None or dataset.trained is None:
        return found
    for task in dataset.tasks:
        learned = np.asarray(method.learned(state, task.database_modality))
        found[task.name] = _search(method, state, task, dataset.trained, learned)
    return found


def _search(
    method: Method, state: HashState, task: Task, database: Items, entries: np.ndarray
) -> Found:
    modality = task.query_modality
    outputs = encode(method, state, modality, task.query.inputs[modality])
    if method.code.levels is not None:
        queries = np.asarray(method.code.entries(state.buffers, outputs))
        return found_by_codes(task, database, queries, entries)
    on_device = jnp.asarray(entries)

    def distances(queries: Any) -> np.ndarray:
        asked = jnp.asarray(outputs[queries])
        return np.asarray(method.code.distances(state.buffers, asked, on_device))

    return Found(task, database, outputs, entries, distances, None)
