"""Data sets from files that people already have: `load(path)`, or `--config.data=path`.

A path names one of:

- a file of arrays (.mat, .npz, .h5) under the names that the field gives them, whole (images, tags,
  labels) or in parts (I_tr, T_tr, L_tr, I_te, T_te, L_te);
- a folder of arrays, a file each (.npy and others), under the same names;
- a folder with index.mat, caption.mat and label.mat;
- a folder of pictures with one table (.csv, .tsv, .jsonl or .parquet) of texts and labels, or that
  table;
- a description (.json, in a folder: dataset.json), which says what lies where under other names,
  how large the parts are, and which rows may be left out. docs/data.md has its keys.

Arrays stay in their files and are read by rows, pictures stay encoded. The card has the hash of
the content, the rule of the split, and the number of skipped rows by reason.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jxhash.data.assemble import from_parts
from jxhash.data.dataset import Dataset, content_hash, json_hash
from jxhash.data.ids import require_apart, row_numbers
from jxhash.data.own import splits, table_rows, tables
from jxhash.data.own.collect import Collected, collect, table_of
from jxhash.data.own.description import Description, describe
from jxhash.data.own.tables import Table
from jxhash.data.pictures.decoding import EncodedPictures, Pictures, damage, said_of
from jxhash.data.text_inputs import TextInputs, text_inputs
from jxhash.errors import UserError
from jxhash.inputs.text_forms import Words
from jxhash.rows import Grouped, Rows, in_memory, unstacked

_TITLE_LENGTH = 80
_NO_KNOWN_WORD = "no known word"
# Networks have a row of numbers for each.
_MOST_WORDS = 2**24


def load(path: pathlib.Path, size: int | None = None) -> Dataset:
    """Opens a data set of the user's own, see the module.

    With a size (height and width) the pictures themselves are the images; each is decoded once
    here, so that damaged ones are known.

    Raises:
      UserError: a file is missing, damaged, or not what its name says, or rows cannot be used and
        the description does not allow to leave them out; file and row are named.
    """
    description = describe(path)
    if size is not None:
        description = dataclasses.replace(description, name=f"{description.name}-pixels-{size}")
    collected = collect(description, size)
    if collected.is_one_class_a_row:
        raise UserError(
            f"{description.name}: each row has a class of its own, so that nothing is relevant to "
            "another row; leave the labels out, and the partner of each query is searched for"
        )
    return _dataset(description, collected)


def read_table(path: pathlib.Path) -> Table:
    """The table of the data set of pictures at a path, for those that read the pictures themselves.

    Raises:
      UserError: there is no table of pictures at this path, or it cannot be read.
    """
    table = table_of(describe(path))
    if table is None or table.pictures is None:
        raise UserError(
            f"{path} holds no table of pictures ({', '.join(table_rows.SUFFIXES)}, or index.mat)"
        )
    return table


def _kept(collected: Collected, skip: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """The rows that can be used, and how many cannot, by reason; those in `skip` are allowed."""
    usable = np.ones(collected.rows, bool)
    skipped: dict[str, int] = {}
    for problem in collected.problems:
        if problem.reason not in skip:
            raise UserError(
                f"{problem.message}; fix it, or allow it in a description (docs/data.md): "
                f'"skip": ["{problem.reason}"]'
            )
        number = int(usable[problem.rows].sum()) + problem.beyond
        skipped[problem.reason] = skipped.get(problem.reason, 0) + number
        usable[problem.rows] = False
    if not usable.any():
        raise UserError("no row can be used: " + str(skipped))
    return np.flatnonzero(usable), skipped


def _divided(
    description: Description, collected: Collected, kept: np.ndarray
) -> tuple[dict[str, np.ndarray], str]:
    """The parts by what the data and the description say, and the rule in words."""
    own, sizes = dict(collected.parts), {"seed": 0}
    for part, value in description.split.items():
        where = f"{description.name}: {part!r} of the split"
        if isinstance(value, list) and part != "seed" and all(type(row) is int for row in value):
            try:
                own[part] = row_numbers(where, np.array(value, np.int64), collected.rows)
            except OverflowError as error:
                raise UserError(f"{where} holds a number beyond 64 bits") from error
        elif type(value) is int and value >= 0:
            sizes[part] = value
        # A text names a file, whose rows are among the data's own parts already.
        elif not isinstance(value, str):
            raise UserError(f"{where} is {value!r:.60}, neither a size nor a list of row numbers")
    if "database" in sizes:
        raise UserError(f"{description.name}: a list of rows is the database, not a size")
    own = {part: np.intersect1d(rows, kept) for part, rows in own.items()}
    for part, rows in own.items():
        if part == "database" and "query" in own and collected.labels is not None:
            require_apart(f"{description.name}, rows from 0", own["query"], rows, part)
        if not rows.size:
            raise UserError(f"{description.name}: no row of the part {part!r} can be used")
    seed = sizes.pop("seed")
    return splits.divide(kept, own, sizes, seed, by_pairs=collected.labels is None)


def _tokens(where: str, values: Rows) -> TextInputs:
    whole = np.asarray(values)
    if (
        whole.ndim != 2
        or (whole != np.round(whole)).any()
        or whole.min() < 0
        or not 1 <= whole.max() <= _MOST_WORDS
    ):
        raise UserError(f"{where}: tokens are a matrix of word numbers from 1, and 0 at the end")
    size = int(whole.max())
    card = {"text": f"numbers of {size} words, in order; 0 at the end"}
    return TextInputs(whole.astype(np.int32), card, size)


def _pictures(paths: Sequence[pathlib.Path]) -> Pictures:
    def read(row: int) -> bytes:
        try:
            return paths[row].read_bytes()
        except OSError as error:
            raise UserError(f"{paths[row]} cannot be read ({error.strerror})") from error

    return Pictures(read, np.arange(len(paths)))


def _dataset(description: Description, collected: Collected) -> Dataset:
    kept, skipped = _kept(collected, description.skip)
    if collected.encoded is not None:
        # Last, since it takes longest.
        said = damage(collected.encoded, kept)
        damaged = tables.problem(tables.DAMAGED_PICTURES, list(said), said.__getitem__)
        collected = collected._replace(problems=[*collected.problems, *damaged])
        kept, skipped = _kept(collected, description.skip)
    parts, rule = _divided(description, collected, kept)
    texts = _texts(collected, kept, parts["train"], description.words)
    if lost := np.intersect1d(texts.lost, kept).size:
        kept, skipped = np.setdiff1d(kept, texts.lost), {**skipped, _NO_KNOWN_WORD: int(lost)}
        parts = {part: _with_words(part, rows, texts.lost) for part, rows in parts.items()}
    inputs: dict[str, Rows | Grouped | EncodedPictures] = {"text": _as_rows(texts.arrays)}
    images = collected.arrays.get("image") if collected.encoded is None else collected.encoded
    if images is not None:
        inputs["image"] = images
    pictures = None if collected.pictures is None else _pictures(collected.pictures)
    # Where a folder lies on one machine means nothing on another.
    files = {
        field: ", ".join(part.rpartition("/")[2] for part in where.split(", "))
        for field, where in collected.where.items()
    }
    card = {
        "name": description.name,
        "version": description.version,
        "files": files,
        "sizes": {name: len(rows) for name, rows in parts.items()},
        "split": rule,
        **texts.card,
        "image": "pictures, without features" if images is None else said_of(images),
        **_labels_card(collected, kept),
        "skipped": skipped,
        "sha256": _hash(inputs, collected.labels, pictures, parts),
    }
    # Texts of words are made here, and so are token numbers.
    given = [name for name in ("image", "text") if name in collected.arrays]
    return from_parts(
        card,
        inputs,
        collected.labels,
        _titles(collected),
        pictures,
        parts,
        texts.vocabulary_size,
        given=[name for name in given if name == "image" or collected.texts is None],
        captions=texts.captions,
        rows=kept,
    )


def _labels_card(collected: Collected, kept: np.ndarray) -> dict[str, Any]:
    if collected.labels is None:
        return {"labels": "none; relevant is what belongs to the pair"}
    return {
        "labels": collected.label_names or collected.labels.shape[1],
        "rows without labels": int((~collected.labels[kept].any(axis=1)).sum()),
    }


def _texts(collected: Collected, kept: np.ndarray, train: np.ndarray, words: Words) -> TextInputs:
    if "tokens" in collected.arrays:
        return _tokens(collected.where["tokens"], collected.arrays["tokens"])
    if collected.texts is not None:
        return text_inputs(collected.texts, collected.captions, kept, train, words)
    given = collected.arrays["text"]
    said = f"vectors of {given.shape[1:]} as given"
    return TextInputs(unstacked(given) if given.ndim == 3 else given, {"text": said})


def _as_rows(arrays: np.ndarray | Rows | Grouped) -> Rows | Grouped:
    return in_memory(arrays) if isinstance(arrays, np.ndarray) else arrays


def _with_words(part: str, rows: np.ndarray, lost: np.ndarray) -> np.ndarray:
    known = np.setdiff1d(rows, lost)
    if rows.size and not known.size:
        raise UserError(f"no text of the part {part!r} has a known word; give other texts")
    return known


def _titles(collected: Collected) -> Sequence[str]:
    if collected.texts is not None:
        counts = 1 if collected.captions is None else collected.captions
        firsts = np.cumsum(np.broadcast_to(counts, collected.rows)) - counts
        return [collected.texts[row][:_TITLE_LENGTH] for row in firsts]
    return collected.ids or [f"row {row}" for row in range(collected.rows)]


def _hash(
    inputs: Mapping[str, Rows | Grouped | EncodedPictures],
    labels: np.ndarray | None,
    pictures: Pictures | None,
    parts: Mapping[str, np.ndarray],
) -> str:
    """SHA-256 of all that a number depends on: inputs, labels and the split."""
    hashes: dict[str, Any] = {"split": content_hash(parts)}
    if labels is not None:
        hashes["labels"] = content_hash({"": labels})
    for name, values in inputs.items():
        if isinstance(values, EncodedPictures):
            hashes[name] = values.described
            continue
        if isinstance(values, Grouped):
            hashes[f"{name} of items"] = content_hash({"": values.counts})
            values = values.flat
        source, rows = values.origin or (values, np.arange(len(values)))
        hashes[name] = [source.scan.sha256, content_hash({"": rows})]
    if not isinstance(inputs.get("image"), Rows) and pictures is not None:
        used = pictures.take(np.unique(np.concatenate([*parts.values()])))
        hashes["pictures"] = [hashlib.sha256(picture).hexdigest() for picture in used]
    return json_hash(hashes)
