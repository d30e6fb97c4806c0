"""Codes and labels from .npy, .npz, .h5 and .mat files, under the names of published code."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jxhash import codes, formats
from jxhash.data.dataset import Items, Task, content_hash
from jxhash.data.ids import require_apart
from jxhash.data.own.named import ids_of
from jxhash.data.own.own_labels import class_ids
from jxhash.errors import UserError
from jxhash.evaluation.measure import Found, found_by_codes
from jxhash.metrics.labels import check_labels

# What published code calls the six arrays of one file.
_NAMES = {
    "image query": ("q_img", "qB_img", "query_img", "query_image"),
    "text query": ("q_txt", "qB_txt", "query_txt", "query_text"),
    "image database": ("r_img", "rB_img", "retrieval_img", "database_image"),
    "text database": ("r_txt", "rB_txt", "retrieval_txt", "database_text"),
    "query labels": ("q_l", "queryLabel", "query_labels", "query_L"),
    "database labels": ("r_l", "retrievalLabel", "retrieval_labels", "database_labels", "r_L"),
}

# Ids of the items, which a file need not have.
_IDS = {
    "query": ("q_id", "q_ids", "query_id", "query_ids"),
    "database": ("r_id", "r_ids", "retrieval_ids", "database_id", "database_ids"),
}

# numpy's kinds of bool, integers and real numbers.
_NUMBERS = "biuf"

# The database codes in codes.npz of a run: query modality, database modality, protocol.
_RUN_DATABASE = re.compile("([a-z]+)_to_([a-z]+)((?:_on_[a-z_]+)?)_database_([a-z]+)")


_Sides = tuple[np.ndarray, np.ndarray]  # of the queries and of the database


class Search(NamedTuple):
    """Query and database codes, int8 [n, K] in {-1, +1}, and their labels."""

    query: np.ndarray
    database: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray


def read_array(name: str) -> np.ndarray:
    """Reads one array.

    Args:
      name: FILE or FILE:NAME; NAME may be left out if the file holds a single array.

    Raises:
      UserError: the file is missing, damaged or of another kind, holds Python objects, or does not
        hold the array.
    """
    path, key = formats.split_reference(name, pathlib.Path())
    entries = formats.open_file(path)
    return formats.whole(entries[formats.find(entries, str(path), key)])


def _require_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in _NUMBERS:
        raise UserError(f"{name}: the array must hold numbers, not {array.dtype}")


def _as_codes(name: str, array: np.ndarray, num_bits: int | None) -> np.ndarray:
    """Converts signs, bits, or (with `num_bits`) packed bytes to int8 [n, K] in {-1, +1}."""
    _require_numbers(name, array)
    if array.ndim != 2 or array.size == 0:
        raise UserError(f"{name}: codes are a matrix with one row per item, not {array.shape}")
    if num_bits is not None:
        if array.dtype == np.int8:  # sentence-transformers' "binary": the bytes minus 128
            array = (array ^ np.int8(-128)).view(np.uint8)
        try:
            return np.asarray(codes.unpack(array, num_bits))
        except (TypeError, ValueError) as error:
            raise UserError(f"{name}: {error}") from error
    if codes.all_among((-1, 1), array):
        return array.astype(np.int8, copy=False)
    if codes.all_among((0, 1), array):
        return 2 * array.astype(np.int8) - 1
    if codes.all_among((-1, 0, 1), array):
        raise UserError(
            f"{name}: codes hold zeros beside -1 and +1, and a zero has no sign; decide it with "
            "jxhash.codes.sign, for which a zero is +1"
        )
    is_packed = array.dtype in (np.uint8, np.int8)
    packed = "; packed codes need --num_bits" if is_packed else ""
    raise UserError(
        f"{name}: codes hold -1 and +1, or 0 and 1, not values from {array.min():g} to "
        f"{array.max():g}{packed}"
    )


def _by_items(sides: _Sides, labels: _Sides) -> _Sides:
    """Codes with a row an item, where those of either side have a column an item."""
    axes = [_axes_of_items(side, own) for side, own in zip(sides, labels, strict=True)]
    # A side with as many bits as items is as the other one.
    if [1] in axes and [0] not in axes and [] not in axes:
        return sides[0].T, sides[1].T
    return sides


def _axes_of_items(side: np.ndarray, labels: np.ndarray) -> list[int]:
    """The axes of codes that may count the items, whose number class ids and, first, rows say."""
    is_vector = labels.size == max(labels.shape, default=1)
    for length in (labels.size,) if is_vector else labels.shape[:2]:
        axes = [axis for axis, size in enumerate(side.shape[:2]) if size == length]
        if axes:
            return axes
    return []


def _as_labels(query: np.ndarray, database: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Converts the labels of both sides to multi-hot [n, C] or class ids [n].

    A single column, as .mat files store class ids, is told from multi-hot labels by both sides
    together.
    """
    sides = query, database
    if all(side.shape[1:] == (1,) and codes.all_among((0, 1), side) for side in sides):
        raise UserError(
            "the labels of both sides are one column of 0 and 1, either class ids or a single "
            "multi-hot label: for class ids add 1 to all of them, for multi-hot labels add a "
            "column of zeros"
        )
    if all(side.shape[1:] in ((), (1,)) for side in sides):
        query, database = query.reshape(-1), database.reshape(-1)
    query, database = _label_values("query", query), _label_values("database", database)
    try:
        check_labels(query, database)
    except ValueError as error:
        raise UserError(str(error)) from error
    return query, database


def _label_rows(name: str, array: np.ndarray, rows: int) -> np.ndarray:
    _require_numbers(name, array)
    if array.ndim == 2 and len(array) == 1 and rows != 1:
        array = array.reshape(-1)  # a vector, as .mat files store it
    elif array.ndim == 2 and len(array) != rows and array.shape[1] == rows:
        array = array.T
    if array.ndim not in (1, 2) or len(array) != rows or array.size == 0:
        raise UserError(f"{name}: {rows} rows of labels are needed, not the shape {array.shape}")
    return array


def _label_values(side: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        if not codes.all_among((0, 1), array):
            raise UserError(f"{side}_labels: multi-hot labels hold 0 and 1, one column per label")
        return array.astype(np.uint8, copy=False)
    return class_ids(f"{side}_labels", array)


def searches_in(file: str, num_bits: int | None = None) -> dict[str, Search]:
    """Finds the directions in one file, under the names of published code or of a run.

    Args:
      file: a .npz, .mat or .h5 file with codes and labels of queries and database, or codes.npz of
        a run.
      num_bits: K of packed codes; codes.npz of a run states it itself.

    Returns:
      "image to text", "text to image", of a run also "image to text (learned)" -> their codes and
      labels.

    Raises:
      UserError: an array is missing or is not what its name says.
    """
    entries = formats.open_file(file)
    if any(map(_RUN_DATABASE.fullmatch, entries)):
        return _searches_of_run(file, entries, num_bits)
    found: dict[str, np.ndarray] = {}
    for what, names in _NAMES.items():
        known = [name for name in names if name in entries]
        if not known:
            raise UserError(
                f"{file} holds no {what} under a known name ({', '.join(names)}); it has "
                f"{', '.join(sorted(entries))}; name the arrays with --query, --database, "
                "--query_labels and --database_labels"
            )
        found[what] = formats.whole(entries[known[0]])
    _require_ids_apart(file, entries)
    labels = found["query labels"], found["database labels"]
    return {
        f"{one} to {other}": search_of(
            found[f"{one} query"], found[f"{other} database"], *labels, num_bits=num_bits
        )
        for one, other in (("image", "text"), ("text", "image"))
    }


def _require_ids_apart(file: str, entries: Mapping[str, formats.Entry]) -> None:
    found = [next((one for one in names if one in entries), None) for names in _IDS.values()]
    query, database = (
        None if name is None else np.array(ids_of(f"{file}:{name}", entries[name].open()))
        for name in found
    )
    if query is not None and database is not None:
        require_apart(file, query, database, "database")


def _searches_of_run(
    file: str, entries: Mapping[str, Any], num_bits: int | None
) -> dict[str, Search]:
    """The directions in codes.npz of a run, over encoded and over learned database codes."""
    if "num_bits" not in entries:
        raise UserError(
            f"{file} is of a method with a distance of its own; its report.json has the measures"
        )
    own = formats.whole(entries["num_bits"])
    if own.shape != () or own.dtype.kind not in "iu" or num_bits not in (None, int(own)):
        raise UserError(f"{file} says num_bits={own}, which is not --num_bits={num_bits}")
    searches = {}
    for match in filter(None, map(_RUN_DATABASE.fullmatch, entries)):
        one, other, on, protocol = match.groups()
        query, database = f"{one}_to_{other}{on}_query", match[0]
        names = (query, database, f"{query}_labels", f"{database}_labels")
        missing = [name for name in names if name not in entries]
        if missing:
            raise UserError(
                f"{file} holds no {missing[0]}; name its arrays, and those of the labels, with "
                "--query, --database, --query_labels, --database_labels and --num_bits"
            )
        task = f"{one} to {other}{on.replace('_', ' ')}" + (
            "" if protocol == "encoded" else f" ({protocol})"
        )
        arrays = (formats.whole(entries[name]) for name in names)
        searches[task] = search_of(*arrays, num_bits=int(own))
    return searches


def search_of(
    query: np.ndarray,
    database: np.ndarray,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    num_bits: int | None = None,
) -> Search:
    """Checks and converts the four arrays of one direction.

    Args:
      query: codes [q, K] of -1 and +1 or of 0 and 1, in any real dtype, or with `num_bits` packed
        uint8 [q, bytes] as `codes.pack`, FAISS and sentence-transformers ("ubinary") make them, or
        int8 as the latter's "binary". [K, q] and [bytes, q] are told by the labels.
      database: [n, K] or [n, bytes], in the same form.
      query_labels: multi-hot [q, C] or [C, q], or class ids [q], [q, 1] or [1, q], of which
        negative ones are no label.
      database_labels: the same for the n rows of the database.
      num_bits: K of packed codes, else None.

    Raises:
      UserError: an array is not what its name says, or they do not fit together.
    """
    query, database = _by_items((query, database), (query_labels, database_labels))
    query = _as_codes("query", query, num_bits)
    database = _as_codes("database", database, num_bits)
    try:
        codes.common_length(query, database)
    except ValueError as error:
        raise UserError(f"query and database: {error}") from error
    labels = _as_labels(
        _label_rows("query_labels", query_labels, len(query)),
        _label_rows("database_labels", database_labels, len(database)),
    )
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
    """SHA-256 over all labels, the same for codes of the same items by different methods."""
    return content_hash(
        {
            f"{task}, {side}": getattr(search, side)
            for task, search in searches.items()
            for side in ("query_labels", "database_labels")
        }
    )
