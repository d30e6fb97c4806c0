"""Arrays under the names that the field gives them, with items along any axis."""

import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jxhash import formats
from jxhash.data.ids import require_once
from jxhash.data.own.tables import is_triplet
from jxhash.data.text_files import read_text
from jxhash.errors import UserError
from jxhash.formats import Stored
from jxhash.rows import Rows

# What the field calls its arrays, in small letters and without other signs.
_NAMES = {
    "image": (
        *("images", "image", "imgs", "img", "i", "x", "features", "feats"),
        *("imagefeatures", "imgfeatures", "imagefeature", "imgfeature"),
    ),
    "text": (
        *("tags", "tag", "texts", "text", "txt", "t", "y", "bow", "embeddings"),
        *("textfeatures", "txtfeatures", "textfeature", "txtfeature", "captions", "caption"),
    ),
    "tokens": ("tokens",),
    "labels": ("labels", "label", "l", "lab", "category"),
    "ids": ("ids", "id", "imageids", "imageid"),
    "rows": ("index", "indices", "idx", "rows"),
}
PARTS = {
    "whole": ("", "all"),
    "train": ("tr", "train", "training"),
    "query": ("te", "test", "query"),
    "database": ("db", "database", "retrieval"),
    "validation": ("va", "val", "validation"),
}
WHOLE = "whole"
_MEANINGS = {
    spelling: (field, part)
    for field, names in _NAMES.items()
    for part, marks in PARTS.items()
    for name in names
    for mark in marks
    for spelling in (name + mark, mark + name)
}


class Given(NamedTuple):
    """One array or list of texts, and the ids of its rows where its file brings them."""

    where: str  # file and name, for messages and the card
    value: Stored | list[str]
    ids: list[str] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file's writer names the axes."""
        return (len(self.value),) if isinstance(self.value, list) else self.value.shape


Fields = dict[tuple[str, str], Given]


def _meaning(name: str) -> tuple[str, str] | None:
    """The field and part that a name stands for, or None."""
    return _MEANINGS.get(re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower()))


def in_file(path: pathlib.Path) -> Iterator[tuple[tuple[str, str], Given]]:
    """The arrays of a file under known names.

    Raises:
      UserError: the file cannot be read, or is a single array.
    """
    entries = formats.open_file(path)
    if set(entries) == {formats.ONLY}:
        raise UserError(
            f"{path} is one array; give the folder that holds images, texts and labels, or name "
            "them in a description (docs/data.md)"
        )
    for name, entry in entries.items():
        meaning = _meaning(name)
        if meaning is not None:
            yield meaning, Given(f"{path.name}:{name}", entry.open())


def in_folder(folder: pathlib.Path) -> Iterator[tuple[tuple[str, str], Given]]:
    """The files of a folder under known names, an array each; a triplet's are no such files.

    Raises:
      UserError: one of them cannot be read, or holds several arrays.
    """
    taken = {"index", "caption", "label"} if is_triplet(folder) else set()
    for path in sorted(folder.iterdir()):
        meaning = _meaning(path.stem)
        if path.suffix.lower() in formats.SUFFIXES and meaning and path.stem not in taken:
            yield meaning, referred(folder, path.name)


def referred(folder: pathlib.Path, reference: str) -> Given:
    """The array that "FILE" or "FILE:NAME" names, with the ids that are stored beside it.

    Ids are an array `ids` of the same file, or a file FILE.ids.txt beside FILE.npy, an id a line.

    Raises:
      UserError: there is no such array, or it is not clear which is meant.
    """
    path, name = formats.split_reference(reference, folder)
    entries = formats.open_file(path)
    beside = [one for one in entries if _meaning(one) == ("ids", WHOLE) and one != name]
    others = {
        one: entry
        for one, entry in entries.items()
        if one == name or (entry.shape and one not in beside)
    }
    found = formats.find(others or entries, str(path), name)
    return Given(reference, entries[found].open(), _ids_beside(path, entries, beside, found))


def _ids_beside(
    path: pathlib.Path, entries: Mapping[str, formats.Entry], beside: Sequence[str], found: str
) -> list[str] | None:
    file = path.with_suffix(".ids.txt")
    if path.suffix.lower() == ".npy" and file.is_file():
        return ids_of(str(file), read_text(file).splitlines())
    if len(beside) != 1 or beside[0] == found:
        return None
    return ids_of(f"{path}:{beside[0]}", entries[beside[0]].open())


def ids_of(where: str, value: Stored | list[str]) -> list[str]:
    """Ids as texts, each once."""
    if isinstance(value, Stored):
        value = [f"{number:.17g}" for number in np.asarray(value.rows).ravel().tolist()]
    require_once(where, value)
    return value


def common_length(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of items that arrays of any order of axes have in common."""
    several = [shape for shape in shapes.values() if shape]
    for axis in (0, -1):
        lengths = {shape[axis] for shape in several}
        if len(lengths) == 1:
            return lengths.pop()
    common = set.intersection(*(set(shape) for shape in several)) if several else set()
    if len(common) == 1:
        return common.pop()
    listed = ", ".join(f"{name} {' x '.join(map(str, s))}" for name, s in shapes.items())
    raise UserError(f"these arrays do not share one number of items: {listed}")


def along_items(one: Given, length: int) -> Rows | list[str]:
    """An array with items as rows."""
    if isinstance(one.value, list):
        return one.value
    axes = [axis for axis, size in enumerate(one.shape) if size == length]
    if not axes:
        shape = " x ".join(map(str, one.shape))
        raise UserError(f"{one.where} is {shape}; {length} items are needed along one axis")
    return one.value.along(0 if axes[0] == 0 else axes[-1])
