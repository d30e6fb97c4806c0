"""Which columns of a table hold what: by a description, their names, and what their cells are."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from jxhash.data.own.cell_lists import unquoted_entries
from jxhash.data.own.common_names import Named, array_field_of, base_of, field_of, plain, rank_of
from jxhash.data.own.table_rows import Row
from jxhash.errors import UserError


class Column(NamedTuple):
    """A column whose cells are lists of numbers of one shape."""

    name: str
    values: np.ndarray  # float32 [rows, ...]


class Columns(NamedTuple):
    """Which columns hold what."""

    known: list[str]  # all names, for messages
    names: dict[str, tuple[str, ...]]  # field -> its columns: one, of "text" one or several
    arrays: dict[str, Column]  # of "image" and "text"


def columns_of(file: pathlib.Path, rows: Sequence[Row], named: Named) -> Columns:
    """Finds the columns of each field.

    Lists of numbers of one length under a name that arrays have too, such as "image_embeddings",
    are an array. Of other columns of one field the first that is known is taken, of texts with all
    that have its name and a number, such as "caption_1".

    Raises:
      UserError: a column that the description names is missing, two may hold the same, or lists of
        numbers differ in length.
    """
    known = list(dict.fromkeys(name for _, row in rows for name in row))
    missing = [name for columns in named.values() for name in columns if name not in known]
    if missing:
        raise UserError(f"{file} has no column {missing[0]!r}; {listed(known)}")
    arrays = _arrays(file, rows, known, named)
    of_arrays = {column.name for column in arrays.values()}
    if not of_arrays.issuperset(named.get("image", ())):
        if "picture" in named:
            raise UserError(f"{file}: the column {named['image'][0]!r} holds no lists of numbers")
        named = {"picture" if field == "image" else field: own for field, own in named.items()}
    holding: dict[str, list[str]] = {}
    for name in known:
        field = field_of(name, named)
        if field is not None and name not in of_arrays:
            holding.setdefault(field, []).append(name)
    names = {field: _chosen(file, field, own, named) for field, own in holding.items()}
    for other in sorted(holding.get("id", []), key=rank_of)[1:] if "id" not in named else ():
        # The first ids number rows, the others what they show, as in annotations of captions.
        if _is_unique(rows, names["id"][0]) and not _is_unique(rows, other):
            names["id"] = (other,)
    return Columns(known, names, arrays)


def listed(known: Sequence[str]) -> str:
    """The columns of a table and how to say what they hold, for messages."""
    names = ", ".join(map(repr, known[:20])) + (" ..." if len(known) > 20 else "")
    return (
        f"it has {names}; say what they hold in a description (docs/data.md): "
        '"columns": {"picture": COLUMN, "text": COLUMN}'
    )


def _chosen(
    file: pathlib.Path, field: str, holding: Sequence[str], named: Named
) -> tuple[str, ...]:
    if field in named:
        return named[field]
    ranked = sorted(holding, key=rank_of)
    if field == "text":
        alike = [name for name in ranked if base_of(name)[0] == base_of(ranked[0])[0]]
    else:
        alike = ranked[:1]
    for one, other in itertools.pairwise(ranked[: len(alike) + 1]):
        if plain(one) == plain(other):
            raise UserError(f"{file} has two columns {one!r} and {other!r}; rename one")
    return tuple(alike)


def _is_unique(rows: Sequence[Row], column: str) -> bool:
    values = [str(row.get(column)) for _, row in rows]
    return len(set(values)) == len(values)


def _arrays(
    file: pathlib.Path, rows: Sequence[Row], known: Sequence[str], named: Named
) -> dict[str, Column]:
    arrays: dict[str, Column] = {}
    for name in known:
        field = array_field_of(name, named)
        values = None if field is None else _array(file, rows, name)
        # Columns called "x" or "i" are hardly meant as arrays.
        is_other = field_of(name, named) is not None or len(plain(name)) == 1
        if field is not None and values is None and not is_other:
            logging.warning("%s: column %r is left out: it holds no lists of numbers", file, name)
        if field is None or values is None:
            continue
        if field in arrays:
            raise UserError(
                f"{file}: {arrays[field].name!r} and {name!r} may both be the {field!r}; say which "
                f'in a description (docs/data.md): "columns": {{"{field}": COLUMN}}'
            )
        arrays[field] = Column(name, values)
    return arrays


def _array(file: pathlib.Path, rows: Sequence[Row], name: str) -> np.ndarray | None:
    """The cells of a column as an array; None where not one is a list of numbers."""
    cells = [row.get(name) for _, row in rows]
    if field_of(name) != "text":  # a caption may begin with a bracket
        cells = [_unprinted(str(file), cell) for cell in cells]
    vectors = [_vector(cell) for cell in cells]
    first = next((vector.shape for vector in vectors if vector is not None), None)
    if first is None:
        return None
    fitting = [vector for vector in vectors if vector is not None and vector.shape == first]
    if len(fitting) == len(rows):
        return np.stack(fitting)
    bad = next(row for row, one in enumerate(vectors) if one is None or one.shape != first)
    shape = " x ".join(map(str, first))
    raise UserError(
        f"{rows[bad][0]}: {name!r} holds no {shape} numbers, as other rows do; fix it, or rename "
        "the column to leave it out"
    )


def _unprinted(what: str, cell: Any) -> Any:
    """The entries of a text that is a list as numpy or Python print it; any other cell as it is."""
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        return np.array(unquoted_entries(what, cell.strip()), np.float32)
    except (ValueError, TypeError):
        return cell


def _vector(cell: Any) -> np.ndarray | None:
    """A list of numbers, or of lists of them, as an array; None for any other cell."""
    if isinstance(cell, np.ndarray):
        return cell
    if not isinstance(cell, list) or not cell or not isinstance(cell[0], (int, float, list)):
        return None
    if any(isinstance(entry, str) for entry in cell):  # numpy would read the number in it
        return None
    try:
        with np.errstate(over="ignore"):
            return np.array(cell, np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
