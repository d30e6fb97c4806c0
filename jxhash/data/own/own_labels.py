"""Labels of every spelling to multi-hot rows."""

from collections.abc import Sequence

import numpy as np

from jxhash.errors import UserError

# More are hardly labels, and a column each would fill the memory.
_MOST_CLASSES = 4096


def multi_hot(what: str, labels: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[str]]:
    """Marks the labels of each row: uint8 [n, C], and the C names, sorted.

    Raises:
      UserError: there are too many different ones.

    >>> multi_hot("table", [["sea", "sky"], ["sky"], []])[0].tolist()
    [[1, 1], [0, 1], [0, 0]]
    """
    names = sorted({name for row in labels for name in row})
    if len(names) > _MOST_CLASSES:
        raise UserError(f"{what}: {len(names)} different labels; are these labels?")
    column = {name: number for number, name in enumerate(names)}
    marks = np.zeros((len(labels), len(names)), np.uint8)
    for row, own in enumerate(labels):
        marks[row, [column[name] for name in own]] = 1
    return marks, names


def as_multi_hot(what: str, labels: np.ndarray) -> np.ndarray:
    """Brings labels to multi-hot uint8 [n, C].

    They are [n, C] of 0 and 1, or [n] or [n, 1] of class ids, which become one column each, in
    their order.

    Raises:
      UserError: the labels are no such thing.
    """
    if labels.ndim not in (1, 2) or 0 in labels.shape or labels.dtype.kind not in "biuf":
        raise UserError(f"{what}: labels are a matrix with a row an item, not {labels.shape}")
    marks = np.isin(labels, (0, 1))
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not marks.all():
            row = np.flatnonzero(~marks.all(axis=1))[0]
            raise UserError(f"{what}, row {row} (from 0): multi-hot labels hold 0 and 1 alone")
        return labels.astype(np.uint8)
    if labels.ndim == 2 and marks.all():
        raise UserError(
            f"{what}: one column of 0 and 1 may be class ids or the marks of a single label; give "
            "two columns, one a class"
        )
    ids = labels.ravel()
    bad = np.flatnonzero(~np.isfinite(ids) | (ids != np.round(ids)))
    if bad.size:
        raise UserError(f"{what}, row {bad[0]} (from 0): class ids are whole numbers")
    classes, column = np.unique(ids, return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        raise UserError(f"{what}: {len(classes)} different class ids; are these labels?")
    return np.eye(len(classes), dtype=np.uint8)[column]
