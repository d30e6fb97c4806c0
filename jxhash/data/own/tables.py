"""Pictures with texts and labels in a table: CSV, JSON lines, or the triplets of .mat files.

A table says of each item what it shows (the path of a picture), its text, its labels, its id and
the part it belongs to. What is wrong with a row is told with the number of its line.
"""

import csv
import io
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash import formats
from jxhash.atomic_files import parse_json
from jxhash.data.own.own_labels import as_multi_hot, multi_hot
from jxhash.data.own.splits import PARTS
from jxhash.data.text_files import numbered, read_text
from jxhash.errors import UserError

SUFFIXES = (".csv", ".jsonl")

# The column names of a table, our own first, then those of Hugging Face's picture folders and of
# other exporters.
_COLUMNS = {
    "picture": ("picture", "image", "file_name", "filename", "file", "path"),
    "text": ("text", "caption", "sentence", "description", "tags"),
    "labels": ("labels", "label", "category", "categories"),
    "id": ("id", "image_id"),
    "split": ("split",),
}
_PART_NAMES = {"training": "train", "test": "query", "val": "validation", "retrieval": "database"}
_SEPARATOR = ";"
_LARGEST_CELL = 2**24


class Problem(NamedTuple):
    """Rows that cannot be used."""

    reason: str  # one of `REASONS`
    rows: np.ndarray  # their numbers, from 0
    message: str  # the first of them, with file and row
    beyond: int = 0  # how many rows of a file belong to no row at all


MISSING_PICTURES = "missing pictures"
DAMAGED_PICTURES = "damaged pictures"
MISSING_LABELS = "missing labels"
NOT_FINITE = "not finite"
UNMATCHED_IDS = "unmatched ids"
REASONS = (MISSING_PICTURES, DAMAGED_PICTURES, MISSING_LABELS, NOT_FINITE, UNMATCHED_IDS)


def problem(
    reason: str, rows: Sequence[int] | np.ndarray, message: Callable[[int], str]
) -> list[Problem]:
    """The problem of some rows, as a list; an empty list where there are none.

    `message` says what is wrong with the row of a number.
    """
    rows = np.asarray(rows, int)
    if not rows.size:
        return []
    return [Problem(reason, rows, f"{message(int(rows[0]))} ({rows.size} such rows)")]


class Table(NamedTuple):
    """Items, row by row; a column that a table lacks is None."""

    file: pathlib.Path
    where: list[str]  # file and line of each row, for messages
    ids: list[str]  # each once; the paths of the pictures where there is no column of ids
    pictures: list[pathlib.Path] | None  # one that a problem names may not exist
    picture_ids: list[str] | None  # paths within the folder of pictures
    texts: list[str] | None
    labels: np.ndarray | None  # multi-hot uint8 [n, C]
    problems: list[Problem]
    label_names: list[str] | None = None
    parts: Mapping[str, np.ndarray] = {}  # part -> its row numbers, where the table says them


def read_table(file: pathlib.Path, pictures: pathlib.Path | None = None) -> Table:
    """Reads a CSV file with a header row, or a file with one JSON object a line, in UTF-8.

    Columns: `picture` (a path within the folder of pictures), `text`, `labels` (separated by ";",
    or a JSON list), `id`, and `split` ("train", "validation", "query" or "database"). All may be
    missing but picture or id; other columns are ignored.

    The folder of pictures is by default that of the table.

    Raises:
      UserError: the file cannot be read, or a row is not as described; the line is named.
    """
    rows = list(_csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file))
    if not rows:
        raise UserError(f"{file} has no rows")
    where = [place for place, _ in rows]
    columns = _columns(file, [row for _, row in rows])
    names_in = columns.pop("labels", None)
    cells = {
        field: [_cell(place, row, column, field) for place, row in rows]
        for field, column in columns.items()
    }
    ids = _unique(where, cells.get("id") or cells["picture"])
    problems: list[Problem] = []
    found = within = labels = names = None
    if "picture" in cells:
        folder = pictures or file.parent
        found = [
            _inside(place, folder, name)
            for place, name in zip(where, cells["picture"], strict=True)
        ]
        within = _within(folder, found)
        problems += _missing_pictures(where, found)
    if names_in is not None:
        own = [_label_names(row.get(names_in)) for _, row in rows]
        labels, names = multi_hot(str(file), own)
        unlabelled = [row for row, some in enumerate(own) if not some]
        problems += problem(MISSING_LABELS, unlabelled, lambda row: f"{where[row]}: no labels")
    parts = _parts(where, cells["split"]) if "split" in cells else {}
    texts = cells.get("text")
    return Table(file, where, ids, found, within, texts, labels, problems, names, parts)


def _within(folder: pathlib.Path, found: Sequence[pathlib.Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def _csv_rows(file: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if None in row or None in row.values():
                columns = len(reader.fieldnames or ())
                found = columns - list(row.values()).count(None) + len(row.get(None, ()))
                raise UserError(
                    f"{where}: the header has {columns} columns, this row has {found}; quote "
                    "cells that contain commas"
                )
            yield where, row
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.reader.line_num}: {error}") from error


def _json_rows(file: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # Not splitlines: a JSON text may hold other line separators.
    for where, text in numbered(file, read_text(file).split("\n")):
        try:
            row = parse_json(text)
        except ValueError as error:
            raise UserError(f"{where}: not a JSON object ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object")
        yield where, row


def _columns(file: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> the column that holds it."""
    known = {name: None for row in rows for name in row}
    first = {f: next((n for n in names if n in known), None) for f, names in _COLUMNS.items()}
    columns = {field: name for field, name in first.items() if name is not None}
    if not columns.keys() & {"picture", "id"}:
        raise UserError(
            f"{file} has no column 'picture' or 'id'; it has {', '.join(map(repr, known))}"
        )
    return columns


def _label_names(value: Any) -> list[str]:
    value = "" if value is None else value  # 0 and False are labels
    entries = value if isinstance(value, list) else str(value).split(_SEPARATOR)
    return [str(entry).strip() for entry in entries if str(entry).strip()]


def _cell(where: str, row: Mapping[str, Any], column: str, field: str) -> str:
    value = row.get(column)
    if isinstance(value, list) and field == "text":
        value = " ".join(map(str, value))
    if isinstance(value, (int, float)) and field == "id":
        value = str(value)
    if not isinstance(value, str) or not (value.strip() or field == "text"):
        raise UserError(f"{where}: no text under {column!r}")
    return value.strip()


def _unique(where: Sequence[str], ids: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for place, name in zip(where, ids, strict=True):
        if seen.setdefault(name, place) != place:
            raise UserError(f"{place}: {name!r} is already in {seen[name]}; ids must be unique")
    return ids


def _inside(where: str, folder: pathlib.Path, name: str) -> pathlib.Path:
    # Links that lie in the folder are the user's own.
    within = os.path.normpath(name)
    if os.path.isabs(within) or within.split(os.sep)[0] == os.pardir:
        raise UserError(f"{where}: {name!r} lies outside of {folder}; give paths within it")
    return folder / within


def _missing_pictures(where: Sequence[str], found: Sequence[pathlib.Path]) -> list[Problem]:
    missing = [row for row, path in enumerate(found) if not _has_content(path)]
    says = "{}: there is no picture {}, or it is empty"
    return problem(MISSING_PICTURES, missing, lambda row: says.format(where[row], found[row]))


def _has_content(path: pathlib.Path) -> bool:
    return os.path.isfile(path) and path.stat().st_size > 0


def _parts(where: Sequence[str], said: Sequence[str]) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, (place, name) in enumerate(zip(where, said, strict=True)):
        part = _PART_NAMES.get(name.lower(), name.lower())
        if part not in PARTS:
            raise UserError(f"{place}: the split is one of {', '.join(PARTS)}, not {name!r}")
        rows.setdefault(part, []).append(row)
    return {part: np.array(numbers) for part, numbers in rows.items()}


_TRIPLET = {
    "index": ("index", "FAll"),
    "caption": ("caption", "tags", "YAll"),
    "label": ("category", "label", "labels", "LAll"),
}


def is_triplet(folder: pathlib.Path) -> bool:
    """Whether a folder holds index.mat, caption.mat (or caption.txt) and label.mat."""
    return all((folder / f"{name}.mat").is_file() for name in ("index", "label")) and any(
        (folder / f"caption.{suffix}").is_file() for suffix in ("mat", "txt")
    )


def read_triplet(folder: pathlib.Path, pictures: pathlib.Path | None = None) -> Table:
    """Reads index.mat, caption.mat or caption.txt, and label.mat, as the repositories write them.

    index.mat has the paths of the pictures, often absolute ones of another machine: a picture is
    looked for under the folder by its path, then by its file name. Where not one is there, the
    table has no pictures. A row of caption.mat may hold several sentences, which become one text.
    The folder of pictures is by default that of the three files.

    Raises:
      UserError: a file is not of this kind, or they differ in their number of rows.
    """
    index = folder / "index.mat"
    paths = _triplet_entry(folder, "index")
    texts: formats.Stored | list[str]
    if (folder / "caption.mat").is_file():
        texts = _triplet_entry(folder, "caption")
    else:
        texts = read_text(folder / "caption.txt").splitlines()
    labels = _triplet_entry(folder, "label")
    if not isinstance(paths, list) or not isinstance(texts, list) or isinstance(labels, list):
        raise UserError(f"{folder}: index and caption hold texts, label.mat a matrix; they do not")
    if len(texts) != len(paths) or len(paths) not in labels.shape[:1] + labels.shape[-1:]:
        raise UserError(
            f"{folder}: {len(paths)} rows in index.mat, {len(texts)} in the captions, "
            f"{' x '.join(map(str, labels.shape))} in label.mat; they do not belong together"
        )
    matrix = labels.along(0 if labels.shape[0] == len(paths) else len(labels.shape) - 1)
    where = [f"{index}, row {row + 1}" for row in range(len(paths))]
    pictures = pictures or folder
    found = [_beneath(pictures, path) for path in paths]
    problems = _missing_pictures(where, found)
    none = bool(problems) and len(problems[0].rows) == len(paths)
    return Table(
        file=index,
        where=where,
        ids=_unique(where, paths),
        pictures=None if none else found,
        picture_ids=_within(pictures, found),
        texts=texts,
        labels=as_multi_hot(f"{folder / 'label.mat'}", np.asarray(matrix)),
        problems=[] if none else problems,
    )


def _triplet_entry(folder: pathlib.Path, kind: str) -> formats.Stored | list[str]:
    file = folder / f"{kind}.mat"
    entries = formats.open_file(file)
    known = [name for name in _TRIPLET[kind] if name in entries]
    if not known:
        raise UserError(
            f"{file} holds none of {', '.join(_TRIPLET[kind])}; it has {formats.listed(entries)}"
        )
    return entries[known[0]].open()


def _beneath(folder: pathlib.Path, path: str) -> pathlib.Path:
    parts = pathlib.PurePosixPath(path.replace("\\", "/"))
    relative = parts.relative_to(parts.anchor)
    whole = folder / relative
    if ".." not in relative.parts and _has_content(whole):
        return whole
    return folder / parts.name
