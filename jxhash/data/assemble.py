"""Data sets from arrays: divided into parts, and with features normalised."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from jxhash.data.dataset import Dataset, Input, Items, Task, content_hash, json_hash
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
    rows: np.ndarray | None = None,
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
      rows: the numbers of all that can be used; None for those of the parts.

    Raises:
      UserError: as `Dataset` does.
    """
    rows = np.unique(np.concatenate(list(parts.values()))) if rows is None else rows
    pairs = _Pairs(inputs, labels, titles, pictures, vocabulary_size, frozenset(given), captions)
    everything = functools.partial(_on_everything, pairs, card, parts["validation"], rows)
    return dataclasses.replace(pairs.divided(card, parts), on_everything=everything)


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """The arguments of `from_parts` of that name."""

    inputs: Mapping[str, Input]
    labels: np.ndarray | None
    titles: Sequence[str]
    pictures: Pictures | None
    vocabulary_size: int | None
    given: frozenset[str]
    captions: Sequence[str] | None

    def divided(self, card: Mapping[str, Any], parts: Mapping[str, np.ndarray]) -> Dataset:
        """The data set of some parts."""
        items = {part: self.items(rows) for part, rows in parts.items() if len(rows)}

        def directions(queries: str, database: str) -> tuple[Task, ...]:
            return tuple(
                Task(one, other, items[queries][one], items[database][other], self.labels is None)
                for one, other in (("image", "text"), ("text", "image"))
            )

        rows = parts["train"]
        train: dict[str, RowArray] = {n: _taken(array, rows) for n, array in self.inputs.items()}
        if self.labels is not None:
            train["labels"] = self.labels[rows]
        # Without labels a validation row's partner is among the validation rows.
        among = "validation" if self.labels is None else "train"
        return Dataset(
            card=card,
            training={"pairs": train},
            tasks=directions("query", "database"),
            validation=directions("validation", among) if "validation" in items else (),
            trained=None if self.labels is None else items["train"]["image"],
            vocabulary_size=self.vocabulary_size,
            given=self.given,
        )

    def items(self, rows: np.ndarray) -> dict[str, Items]:
        """The items of each modality that some pairs have."""
        grouped = {n: array for n, array in self.inputs.items() if isinstance(array, Grouped)}
        others = {n: _taken(array, rows) for n, array in self.inputs.items() if n not in grouped}
        shown = None if self.pictures is None else self.pictures.take(rows)
        of_pairs = Items(others, self._relevance(rows), [self.titles[row] for row in rows], shown)
        of_rows = {n: self._items_of_rows(n, array, rows) for n, array in grouped.items()}
        return {"image": of_pairs, "text": of_pairs, **of_rows}

    def _items_of_rows(self, modality: str, array: Grouped, pairs: np.ndarray) -> Items:
        rows, owner = array.rows_of(pairs), np.repeat(pairs, array.counts[pairs])
        titles = [self.titles[pair] for pair in owner]
        if self.captions is not None:
            titles = [self.captions[row] for row in rows]
        return Items({modality: array.flat.take(rows)}, self._relevance(owner), titles)

    def _relevance(self, pairs: np.ndarray) -> np.ndarray:
        return pairs if self.labels is None else self.labels[pairs]


def _on_everything(
    pairs: _Pairs, card: Mapping[str, Any], validation: np.ndarray, rows: np.ndarray
) -> Dataset:
    """Every row but the validation rows for training; those are drawn where there are none."""
    if not len(validation):
        size = max(1, min(MOST_VALIDATION, len(rows) // 10))
        validation = np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
    train = np.setdiff1d(rows, validation)
    database = validation if pairs.labels is None else train
    parts = {"train": train, "validation": validation, "query": validation, "database": database}
    said = {
        "split": "train: every row but the validation rows, which are the queries",
        "caution": "validation, not a test: the queries are the validation rows",
        "sizes": {part: len(numbers) for part, numbers in parts.items()},
        "sha256": json_hash({"own": card["sha256"], "split": content_hash(parts)}),
    }
    dataset = pairs.divided({**card, **said}, parts)
    return dataclasses.replace(dataset, index=pairs.items(rows))


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
        index={modality: items(given) for modality, given in dataset.index.items()},
        normalizations=maps,
    )


def _every_row(array: RowArray) -> Rows:
    if isinstance(array, Grouped):
        return array.flat
    return array if isinstance(array, Rows) else in_memory(np.asarray(array))


def _mapped(array: RowArray, by: Normalization) -> RowArray:
    rows = by.rows(_every_row(array))
    return Grouped(rows, array.counts) if isinstance(array, Grouped) else rows
