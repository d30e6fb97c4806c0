"""Reads the variables of MATLAB files of the formats 4 and 5 (up to -v7), through SciPy.

Every variable is checked before SciPy reads it (`mat_check`), and is read into memory whole.
"""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np

from jxhash.errors import UserError
from jxhash.formats import mat_check
from jxhash.formats.stored import (
    MATLAB_ARRAYS,
    Allowance,
    Entry,
    Stored,
    Texts,
    dense,
    reading,
    require_matlab_array,
    require_numbers,
    texts_of,
)
from jxhash.rows import in_memory

# Of the structures of one file; compressed files can expand a thousandfold.
MAX_BYTES = 2**31

# Memory per entry; a cell is an array of its own, a sparse matrix is expanded.
_ITEM_BYTES = {
    **{"double": 8, "int64": 8, "uint64": 8, "sparse": 8, "single": 4, "int32": 4, "uint32": 4},
    **{"char": 16, "cell": 1024},
}


def open_mat(path: str, opened: Callable[[], BinaryIO]) -> dict[str, Entry]:
    """Lists the variables of a file; no array is read.

    Structures and objects of MATLAB's own classes (string, table, datetime) are no arrays: they are
    refused when opened.

    Args:
      path: what messages call the file.
      opened: opens it.

    Raises:
      UserError: the file is damaged or of another kind.
    """
    allowance = Allowance()
    entries: dict[str, Entry] = {}
    with reading(path), opened() as file:
        for name, shape, kind in mat_check.variables(file):
            read = functools.partial(_variable, path, opened, allowance, name, shape, kind)
            # Of variables of the same name SciPy reads the first.
            entries.setdefault(name, Entry(shape, read, kind in MATLAB_ARRAYS))
    return entries


def _variable(
    path: str,
    opened: Callable[[], BinaryIO],
    allowance: Allowance,
    name: str,
    shape: tuple[int, ...],
    kind: str,
) -> Stored | Texts:
    import scipy.sparse

    what = f"{path}:{name}"
    require_matlab_array(what, kind)
    allowance.take(what, max(math.prod(shape), *shape, 0) * _ITEM_BYTES.get(kind, 2))
    with reading(what), opened() as file:
        found = _loaded(file, [name])[name]
        if scipy.sparse.issparse(found):
            found = _expanded(found, kind, shape)
    if kind in ("cell", "char"):
        return _texts(what, found)
    require_numbers(what, found.dtype)
    return Stored(in_memory(np.ascontiguousarray(found.T)), columns_first=True)


def _loaded(file: Any, names: Sequence[str], **options: Any) -> dict[str, Any]:
    import scipy.io

    mat_check.check(file, names)
    return scipy.io.loadmat(file, variable_names=list(names), **options)


def _expanded(sparse: Any, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    values = sparse.data != 0 if kind == "logical" else sparse.data
    return dense(values, sparse.indices, sparse.indptr, shape).T


def _texts(what: str, found: np.ndarray) -> Texts:
    """Texts of a character matrix, one a row, or of a cell array, whose cells may hold several."""
    if found.dtype.kind == "U":
        return [str(row).rstrip() for row in found.ravel()]
    cells = [_texts_in(what, number, cell) for number, cell in enumerate(found.flat, start=1)]
    if all(len(cell) == 1 for cell in cells):
        alone = np.array([cell[0] for cell in cells], object)
        return texts_of(what, alone.reshape(found.shape))
    if found.ndim == 2 and 1 not in found.shape:
        raise UserError(f"{what} holds several texts in a cell of several columns")
    return cells


def _texts_in(what: str, number: int, cell: Any) -> list[str]:
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "UO":
        raise UserError(f"{what} holds something other than text in cell {number}")
    texts = _texts(what, cell)
    if any(isinstance(text, list) for text in texts):
        raise UserError(f"{what} holds cells in the cells of cell {number}, not texts")
    return [text for text in texts if isinstance(text, str)] or [""]


def structures(path: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
    """Reads variables of a file of format 5 as nested dictionaries, lists and arrays.

    Args:
      path: the file.
      names: the variables to read; those that the file lacks are left out.

    Raises:
      UserError: there is no such file, it is damaged, of MATLAB 7.3 or larger than `MAX_BYTES`
        when decompressed, or has none of the variables.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    with reading(path), open(path, "rb") as file:
        if mat_check.version(file) == mat_check.MATLAB_7_3:
            raise UserError(f"{path} is a MATLAB 7.3 file; save it again with -v7")
        mat_check.require_size(file, MAX_BYTES)
        return _loaded(file, names, simplify_cells=True)
