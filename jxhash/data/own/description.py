"""Descriptions of a user's own data: a JSON file that says what lies where."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from jxhash.atomic_files import parse_json
from jxhash.configuration import unknown_key_message
from jxhash.data.own import splits, table_rows, tables
from jxhash.data.own.common_names import COLUMN_FIELDS, Named
from jxhash.data.own.own_labels import LabelRules
from jxhash.data.text_files import read_text
from jxhash.errors import UserError
from jxhash.inputs.text_forms import FORMS, Words, is_cosine

FILE = "dataset.json"

_LABEL_KEYS = ("label_separator", "most_classes")
_MOST_CLASSES = 2**20
_LONGEST_NAME, _LONGEST_PATH = 255, 1000  # that a file system takes
# Words and places of sentences take a column each.
_MOST = {"min_texts": 2**31, "max_words": 2**20, "length": 2**12}


@dataclasses.dataclass(frozen=True)
class Description:
    """What lies where. Paths are relative to the folder of the description.

    `split` maps "query", "train" and "validation" to how many rows to draw, or these and "database"
    to the row numbers (from 0), as a list or as "FILE:NAME"; and "seed" to a number.
    """

    name: str
    folder: pathlib.Path
    version: str = "own data"
    data: str | None = None  # a file or folder of arrays under known names
    table: str | None = None  # of pictures, texts and labels
    pictures: str | None = None  # the folder of pictures; None for that of the table
    # "FILE" or "FILE:NAME" of one array, before what else there is.
    image: str | None = None
    text: str | None = None
    tokens: str | None = None
    labels: str | None = None
    ids: str | None = None
    columns: Named = dataclasses.field(default_factory=dict)  # field -> its columns in the table
    # "label_separator" and "most_classes" of the file.
    label_rules: LabelRules = dataclasses.field(default_factory=LabelRules)
    words: Words = dataclasses.field(default_factory=Words)
    split: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    skip: tuple[str, ...] = ()  # reasons to leave a row out, of `tables.REASONS`


def describe(path: pathlib.Path) -> Description:
    """The description at a path; one of its own for what needs none.

    Raises:
      UserError: there is nothing at the path, or the description is wrong.
    """
    if path.is_dir() and (path / FILE).is_file():
        return _read_description(path / FILE, path.resolve().name)
    if path.suffix.lower() == ".json" and path.is_file():
        return _read_description(path, path.stem)
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    name = path.resolve().stem
    if path.suffix.lower() in table_rows.NAMED_SUFFIXES:
        return Description(name, path.parent, data=".", table=path.name)
    return Description(name, path.parent, data=path.name or ".")


def _read_description(file: pathlib.Path, name: str) -> Description:
    try:
        read = parse_json(read_text(file))
    except ValueError as error:
        raise UserError(f"{file} cannot be read as JSON ({error})") from error
    known = {field.name for field in dataclasses.fields(Description)} - {"folder", "label_rules"}
    values = _object(file, read, (*known, *_LABEL_KEYS))
    rules = _label_rules(file, {key: values.pop(key) for key in _LABEL_KEYS if key in values})
    words = _words(file, values.pop("words", {}))
    columns = _columns(file, values.pop("columns", {}))
    split = _object(file, values.pop("split", {}), (*splits.PARTS, "seed"))
    skip = values.pop("skip", [])
    if not isinstance(skip, list) or not set(map(str, skip)) <= set(tables.REASONS):
        raise UserError(f"{file}: 'skip' is a list of some of {', '.join(tables.REASONS)}")
    for key, value in values.items():
        if not isinstance(value, str) or not value:
            raise UserError(f"{file}: {key!r} is a text, not {value!r:.60}")
        longest = max(len(part.encode()) for part in value.split("/"))
        if "\0" in value or longest > _LONGEST_NAME or len(value) > _LONGEST_PATH:
            raise UserError(f"{file}: {key!r} is {value[:60]!r}, which is not a name or path")
    named = {"name": name, **values}
    return Description(
        **named,
        folder=file.parent,
        columns=columns,
        label_rules=rules,
        words=words,
        split=split,
        skip=tuple(skip),
    )


def _columns(file: pathlib.Path, read: Any) -> Named:
    columns: dict[str, tuple[str, ...]] = {}
    for field, value in _object(file, read, COLUMN_FIELDS).items():
        names = value if isinstance(value, list) and field == "text" else [value]
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise UserError(
                f"{file}: {field!r} of 'columns' is the name of a column, of texts also a list of "
                f"names, not {value!r:.60}"
            )
        columns[field] = tuple(names)
    twice = [name for own in columns.values() for name in own]
    if len(set(twice)) < len(twice):
        raise UserError(f"{file}: 'columns' names a column twice: {', '.join(twice)}")
    return columns


def _label_rules(file: pathlib.Path, values: Mapping[str, Any]) -> LabelRules:
    separator, most = (values.get(key) for key in _LABEL_KEYS)
    if "label_separator" in values and not (isinstance(separator, str) and separator):
        raise UserError(f"{file}: 'label_separator' is a text such as \",\", not {separator!r:.60}")
    if "most_classes" in values and (type(most) is not int or not 1 <= most <= _MOST_CLASSES):
        raise UserError(f"{file}: 'most_classes' is a whole number of 1 to {_MOST_CLASSES:,}")
    return LabelRules(separator, most or LabelRules().most_classes)


def _object(file: pathlib.Path, read: Any, known: Iterable[str]) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise UserError(f"{file}: {read!r:.60} is not a JSON object; docs/data.md shows one")
    for key in read:
        if key not in known:
            raise UserError(f"{file}: {unknown_key_message(key, known)}".replace("config ", ""))
    return dict(read)


def _words(file: pathlib.Path, read: Any) -> Words:
    words = Words(**_object(file, read, [field.name for field in dataclasses.fields(Words)]))
    if words.form not in tuple(FORMS):  # it may be a list, which no dict looks up
        raise UserError(f"{file}: the form of words is one of {', '.join(FORMS)}")
    for name, most in _MOST.items():
        if type(getattr(words, name)) is not int or not 1 <= getattr(words, name) <= most:
            raise UserError(f"{file}: {name!r} is a whole number of at least 1, at most {most:,}")
    if not is_cosine(words.nearest):
        raise UserError(f"{file}: 'nearest' is a cosine above 0, at most 1, or null")
    return words
