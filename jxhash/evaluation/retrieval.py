"""From a trained method to what its queries find: encoded or learned codes, and their distances."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jxhash import codes
from jxhash.data.dataset import Dataset, Items, Task
from jxhash.evaluation.encode import encode
from jxhash.evaluation.measure import Found, found_by_codes
from jxhash.methods.base import HashState, Method, hamming_distances


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

    return found_by_codes(task, database, np.asarray(codes.sign(outputs)), entries)
