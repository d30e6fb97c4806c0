"""What a data set is to the rest of the library: training rows, retrieval tasks, and a card."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.inputs.normalization import Normalization
from jxhash.rows import Grouped, RowArray, Rows, rows_not_finite

# What has rows, of which some can be taken.
Input = np.ndarray | Rows | Grouped | EncodedPictures


@dataclasses.dataclass(frozen=True)
class Items:
    """Rows that are searched with or for."""

    inputs: Mapping[str, RowArray]  # of each modality; a collection may bring one only
    # What the evaluator reads: multi-hot uint8 [n, C]; without labels int64 [n], the number of the
    # pair that a row is of.
    labels: np.ndarray
    titles: Sequence[str]  # to show; empty where nothing is shown, as of codes from files
    pictures: Sequence[bytes] | None = None  # to show: PNG, JPEG or WebP

    def __len__(self) -> int:
        return len(self.labels)


class Task(NamedTuple):
    """One direction of retrieval; of the modalities one is "image", the other "text"."""

    query_modality: str
    database_modality: str
    query: Items
    database: Items
    by_pairs: bool = False  # relevant is what belongs to the pair whose number the labels have
    on: str = ""  # the collection, where tasks are of several

    @property
    def name(self) -> str:
        """Such as "image to text", or "image to text on clip art"."""
        direction = f"{self.query_modality} to {self.database_modality}"
        return f"{direction} on {self.on}" if self.on else direction


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, checked.

    Raises:
      UserError: a source or split is empty, arrays of one source differ in length, features are NaN
        or infinite, token numbers are outside of the vocabulary or follow padding, or an unpaired
        source holds labels.
    """

    # What names this data and how it was made, as JSON values; printed with every number.
    card: Mapping[str, Any]
    # Source -> name -> array: all that a method may learn from. Paired rows are the source "pairs",
    # the only one that may hold `labels`: labels of unpaired collections are in `tasks`, where the
    # evaluator alone finds them.
    training: Mapping[str, Mapping[str, RowArray]]
    tasks: tuple[Task, ...]  # the test, one task a direction
    validation: tuple[Task, ...] = ()  # for choosing models, made of training data
    # The source "pairs" as a database, for the codes that a method learned for them.
    trained: Items | None = None
    # The number of words V where texts are token numbers 1 to V (0 is padding at the end).
    vocabulary_size: int | None = None
    # The modalities whose arrays are features as somebody gave them, on any scale.
    given: frozenset[str] = frozenset()
    # How features of a modality were normalised.
    normalizations: Mapping[str, Normalization] = dataclasses.field(default_factory=dict)
    # modality -> all items, to be found later; empty where nobody asks for them.
    index: Mapping[str, Items] = dataclasses.field(default_factory=dict)
    # The same data with all rows but the validation rows for training, where that can be.
    on_everything: Callable[[], "Dataset"] | None = None

    def __post_init__(self) -> None:
        for source, arrays in self.training.items():
            if source != "pairs" and "labels" in arrays:
                raise UserError(
                    f"the unpaired source {source!r} holds labels; they belong to the tasks, which "
                    "training does not see"
                )
        checked = {f"source {source!r}": arrays for source, arrays in self.training.items()}
        for task in (*self.tasks, *self.validation):
            for side, items in (("query", task.query), ("database", task.database)):
                arrays = {**items.inputs, "labels": items.labels}
                checked[f"{side} of {task.name}"] = arrays
        for what, arrays in checked.items():
            _check_arrays(what, arrays)
            if "text" in arrays and self.vocabulary_size is not None:
                _check_tokens(what, arrays["text"], self.vocabulary_size)


def _check_arrays(what: str, arrays: Mapping[str, RowArray]) -> None:
    arrays = _flat(arrays)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"the arrays of {what} differ in length: {lengths}")
    if not lengths or min(lengths.values()) == 0:
        raise UserError(f"{what} is empty")
    for name, array in arrays.items():
        bad = array.not_finite() if isinstance(array, Rows | Grouped) else rows_not_finite(array)
        if bad.size:
            raise UserError(
                f"{name} of {what} holds NaN or infinity in {bad.size} rows, the first is row "
                f"{bad[0]}; drop or fix these rows"
            )


def _flat(arrays: Mapping[str, Any], within: str = "") -> dict[str, RowArray]:
    """All arrays by name, the views of a modality as "image.low"."""
    found: dict[str, RowArray] = {}
    for name, array in arrays.items():
        views = isinstance(array, Mapping)
        found |= _flat(array, f"{within}{name}.") if views else {f"{within}{name}": array}
    return found


def _check_tokens(what: str, tokens: RowArray, vocabulary_size: int) -> None:
    tokens = np.asarray(tokens.flat if isinstance(tokens, Grouped) else tokens)
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
    return (Task("image", "text", query, database), Task("text", "image", query, database))


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def json_hash(hashes: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, such as several hashes."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
