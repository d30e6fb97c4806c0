"""Data sets from files that people already have: `load(path)`, or `--config.data=path`.

A path names one of:

- a file of arrays (.mat, .npz, .h5) under the names that the field gives them, whole (images, tags,
  labels) or in parts (I_tr, T_tr, L_tr, I_te, T_te, L_te);
- a folder of arrays, a file each (.npy and others), under the same names;
- a folder with index.mat, caption.mat and label.mat;
- a folder of pictures with one table (.csv or .jsonl) of texts and labels, or that table;
- a description (.json, in a folder: dataset.json), which says what lies where under other names,
  how large the parts are, and which rows may be left out. docs/data.md has its keys.

Arrays stay in their files and are read by rows, pictures stay encoded. The card tells the hash of
the content, the rule of the split, and how many rows were left out for what reason.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jxhash import arrays
from jxhash.arrays import Rows
from jxhash.data.dataset import Dataset, Items, both_directions, content_hash
from jxhash.data.own import splits
from jxhash.data.own.collect import Collected, collect, row_numbers, table_of
from jxhash.data.own.description import FORMS, Description, Words, describe
from jxhash.data.own.tables import DAMAGED_PICTURES, Problem, Table
from jxhash.data.pictures.decoding import EncodedPictures, Pictures, damage, said_of
from jxhash.errors import UserError
from jxhash.inputs import text

_TITLE_LENGTH = 80
_NO_FEATURES = "pictures, without features"
# Networks have a row of numbers for each.
_MOST_WORDS = 2**24


def load(path: pathlib.Path, size: int | None = None) -> Dataset:
    """Opens a data set of the user's own, see the module.

    Args:
      path: what the module says.
      size: height and width of pictures, where these themselves are the images; each is decoded
        once here, so that damaged ones are known. None for features as images.

    Raises:
      UserError: a file is missing, damaged, or not what its name says, or rows cannot be used and
        the description does not allow to leave them out; file and row are named.
    """
    description = describe(path)
    if size is not None:
        description = dataclasses.replace(description, name=f"{description.name}-pixels-{size}")
    return _dataset(description, collect(description, size))


def read_table(path: pathlib.Path) -> Table:
    """The table of a data set of pictures, for those that read the pictures themselves.

    Args:
      path: as `load` takes it.

    Raises:
      UserError: there is no table of pictures at this path, or it cannot be read.
    """
    table = table_of(describe(path))
    if table is None or table.pictures is None:
        raise UserError(f"{path} holds no table of pictures (.csv, .jsonl, or index.mat)")
    return table


def _kept(collected: Collected, skip: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """The rows that can be used, and how many cannot, by reason.

    Raises:
      UserError: rows cannot be used for a reason that the user did not allow.
    """
    usable = np.ones(collected.rows, bool)
    skipped = {}
    for problem in collected.problems:
        if problem.reason not in skip:
            raise UserError(
                f"{problem.message}; mend it, or allow it in a description (docs/data.md): "
                f'"skip": ["{problem.reason}"]'
            )
        number = int(usable[problem.rows].sum()) + problem.beyond
        skipped[problem.reason] = skipped.get(problem.reason, 0) + number
        usable[problem.rows] = False
    if not usable.any():
        raise UserError("not one row can be used: " + str(skipped))
    return np.flatnonzero(usable), skipped


def _damaged(pictures: EncodedPictures, rows: np.ndarray) -> list[Problem]:
    said = damage(pictures, rows)
    if not said:
        return []
    first = next(iter(said.values()))
    return [Problem(DAMAGED_PICTURES, np.array(list(said)), f"{first} ({len(said)} such rows)")]


def _divided(
    description: Description, collected: Collected, kept: np.ndarray
) -> tuple[dict[str, np.ndarray], str]:
    """The parts by what the data and the description say, and the rule in words."""
    own, sizes = dict(collected.parts), {"seed": 0}
    for part, value in description.split.items():
        where = f"{description.name}: {part!r} of the split"
        if isinstance(value, list) and part != "seed" and all(type(row) is int for row in value):
            own[part] = row_numbers(where, _whole_numbers(where, value), collected.rows)
        elif type(value) is int and value >= 0:
            sizes[part] = value
        # A text names a file, whose rows are among the data's own parts already.
        elif not isinstance(value, str):
            raise UserError(f"{where} is {value!r:.60}, neither a size nor a list of row numbers")
    if "database" in sizes:
        raise UserError(f"{description.name}: a list of rows is the database, not a size")
    own = {part: np.intersect1d(rows, kept) for part, rows in own.items()}
    for part, rows in own.items():
        if not rows.size:
            raise UserError(f"{description.name}: no row of the part {part!r} can be used")
    seed = sizes.pop("seed")
    return splits.divide(kept, own, sizes, seed)


def _whole_numbers(where: str, values: list[int]) -> np.ndarray:
    try:
        return np.array(values, np.int64)
    except OverflowError as error:
        raise UserError(f"{where} holds a number beyond 64 bits") from error


def as_array(texts: Sequence[str], train: np.ndarray, words: Words) -> tuple[Rows, str, int | None]:
    """Texts as arrays, what these are in words, and the number of words where they are numbers.

    Args:
      texts: n texts.
      train: the rows whose words are the vocabulary.
      words: the form of the arrays, and the rule of the vocabulary.

    Raises:
      UserError: no word occurs in as many training texts as the rule asks for.
    """
    of_training = [texts[row] for row in train]
    vocabulary = text.build_vocabulary(of_training, words.min_texts, words.max_words)
    if not vocabulary:
        raise UserError(
            f"no word occurs in {words.min_texts} of the {len(train)} training texts; lower "
            "'min_texts' of 'words' in the description"
        )
    said = FORMS[words.form].format(len(vocabulary), length=words.length)
    said += f"; words that at least {words.min_texts} training texts have"
    if words.form == "tokens":
        numbers = text.token_numbers(texts, vocabulary, words.length)
        return arrays.in_memory(numbers), said, len(vocabulary)
    if words.form == "tf-idf":
        frequencies = text.inverse_document_frequencies(of_training, vocabulary)
        return arrays.in_memory(text.tf_idf(texts, vocabulary, frequencies)), said, None
    return arrays.in_memory(text.bags_of_words(texts, vocabulary)), said, None


def _tokens(where: str, values: Rows) -> tuple[Rows, str, int]:
    whole = np.asarray(values)
    if (
        whole.ndim != 2
        or (whole != np.round(whole)).any()
        or whole.min() < 0
        or not 1 <= whole.max() <= _MOST_WORDS
    ):
        raise UserError(f"{where}: tokens are a matrix of word numbers from 1, and 0 at the end")
    size = int(whole.max())
    said = f"numbers of {size} words, in order; 0 at the end"
    return arrays.in_memory(whole.astype(np.int32)), said, size


def _pictures(paths: Sequence[pathlib.Path]) -> Pictures:
    def read(row: int) -> bytes:
        try:
            return paths[row].read_bytes()
        except OSError as error:
            raise UserError(f"{paths[row]} cannot be read ({error.strerror})") from error

    return Pictures(read, np.arange(len(paths)))


def _dataset(description: Description, collected: Collected) -> Dataset:
    kept, skipped = _kept(collected, description.skip)
    if isinstance(collected.inputs.get("image"), EncodedPictures):
        # Last, since it takes longest.
        damaged = _damaged(collected.inputs["image"], kept)
        collected = collected._replace(problems=[*collected.problems, *damaged])
        kept, skipped = _kept(collected, description.skip)
    parts, rule = _divided(description, collected, kept)
    texts = collected.inputs.get("text")
    vocabulary_size = None
    if "tokens" in collected.inputs:
        values = collected.inputs["tokens"]
        vectors, said, vocabulary_size = _tokens(collected.where["tokens"], values)
    elif isinstance(texts, list):
        vectors, said, vocabulary_size = as_array(texts, parts["train"], description.words)
    else:
        vectors, said = texts, f"vectors of {texts.shape[1:]} as given"
    inputs = {name: collected.inputs[name] for name in ("image",) if name in collected.inputs}
    inputs["text"] = vectors
    titles = _titles(collected)
    pictures = None if collected.pictures is None else _pictures(collected.pictures)

    def items(rows: np.ndarray) -> Items:
        return Items(
            {name: values.take(rows) for name, values in inputs.items()},
            collected.labels[rows],
            [titles[row] for row in rows],
            None if pictures is None else pictures.take(rows),
        )

    train, query, database = (items(parts[name]) for name in ("train", "query", "database"))
    validation = parts["validation"]
    return Dataset(
        card={
            "name": description.name,
            "version": description.version,
            "files": {field: _without_folders(where) for field, where in collected.where.items()},
            "sizes": {name: len(rows) for name, rows in parts.items()},
            "split": rule,
            "text": said,
            "image": said_of(inputs["image"]) if "image" in inputs else _NO_FEATURES,
            "labels": collected.label_names or collected.labels.shape[1],
            "rows without labels": int((~collected.labels[kept].any(axis=1)).sum()),
            "skipped": skipped,
            "sha256": _hash(collected, inputs, parts),
        },
        training={"pairs": {**train.inputs, "labels": train.labels}},
        tasks=both_directions(query, database),
        validation=both_directions(items(validation), train) if validation.size else (),
        trained=train,
        vocabulary_size=vocabulary_size,
    )


def _without_folders(where: str) -> str:
    """Where a folder lies on one machine means nothing on another."""
    return ", ".join(part.rpartition("/")[2] for part in where.split(", "))


def _titles(collected: Collected) -> Sequence[str]:
    texts = collected.inputs.get("text")
    if isinstance(texts, list):
        return [one[:_TITLE_LENGTH] for one in texts]
    return collected.ids or [f"row {row}" for row in range(collected.rows)]


def _hash(
    collected: Collected,
    inputs: Mapping[str, Rows | EncodedPictures],
    parts: Mapping[str, np.ndarray],
) -> str:
    """SHA-256 of all that a number depends on: inputs, labels and the split."""
    hashes = {"split": content_hash(parts), "labels": content_hash({"": collected.labels})}
    for name, values in inputs.items():
        if isinstance(values, EncodedPictures):
            hashes[name] = values.described
            continue
        source, rows = values.origin or (values, np.arange(len(values)))
        hashes[name] = [source.scan.sha256, content_hash({"": rows})]
    if not isinstance(inputs.get("image"), Rows) and collected.pictures is not None:
        rows = np.unique(np.concatenate([*parts.values()]))
        pictures = _pictures(collected.pictures).take(rows)
        hashes["pictures"] = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
