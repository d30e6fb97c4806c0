"""Descriptions of a user's own data: a JSON file that says what lies where."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from jxhash.atomic_files import parse_json
from jxhash.configuration import unknown_key_message
from jxhash.data.own import splits, tables
from jxhash.errors import UserError

FILE = "dataset.json"

_LONGEST_NAME, _LONGEST_PATH = 255, 1000
# A column each.
_MOST_WORDS = {"max_words": 2**20, "length": 2**12}

FORMS = {
    "words": "which of {} words a text has",
    "tf-idf": "tf-idf of {} words, rows of length 1",
    "tokens": "numbers of the first {length} of {} words, in order; 0 at the end",
}


@dataclasses.dataclass(frozen=True)
class Words:
    """How texts become arrays.

    Attributes:
      form: "words" (which of the vocabulary a text has), "tf-idf" or "tokens" (their numbers, in
        order).
      min_texts: a word of fewer training texts is not in the vocabulary.
      max_words: the size of the vocabulary, at most; the words of the most training texts are kept.
      length: of sentences as tokens, in known words; longer ones are cut.
    """

    form: str = "words"
    min_texts: int = 2
    max_words: int = 5000
    length: int = 12


@dataclasses.dataclass(frozen=True)
class Description:
    """What lies where. Paths are relative to the folder of the description.

    Attributes:
      name: of the data set, for card and titles.
      version: what tells it from others of the name, for the card.
      folder: where the paths below begin.
      data: a file or folder of arrays under known names; None for none.
      table: a table of pictures, texts and labels; None for none.
      pictures: the folder of pictures; None for that of the table.
      image, text, tokens, labels, ids: "FILE" or "FILE:NAME" of one array, before what else there
        is; None for none.
      words: how texts become arrays.
      split: "query", "train", "validation" -> how many rows to draw, or these and "database" -> the
        row numbers (from 0), as a list or as "FILE:NAME"; and "seed".
      skip: which of `tables.REASONS` are reasons to leave a row out, and no errors.
    """

    name: str
    folder: pathlib.Path
    version: str = "own data"
    data: str | None = None
    table: str | None = None
    pictures: str | None = None
    image: str | None = None
    text: str | None = None
    tokens: str | None = None
    labels: str | None = None
    ids: str | None = None
    words: Words = Words()
    split: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    skip: tuple[str, ...] = ()


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
    if path.suffix.lower() in tables.SUFFIXES:
        return Description(name, path.parent, data=".", table=path.name)
    return Description(name, path.parent, data=path.name or ".")


def _read_description(file: pathlib.Path, name: str) -> Description:
    try:
        read = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON ({error})") from error
    known = {field.name: field.type for field in dataclasses.fields(Description)}
    del known["folder"]
    values = _object(file, read, known)
    for key, value in values.items():
        if key in ("words", "split"):
            continue
        if key == "skip":
            values[key] = _skip(file, value)
        elif not isinstance(value, str) or not value:
            raise UserError(f"{file}: {key!r} is a text, not {value!r:.60}")
        elif len(value) > _LONGEST_PATH or not all(map(_is_a_name, value.split("/"))):
            raise UserError(f"{file}: {key!r} is {value[:60]!r}, which is no name or path")
    values["words"] = _words(file, values.get("words", {}))
    values["split"] = _object(file, values.get("split", {}), (*splits.PARTS, "seed"))
    return Description(**{"name": name, **values}, folder=file.parent)


def _object(file: pathlib.Path, read: Any, known: Iterable[str]) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise UserError(f"{file}: {read!r:.60} is no JSON object; docs/data.md shows one")
    for key in read:
        if key not in known:
            raise UserError(f"{file}: {unknown_key_message(key, known)}".replace("config ", ""))
    return dict(read)


def _skip(file: pathlib.Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(map(str, value)) <= set(tables.REASONS):
        raise UserError(f"{file}: 'skip' is a list of some of {', '.join(tables.REASONS)}")
    return tuple(value)


def _is_a_name(part: str) -> bool:
    """Whether a file system takes a part of a path."""
    return "\0" not in part and len(part.encode()) <= _LONGEST_NAME


def _words(file: pathlib.Path, read: Any) -> Words:
    words = Words(**_object(file, read, [field.name for field in dataclasses.fields(Words)]))
    if words.form not in tuple(FORMS):
        raise UserError(f"{file}: the form of words is one of {', '.join(FORMS)}")
    for name in ("min_texts", "max_words", "length"):
        most = _MOST_WORDS.get(name, math.inf)
        if type(getattr(words, name)) is not int or not 1 <= getattr(words, name) <= most:
            raise UserError(f"{file}: {name!r} is a whole number of at least 1, at most {most:,}")
    return words
