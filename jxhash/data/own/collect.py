"""From a description to the rows of a data set, before they are divided."""

import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from jxhash import formats
from jxhash.data.ids import match, row_numbers
from jxhash.data.own import named, table_rows, tables, triplets
from jxhash.data.own.common_names import PARTS
from jxhash.data.own.description import FILE, Description
from jxhash.data.own.label_cells import label_lists
from jxhash.data.own.own_labels import as_multi_hot, is_one_class_a_row, multi_hot
from jxhash.data.own.table_columns import listed
from jxhash.data.own.tables import Problem, Table
from jxhash.data.pictures import decoding
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.formats import Stored, Texts
from jxhash.formats.file_names import resolved, visible
from jxhash.rows import Rows, in_memory, joined

_FIELDS = ("image", "text", "tokens", "labels", "ids")  # that a description may name


class Collected(NamedTuple):
    """A data set before its rows are divided; what there is none of is None."""

    rows: int  # how many
    arrays: dict[str, Rows]  # of "image", "text" or "tokens"
    texts: list[str] | None  # of all items, in their order
    captions: np.ndarray | None  # how many texts each item has, int64 [n]; None for one each
    encoded: EncodedPictures | None  # the pictures as images
    labels: np.ndarray | None  # multi-hot [n, C]
    label_names: list[str] | None
    ids: list[str] | None
    pictures: list[pathlib.Path] | None
    parts: dict[str, np.ndarray]  # what the data says of the split: part -> row numbers
    problems: list[Problem]
    where: dict[str, str]  # field -> file and name

    @property
    def is_one_class_a_row(self) -> bool:
        """Whether each row has a class that no other has: no two items are relevant to another."""
        return self.labels is not None and is_one_class_a_row(self.labels)


def collect(description: Description, size: int | None = None) -> Collected:
    """Opens all that a description names and brings it into one order of rows.

    With a size (height and width) the pictures of the table are the images.

    Raises:
      UserError: something is missing, damaged or not what its name says.
    """
    given = _given(description)
    table = table_of(description, {name for one in given.values() for name in one.ids or ()})
    if table is None and description.columns:
        raise UserError(
            f"{description.folder / FILE}: 'columns' are those of a table; there is none"
        )
    if size is not None:
        given = {meaning: one for meaning, one in given.items() if meaning[0] != "image"}
    fields = {field for field, _ in given}
    if table is None and not fields & {"image", "text", "tokens", "labels"}:
        raise unknown(description, "nothing under a name of the field (images, tags, labels ...)")
    rows, parts = _rows_of_parts(given)
    known = {field: _whole(given, field) for field in sorted(fields - {"rows"})}
    if table is not None:
        folder = description.folder / (description.pictures or table.file.parent)
        known = {field: named.with_ids_in(folder, one) for field, one in known.items()}
        known |= _arrays_of_table(description, table, known, size)
        if table.texts is not None and not known.keys() & {"text", "tokens"}:
            known["text"] = named.Given(table.file.name, table.texts)
    ids = _ids(table, known)
    rows = rows if ids is None else len(ids)
    problems = list(table.problems) if table is not None else []
    inputs: dict[str, Rows] = {}
    texts = captions = encoded = None
    where = {field: one.where for field, one in known.items()}
    for field in ("image", "text", "tokens"):
        if field in known:
            names = _names_for(known[field], ids, table)
            values = _aligned(known[field], names, rows, problems)
            if not isinstance(values, list):
                inputs[field] = _as_inputs(known[field].where, values, problems)
            elif field == "text":
                texts, captions = _flat(values)
            else:
                raise UserError(f"{known[field].where} holds texts, not the numbers of {field!r}")
    if size is not None:
        if table is None or table.pictures is None:
            raise unknown(description, "no table of pictures, to take them as images")
        shown = [f"{row}: {path}" for row, path in zip(table.where, table.pictures, strict=True)]
        encoded = decoding.in_squares(table.pictures, shown, size)
        where["image"] = table.file.name
    if not known.keys() & {"text", "tokens"}:
        raise unknown(description, "no texts") if table is None else _no_texts(table)
    labels, names = _labels(description, table, known, ids, rows, problems)
    pictures = None
    if table is not None:
        if labels is not None:
            where.setdefault("labels", table.file.name)
        parts |= table.parts
        pictures = table.pictures
    parts |= _index_lists(given, rows)
    return Collected(
        rows,
        arrays=inputs,
        texts=texts,
        captions=captions,
        encoded=encoded,
        labels=labels,
        label_names=names,
        ids=ids,
        pictures=pictures,
        parts=parts,
        problems=problems,
        where=where,
    )


def _flat(texts: Texts) -> tuple[list[str], np.ndarray | None]:
    """All texts in one list, and how many each item has; None where each has one."""
    rows = [[one] if isinstance(one, str) else one or [""] for one in texts]
    captions = np.array([len(row) for row in rows], np.int64)
    flat = [text for row in rows for text in row]
    return flat, None if (captions == 1).all() else captions


def unknown(description: Description, what: str) -> UserError:
    """An error about what is missing, with all that is there."""
    path = description.folder / (description.data or "")
    if path.is_dir():
        has = ", ".join(one.name for one in visible(path)[:12])
    else:
        has = formats.listed(formats.open_file(path))
    return UserError(
        f"{path} holds {what}; it has {has or 'nothing'}; say in a description which array is what "
        "(docs/data.md)"
    )


def _no_texts(table: Table) -> UserError:
    return UserError(f"{table.file} holds no texts; {listed(table.columns)}")


def _arrays_of_table(
    description: Description, table: Table, known: Mapping[str, named.Given], size: int | None
) -> dict[str, named.Given]:
    """The arrays in a table, but for those that the description names elsewhere."""
    arrays = {}
    for field, column in table.arrays.items():
        where = f"{table.file.name}:{column.name}"
        fields = {"text", "tokens"} if field == "text" else {field}
        if any(getattr(description, one) for one in fields) or (field == "image" and size):
            continue
        for other in fields & known.keys():
            raise UserError(
                f"{known[other].where} and {where} may both be {field!r}; say which in a "
                f'description (docs/data.md): "{other}": FILE, or rename the column'
            )
        arrays[field] = named.Given(where, Stored(in_memory(column.values)))
    return arrays


def table_of(description: Description, array_ids: Collection[str] = ()) -> Table | None:
    """The table that a description, or the folder that it names, has; None where there is none.

    `array_ids` are the ids of the arrays that come with it, see `tables.read_table`.

    Raises:
      UserError: there are several, or it cannot be read.
    """
    within, rules = description.folder, description.label_rules
    pictures = resolved(within, description.pictures) if description.pictures else None
    if description.table:
        file = resolved(within, description.table)
        if file.suffix.lower() not in table_rows.NAMED_SUFFIXES:
            raise UserError(f"{file}: a table is one of {', '.join(table_rows.NAMED_SUFFIXES)}")
        if not file.is_file():
            raise UserError(f"there is no file {file}")
        return tables.read_table(file, pictures, rules, array_ids, description.columns)
    folder = resolved(within, description.data) if description.data else None
    if folder is None or not folder.is_dir():
        return None
    if triplets.is_triplet(folder):
        return triplets.read_triplet(folder, pictures, rules)
    found = [one for one in visible(folder) if one.suffix.lower() in table_rows.SUFFIXES]
    if len(found) > 1:
        raise UserError(
            f"{folder} holds several tables ({', '.join(one.name for one in found)}); name one"
        )
    if not found:
        return None
    return tables.read_table(found[0], pictures, rules, array_ids, description.columns)


def _given(description: Description) -> named.Fields:
    """All arrays: those under known names, but for those that the description names."""
    given: named.Fields = {}
    own = {field for field in _FIELDS if getattr(description, field)}
    if own & {"text", "tokens"}:
        own |= {"text", "tokens"}
    if description.data:
        path = resolved(description.folder, description.data)
        found = named.in_folder(path, own) if path.is_dir() else named.in_file(path, own)
        for meaning, one in found:
            if meaning in given:
                raise UserError(
                    f"{given[meaning].where} and {one.where} may both be {meaning[0]!r} "
                    f"({meaning[1]}); say which in a description (docs/data.md)"
                )
            given[meaning] = one
    for field in _FIELDS:
        reference = getattr(description, field)
        if reference:
            given[field, named.WHOLE] = named.referred(description.folder, reference)
    for part, rows in description.split.items():
        if isinstance(rows, str):
            given["rows", part] = named.referred(description.folder, rows)
    return given


def _rows_of_parts(given: named.Fields) -> tuple[int, dict[str, np.ndarray]]:
    """The number of rows of arrays without ids, and which of them each part has."""
    lengths: dict[str, int] = {}
    for part in PARTS:
        shapes = {
            one.where: one.shape
            for (field, its_part), one in given.items()
            if its_part == part and field != "rows" and one.ids is None
        }
        if shapes:
            lengths[part] = named.common_length(shapes)
    if named.WHOLE in lengths and len(lengths) > 1:
        raise UserError(
            "there are arrays of the whole and of parts of it: "
            + ", ".join(one.where for one in given.values())
            + "; name those to take in a description (docs/data.md)"
        )
    parts, first = {}, 0
    for part, length in lengths.items():
        if part != named.WHOLE:
            parts[part] = np.arange(first, first + length)
        first += length
    return first, parts


def _whole(given: named.Fields, field: str) -> named.Given:
    """One array of a field, its parts joined in the order of `_rows_of_parts`."""
    own = {part: given[field, part] for part in PARTS if (field, part) in given}
    if named.WHOLE in own:
        return own[named.WHOLE]
    where = ", ".join(one.where for one in own.values())
    others = {part for f, part in given if f not in ("rows", "ids") and part != named.WHOLE}
    missing = sorted(others - own.keys())
    if missing:
        raise UserError(f"{where}: there is no {field!r} of the part {missing[0]!r}")
    values: list[Any] = [
        named.along_items(
            one,
            named.common_length(
                {o.where: o.shape for (f, p), o in given.items() if p == part and f != "rows"}
            ),
        )
        for part, one in own.items()
    ]
    are_texts = [not isinstance(value, Rows) for value in values]
    if all(are_texts):
        return named.Given(where, [entry for value in values for entry in value])
    if any(are_texts):
        raise UserError(f"{where}: some hold texts, others numbers")
    try:
        return named.Given(where, Stored(joined(values)))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _ids(table: Table | None, known: Mapping[str, named.Given]) -> list[str] | None:
    """The names of the items: the table's, else those given, else those beside an array."""
    if table is not None:
        return table.ids
    if "ids" in known:
        return named.ids_of(known["ids"].where, known["ids"].value)
    with_ids = [known[field].ids for field in ("image", "text", "tokens") if field in known]
    return next((ids for ids in with_ids if ids is not None), None)


def _names_for(one: named.Given, ids: list[str] | None, table: Table | None) -> list[str] | None:
    """What a file's ids are to be compared with: ids, or the paths of pictures if it has those."""
    if table is None or one.ids is None or table.picture_ids is None:
        return ids
    return table.picture_ids if set(table.picture_ids) & set(one.ids) else ids


def _aligned(
    one: named.Given, ids: list[str] | None, rows: int, problems: list[Problem]
) -> Rows | Texts:
    """The rows of an array in the order of the items: by ids where it has some, else as it is."""
    if ids is None or one.ids is None:
        values = named.along_items(one, rows)
        if len(values) != rows:
            raise UserError(
                f"{one.where} has {len(values)} rows, the data {rows}; they do not belong together"
            )
        return values
    values = named.along_items(one, len(one.ids))
    found = match(ids, one.ids)
    problems += tables.problem(
        tables.UNMATCHED_IDS,
        found.missing,
        lambda row: f"{one.where} has no row for the id {ids[row]!r} of row {row} (from 0)",
    )
    if found.unused.size:
        first = found.unused[0]
        what = (
            f"{one.where}, row {first} (from 0): the data has no id {one.ids[first]!r} "
            f"({found.unused.size} such rows)"
        )
        none = found.rows[:0]
        problems.append(Problem(tables.UNMATCHED_IDS, none, what, beyond=found.unused.size))
    # A row that is missing is left out later; until then any stands for it.
    order = np.maximum(found.rows, 0)
    if isinstance(values, Rows):
        return values.take(order)
    return cast(Texts, [values[row] for row in order])


def _as_inputs(where: str, values: Rows, problems: list[Problem]) -> Rows:
    """Vectors or more of each item; pictures as [n, height, width, channels]."""
    if values.ndim < 2 or 0 in values.shape:
        raise UserError(
            f"{where} is {values.shape}; methods read at least a row of numbers an item"
        )
    if values.ndim == 4 and values.shape[-1] not in (1, 3) and values.shape[1] in (1, 3):
        values = values.transposed(1, 2, 0)
    problems += tables.problem(
        tables.NOT_FINITE,
        values.not_finite(),
        lambda row: f"{where}, row {row} (from 0): NaN or infinity",
    )
    return values


def _labels(
    description: Description,
    table: Table | None,
    known: Mapping[str, named.Given],
    ids: list[str] | None,
    rows: int,
    problems: list[Problem],
) -> tuple[np.ndarray | None, list[str] | None]:
    rules = description.label_rules
    if "labels" not in known:
        return (None, None) if table is None else (table.labels, table.label_names)
    where = known["labels"].where
    values = _aligned(known["labels"], ids, rows, problems)
    if isinstance(values, list):
        names = label_lists(where, values, rules.separator)
        return multi_hot(where, names, rules.most_classes)
    return as_multi_hot(where, np.asarray(values), rules.most_classes), None


def _index_lists(given: named.Fields, rows: int) -> dict[str, np.ndarray]:
    """Lists of row numbers: those of .mat files count from 1, all others from 0."""
    lists = {}
    for (field, part), one in given.items():
        if field != "rows" or part == named.WHOLE:
            continue
        if not isinstance(one.value, Stored):
            raise UserError(f"{one.where} holds texts, not row numbers")
        in_matlab = re.search(r"\.mat(:|$)", one.where, re.IGNORECASE) is not None
        hint = " (MATLAB counts from 1)" if in_matlab else ""
        numbers = np.asarray(one.value.rows).ravel()
        lists[part] = row_numbers(one.where, numbers, rows, int(in_matlab), hint)
    return lists
