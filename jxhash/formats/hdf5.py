"""Reads the arrays of HDF5 files, among them those of MATLAB 7.3, by rows."""

import functools
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jxhash.errors import UserError
from jxhash.formats.stored import (
    MATLAB_ARRAYS,
    Entry,
    Stored,
    Texts,
    dense,
    reading,
    require_matlab_array,
    require_memory,
    require_numbers,
    texts_of,
)
from jxhash.rows import Rows, in_memory, runs

_MAGIC = b"\x89HDF\r\n\x1a\n"
_HEADER_BYTES = 100
_CACHE_BYTES = 2**26
# What HDF5 compresses best, zeros, shrinks by less; a larger claim was never written.
_MOST_COMPRESSION = 1100
_MOST_TEXTS, _MOST_CHARACTERS, _TEXTS_AT_ONCE = 2**22, 2**28, 256
_SPARSE_PARTS = ("data", "ir", "jc")


def is_hdf5(path: pathlib.Path) -> bool:
    """Whether a file has the signature of HDF5, at its start or behind MATLAB's header."""
    with open(path, "rb") as file:
        head = file.read(512 + len(_MAGIC))
    return _MAGIC in (head[: len(_MAGIC)], head[512:])


def hdf5_entries(path: pathlib.Path) -> dict[str, Entry]:
    """Name -> array of a file; files of MATLAB name the axes in reverse.

    Links are not followed, whether soft or external.

    Raises:
      UserError: h5py is not installed.
      OSError: the file is damaged.
    """
    try:
        import h5py
    except ImportError as error:
        kind = "a MATLAB 7.3 file" if path.suffix == ".mat" else "an HDF5 file"
        raise UserError(
            f"{path} is {kind}; reading it requires h5py: pip install 'jxhash[data]'"
        ) from error
    with open(path, "rb") as head:
        is_matlab = head.read(6) == b"MATLAB"
    file = h5py.File(path, rdcc_nbytes=_CACHE_BYTES)
    entries: dict[str, Entry] = {}

    def add(name: str, value: Any) -> None:
        what = f"{path}:{name}"
        if name.startswith("#") or name.rpartition("/")[0] in entries:
            return
        if isinstance(value, h5py.Dataset):
            matlab = is_matlab or "MATLAB_class" in value.attrs
            shape = (value.shape[::-1] if matlab else value.shape) or ()
            read = functools.partial(_array, what, value, matlab)
            kind = _matlab_class(value)
            entries[name] = Entry(shape, reading(what)(read), kind in (None, *MATLAB_ARRAYS))
        elif "MATLAB_sparse" in value.attrs:
            parts = [value[part] for part in _SPARSE_PARTS if _has_dataset(value, part)]
            columns = parts[-1].size - 1 if len(parts) == len(_SPARSE_PARTS) else 0
            shape = (int(value.attrs["MATLAB_sparse"]), columns)
            read_sparse = functools.partial(_sparse, what, parts, shape)
            entries[name] = Entry(shape, reading(what)(read_sparse))

    file.visititems(add)  # visits what the file itself holds, and no links
    return entries


def _matlab_class(dataset: Any) -> str | None:
    kind = dataset.attrs.get("MATLAB_class")
    return kind.decode("latin-1") if isinstance(kind, bytes) else None


def _has_dataset(group: Any, name: str) -> bool:
    """Whether a group has a dataset of this name itself, not a link to one."""
    import h5py

    is_linked = isinstance(group.get(name, getlink=True), h5py.HardLink)
    return is_linked and isinstance(group[name], h5py.Dataset)


def _sparse(what: str, parts: Sequence[Any], shape: tuple[int, ...]) -> Stored:
    if len(parts) < len(_SPARSE_PARTS):
        raise UserError(f"{what} is no sparse matrix: it lacks one of {', '.join(_SPARSE_PARTS)}")
    require_memory(what, max(math.prod(shape), *shape) * 8)
    for part in parts:
        _require_written(what, part)
        require_memory(what, part.nbytes)
        require_numbers(what, part.dtype)
    values, rows, starts = map(np.asarray, parts)
    return Stored(in_memory(dense(values, rows, starts, shape)), columns_first=True)


def _require_written(what: str, dataset: Any) -> None:
    """Raises a UserError unless the file itself holds all the data that a dataset claims."""
    if dataset.external or dataset.is_virtual or dataset.shape is None:
        raise UserError(f"{what} lies in other files, which are not read; copy it into this one")
    if dataset.nbytes > _MOST_COMPRESSION * dataset.id.get_storage_size():
        raise UserError(f"{what} was never written completely; write it again")


def _array(what: str, dataset: Any, matlab: bool) -> Stored | Texts:
    import h5py

    kind = _matlab_class(dataset)
    if kind is not None:
        require_matlab_array(what, kind)
    _require_written(what, dataset)
    if h5py.check_string_dtype(dataset.dtype):
        texts = _strings(what, dataset)
        return texts_of(what, texts.T if matlab else texts)
    if h5py.check_ref_dtype(dataset.dtype):
        return _cells(what, dataset, matlab)
    require_numbers(what, dataset.dtype)
    if kind == "char":
        _require_few(what, dataset.size, _MOST_CHARACTERS)
        return [_decoded(row) for row in np.atleast_2d(dataset[()]).T]
    native = dataset.dtype.newbyteorder("=")
    read = functools.partial(_read_rows, what, dataset)
    return Stored(Rows(dataset.shape, native, read), columns_first=matlab)


def _require_few(what: str, number: int, most: int) -> None:
    if number > most:
        raise UserError(f"{what} is longer than {most:,} texts or characters and is not read")


def _strings(what: str, dataset: Any) -> np.ndarray:
    """Texts, read a few at a time: many may share one place of the file."""
    _require_few(what, dataset.size, _MOST_TEXTS)
    if not dataset.size or not dataset.shape:
        return np.asarray(dataset.asstr()[()])
    blocks: list[np.ndarray] = []
    characters = 0
    axis = int(np.argmax(dataset.shape))
    for first in range(0, dataset.shape[axis], _TEXTS_AT_ONCE):
        place = [slice(None)] * dataset.ndim
        place[axis] = slice(first, first + _TEXTS_AT_ONCE)
        blocks.append(dataset.asstr()[tuple(place)])
        characters += sum(map(len, blocks[-1].flat))
        _require_few(what, characters, _MOST_CHARACTERS)
    return np.concatenate(blocks, axis)


def _cells(what: str, dataset: Any, matlab: bool) -> Texts:
    """The texts of a cell array, each of which is a dataset of its own, or a cell array of some."""
    import h5py

    # Each cell has a header; more cells than headers fit into the file repeat the same one.
    most = min(pathlib.Path(dataset.file.filename).stat().st_size // _HEADER_BYTES, _MOST_TEXTS)
    cells = characters = 0

    def texts_in(references: np.ndarray) -> Iterator[str | list[str]]:
        nonlocal cells, characters
        cells += references.size
        _require_few(what, cells, most)
        for reference in references.flat:
            cell = dataset.file[reference]
            _require_written(what, cell)
            if references is not outer and h5py.check_ref_dtype(cell.dtype):
                raise UserError(f"{what} holds cells in the cells of cells, not texts")
            if h5py.check_ref_dtype(cell.dtype):
                yield [text for text in texts_in(np.asarray(cell[()])) if isinstance(text, str)]
                continue
            characters += cell.size
            _require_few(what, characters, _MOST_CHARACTERS)
            yield _decoded(cell[()].ravel())

    _require_few(what, dataset.size, most)
    outer = np.asarray(dataset[()])
    texts = list(texts_in(outer))
    if any(isinstance(text, list) for text in texts):
        return [text if isinstance(text, list) else [text] for text in texts]
    array = np.array(texts, object).reshape(outer.shape)
    return texts_of(what, array.T if matlab else array)


def _decoded(characters: np.ndarray) -> str:
    return characters.astype("<u2").tobytes().decode("utf-16-le").rstrip(" \0")


def _read_rows(what: str, dataset: Any, numbers: np.ndarray) -> np.ndarray:
    # In increasing order, so that no chunk is decompressed twice.
    order = np.argsort(numbers, kind="stable")
    increasing = numbers[order]
    rows = np.empty((len(numbers), *dataset.shape[1:]), dataset.dtype.newbyteorder("="))
    with reading(what):
        for begin, end in runs(increasing):
            first = int(increasing[begin])
            place = slice(first, first + end - begin) if dataset.shape else ()
            rows[order[begin:end]] = dataset[place]
    return rows
