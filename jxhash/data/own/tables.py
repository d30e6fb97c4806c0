"""Pictures with texts and labels in a table: CSV, JSON lines, Parquet.

A table says of each item what it shows (the path of a picture), its texts, its labels, its id and
the part it belongs to. What is wrong with a row is told with the number of its line.
"""

import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jxhash.data.ids import require_apart
from jxhash.data.own.cell_lists import entries_of
from jxhash.data.own.common_names import OF_WORDS, Named, base_of
from jxhash.data.own.label_cells import label_lists
from jxhash.data.own.own_labels import LabelRules, multi_hot
from jxhash.data.own.splits import PARTS
from jxhash.data.own.table_columns import Column, Columns, columns_of, listed
from jxhash.data.own.table_rows import Row, read_rows
from jxhash.errors import UserError
from jxhash.formats.file_names import comparable, inside
from jxhash.formats.stored import Texts

_PART_NAMES = {
    **{"training": "train", "test": "query", "testing": "query", "queries": "query"},
    **{"val": "validation", "valid": "validation", "dev": "validation", "retrieval": "database"},
}


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
    """Items, in the order of their first rows; a column that a table lacks is None."""

    file: pathlib.Path
    where: list[str]  # file and line of each item, for messages
    ids: list[str]  # each once; the paths of the pictures where there is no column of ids
    pictures: list[pathlib.Path] | None  # one that a problem names may not exist
    picture_ids: list[str] | None  # paths within the folder of pictures
    texts: Texts | None  # one of each item, or several
    labels: np.ndarray | None  # multi-hot uint8 [n, C]
    problems: list[Problem]
    label_names: list[str] | None = None
    parts: Mapping[str, np.ndarray] = {}  # part -> its items, where the table says them
    arrays: Mapping[str, Column] = {}  # of "image" and "text", of the items
    columns: Sequence[str] = ()  # all names


def read_table(
    file: pathlib.Path,
    pictures: pathlib.Path | None = None,
    rules: LabelRules | None = None,
    array_ids: Collection[str] = (),
    named: Named = MappingProxyType({}),
) -> Table:
    """Reads a table, see `table_rows` for its formats.

    Columns: `picture` (a path within the folder of pictures), `text` (or a list of texts, or
    several columns), `labels` (see `label_lists`), `id`, `split` ("train", "validation", "query" or
    "database"), and arrays of images and texts, see `columns_of`. All may be missing but picture,
    id or an array; other columns are ignored. Rows of one id, or of one picture where there are no
    ids, are one item with several texts and the labels of all. So are rows of one picture whose ids
    only number the rows: they have the same labels, and no array has such ids.

    Args:
      file: the table.
      pictures: the folder of pictures, by default that of the table.
      rules: what a description says of labels.
      array_ids: the ids of arrays that come with the table.
      named: the columns that a description names.

    Raises:
      UserError: the file cannot be read, or a row is not as described; the line is named.
    """
    rules = rules or LabelRules()
    rows = list(read_rows(file, named))
    if not rows:
        raise UserError(f"{file} has no rows")
    where = [place for place, _ in rows]
    columns = columns_of(file, rows, named)
    if not columns.names.keys() & {"picture", "id"} and not columns.arrays:
        raise UserError(f"{file} has no column 'picture' or 'id'; {listed(columns.known)}")
    names = {field: _names(rows, columns, field) for field in ("id", "picture", "split")}
    folder = pictures or file.parent
    found = None if names["picture"] is None else _found(where, folder, names["picture"])
    paths = None if found is None else [path.relative_to(folder).as_posix() for path in found]
    own = None
    if "labels" in columns.names:
        cells = [row.get(columns.names["labels"][0]) for _, row in rows]
        own = label_lists(str(file), cells, rules.separator)
    if names["id"] is None and paths is None:
        names["id"] = list(map(str, range(len(rows))))
    ids, items = _items(names["id"], paths, own, names["split"], array_ids)
    _require_alike(where, ids, items, paths, "pictures")
    _require_alike(where, ids, items, names["split"], "splits")
    texts = columns.names.get("text", ())
    if not texts and "text" not in columns.arrays:
        _require_single(where, ids, items)
    first = [of_item[0] for of_item in items]
    shown = [where[row] for row in first]
    pictures_of_items = None if found is None else [found[row] for row in first]
    problems = [] if found is None else missing_pictures(shown, [found[row] for row in first])
    labels = label_names = None
    if own is not None:
        united = [[name for row in of_item for name in own[row]] for of_item in items]
        labels, label_names = multi_hot(str(file), united, rules.most_classes)
        # One that is said to have no label is not missing.
        unlabelled = [row for row, names in enumerate(united) if not names]
        problems += problem(MISSING_LABELS, unlabelled, lambda row: f"{shown[row]}: no labels")
    parts = {}
    if names["split"] is not None:
        parts = _parts(shown, [names["split"][row] for row in first])
    if paths is not None and "query" in parts:
        _require_pictures_apart(file, [paths[row] for row in first], parts)
    return Table(
        file=file,
        where=shown,
        ids=ids,
        pictures=pictures_of_items,
        picture_ids=None if paths is None else [paths[row] for row in first],
        texts=_texts_of_items(rows, texts, items) if texts else None,
        labels=labels,
        problems=problems,
        label_names=label_names,
        parts=parts,
        arrays={
            field: _of_items(where, items, field, column)
            for field, column in columns.arrays.items()
        },
        columns=columns.known,
    )


def _names(rows: Sequence[Row], columns: Columns, field: str) -> list[str] | None:
    """The names in a column; None where the table has no such column."""
    if field not in columns.names:
        return None
    return [_name(place, row, columns.names[field][0], field) for place, row in rows]


def _name(where: str, row: Mapping[str, Any], column: str, field: str) -> str:
    value = row.get(column)
    if isinstance(value, (int, float)) and field == "id":
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: no text under {column!r}")
    return value.strip()


def _texts_of_items(
    rows: Sequence[Row], columns: Sequence[str], items: Sequence[Sequence[int]]
) -> list[list[str]]:
    texts = [_texts(place, row, columns) for place, row in rows]
    return [[text for row in of_item for text in texts[row]] for of_item in items]


def _texts(where: str, row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    cells = [row.get(column) for column in columns]
    # An item may have fewer texts than there are columns.
    entries = [one for cell in [c for c in cells if c] or cells[:1] for one in _listed(where, cell)]
    texts = [entry.strip() for entry in entries if isinstance(entry, str)]
    if len(texts) < len(entries):
        raise UserError(f"{where}: no text under {columns[0]!r}")
    return [" ".join(texts)] if base_of(columns[0])[0] in OF_WORDS or not texts else texts


def _listed(where: str, cell: Any) -> list[Any]:
    """The texts of a cell that is a list, in any spelling; else the cell alone."""
    entries = entries_of(where, cell)
    is_list = isinstance(cell, list) or all(isinstance(entry, str) for entry in entries or [None])
    return entries if entries is not None and is_list else [cell]


def _of_items(
    where: Sequence[str], items: Sequence[Sequence[int]], field: str, column: Column
) -> Column:
    """The rows of a column for the items: of texts several, as many of each; else they agree."""
    values, counts = column.values, {len(of_item) for of_item in items}
    if field == "text" and len(counts) == 1 and counts != {1}:
        return Column(column.name, values[np.array(items)])
    for first, *others in items:
        for row in others:
            if not np.array_equal(values[row], values[first], equal_nan=True):
                raise UserError(
                    f"{where[row]}: its item is already in {where[first]}, and the two have "
                    f"different {column.name!r}; give each row a picture or id of its own"
                )
    return Column(column.name, values[[of_item[0] for of_item in items]])


def _found(where: Sequence[str], folder: pathlib.Path, names: Sequence[str]) -> list[pathlib.Path]:
    """The pictures of some names, which lie in the folder, there or not."""
    found = []
    for place, name in zip(where, names, strict=True):
        path = inside(folder, name)
        if path is None:
            raise UserError(f"{place}: {name!r} lies outside of {folder}; give paths within it")
        found.append(path)
    return found


def _items(
    ids: Sequence[str] | None,
    paths: Sequence[str] | None,
    labels: Sequence[Collection[str]] | None,
    splits: Sequence[str] | None,
    array_ids: Collection[str],
) -> tuple[list[str], list[list[int]]]:
    """The ids of the items, and the rows of each, see `read_table`."""
    names = ids or paths or ()
    if ids is not None and paths is not None and _only_number_rows(ids, paths, array_ids):
        sets = [frozenset(own) for own in labels or ()]
        names = paths if _agree(paths, sets) and _agree(paths, splits or ()) else ids
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return list(rows), list(rows.values())


def _only_number_rows(ids: Sequence[str], paths: Sequence[str], array_ids: Collection[str]) -> bool:
    """Whether ids tell rows apart that show the same pictures, and are the ids of no array."""
    repeats = len(set(paths)) < len(paths) and len(set(ids)) == len(ids)
    return repeats and not {comparable(name) for name in array_ids} & set(map(comparable, ids))


def _agree(names: Sequence[str], values: Sequence[Any]) -> bool:
    """Whether all rows of a name have one value; true where there are no values."""
    first: dict[str, Any] = {}
    pairs = zip(names, values, strict=False)
    return all(first.setdefault(name, value) == value for name, value in pairs)


def _require_alike(
    where: Sequence[str],
    ids: Sequence[str],
    items: Iterable[Sequence[int]],
    values: Sequence[str] | None,
    what: str,
) -> None:
    """Raises a UserError where the rows of an item differ in a value."""
    for name, rows in zip(ids, items, strict=True):
        for row in rows if values is not None else ():
            if values is not None and values[row] != values[rows[0]]:
                raise UserError(
                    f"{where[row]}: {name!r} is already in {where[rows[0]]}, and the two have "
                    f"different {what}; ids must be unique to an item"
                )


def _require_single(
    where: Sequence[str], ids: Sequence[str], items: Iterable[Sequence[int]]
) -> None:
    for name, (row, *others) in zip(ids, items, strict=True):
        if others:
            raise UserError(
                f"{where[others[0]]}: {name!r} is already in {where[row]}; ids must be unique "
                "where rows have no texts"
            )


def missing_pictures(where: Sequence[str], found: Sequence[pathlib.Path]) -> list[Problem]:
    """The problem of the pictures that are not there, or are empty."""
    missing = [row for row, path in enumerate(found) if not has_content(path)]
    says = "{}: there is no picture {}, or it is empty"
    return problem(MISSING_PICTURES, missing, lambda row: says.format(where[row], found[row]))


def has_content(path: pathlib.Path) -> bool:
    """Whether there is a file that is not empty."""
    return os.path.isfile(path) and path.stat().st_size > 0


def _parts(where: Sequence[str], said: Sequence[str]) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, (place, name) in enumerate(zip(where, said, strict=True)):
        part = _PART_NAMES.get(name.lower(), name.lower())
        if part not in PARTS:
            raise UserError(f"{place}: the split is one of {', '.join(PARTS)}, not {name!r}")
        rows.setdefault(part, []).append(row)
    return {part: np.array(numbers) for part, numbers in rows.items()}


def _require_pictures_apart(
    file: pathlib.Path, paths: Sequence[str], parts: Mapping[str, np.ndarray]
) -> None:
    of_part = {part: np.array(paths)[rows] for part, rows in parts.items()}
    for part in of_part.keys() - {"query"}:
        require_apart(str(file), of_part["query"], of_part[part], part)
