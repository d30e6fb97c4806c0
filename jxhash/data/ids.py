"""Names and numbers of rows: each once, and those of one file found in another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jxhash.errors import UserError
from jxhash.formats.file_names import comparable


class Matched(NamedTuple):
    """Which rows of a file belong to the rows of another."""

    rows: np.ndarray  # for each wanted name the number of its row, -1 where there is none
    unused: np.ndarray  # the numbers of the rows that nothing wants

    @property
    def missing(self) -> np.ndarray:
        """The places of the wanted names that have no row."""
        return np.flatnonzero(self.rows < 0)


def match(wanted: Sequence[str], names: Sequence[str]) -> Matched:
    r"""Finds names among others, each of which stands there once.

    Names of files match in all their spellings, see `comparable`, unless there are two of one name.

    >>> match(["c", "img/a", "img\\d"], ["img\\a", "b", "img/d"])
    Matched(rows=array([-1,  0,  2]), unused=array([1]))
    """
    row_of: dict[str, int] = {}
    for row, name in enumerate(names):
        other = comparable(name)
        row_of[other] = -1 if other in row_of else row
    row_of |= {name: row for row, name in enumerate(names)}
    found = [row_of.get(name, row_of.get(comparable(name), -1)) for name in wanted]
    rows = np.array(found, np.int64)
    return Matched(rows, np.setdiff1d(np.arange(len(names)), rows))


def require_once(where: str, names: Sequence[str]) -> None:
    """Raises a UserError where a name stands twice."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            raise UserError(
                f"{where}: the id {name!r} names the rows {rows[name]} and {row} (from 0)"
            )


def require_apart(
    where: str, query: np.ndarray, others: np.ndarray, part: str, first: int = 0
) -> None:
    """Raises a UserError where queries are also in another part, which would find themselves.

    Args:
      where: the name of the lists, for messages.
      query: the row numbers of the queries, or their ids.
      others: those of the other part.
      part: its name.
      first: the number that the user knows the first row by.
    """
    both = np.intersect1d(query, others)
    if both.size:
        one = f"row {both[0] + first}" if both.dtype.kind in "iu" else repr(str(both[0]))
        raise UserError(
            f"{where}: {both.size:,} queries are also in the {part} list, the first is {one}; take "
            "each out of one of them"
        )


def row_numbers(
    where: str, numbers: np.ndarray, num_rows: int, first: int = 0, hint: str = ""
) -> np.ndarray:
    """Checks a list of row numbers and counts them from 0: int64 [m], increasing.

    Args:
      where: its name, for messages.
      numbers: [m], or any shape with one axis longer than 1.
      num_rows: how many rows there are.
      first: the number of the first row.
      hint: the end of a message about a number out of range.

    Raises:
      UserError: it is no such list, is empty, or names a row twice.
    """
    if numbers.dtype.kind not in "iuf" or numbers.size != max(numbers.shape, default=1):
        raise UserError(
            f"{where}: expected a list of row numbers, found {numbers.dtype} {numbers.shape}"
        )
    if numbers.size == 0:
        raise UserError(f"{where}: the list is empty")
    flat = numbers.ravel()
    if not np.array_equal(flat, np.trunc(flat)):
        raise UserError(f"{where}: holds numbers that are not whole")
    bad = np.flatnonzero((flat < first) | (flat >= num_rows + first))
    if bad.size:
        raise UserError(
            f"{where}, entry {bad[0]}: {flat[bad[0]]:g} is not in {first} to "
            f"{num_rows - 1 + first}{hint}"
        )
    rows, counts = np.unique(flat.astype(np.int64) - first, return_counts=True)
    if len(rows) != len(flat):
        raise UserError(f"{where}: row {rows[counts > 1][0] + first} is there twice")
    return rows
