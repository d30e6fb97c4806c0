"""The rows of a table: CSV and its relatives, JSON lines, Parquet."""

import csv
import io
import pathlib
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from jxhash.atomic_files import parse_json
from jxhash.data.own.common_names import Named, array_field_of, field_of
from jxhash.data.text_files import numbered, read_lines, read_text
from jxhash.errors import UserError
from jxhash.formats.stored import reading

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# A table also, but only where it is named: a folder has other files of this kind.
NAMED_SUFFIXES = (*SUFFIXES, ".txt", ".token")

_DELIMITERS = ",;\t|"
_LARGEST_CELL = 2**24
_EXCEL = re.compile(r"sep=(.)\r?\n")
# Flickr8k numbers the captions of a picture: "1.jpg#0".
_NAMED_TEXT = re.compile(r"([^\t]+\.(?:jpe?g|png|gif|bmp|webp|tiff?))(?:#\d+)?\t([^\t]*)", re.I)
_ROWS_AT_ONCE = 4096
# Of all cells of a Parquet file, of which a few bytes may claim any number.
_MOST_ROWS, _MOST_BYTES = 2**22, 2**30

Row = tuple[str, dict[str, Any]]


def read_rows(file: pathlib.Path, named: Named = MappingProxyType({})) -> Iterator[Row]:
    """Yields where a row stands ("FILE, line 3") and its cells by column.

    Texts are in UTF-8, or in UTF-16 with a byte order mark. The separator of a text is the one of
    ",", ";", TAB and "|" by which the header row has the most known names. A file without a header
    row whose lines are the name of a picture, TAB, text has the columns "picture" and "text". Of a
    Parquet file only columns under known names are read; a list of numbers is an array there.

    Args:
      file: the table.
      named: the columns that a description names, which are known too.

    Raises:
      UserError: the file cannot be read, or a row is damaged; it is named.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(file, named)
    return _json_rows(file) if suffix == ".jsonl" else _text_rows(file, named)


def _text_rows(file: pathlib.Path, named: Named) -> Iterator[Row]:
    text = read_text(file)
    excel = _EXCEL.match(text)
    candidates = excel[1] if excel else _DELIMITERS
    known = [_known_columns(text, candidate, named) for candidate in candidates]
    if not max(known) and _NAMED_TEXT.fullmatch(text.partition("\n")[0].rstrip("\r")):
        return _named_texts(file)
    return _csv_rows(file, text, candidates[known.index(max(known))], bool(excel))


def _reader(text: str, delimiter: str) -> Any:
    csv.field_size_limit(_LARGEST_CELL)
    content = io.StringIO(text, newline="")
    return csv.reader(content, delimiter=delimiter, strict=True, skipinitialspace=True)


def _known_columns(text: str, delimiter: str, named: Named) -> int:
    try:
        header = [name.strip() for name in next(_reader(text, delimiter), [])]
        return sum(_is_known(name, named) for name in header)
    except csv.Error:
        return 0


def _is_known(column: str, named: Named) -> bool:
    return field_of(column, named) is not None or array_field_of(column, named) is not None


def _csv_rows(file: pathlib.Path, text: str, delimiter: str, is_excel: bool) -> Iterator[Row]:
    reader = _reader(text, delimiter)
    try:
        if is_excel:
            next(reader)
        header = [name.strip() for name in next(reader, [])]
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{where}: the header has {len(header)} columns, this row has {len(row)}; "
                    f"quote cells that contain {delimiter!r}"
                )
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error


def _named_texts(file: pathlib.Path) -> Iterator[Row]:
    for where, line in numbered(file, read_lines(file)):
        found = _NAMED_TEXT.fullmatch(line)
        if not found:
            raise UserError(f"{where}: expected the name of a picture, TAB, text, as in line 1")
        yield where, {"picture": found[1], "text": found[2]}


def _json_rows(file: pathlib.Path) -> Iterator[Row]:
    for where, text in numbered(file, read_lines(file)):
        try:
            row = parse_json(text)
        except ValueError as error:
            raise UserError(f"{where}: not a JSON object ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object")
        yield where, row


def _parquet_rows(file: pathlib.Path, named: Named) -> Iterator[Row]:
    from pyarrow import parquet

    with reading(file), parquet.ParquetFile(file) as table:
        schema = table.schema_arrow
        for field in schema:
            if field_of(field.name, named) is not None and not _is_readable(field.type):
                raise UserError(
                    f"{file}, column {field.name!r} holds {field.type}, not texts or numbers or "
                    "lists of them; save pictures as files, and their paths in the table"
                )
        names = [
            one.name for one in schema if _is_known(one.name, named) and _is_readable(one.type)
        ]
        if table.metadata.num_rows > _MOST_ROWS:
            raise UserError(f"{file} has {table.metadata.num_rows} rows; give at most {_MOST_ROWS}")
        number = size = 0
        unread = dict.fromkeys(schema.names)  # messages name all columns
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
            size += batch.nbytes
            if size > _MOST_BYTES:
                raise UserError(f"{file} holds more than {_MOST_BYTES} bytes of cells")
            columns = [_cells(name, batch.column(name), named) for name in names]
            for place in range(batch.num_rows):
                cells = {name: own[place] for name, own in zip(names, columns, strict=True)}
                yield f"{file}, row {number} (from 0)", unread | cells if not number else cells
                number += 1


def _cells(name: str, column: Any, named: Named) -> list[Any]:
    """The cells of a column; lists of numbers, where they may be vectors, as arrays."""
    is_list = _is_list(column.type) and _is_number(column.type.value_type)
    if not is_list or array_field_of(name, named) is None:
        cells: list[Any] = column.to_pylist()
        return cells
    vectors = [one.values for one in column]
    return [
        one if one is None else one.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        for one in vectors
    ]


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _is_readable(kind: Any) -> bool:
    """Whether a column holds texts or numbers, or lists of them."""
    from pyarrow import types

    while _is_list(kind):
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    others = (types.is_string, types.is_large_string, types.is_boolean, types.is_null)
    return _is_number(kind) or any(is_other(kind) for is_other in others)
