"""Codes and labels from the files that people have: .npy, .npz, .h5, and .mat as peers save it."""

import functools
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jxhash import arrays, codes
from jxhash.data.dataset import Items, Task, content_hash
from jxhash.errors import UserError
from jxhash.evaluation.measure import Found, found_by_codes
from jxhash.metrics.labels import check_labels

# What the projects of the field call the six arrays of one file.
_NAMES = {
    "image query": ("q_img", "qB_img", "query_img", "query_image"),
    "text query": ("q_txt", "qB_txt", "query_txt", "query_text"),
    "image database": ("r_img", "rB_img", "retrieval_img", "database_image"),
    "text database": ("r_txt", "rB_txt", "retrieval_txt", "database_text"),
    "query labels": ("q_l", "queryLabel", "query_labels", "query_L"),
    "database labels": ("r_l", "retrievalLabel", "retrieval_labels", "database_labels", "r_L"),
}

Reader = Callable[[], np.ndarray]

# The kinds of bool, integers and real numbers in numpy.
_NUMBERS = "biuf"

# What a run calls the codes of a database: direction, and how the codes were made.
_OF_A_RUN = re.compile("([a-z]+)_to_([a-z]+)_database_([a-z]+)")


class Search(NamedTuple):
    """Codes to search with and among, int8 [n, K] in {-1, +1}, and their labels."""

    query: np.ndarray
    database: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray


def read_array(name: str) -> np.ndarray:
    """Reads one array.

    Args:
      name: a .npy file, or one of another kind of `arrays.SUFFIXES` with a colon and the array's
        name, which may be left out where the file holds a single one.

    Raises:
      UserError: the file is missing, damaged or of another kind, holds Python objects, or does not
        hold the array.
    """
    path, key = arrays.split_reference(name, pathlib.Path())
    entries = arrays.open_file(path)
    return arrays.whole(entries[arrays.find(entries, str(path), key)])


def open_arrays(file: str) -> dict[str, Reader]:
    """Finds the arrays of a file, whose others than the wanted ones may be anything.

    Returns:
      Their names and what reads each; the array of a .npy file is called "array".

    Raises:
      UserError: as `read_array`, also from what reads.
    """
    entries = arrays.open_file(file)
    return {name: functools.partial(arrays.whole, entry) for name, entry in entries.items()}


def _require_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in _NUMBERS:
        raise UserError(f"{name}: numbers are needed, not an array of {array.dtype}")


def as_codes(name: str, array: np.ndarray, num_bits: int | None) -> np.ndarray:
    """Brings codes to int8 [n, K] in {-1, +1}.

    Args:
      name: what the codes are, for messages.
      array: [n, K] of -1 and +1, or of 0 and 1, in any real dtype; or, with `num_bits`, packed
        uint8 [n, bytes] as `codes.pack`, FAISS and sentence-transformers ("ubinary") lay them out.
      num_bits: K of packed codes; None where they are not packed.

    Raises:
      UserError: the array is no such thing.
    """
    _require_numbers(name, array)
    if array.ndim != 2 or array.size == 0:
        raise UserError(f"{name}: codes are a matrix with a row an item, not {array.shape}")
    if num_bits is not None:
        try:
            return codes.unpack(array, num_bits)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name}: {error}") from error
    if codes.all_among((-1, 1), array):
        return array.astype(np.int8, copy=False)
    if codes.all_among((0, 1), array):
        return 2 * array.astype(np.int8) - 1
    packed = "; packed codes need --num_bits" if array.dtype == np.uint8 else ""
    raise UserError(
        f"{name}: codes hold -1 and +1, or 0 and 1, not values from {array.min():g} to "
        f"{array.max():g}{packed}"
    )


def as_labels(
    query: np.ndarray, database: np.ndarray, rows: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Brings the labels of both sides to multi-hot [n, C] or class ids [n], one row a code.

    A matrix of one column, as .mat files keep class ids, is told from multi-hot labels by both
    sides together.

    Raises:
      UserError: an array is no such thing or has another number of rows, or nothing tells whether
        a column holds class ids.
    """
    names = ("query_labels", "database_labels")
    sides = [
        _label_rows(name, array, number)
        for name, array, number in zip(names, (query, database), rows, strict=True)
    ]
    if all(side.shape[1:] == (1,) and codes.all_among((0, 1), side) for side in sides):
        raise UserError(
            "the labels of both sides are one column of 0 and 1, which may be class ids or a "
            "single multi-hot label: for class ids add 1 to all of them, for multi-hot labels add "
            "a column of zeros"
        )
    if all(side.shape[1:] in ((), (1,)) for side in sides):
        sides = [side.reshape(-1) for side in sides]
    labels = tuple(map(_label_values, names, sides))
    try:
        check_labels(*labels)
    except ValueError as error:
        raise UserError(str(error)) from error
    return labels


def _label_rows(name: str, array: np.ndarray, rows: int) -> np.ndarray:
    _require_numbers(name, array)
    if array.ndim == 2 and len(array) == 1 and rows != 1:
        array = array.reshape(-1)  # a vector, as .mat files keep it
    if array.ndim not in (1, 2) or len(array) != rows or array.size == 0:
        raise UserError(f"{name}: {rows} rows of labels are needed, not the shape {array.shape}")
    return array


def _label_values(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        if not codes.all_among((0, 1), array):
            raise UserError(f"{name}: multi-hot labels hold 0 and 1, a column a label")
        return array.astype(np.uint8, copy=False)
    if array.dtype == bool or not codes.every(_are_whole, array):
        raise UserError(f"{name}: class ids are whole numbers")
    return array.astype(np.int64, copy=False)


def _are_whole(numbers: np.ndarray) -> np.ndarray:
    return np.isfinite(numbers) & (numbers == np.floor(numbers))


def searches_in(file: str, num_bits: int | None = None) -> dict[str, Search]:
    """Finds the directions in one file, under the names of the field's projects or of a run.

    Args:
      file: a .npz or .mat file with codes and labels of queries and database, or the codes.npz of
        a run.
      num_bits: K where the codes are packed; a run's file says it itself.

    Returns:
      "image to text", "text to image", of a run also "image to text (learned)" -> their codes and
      labels.

    Raises:
      UserError: an array is missing or is not what its name says.
    """
    readers = open_arrays(file)
    if any(map(_OF_A_RUN.fullmatch, readers)):
        return _searches_of_a_run(file, readers, num_bits)
    found: dict[str, np.ndarray] = {}
    for what, names in _NAMES.items():
        known = [name for name in names if name in readers]
        if not known:
            raise UserError(
                f"{file} holds no {what} under a known name ({', '.join(names)}); it has "
                f"{', '.join(sorted(readers))}; name the arrays with --query, --database, "
                "--query_labels and --database_labels"
            )
        found[what] = readers[known[0]]()
    return {
        f"{one} to {other}": search_of(
            {
                "query": found[f"{one} query"],
                "database": found[f"{other} database"],
                "query_labels": found["query labels"],
                "database_labels": found["database labels"],
            },
            num_bits,
        )
        for one, other in (("image", "text"), ("text", "image"))
    }


def _searches_of_a_run(
    file: str, readers: Mapping[str, Reader], num_bits: int | None
) -> dict[str, Search]:
    """The directions of the codes.npz that a run leaves, over encoded and over learned codes."""
    if "num_bits" not in readers:
        raise UserError(
            f"{file} is of a method with a distance of its own; its report.json has the measures"
        )
    stored = readers["num_bits"]()
    if stored.shape != () or stored.dtype.kind not in "iu" or num_bits not in (None, int(stored)):
        raise UserError(f"{file} says num_bits={stored}, which is not --num_bits={num_bits}")
    searches = {}
    for database, one, other, protocol in filter(None, map(_run_parts, readers)):
        query = f"{one}_to_{other}_query"
        names = (query, database, f"{query}_labels", f"{database}_labels")
        missing = [name for name in names if name not in readers]
        if missing:
            raise UserError(
                f"{file} holds no {missing[0]}; name its arrays, and those of the labels, with "
                "--query, --database, --query_labels, --database_labels and --num_bits"
            )
        task = f"{one} to {other}" + ("" if protocol == "encoded" else f" ({protocol})")
        parts = (readers[name]() for name in names)
        searches[task] = search_of(dict(zip(Search._fields, parts, strict=True)), int(stored))
    return searches


def _run_parts(name: str) -> tuple[str, ...] | None:
    match = _OF_A_RUN.fullmatch(name)
    return match and (name, *match.groups())


def search_of(given: Mapping[str, np.ndarray], num_bits: int | None = None) -> Search:
    """Checks the four arrays of one direction, by the names of the fields of `Search`.

    Raises:
      UserError: an array is not what its name says, or they do not fit together.
    """
    query, database = (as_codes(name, given[name], num_bits) for name in ("query", "database"))
    try:
        codes.common_length(query, database)
    except ValueError as error:
        raise UserError(f"query and database: {error}") from error
    labels = as_labels(given["query_labels"], given["database_labels"], (len(query), len(database)))
    return Search(query, database, *labels)


def found(task: str, search: Search) -> Found:
    """What the queries find; `task` is "<one> to <other>"."""
    one, other = task.split(" to ")
    query, database = (
        Items({}, labels, titles=()) for labels in (search.query_labels, search.database_labels)
    )
    return found_by_codes(
        Task(one, other, query, database), database, search.query, search.database
    )


def labels_hash(searches: Mapping[str, Search]) -> str:
    """SHA-256 over all labels: what codes of the same items by different methods share."""
    return content_hash(
        {
            f"{task}, {side}": getattr(search, side)
            for task, search in searches.items()
            for side in ("query_labels", "database_labels")
        }
    )
