"""What a data set is to the rest of the library: training rows, retrieval tasks, and a card."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash.arrays import Rows, rows_not_finite
from jxhash.errors import UserError

MODALITIES = ("image", "text")


@dataclasses.dataclass(frozen=True)
class Items:
    """Rows that are searched with or for.

    Attributes:
      inputs: modality -> array, rows first, in memory or read by rows; a collection may bring one
        modality only.
      labels: multi-hot uint8 [n, C], read by the evaluator.
      titles: n short texts to show; none where nothing is shown, as of codes from files.
      pictures: n encoded pictures to show (PNG, JPEG or WebP), or None where there are none.
    """

    inputs: Mapping[str, np.ndarray | Rows]
    labels: np.ndarray
    titles: Sequence[str]
    pictures: Sequence[bytes] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Task(NamedTuple):
    """One direction of retrieval.

    Attributes:
      query_modality: "image" or "text".
      database_modality: the other one.
      query: the items to search with.
      database: the items to search for.
    """

    query_modality: str
    database_modality: str
    query: Items
    database: Items

    @property
    def name(self) -> str:
        """Such as "image to text"."""
        return f"{self.query_modality} to {self.database_modality}"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, checked.

    Attributes:
      card: what names this data and how it was made, as JSON values; printed with every number.
      training: source -> name -> array, in memory or read by rows: all that a method may learn
        from. Paired rows are the source "pairs", the only one that may hold `labels`: labels of
        unpaired collections are in `tasks`, where the evaluator alone finds them.
      tasks: the test, one task a direction.
      validation: tasks for choosing models, made of training data; may be empty.
      trained: the items of the source "pairs" as a database, for the codes that a method learned
        for them; None where no task asks for it.
      vocabulary_size: the number of words V where texts are token numbers 1 to V (0 is padding at
        the end), else None.

    Raises:
      UserError: a source or split is empty, arrays of one source differ in length, features are NaN
        or infinite, token numbers are outside of the vocabulary or follow padding, or an unpaired
        source holds labels.
    """

    card: Mapping[str, Any]
    training: Mapping[str, Mapping[str, np.ndarray | Rows]]
    tasks: tuple[Task, ...]
    validation: tuple[Task, ...] = ()
    trained: Items | None = None
    vocabulary_size: int | None = None

    def __post_init__(self) -> None:
        for source, arrays in self.training.items():
            _check_arrays(f"source {source!r}", arrays)
            if source != "pairs" and "labels" in arrays:
                raise UserError(
                    f"the unpaired source {source!r} holds labels; they belong to the tasks, which "
                    "training does not see"
                )
        for task in (*self.tasks, *self.validation):
            for side, items in (("query", task.query), ("database", task.database)):
                _check_arrays(f"{side} of {task.name}", {**items.inputs, "labels": items.labels})
        if self.vocabulary_size is None:
            return
        parts = {f"source {name!r}": arrays for name, arrays in self.training.items()}
        for task in (*self.tasks, *self.validation):
            parts |= {f"query of {task.name}": task.query.inputs}
            parts |= {f"database of {task.name}": task.database.inputs}
        for what, arrays in parts.items():
            if "text" in arrays:
                _check_tokens(what, arrays["text"], self.vocabulary_size)


def _check_arrays(what: str, arrays: Mapping[str, np.ndarray | Rows]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"the arrays of {what} differ in length: {lengths}")
    if not lengths or min(lengths.values()) == 0:
        raise UserError(f"{what} is empty")
    for name, array in arrays.items():
        bad = array.not_finite() if isinstance(array, Rows) else rows_not_finite(array)
        if bad.size:
            raise UserError(
                f"{name} of {what} holds NaN or infinity in {bad.size} rows, the first is row "
                f"{bad[0]}; drop or mend these rows"
            )


def _check_tokens(what: str, tokens: np.ndarray | Rows, vocabulary_size: int) -> None:
    tokens = np.asarray(tokens)
    outside = (tokens < 0) | (tokens > vocabulary_size)
    after_padding = (tokens[:, 1:] != 0) & (tokens[:, :-1] == 0)
    for bad, reason in (
        (outside.any(axis=1), f"holds token numbers outside of 0 to {vocabulary_size}"),
        (after_padding.any(axis=1), "holds words behind padding, which is at the end alone,"),
    ):
        if bad.any():
            raise UserError(f"text of {what} {reason} in row {np.flatnonzero(bad)[0]}")


def both_directions(query: Items, database: Items) -> tuple[Task, ...]:
    """Image to text and text to image between two sets of items."""
    image, text = MODALITIES
    return (Task(image, text, query, database), Task(text, image, query, database))


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
