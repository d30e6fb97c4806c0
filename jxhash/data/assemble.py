"""Data sets from arrays: divided into parts, and with features normalised."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from jxhash.data.dataset import Dataset, Input, Items, Task, json_hash
from jxhash.data.pictures.decoding import Pictures
from jxhash.inputs import normalization
from jxhash.inputs.normalization import Normalization
from jxhash.rows import Grouped, RowArray, Rows, in_memory

# Of validation rows that are drawn.
MOST_VALIDATION = 500


def from_parts(
    card: Mapping[str, Any],
    inputs: Mapping[str, Input],
    labels: np.ndarray | None,
    titles: Sequence[str],
    pictures: Pictures | None,
    parts: Mapping[str, np.ndarray],
    vocabulary_size: int | None = None,
    given: Collection[str] = (),
    captions: Sequence[str] | None = None,
) -> Dataset:
    """A data set of n pairs; see `Dataset` and `Items`.

    Args:
      card: see `Dataset`.
      inputs: the arrays of each modality; a `Grouped` one of items with several rows, each of which
        is an item to search for and with.
      labels: multi-hot [n, C]; None: what belongs to a pair is relevant to its other half.
      titles: one a pair.
      pictures: to show.
      parts: "train", "validation" (may be empty), "query" and "database" -> row numbers.
      vocabulary_size: see `Dataset`.
      given: see `Dataset`.
      captions: the titles of all rows of a `Grouped` array of texts.

    Raises:
      UserError: as `Dataset` does.
    """
    relevance = np.arange(len(titles)) if labels is None else labels
    grouped = {name for name, values in inputs.items() if isinstance(values, Grouped)}

    @functools.cache
    def of_items(part: str) -> Items:
        rows = parts[part]
        own = {name: _taken(values, rows) for name, values in inputs.items() if name not in grouped}
        shown = None if pictures is None else pictures.take(rows)
        return Items(own, relevance[rows], [titles[row] for row in rows], shown)

    @functools.cache
    def of_rows(part: str, modality: str) -> Items:
        items, every = parts[part], inputs[modality]
        assert isinstance(every, Grouped)
        rows = every.rows_of(items)
        owner = np.repeat(items, every.counts[items])
        said = [titles[item] for item in owner] if captions is None else [captions[r] for r in rows]
        return Items({modality: every.flat.take(rows)}, relevance[owner], said)

    def side(part: str, modality: str) -> Items:
        return of_rows(part, modality) if modality in grouped else of_items(part)

    def directions(queries: str, database: str) -> tuple[Task, ...]:
        return tuple(
            Task(one, other, side(queries, one), side(database, other), by_pairs=labels is None)
            for one, other in (("image", "text"), ("text", "image"))
        )

    rows = parts["train"]
    train: dict[str, RowArray] = {name: _taken(values, rows) for name, values in inputs.items()}
    if labels is not None:
        train["labels"] = labels[rows]
    # Without labels a validation row's partner is among the validation rows.
    among = "validation" if labels is None else "train"
    return Dataset(
        card=card,
        training={"pairs": train},
        tasks=directions("query", "database"),
        validation=directions("validation", among) if len(parts["validation"]) else (),
        trained=None if labels is None else of_items("train"),
        vocabulary_size=vocabulary_size,
        given=frozenset(given),
        on_everything=lambda: from_parts(
            {**card, **_EVERYTHING, "sha256": json_hash({"own": card["sha256"], **_EVERYTHING})},
            inputs,
            labels,
            titles,
            pictures,
            _everything(parts, labels is not None),
            vocabulary_size,
            given,
            captions,
        ),
    )


_EVERYTHING = {
    "split": "train: every row but the validation rows, which are the queries",
    "caution": "the queries are validation rows: this is no test",
}


def _everything(parts: Mapping[str, np.ndarray], has_labels: bool) -> dict[str, np.ndarray]:
    """Parts of the same rows without a test; validation rows are drawn where there are none."""
    rows = np.unique(np.concatenate(list(parts.values())))
    validation = parts["validation"]
    if not len(validation):
        size = max(1, min(MOST_VALIDATION, len(rows) // 10))
        validation = np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
    train = np.setdiff1d(rows, validation)
    database = train if has_labels else validation
    return {"train": train, "validation": validation, "query": validation, "database": database}


def _taken(values: Input, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.take(rows)


def normalized(dataset: Dataset, kind: normalization.Kind) -> Dataset:
    """The same data set with features as given normalised; fitted on the training pairs.

    Warns of features that are constant in them, which become 0.
    """
    maps = {
        modality: normalization.fit(kind, _every_row(dataset.training["pairs"][modality]))
        for modality in sorted(dataset.given)
    }
    for modality, one in maps.items():
        if one.constant.size:
            logging.warning(
                "%d of %d %s features are constant in the training rows (the first is %d, from 0) "
                "and become 0",
                *(one.constant.size, len(one.factor), modality, one.constant[0]),
            )

    def arrays(given: Mapping[str, RowArray]) -> dict[str, RowArray]:
        return {
            name: _mapped(array, maps[name]) if name in maps else array
            for name, array in given.items()
        }

    def items(given: Items) -> Items:
        return dataclasses.replace(given, inputs=arrays(given.inputs))

    def tasks(given: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(
            task._replace(query=items(task.query), database=items(task.database)) for task in given
        )

    said = {"normalization": dict.fromkeys(maps, normalization.SAID[kind])} if maps else {}
    return dataclasses.replace(
        dataset,
        card={**dataset.card, **said},
        training={source: arrays(given) for source, given in dataset.training.items()},
        tasks=tasks(dataset.tasks),
        validation=tasks(dataset.validation),
        trained=dataset.trained and items(dataset.trained),
        normalizations=maps,
    )


def _every_row(array: RowArray) -> Rows:
    if isinstance(array, Grouped):
        return array.flat
    return array if isinstance(array, Rows) else in_memory(np.asarray(array))


def _mapped(array: RowArray, by: Normalization) -> RowArray:
    rows = by.rows(_every_row(array))
    return Grouped(rows, array.counts) if isinstance(array, Grouped) else rows
