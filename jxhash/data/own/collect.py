"""From a description to the rows of a data set, before they are divided."""

import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jxhash import arrays
from jxhash.arrays import Rows, Stored
from jxhash.data.ids import match
from jxhash.data.own import tables
from jxhash.data.own.description import Description
from jxhash.data.own.named import (
    PARTS,
    WHOLE,
    Fields,
    Given,
    along_items,
    common_length,
    ids_of,
    in_file,
    in_folder,
    referred,
)
from jxhash.data.own.own_labels import as_multi_hot, multi_hot
from jxhash.data.own.tables import Problem, Table
from jxhash.data.pictures import decoding
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError


class Collected(NamedTuple):
    """A data set before its rows are divided.

    Attributes:
      rows: their number.
      inputs: "image", "text" or "tokens" -> rows, or texts, or encoded pictures.
      labels: multi-hot [n, C].
      label_names: C names, or None.
      ids: n names, or None.
      pictures: n files, or None.
      parts: what the data says of the split: part -> row numbers.
      problems: rows that cannot be used.
      extra: rows of files for ids that the data does not have, by reason.
      where: field -> file and name.
    """

    rows: int
    inputs: dict[str, Rows | list[str] | EncodedPictures]
    labels: np.ndarray
    label_names: list[str] | None
    ids: list[str] | None
    pictures: list[pathlib.Path] | None
    parts: dict[str, np.ndarray]
    problems: list[Problem]
    where: dict[str, str]


def collect(description: Description, size: int | None = None) -> Collected:
    """Opens all that a description names and brings it into one order of rows.

    Args:
      description: what lies where.
      size: height and width of the table's pictures as images; None for features as images.

    Raises:
      UserError: something is missing, damaged or not what its name says.
    """
    table = table_of(description)
    given = _given(description)
    if size is not None:
        given = {meaning: one for meaning, one in given.items() if meaning[0] != "image"}
    fields = {field for field, _ in given}
    if table is None and not fields & {"image", "text", "tokens", "labels"}:
        raise _unknown(description, "nothing under a name of the field (images, tags, labels ...)")
    rows, parts = _rows_of_parts(given)
    known = {field: _whole(given, field) for field in sorted(fields - {"rows"})}
    ids = _ids(table, known)
    rows = rows if ids is None else len(ids)
    problems = list(table.problems) if table is not None else []
    inputs: dict[str, Rows | list[str] | EncodedPictures] = {}
    where = {field: one.where for field, one in known.items()}
    for field in ("image", "text", "tokens"):
        if field in known:
            names = _names_for(known[field], ids, table)
            values = _aligned(known[field], names, rows, problems)
            if isinstance(values, Rows):
                values = _as_inputs(known[field].where, values)
            elif field != "text":
                raise UserError(f"{known[field].where} holds texts, not the numbers of {field!r}")
            inputs[field] = values
            problems += _not_finite(known[field].where, inputs[field])
    if size is not None:
        if table is None or table.pictures is None:
            raise _unknown(description, "no table of pictures, to take them as images")
        inputs["image"], where["image"] = _pictures(table, size), table.file.name
    if not inputs.keys() & {"text", "tokens"}:
        if table is None or table.texts is None:
            raise _unknown(description, "no texts")
        inputs["text"], where["text"] = table.texts, table.file.name
    labels, names = _labels(description, table, known, ids, rows, problems)
    where.setdefault("labels", table.file.name if table is not None else "")
    if table is not None:
        parts |= table.parts
    parts |= _index_lists(given, rows)
    pictures = table.pictures if table is not None else None
    return Collected(rows, inputs, labels, names, ids, pictures, parts, problems, where)


def _unknown(description: Description, what: str) -> UserError:
    """An error about what is missing, with all that is there."""
    path = description.folder / (description.data or "")
    if path.is_dir():
        has = ", ".join(sorted(one.name for one in path.iterdir())[:12])
    else:
        has = arrays.listed(arrays.open_file(path))
    return UserError(
        f"{path} holds {what}; it has {has or 'nothing'}; say in a description which array is what "
        "(docs/data.md)"
    )


def table_of(description: Description) -> Table | None:
    """The table that a description, or the folder that it names, has; None where there is none.

    Raises:
      UserError: there are several, or it cannot be read.
    """
    pictures = description.folder / description.pictures if description.pictures else None
    if description.table:
        return _checked_table(description.folder / description.table, pictures)
    folder = description.folder / description.data if description.data else None
    if folder is None or not folder.is_dir():
        return None
    if tables.is_triplet(folder):
        return tables.read_triplet(folder, pictures)
    found = sorted(one for one in folder.iterdir() if one.suffix.lower() in tables.SUFFIXES)
    if len(found) > 1:
        raise UserError(
            f"{folder} holds several tables ({', '.join(one.name for one in found)}); name one"
        )
    return tables.read_table(found[0], pictures) if found else None


def _checked_table(file: pathlib.Path, pictures: pathlib.Path | None) -> Table:
    if file.suffix.lower() not in tables.SUFFIXES:
        raise UserError(f"{file}: a table is one of {', '.join(tables.SUFFIXES)}")
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    return tables.read_table(file, pictures)


def _given(description: Description) -> Fields:
    """All arrays: those under known names, then those that the description names."""
    given: Fields = {}
    if description.data:
        path = description.folder / description.data
        found = in_folder(path) if path.is_dir() else in_file(path)
        for meaning, one in found:
            if meaning in given:
                raise UserError(
                    f"{given[meaning].where} and {one.where} may both be {meaning[0]!r} "
                    f"({meaning[1]}); say which in a description (docs/data.md)"
                )
            given[meaning] = one
    for field in ("image", "text", "tokens", "labels", "ids"):
        reference = getattr(description, field)
        if reference:
            replaced = ("text", "tokens") if field in ("text", "tokens") else (field,)
            given = {meaning: one for meaning, one in given.items() if meaning[0] not in replaced}
            given[field, WHOLE] = referred(description.folder, reference)
    for part, rows in description.split.items():
        if isinstance(rows, str):
            given = {m: one for m, one in given.items() if m != ("rows", part)}
            given["rows", part] = referred(description.folder, rows)
    return given


def _rows_of_parts(given: Fields) -> tuple[int, dict[str, np.ndarray]]:
    """The number of rows of arrays without ids, and which of them each part has."""
    lengths: dict[str, int] = {}
    for part in PARTS:
        shapes = {
            one.where: one.shape
            for (field, its_part), one in given.items()
            if its_part == part and field != "rows" and one.ids is None
        }
        if shapes:
            lengths[part] = common_length(shapes)
    if WHOLE in lengths and len(lengths) > 1:
        raise UserError(
            "there are arrays of the whole and of parts of it: "
            + ", ".join(one.where for one in given.values())
            + "; name those to take in a description (docs/data.md)"
        )
    parts, first = {}, 0
    for part, length in lengths.items():
        if part != WHOLE:
            parts[part] = np.arange(first, first + length)
        first += length
    return first, parts


def _whole(given: Fields, field: str) -> Given:
    """One array of a field, its parts joined in the order of `_rows_of_parts`."""
    own = {part: given[field, part] for part in PARTS if (field, part) in given}
    if WHOLE in own:
        return own[WHOLE]
    others = {part for f, part in given if f not in ("rows", "ids") and part != WHOLE}
    missing = sorted(others - own.keys())
    if missing:
        has = ", ".join(one.where for one in own.values())
        raise UserError(f"{has}: there is no {field!r} of the part {missing[0]!r}")
    where = ", ".join(one.where for one in own.values())
    values = [
        along_items(
            one,
            common_length(
                {o.where: o.shape for (f, p), o in given.items() if p == part and f != "rows"}
            ),
        )
        for part, one in own.items()
    ]
    texts = [isinstance(value, list) for value in values]
    if all(texts):
        return Given(where, [entry for value in values for entry in value])
    if any(texts):
        raise UserError(f"{where}: some hold texts, others numbers")
    try:
        return Given(where, Stored(arrays.joined(values)))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _ids(table: Table | None, known: Mapping[str, Given]) -> list[str] | None:
    """The names of the items: the table's, else those given, else those beside an array."""
    if table is not None:
        return table.ids
    if "ids" in known:
        return ids_of(known["ids"].where, known["ids"].value)
    with_ids = [known[field].ids for field in ("image", "text", "tokens") if field in known]
    return next((ids for ids in with_ids if ids is not None), None)


def _names_for(one: Given, ids: list[str] | None, table: Table | None) -> list[str] | None:
    """What a file's ids are to be compared with: ids, or the paths of pictures if it has those."""
    if table is None or one.ids is None or table.picture_ids is None:
        return ids
    return table.picture_ids if set(table.picture_ids) & set(one.ids) else ids


def _aligned(
    one: Given, ids: list[str] | None, rows: int, problems: list[Problem]
) -> Rows | list[str]:
    """The rows of an array in the order of the items: by ids where it has some, else as it is."""
    if ids is None or one.ids is None:
        values = along_items(one, rows)
        if len(values) != rows:
            raise UserError(
                f"{one.where} has {len(values)} rows, the data {rows}; they do not belong together"
            )
        return values
    values = along_items(one, len(one.ids))
    found = match(ids, one.ids)
    missing = found.missing
    if missing.size:
        what = (
            f"{one.where} has no row for the id {ids[missing[0]]!r}, row {missing[0]} (from 0) of "
            f"the data ({missing.size} such rows)"
        )
        problems.append(Problem(tables.UNMATCHED_IDS, missing, what))
    if found.unused.size:
        first = found.unused[0]
        what = (
            f"{one.where}, row {first} (from 0): the data has no id {one.ids[first]!r} "
            f"({found.unused.size} such rows)"
        )
        problems.append(Problem(tables.UNMATCHED_IDS, missing[:0], what, beyond=found.unused.size))
    # A row that is missing is left out later; until then any stands for it.
    order = np.maximum(found.rows, 0)
    return [values[row] for row in order] if isinstance(values, list) else values.take(order)


def _as_inputs(where: str, values: Rows) -> Rows:
    """Vectors or more of each item; pictures as [n, height, width, channels]."""
    if values.ndim < 2 or 0 in values.shape:
        raise UserError(
            f"{where} is {values.shape}; methods read at least a row of numbers an item"
        )
    if values.ndim == 4 and values.shape[-1] not in (1, 3) and values.shape[1] in (1, 3):
        return values.transposed(1, 2, 0)
    return values


def _not_finite(where: str, values: Rows | list[str]) -> list[Problem]:
    if isinstance(values, list):
        return []
    bad = values.not_finite()
    if not bad.size:
        return []
    message = f"{where}, row {bad[0]} (from 0): NaN or infinity ({bad.size} such rows)"
    return [Problem(tables.NOT_FINITE, bad, message)]


def _pictures(table: Table, size: int) -> EncodedPictures:
    names = [f"{row}: {path}" for row, path in zip(table.where, table.pictures, strict=True)]
    return decoding.in_squares(table.pictures, names, size)


def _labels(
    description: Description,
    table: Table | None,
    known: Mapping[str, Given],
    ids: list[str] | None,
    rows: int,
    problems: list[Problem],
) -> tuple[np.ndarray, list[str] | None]:
    if "labels" not in known:
        if table is None or table.labels is None:
            raise _unknown(description, "no labels, by which results are judged")
        return table.labels, table.label_names
    values = _aligned(known["labels"], ids, rows, problems)
    if isinstance(values, list):
        names = [[name.strip() for name in one.split(";")] for one in values]
        return multi_hot(known["labels"].where, names)
    return as_multi_hot(known["labels"].where, np.asarray(values)), None


def _index_lists(given: Fields, rows: int) -> dict[str, np.ndarray]:
    """Lists of row numbers: those of .mat files count from 1, all others from 0."""
    lists = {}
    for (field, part), one in given.items():
        if field != "rows" or part == WHOLE:
            continue
        if isinstance(one.value, list) or one.value.rows.dtype.kind not in "iuf":
            raise UserError(f"{one.where} is no list of row numbers")
        from_one = re.search(r"\.mat(:|$)", one.where, re.IGNORECASE) is not None
        lists[part] = row_numbers(one.where, np.asarray(one.value.rows).ravel(), rows, from_one)
    return lists


def row_numbers(where: str, numbers: np.ndarray, rows: int, from_one: bool = False) -> np.ndarray:
    """Checks a list of row numbers and counts them from 0.

    Args:
      where: its name, for messages.
      numbers: [m].
      rows: how many there are to name.
      from_one: whether the first row is 1.

    Raises:
      UserError: it is no such list, or names a row twice.
    """
    first = int(from_one)
    if numbers.dtype.kind not in "iuf" or not np.array_equal(numbers, np.round(numbers)):
        raise UserError(f"{where} is no list of whole numbers")
    if numbers.size and (numbers.min() < first or numbers.max() >= rows + first):
        raise UserError(
            f"{where} holds row {numbers.min():g} to {numbers.max():g}; the rows are counted "
            f"from {first} to {rows + first - 1}" + (" in a .mat file" if from_one else "")
        )
    if len(np.unique(numbers)) < numbers.size:
        raise UserError(f"{where} names a row twice")
    return numbers.astype(np.int64) - first
