"""Pictures with texts and labels in a table: CSV, JSON lines, or the triplets of .mat files.

A table says of each item what it shows (the path of a picture), its text, its labels, its id and
the part it belongs to. What is wrong with a row is told with the number of its line.
"""

import csv
import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash import arrays
from jxhash.atomic_files import parse_json
from jxhash.data.own.own_labels import as_multi_hot, multi_hot
from jxhash.data.own.splits import PARTS
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
    """Rows that cannot be used.

    Attributes:
      reason: one of `REASONS`.
      rows: their numbers, from 0.
      message: the first of them, with file and row.
      beyond: how many rows of a file belong to no row at all.
    """

    reason: str
    rows: np.ndarray
    message: str
    beyond: int = 0


MISSING_PICTURES = "missing pictures"
DAMAGED_PICTURES = "damaged pictures"
MISSING_LABELS = "missing labels"
NOT_FINITE = "not finite"
UNMATCHED_IDS = "unmatched ids"
REASONS = (MISSING_PICTURES, DAMAGED_PICTURES, MISSING_LABELS, NOT_FINITE, UNMATCHED_IDS)


class Table(NamedTuple):
    """Items, row by row.

    Attributes:
      file: where the table lies.
      where: file and line of each row, for messages.
      ids: n different names; the paths of the pictures where there is no column of ids.
      pictures: n files, or None; one that a problem names may not exist.
      picture_ids: their paths within the folder of pictures, or None.
      texts: n texts, or None.
      labels: multi-hot uint8 [n, C], or None.
      label_names: C names, or None.
      parts: part -> the numbers of its rows; empty where the table does not say.
      problems: rows that cannot be used.
    """

    file: pathlib.Path
    where: list[str]
    ids: list[str]
    pictures: list[pathlib.Path] | None
    picture_ids: list[str] | None
    texts: list[str] | None
    labels: np.ndarray | None
    label_names: list[str] | None
    parts: dict[str, np.ndarray]
    problems: list[Problem]


def read_table(file: pathlib.Path, pictures: pathlib.Path | None = None) -> Table:
    """Reads a CSV file with a head line, or a file with one JSON object a line, in UTF-8.

    Columns: `picture` (a path within the folder of pictures), `text`, `labels` (separated by ";",
    or a JSON list), `id`, and `split` ("train", "validation", "query" or "database"). All may be
    missing but picture or id; others are passed over.

    Args:
      file: the table.
      pictures: the folder of pictures; by default that of the table.

    Raises:
      UserError: the file cannot be read, or a row is not as described; the line is named.
    """
    rows = list(_csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file))
    if not rows:
        raise UserError(f"{file} has no rows")
    columns = _columns(file, [row for _, row in rows])
    cells = {
        field: [_cell(file, line, row, column, field) for line, row in rows]
        for field, column in columns.items()
    }
    where = [f"{file}, line {line}" for line, _ in rows]
    ids = _unique(where, cells.get("id") or cells["picture"])
    problems: list[Problem] = []
    folder = pictures or file.parent
    found = None
    if "picture" in cells:
        found = [
            _inside(place, folder, name)
            for place, name in zip(where, cells["picture"], strict=True)
        ]
        problems += _missing_pictures(where, found)
    labels = names = None
    if "labels" in cells:
        labels, names = multi_hot(str(file), cells["labels"])
        problems += _missing_labels(where, cells["labels"])
    parts = _parts(where, cells["split"]) if "split" in cells else {}
    within = _within(folder, found)
    texts = cells.get("text")
    return Table(file, where, ids, found, within, texts, labels, names, parts, problems)


def _within(folder: pathlib.Path, found: Sequence[pathlib.Path] | None) -> list[str] | None:
    return found and [path.relative_to(folder).as_posix() for path in found]


def read_text(file: pathlib.Path | zipfile.Path) -> str:
    """Reads a file in UTF-8; the file may be in a zip file (`zipfile.Path`).

    Raises:
      UserError: it cannot be read, or is in another encoding; the line is named.
    """
    try:
        content = file.read_bytes()
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file} cannot be read ({error})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: not in UTF-8; save it in UTF-8") from error


def _csv_rows(file: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{file}, line {reader.line_num}: the head line has "
                    f"{len(reader.fieldnames or ())} cells, this one more or fewer; put cells with "
                    "commas in quotes"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.reader.line_num}: {error}") from error


def _json_rows(file: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = parse_json(text)
        except ValueError as error:
            raise UserError(f"{file}, line {line}: not a JSON object ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {line}: not a JSON object")
        yield line, row


def _columns(file: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> the column that holds it."""
    known = {name: None for row in rows for name in row}
    columns = {}
    for field, names in _COLUMNS.items():
        found = [name for name in names if name in known]
        if found:
            columns[field] = found[0]
    if not columns.keys() & {"picture", "id"}:
        raise UserError(
            f"{file} has no column 'picture' or 'id'; it has {', '.join(map(repr, known))}"
        )
    return columns


def _cell(
    file: pathlib.Path, line: int, row: Mapping[str, Any], column: str, field: str
) -> str | list[str]:
    value = row.get(column)
    if field == "labels":
        value = "" if value is None else value  # 0 and False are labels
        entries = value if isinstance(value, list) else str(value).split(_SEPARATOR)
        return [str(entry).strip() for entry in entries if str(entry).strip()]
    if isinstance(value, list) and field == "text":
        value = " ".join(map(str, value))
    if isinstance(value, (int, float)) and field == "id":
        value = str(value)
    if not isinstance(value, str) or not (value.strip() or field == "text"):
        raise UserError(f"{file}, line {line}: no text under {column!r}")
    return value.strip()


def _unique(where: Sequence[str], ids: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for place, name in zip(where, ids, strict=True):
        if name in seen:
            raise UserError(f"{place}: {name!r} stands in {seen[name]} already; name items once")
        seen[name] = place
    return ids


def _inside(where: str, folder: pathlib.Path, name: str) -> pathlib.Path:
    # Links that lie in the folder are the user's own.
    within = os.path.normpath(name)
    if os.path.isabs(within) or within.split(os.sep)[0] == os.pardir:
        raise UserError(f"{where}: {name!r} lies outside of {folder}; give paths within it")
    return folder / within


def _missing_pictures(where: Sequence[str], found: Sequence[pathlib.Path]) -> list[Problem]:
    missing = np.array([row for row, path in enumerate(found) if not _has_content(path)], int)
    if not missing.size:
        return []
    first = missing[0]
    what = f"there is no picture {found[first]}, or it is empty ({missing.size} such rows)"
    return [Problem(MISSING_PICTURES, missing, f"{where[first]}: {what}")]


def _has_content(path: pathlib.Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except (OSError, ValueError):
        return False


def _missing_labels(where: Sequence[str], labels: Sequence[Sequence[str]]) -> list[Problem]:
    missing = np.array([row for row, names in enumerate(labels) if not names], int)
    if not missing.size:
        return []
    return [
        Problem(
            MISSING_LABELS, missing, f"{where[missing[0]]}: no labels ({missing.size} such rows)"
        )
    ]


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

    Args:
      folder: holds the three files.
      pictures: the folder of pictures; by default the same.

    Raises:
      UserError: a file is not of this kind, or they differ in their number of rows.
    """
    index = folder / "index.mat"
    paths = _triplet_entry(index, "index")
    captions = folder / "caption.mat"
    texts = (
        _triplet_entry(captions, "caption")
        if captions.is_file()
        else read_text(folder / "caption.txt").splitlines()
    )
    labels = _triplet_entry(folder / "label.mat", "label")
    if not isinstance(paths, list) or not isinstance(texts, list) or isinstance(labels, list):
        raise UserError(f"{folder}: index and caption hold texts, label.mat a matrix; they do not")
    if len(texts) != len(paths) or len(paths) not in labels.shape[:1] + labels.shape[-1:]:
        raise UserError(
            f"{folder}: {len(paths)} rows in index.mat, {len(texts)} in the captions, "
            f"{' x '.join(map(str, labels.shape))} in label.mat; they do not belong together"
        )
    matrix = labels.along(0 if labels.shape[0] == len(paths) else len(labels.shape) - 1)
    where = [f"{index}, row {row + 1}" for row in range(len(paths))]
    found = [_beneath(pictures or folder, path) for path in paths]
    within = _within(pictures or folder, found)
    problems = _missing_pictures(where, found)
    if problems and len(problems[0].rows) == len(paths):
        found, problems = None, []
    marks = as_multi_hot(f"{folder / 'label.mat'}", np.asarray(matrix))
    ids = _unique(where, paths)
    return Table(index, where, ids, found, within, texts, marks, None, {}, problems)


def _triplet_entry(file: pathlib.Path, kind: str) -> arrays.Stored | list[str]:
    entries = arrays.open_file(file)
    known = [name for name in _TRIPLET[kind] if name in entries]
    if not known:
        raise UserError(
            f"{file} holds none of {', '.join(_TRIPLET[kind])}; it has {arrays.listed(entries)}"
        )
    return entries[known[0]].open()


def _beneath(folder: pathlib.Path, path: str) -> pathlib.Path:
    parts = pathlib.PurePosixPath(path.replace("\\", "/"))
    relative = parts.relative_to(parts.anchor)
    whole = folder / relative
    if ".." not in relative.parts and _has_content(whole):
        return whole
    return folder / parts.name
