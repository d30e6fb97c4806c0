"""Names of rows: each once, and those of one file found in another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jxhash.errors import UserError


class Matched(NamedTuple):
    """Which rows of a file belong to the rows of another.

    Attributes:
      rows: for each wanted name the number of its row, -1 where there is none.
      unused: the numbers of the rows that nothing wants.
    """

    rows: np.ndarray
    unused: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """The places of the wanted names that have no row."""
        return np.flatnonzero(self.rows < 0)


def match(wanted: Sequence[str], names: Sequence[str]) -> Matched:
    """Finds names among others, each of which stands there once.

    >>> match(["c", "a"], ["a", "b"])
    Matched(rows=array([-1,  0]), unused=array([1]))
    """
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of.get(name, -1) for name in wanted], np.int64)
    return Matched(rows, np.setdiff1d(np.arange(len(names)), rows))


def require_once(where: str, names: Sequence[str]) -> None:
    """Raises a UserError where a name stands twice."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            raise UserError(
                f"{where}: the id {name!r} names the rows {rows[name]} and {row} (from 0)"
            )
