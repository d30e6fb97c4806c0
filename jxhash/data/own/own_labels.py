"""Labels of every spelling to multi-hot rows."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jxhash.errors import UserError

# Of uint8, a column a class.
_LARGEST = 2**32
# What says of a row that it has no label, rather than that its label is missing.
NO_LABEL = "-1"
_NEGATIVE = re.compile(r"-0*[1-9][0-9]*(\.0*)?")


class LabelRules(NamedTuple):
    """What a description says of labels."""

    separator: str | None = None  # between the labels of a cell; None to tell it from the cells
    most_classes: int = 4096  # more are hardly labels


def multi_hot(
    what: str, labels: Sequence[Sequence[str]], most_classes: int = LabelRules().most_classes
) -> tuple[np.ndarray, list[str]]:
    """Marks the labels of each row: uint8 [n, C], and the C names, sorted.

    A negative number is no label, see `class_ids`.

    Raises:
      UserError: there are none, or too many different ones.

    >>> multi_hot("table", [["sea", "sky"], ["sky"], []])[0].tolist()
    [[1, 1], [0, 1], [0, 0]]
    >>> multi_hot("table", [["cat"], ["-1"]])
    (array([[1],
           [0]], dtype=uint8), ['cat'])
    """
    names = sorted({name for row in labels for name in row if not _NEGATIVE.fullmatch(name)})
    _require_classes(what, len(labels), len(names), most_classes)
    column = {name: number for number, name in enumerate(names)}
    marks = np.zeros((len(labels), len(names)), np.uint8)
    for row, own in enumerate(labels):
        marks[row, [column[name] for name in own if name in column]] = 1
    return marks, names


def _require_classes(what: str, rows: int, classes: int, most: int) -> None:
    if not classes:
        raise UserError(
            f"{what}: no row has a label (a negative class id means none); leave the labels out"
        )
    if classes > most:
        each = ", one for every row, as row numbers have," if classes == rows else ""
        raise UserError(
            f"{what}: {classes} different classes{each}; if these are labels, allow them in a "
            f'description (docs/data.md): "most_classes": {classes}'
        )
    if rows * classes > _LARGEST:
        raise UserError(f"{what}: {rows} rows of {classes} classes do not fit into memory")


def signs_error(what: str) -> UserError:
    """What is said of multi-hot labels in {-1, +1}, where -1 may also pad lists of class ids."""
    return UserError(
        f"{what}: multi-hot labels hold 0 and 1, not -1 and +1; save them as (labels > 0)"
    )


def class_ids(what: str, labels: np.ndarray) -> np.ndarray:
    """Class ids [n] or [n, 1] of any real dtype as int64 [n]; -1, for a negative id, is no label.

    Raises:
      UserError: one of them is not a whole number.

    >>> class_ids("a.npz:labels", np.array([2.0, -1.0, -7.0])).tolist()
    [2, -1, -1]
    """
    ids = labels.ravel()
    bad = np.flatnonzero(~(np.isfinite(ids) & (ids == np.round(ids)))) if ids.dtype != bool else [0]
    if len(bad):
        raise UserError(f"{what}, row {bad[0]} (from 0): class ids are whole numbers")
    return np.maximum(ids.astype(np.int64), -1)


def as_multi_hot(
    what: str, labels: np.ndarray, most_classes: int = LabelRules().most_classes
) -> np.ndarray:
    """Brings labels to multi-hot uint8 [n, C].

    They are [n, C] of 0 and 1, or [n] or [n, 1] of class ids, see `class_ids`, which become one
    column each, in their order.

    Raises:
      UserError: the labels are no such thing, or there are too many classes.
    """
    if labels.ndim not in (1, 2) or 0 in labels.shape or labels.dtype.kind not in "biuf":
        raise UserError(f"{what}: labels are a matrix with a row an item, not {labels.shape}")
    marks = np.isin(labels, (0, 1))
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not marks.all():
            if np.isin(labels, (-1, 1)).all():
                raise signs_error(what)
            row = np.flatnonzero(~marks.all(axis=1))[0]
            raise UserError(f"{what}, row {row} (from 0): multi-hot labels hold 0 and 1 alone")
        return labels.astype(np.uint8)
    if labels.ndim == 2 and marks.all():
        raise UserError(
            f"{what}: one column of 0 and 1 may be class ids or the marks of a single label; give "
            "two columns, one a class"
        )
    ids = class_ids(what, labels)
    classes, column = np.unique(ids[ids >= 0], return_inverse=True)
    _require_classes(what, len(ids), len(classes), most_classes)
    marked = np.zeros((len(ids), len(classes)), np.uint8)
    marked[np.flatnonzero(ids >= 0), column] = 1
    return marked


def is_one_class_a_row(labels: np.ndarray) -> bool:
    """Whether every row has one class, which no other row has, as row numbers as labels have.

    >>> is_one_class_a_row(np.eye(3)), is_one_class_a_row(np.array([[1, 0], [1, 0]]))
    (True, False)
    """
    return bool(
        len(labels) > 1 and (labels.sum(axis=1) == 1).all() and (labels.sum(axis=0) <= 1).all()
    )
