"""Named arrays in the files that people have: .npy, .npz, .mat (4, 5 and 7.3), .h5.

A file is opened without reading its arrays. An array of any size is read by rows, when they are
asked for: straight from the file where its rows lie there one after the other (.npy, uncompressed
.npz, HDF5), else from memory. No file is mapped: one that is cut while it is in use gives an error
and not a crash, and what was read does not count as memory of the process.

Nothing is unpickled, no link out of an HDF5 file is followed, and no array is unpacked that
is larger than 4 GiB.
"""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash import mat5
from jxhash.errors import UserError

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5")

# The name of the only array of a .npy file.
ONLY = "array"

_BLOCK_BYTES = 2**24
_HDF5_CACHE_BYTES = 2**26
# Of an array that cannot be read by rows; a few bytes of a packed file may say that they are more.
_LARGEST_UNPACKED = 2**32
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class Scan(NamedTuple):
    """What one pass over an array tells.

    Attributes:
      sha256: of type, shape and values.
      not_finite: the numbers of the rows that hold NaN or infinity.
    """

    sha256: str
    not_finite: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """An array of which rows are read when they are asked for.

    It is indexed along its first axis, by a number, a slice, a mask or an array of numbers of any
    rank, and gives numpy arrays; `np.asarray` reads it whole.

    Attributes:
      shape: of the whole.
      dtype: of every row.
      read: from row numbers (int64 [m], none negative) to a new array [m, ...].
      origin: the array and the row numbers of it that this one is a view of; None for no view.
      alike: an array with the same values in each row, in another order of axes, that is faster to
        scan; None for itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[np.ndarray], np.ndarray]
    origin: "tuple[Rows, np.ndarray] | None" = None
    alike: "Rows | None" = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the whole in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = np.arange(len(self))[index]
        return self.read(np.ravel(numbers)).reshape((*np.shape(numbers), *self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a file cannot be an array without being read")
        return np.asarray(self.read(np.arange(len(self))), dtype)

    def take(self, numbers: np.ndarray) -> "Rows":
        """A view of some rows; nothing is read."""
        numbers = np.asarray(numbers, np.int64)
        source, of_source = (self, numbers)
        if self.origin is not None:
            source, of_source = self.origin[0], self.origin[1][numbers]
        return dataclasses.replace(
            self,
            shape=(len(numbers), *self.shape[1:]),
            read=lambda asked: source.read(of_source[asked]),
            origin=(source, of_source),
            alike=None,
        )

    def transposed(self, *axes: int) -> "Rows":
        """A view whose rows have their axes, counted from 0 within a row, in another order."""
        order = (0, *(axis + 1 for axis in axes))
        return Rows(
            tuple(self.shape[axis] for axis in order),
            self.dtype,
            lambda numbers: np.ascontiguousarray(self.read(numbers).transpose(order)),
            alike=self.alike or self,
        )

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, some megabytes at a time, each block with the number of its first."""
        size = max(1, _BLOCK_BYTES // max(1, self.nbytes // max(1, len(self))))
        for first in range(0, len(self), size):
            yield first, self.read(np.arange(first, min(first + size, len(self))))

    @functools.cached_property
    def scan(self) -> Scan:
        """Hash and rows that are not finite, worked out in one pass and kept."""
        if self.alike is not None:
            return self.alike.scan
        digest = hashlib.sha256(f"{self.dtype.str} {self.shape}\n".encode())
        bad = [np.zeros(0, np.int64)]
        for first, block in self.blocks():
            digest.update(np.ascontiguousarray(block))
            bad.append(first + rows_not_finite(block))
        return Scan(digest.hexdigest(), np.concatenate(bad))

    def not_finite(self) -> np.ndarray:
        """The numbers of the rows that hold NaN or infinity."""
        if self.origin is None:
            return self.scan.not_finite
        source, numbers = self.origin
        return np.flatnonzero(np.isin(numbers, source.scan.not_finite))


def rows_not_finite(array: np.ndarray) -> np.ndarray:
    """The numbers of the rows of an array that hold NaN or infinity."""
    if array.dtype.kind != "f":
        return np.zeros(0, np.int64)
    rows = array.reshape(len(array), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is read many times faster than a mask of all entries; it may overflow, though.
        suspected = np.flatnonzero(~np.isfinite(rows.sum(axis=1)))
    return suspected[~np.isfinite(rows[suspected]).all(axis=1)]


def in_memory(array: np.ndarray) -> Rows:
    """The rows of an array that is in memory."""
    return Rows(array.shape, array.dtype, lambda numbers: array[numbers])


def joined(parts: Sequence[Rows]) -> Rows:
    """Arrays one after the other, as one; nothing is read.

    Raises:
      ValueError: their rows differ in shape.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"rows of different shapes: {[part.shape for part in parts]}")
    if len(parts) == 1:
        return parts[0]
    dtype = np.result_type(*(part.dtype for part in parts))
    ends = np.cumsum([len(part) for part in parts])

    def read(numbers: np.ndarray) -> np.ndarray:
        rows = np.empty((len(numbers), *parts[0].shape[1:]), dtype)
        of_part = np.searchsorted(ends, numbers, side="right")
        for which, part in enumerate(parts):
            mine = np.flatnonzero(of_part == which)
            rows[mine] = part.read(numbers[mine] - (ends[which] - len(part)))
        return rows

    return Rows((int(ends[-1]), *parts[0].shape[1:]), dtype, read)


class Stored(NamedTuple):
    """An array as it lies in a file.

    Attributes:
      rows: by its first axis there.
      columns_first: whether its axes, as its writer names them, are those of `rows` backwards: so
        MATLAB and Fortran lay out arrays.
    """

    rows: Rows
    columns_first: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as the writer names its axes."""
        return self.rows.shape[::-1] if self.columns_first else self.rows.shape

    def along(self, axis: int) -> Rows:
        """The array with one axis as its rows, and the others in the writer's order behind it.

        Where the file does not hold such rows one after the other, the array is read into memory.
        64-bit numbers become 32-bit ones, which is what JAX computes with.
        """
        source, ndim = self.rows, self.rows.ndim
        axis = ndim - 1 - axis if self.columns_first else axis
        others = [other for other in range(ndim) if other != axis]
        order = (axis, *(others[::-1] if self.columns_first else others))
        dtype = _narrow(source.dtype)
        shape = tuple(source.shape[one] for one in order)
        if axis != 0:
            whole = np.empty(shape, dtype)
            for first, block in source.blocks():
                place = [slice(None)] * ndim
                place[order.index(0)] = slice(first, first + len(block))
                whole[tuple(place)] = _cast(block.transpose(order), dtype)
            return in_memory(whole)
        return Rows(
            shape,
            dtype,
            lambda numbers: _cast(source.read(numbers).transpose(order), dtype),
            alike=source if dtype == source.dtype else None,
        )


_NARROW = {
    "f8": np.dtype(np.float32),
    "f16": np.dtype(np.float32),
    "i8": np.dtype(np.int32),
    "u8": np.dtype(np.uint32),
    "b1": np.dtype(np.uint8),
}


def _narrow(dtype: np.dtype) -> np.dtype:
    return _NARROW.get(dtype.kind + str(dtype.itemsize), dtype)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu" and values.dtype.itemsize > dtype.itemsize and values.size:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise UserError(f"an array of whole numbers holds some beyond {limits.max}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype)


class Entry(NamedTuple):
    """A name in a file.

    Attributes:
      shape: of the array, as its writer names the axes; for texts their number.
      open: gives the array, or a list of texts.
    """

    shape: tuple[int, ...]
    open: Callable[[], Stored | list[str]]


def open_file(path: str | os.PathLike) -> dict[str, Entry]:
    """Lists what a file holds; no array is read.

    Args:
      path: a file with one of `SUFFIXES`.

    Returns:
      name -> what is under it. The array of a .npy file is called "array".

    Raises:
      UserError: the file is missing, damaged or of another kind. What is wrong with one array alone
        shows when that is opened or read.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is none of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    with _reading(path):
        if suffix == ".npy":
            return {ONLY: _npy_entry(path, 0)}
        if suffix == ".npz":
            return _npz_entries(path)
        return _hdf5_entries(path) if _is_hdf5(path) else _mat_entries(path)


class _reading:  # noqa: N801 - read as a verb
    """Turns whatever goes wrong while reading a file into a UserError that names it."""

    def __init__(self, path: pathlib.Path, name: str | None = None) -> None:
        self._what = f"{path}:{name}" if name else str(path)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # Each format has errors of its own for files that are cut, changed or hold objects.
        if isinstance(error, UserError) or not isinstance(error, Exception):
            return
        reason = (str(error).strip().splitlines() or [""])[0][:120]
        raise UserError(
            f"{self._what} cannot be read ({type(error).__name__}: {reason})"
        ) from error


def _require_memory(what: str, num_bytes: int) -> None:
    """Raises a UserError where an array must be in memory whole and is too large for that."""
    if num_bytes > _LARGEST_UNPACKED:
        raise UserError(
            f"{what} would take {num_bytes / 2**30:.1f} GiB of memory; save it as .npy, by "
            "np.savez or as HDF5 with the items along the first axis, and it is read by rows"
        )


def _require_numbers(what: str, dtype: np.dtype) -> None:
    if dtype.hasobject:
        raise UserError(f"{what} holds Python objects, which are not read; save it as numbers")
    if dtype.kind not in "biuf":
        raise UserError(f"{what} holds {dtype}, not real numbers")


def _npy_entry(path: pathlib.Path, offset: int, size: int | None = None) -> Entry:
    """The array whose .npy content begins at an offset of a file."""
    with open(path, "rb") as file:
        file.seek(offset)
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
    if dtype.hasobject:  # whose size in the file it does not tell
        return Entry(shape, lambda: _require_numbers(str(path), dtype))
    num_bytes = math.prod(shape) * dtype.itemsize
    end = path.stat().st_size if size is None else offset + size
    if offset + num_bytes > end:
        raise UserError(f"{path} is cut: its array of {shape} {dtype} does not end")
    raw = shape[::-1] if fortran else shape
    if dtype.kind in "US" and len(shape) == 1:
        rows = Rows(raw, dtype, functools.partial(_read_from_file, path, offset, raw, dtype))
        return Entry(shape, lambda: _texts(np.asarray(rows)))

    def open_array() -> Stored:
        _require_numbers(str(path), dtype)
        read = functools.partial(_read_from_file, path, offset, raw, dtype)
        return Stored(Rows(raw, dtype.newbyteorder("="), read), columns_first=fortran)

    return Entry(shape, open_array)


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format holds no plain numbers")
    shape, fortran, dtype = readers[version](file)
    return shape, fortran and len(shape) > 1, dtype


def _read_from_file(
    path: pathlib.Path, offset: int, shape: tuple[int, ...], dtype: np.dtype, numbers: np.ndarray
) -> np.ndarray:
    """Reads rows that lie one after the other."""
    rows = np.empty((len(numbers), *shape[1:]), dtype)
    size = math.prod(shape[1:]) * dtype.itemsize
    content = rows.reshape(-1).view(np.uint8)
    with _reading(path), open(path, "rb", buffering=0) as file:
        for begin, end in _runs(numbers):
            file.seek(offset + int(numbers[begin]) * size)
            part = memoryview(content[begin * size : end * size])
            while len(part):
                read = file.readinto(part)
                if not read:
                    raise UserError(f"{path} was cut while it was in use")
                part = part[read:]
    return rows.astype(dtype.newbyteorder("="), copy=False)


def _runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where runs of numbers that follow one another begin and end."""
    if not len(numbers):
        return
    breaks = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    yield from zip([0, *breaks], [*breaks, len(numbers)], strict=True)


def _npz_entries(path: pathlib.Path) -> dict[str, Entry]:
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
    return {member.filename.removesuffix(".npy"): _member(path, member) for member in members}


def _member(path: pathlib.Path, member: zipfile.ZipInfo) -> Entry:
    if member.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as file:
            # Name and extra field may differ in length from those of the archive's directory.
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
        begin = member.header_offset + 30
        begin += sum(int.from_bytes(lengths[k : k + 2], "little") for k in (0, 2))
        return _npy_entry(path, begin, member.file_size)
    what = f"{path}:{member.filename.removesuffix('.npy')}"
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, _, dtype = _npy_header(file)

    def open_array() -> Stored | list[str]:
        if not (dtype.kind in "US" and len(shape) == 1):
            _require_numbers(what, dtype)
        _require_memory(what, math.prod(shape) * dtype.itemsize)
        with _reading(path), zipfile.ZipFile(path) as archive, archive.open(member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            # Only at the end is the checksum compared.
            if file.read(1):
                raise UserError(f"{what} is longer than it says")
        return _texts(array) if dtype.kind in "US" else Stored(in_memory(array))

    return Entry(shape, open_array)


def _texts(array: np.ndarray) -> list[str]:
    if array.dtype.kind == "S":
        return [entry.decode() for entry in array.ravel().tolist()]
    return array.ravel().tolist()


def _dense(
    values: np.ndarray, rows: np.ndarray, starts: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """A sparse matrix by columns as a whole one, transposed; SciPy's own way trusts the numbers."""
    counts = np.diff(starts.astype(np.int64))
    if len(counts) != shape[1] or starts[0] or (counts < 0).any() or counts.sum() > len(rows):
        raise ValueError("its columns do not begin where its entries are")
    rows, values = rows[: counts.sum()].astype(np.int64), values[: counts.sum()]
    if rows.size and not 0 <= rows.min() <= rows.max() < shape[0]:
        raise ValueError("it has entries outside of its shape")
    array = np.zeros(shape[::-1], _narrow(values.dtype))
    with np.errstate(over="ignore"):
        array[np.repeat(np.arange(shape[1]), counts), rows] = values
    return array


_MAT_ITEM_BYTES = {"double": 8, "int64": 8, "uint64": 8, "single": 4, "int32": 4, "uint32": 4}


def _mat_entries(path: pathlib.Path) -> dict[str, Entry]:
    """A file of MATLAB's formats 4 and 5."""
    import scipy.io

    def open_variable(name: str, shape: tuple[int, ...], kind: str) -> Stored | list[str]:
        what = f"{path}:{name}"
        if kind in ("struct", "object", "function", "opaque", "unknown"):
            raise UserError(f"{what} is a {kind} of MATLAB, not an array of numbers")
        _require_memory(what, math.prod(shape) * _MAT_ITEM_BYTES.get(kind, 2))
        with _reading(path, name):
            mat5.check(path, name)
            found = scipy.io.loadmat(path, variable_names=[name])[name]
            if kind == "sparse":
                parts = found.data, found.indices, found.indptr
                return Stored(in_memory(_dense(*parts, shape)), columns_first=True)
        if kind in ("cell", "char"):
            return _mat_texts(what, found)
        _require_numbers(what, found.dtype)
        return Stored(in_memory(np.ascontiguousarray(found.T)), columns_first=True)

    return {
        name: Entry(tuple(shape), functools.partial(open_variable, name, tuple(shape), kind))
        for name, shape, kind in scipy.io.whosmat(path)
    }


def _mat_texts(what: str, found: np.ndarray) -> list[str]:
    """Texts of a character matrix (a row each) or a cell array; a cell of several is one text."""
    if found.dtype.kind == "U":
        return [str(row).rstrip() for row in found.ravel()]
    if found.ndim == 2 and 1 not in found.shape:
        return [" ".join(_mat_texts(what, row)) for row in found]
    texts = []
    for number, cell in enumerate(found.ravel()):
        if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "UO":
            raise UserError(f"{what} holds something other than text in cell {number + 1}")
        texts.append(" ".join(_mat_texts(what, cell)))
    return texts


def _is_hdf5(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(512 + len(_HDF5_MAGIC))
    return _HDF5_MAGIC in (head[: len(_HDF5_MAGIC)], head[512:])


def _hdf5_entries(path: pathlib.Path) -> dict[str, Entry]:
    """A HDF5 file; one of MATLAB's (7.3) names its axes backwards."""
    try:
        import h5py
    except ImportError as error:
        kind = "a MATLAB 7.3 file" if path.suffix == ".mat" else "a HDF5 file"
        raise UserError(
            f"{path} is {kind}; reading it takes h5py: pip install 'jxhash[data]'"
        ) from error
    file = h5py.File(path, rdcc_nbytes=_HDF5_CACHE_BYTES)
    entries: dict[str, Entry] = {}

    def add(name: str, value: Any) -> None:
        if name.startswith("#"):
            return
        if "MATLAB_sparse" in value.attrs:
            shape = (int(value.attrs["MATLAB_sparse"]), len(value["jc"]) - 1)
            entries[name] = Entry(shape, lambda: _hdf5_sparse(f"{path}:{name}", value, shape))
        elif isinstance(value, h5py.Dataset) and name.rpartition("/")[0] not in entries:
            matlab = _is_matlab(path) or "MATLAB_class" in value.attrs
            shape = value.shape[::-1] if matlab else value.shape
            entries[name] = Entry(shape or (), lambda: _hdf5_array(path, name, value, matlab))

    # It visits what lies in this file alone: no link, soft or external, is followed.
    file.visititems(add)
    return entries


def _is_matlab(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"MATLAB"


def _hdf5_sparse(what: str, group: Any, shape: tuple[int, int]) -> Stored:
    _require_memory(what, math.prod(shape) * 4)
    with _reading(pathlib.Path(what)):
        parts = (np.asarray(group[name]) for name in ("data", "ir", "jc"))
        return Stored(in_memory(_dense(*parts, shape)), columns_first=True)


def _hdf5_array(path: pathlib.Path, name: str, dataset: Any, matlab: bool) -> Stored | list[str]:
    import h5py

    what = f"{path}:{name}"
    if dataset.external or dataset.is_virtual or dataset.shape is None:
        raise UserError(f"{what} lies in other files, which are not read; copy it into this one")
    with _reading(path, name):
        if h5py.check_string_dtype(dataset.dtype):
            return dataset.asstr()[()].ravel().tolist()
        if dataset.attrs.get("MATLAB_class") == b"char":
            return [_hdf5_text(row) for row in dataset[()].T]
        if h5py.check_ref_dtype(dataset.dtype):
            cells = (dataset.file[reference] for reference in np.ravel(dataset[()]))
            return [_hdf5_text(cell[()].ravel()) for cell in cells]
    _require_numbers(what, dataset.dtype)
    native = dataset.dtype.newbyteorder("=")
    read = functools.partial(_read_from_hdf5, path, name, dataset)
    return Stored(Rows(dataset.shape, native, read), columns_first=matlab)


def _hdf5_text(characters: np.ndarray) -> str:
    return characters.astype("<u2").tobytes().decode("utf-16-le").rstrip(" \0")


def _read_from_hdf5(path: pathlib.Path, name: str, dataset: Any, numbers: np.ndarray) -> np.ndarray:
    # In increasing order, so that no chunk is unpacked twice.
    order = np.argsort(numbers, kind="stable")
    increasing = numbers[order]
    rows = np.empty((len(numbers), *dataset.shape[1:]), dataset.dtype.newbyteorder("="))
    with _reading(path, name):
        for begin, end in _runs(increasing):
            first = int(increasing[begin])
            rows[order[begin:end]] = dataset[first : first + end - begin]
    return rows


def find(entries: Mapping[str, Entry], what: str, key: str) -> str:
    """The name to take from a file: the key, or the only name where the key is empty.

    Args:
      entries: of `open_file`.
      what: the file, for the message.
      key: a name, or "".

    Raises:
      UserError: there is no such name, or no key and several names.
    """
    if key in entries:
        return key
    if not key and len(entries) == 1:
        return next(iter(entries))
    wanted = f"no array {key!r}" if key else "more than one array"
    raise UserError(f"{what} holds {wanted}; say which as {what}:NAME, it has {listed(entries)}")


def listed(entries: Mapping[str, Entry]) -> str:
    """The names and shapes of what a file holds, in words.

    >>> listed({"images": Entry((20, 3), list), "L": Entry((20,), list)})
    'L (20), images (20 x 3)'
    """
    return ", ".join(
        f"{name} ({' x '.join(map(str, entry.shape))})" for name, entry in sorted(entries.items())
    )


def split_reference(reference: str, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Takes "FILE" or "FILE:NAME" apart; a relative path is looked for in a folder."""
    whole = folder / reference
    match = re.fullmatch(r"(.+):([^:/\\]*)", reference)
    if whole.exists() or match is None:
        return whole, ""
    return folder / match[1], match[2]
