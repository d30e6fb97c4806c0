"""Arrays under the names that the field gives them, with items along any axis."""

import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jxhash import formats
from jxhash.data.ids import require_once
from jxhash.data.own.common_names import meaning_of
from jxhash.data.own.triplets import is_triplet
from jxhash.data.text_files import read_lines
from jxhash.errors import UserError
from jxhash.formats import Stored, Texts
from jxhash.formats.file_names import relative, visible
from jxhash.formats.stored import shape_of, texts_along
from jxhash.rows import Rows

WHOLE = "whole"


class Given(NamedTuple):
    """One array or list of texts, and the ids of its rows where its file brings them."""

    where: str  # file and name, for messages and the card
    value: Stored | Texts
    ids: list[str] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file's writer names the axes."""
        return shape_of(self.value)


Named = tuple[tuple[str, str], Given]  # field, part and array
Fields = dict[tuple[str, str], Given]


def in_file(path: pathlib.Path, others: Collection[str] = ()) -> Iterator[Named]:
    """The arrays of a file under known names, but for some other fields.

    What is no array, such as a table of MATLAB, is passed over where its field has an array.

    Raises:
      UserError: the file cannot be read, or is a single array.
    """
    entries = formats.open_file(path)
    if set(entries) == {formats.ONLY}:
        raise UserError(
            f"{path} is one array; give the folder that holds images, texts and labels, or name "
            "them in a description (docs/data.md)"
        )
    meant = {name: meaning for name in entries if (meaning := meaning_of(name)) is not None}
    has = {meaning[0] for name, meaning in meant.items() if entries[name].is_array}
    if "tokens" in has:
        has.add("text")
    for name, meaning in meant.items():
        is_needed = meaning[0] in ("image", "text", "labels") and meaning[0] not in has
        if meaning[0] not in others and (entries[name].is_array or is_needed):
            yield meaning, Given(f"{path.name}:{name}", entries[name].open())


def in_folder(folder: pathlib.Path, others: Collection[str] = ()) -> Iterator[Named]:
    """The files of a folder under known names, an array each, but for some other fields.

    The files of a triplet are no such files.

    Raises:
      UserError: one of them cannot be read, or holds several arrays.
    """
    taken = {"index", "caption", "label"} if is_triplet(folder) else set()
    for path in visible(folder):
        meaning = meaning_of(path.stem)
        is_known = path.suffix.lower() in formats.SUFFIXES and path.stem not in taken
        if is_known and meaning is not None and meaning[0] not in others:
            yield meaning, referred(folder, path.name)


def referred(folder: pathlib.Path, reference: str) -> Given:
    """The array that "FILE" or "FILE:NAME" names, with the ids that are stored beside it.

    Ids are an array `ids` of the same file, or a file FILE.ids.txt beside FILE.npy, an id a line.

    Raises:
      UserError: there is no such array, or it is not clear which is meant.
    """
    path, name = formats.split_reference(reference, folder)
    entries = formats.open_file(path)
    beside = [one for one in entries if meaning_of(one) == ("ids", WHOLE) and one != name]
    others = {
        one: entry
        for one, entry in entries.items()
        if one == name or (entry.shape and entry.is_array and one not in beside)
    }
    found = formats.find(others or entries, str(path), name)
    return Given(reference, entries[found].open(), _ids_beside(path, entries, beside, found))


def _ids_beside(
    path: pathlib.Path, entries: Mapping[str, formats.Entry], beside: Sequence[str], found: str
) -> list[str] | None:
    file = path.with_suffix(".ids.txt")
    if path.suffix.lower() == ".npy" and file.is_file():
        return ids_of(str(file), read_lines(file))
    if len(beside) != 1 or beside[0] == found:
        return None
    return ids_of(f"{path}:{beside[0]}", entries[beside[0]].open())


def with_ids_in(folder: pathlib.Path, one: Given) -> Given:
    """An array with the ids that are absolute paths of files in a folder relative to it."""
    if one.ids is None:
        return one
    return one._replace(ids=[relative(folder, name) or name for name in one.ids])


def ids_of(where: str, value: Stored | Texts) -> list[str]:
    """Ids as texts, each once."""
    if isinstance(value, Stored):
        numbers = np.asarray(value.rows).ravel().tolist()
        ids = [f"{number:.17g}" for number in numbers]
    else:
        ids = [" ".join(one) if isinstance(one, list) else one for one in value]
    require_once(where, ids)
    return ids


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


def along_items(one: Given, length: int) -> Rows | Texts:
    """An array with items as rows."""
    if not isinstance(one.value, Stored):
        return texts_along(one.value, length)
    axes = [axis for axis, size in enumerate(one.shape) if size == length]
    if not axes:
        shape = " x ".join(map(str, one.shape))
        raise UserError(f"{one.where} is {shape}; {length} items are needed along one axis")
    return one.value.along(0 if axes[0] == 0 else axes[-1])
