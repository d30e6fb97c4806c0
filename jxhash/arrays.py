"""Named arrays in the files that people have: .npy, .npz, .mat (4, 5 and 7.3), .h5.

A file is opened without reading its arrays. An array of any size is read by rows, when they are
asked for: straight from the file where its rows lie there one after the other (.npy, uncompressed
.npz, HDF5), else from memory. No file is mapped: one that is cut while it is in use gives an error
and not a crash, and what was read does not count as memory of the process.

Nothing is unpickled, no link out of an HDF5 file is followed, no array is unpacked that is larger
than 4 GiB, and no more than 8 GiB of a file.
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
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jxhash.errors import UserError
from jxhash.formats import mat_check

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5")

# The name of the only array of a .npy file.
ONLY = "array"

_BLOCK_BYTES = 2**24
_HDF5_CACHE_BYTES = 2**26
# Of an array that cannot be read by rows; a few bytes of a packed file may say that they are more.
_LARGEST_UNPACKED = 2**32
_MOST_UNPACKED = 2**33
# What HDF5 packs best, zeros, shrinks by less; what says that it holds more was never written.
_MOST_SHRUNK = 1100
_MOST_TEXTS, _MOST_CHARACTERS, _TEXTS_AT_ONCE = 2**22, 2**28, 256
_MOST_AXES = 32
_HDF5_HEAD_BYTES = 100
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
        if not self.nbytes:
            return np.empty(self.shape, dtype or self.dtype)
        # A single number is read as one row.
        return np.asarray(self.read(np.arange(math.prod(self.shape[:1]))), dtype).reshape(
            self.shape
        )

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
        if not self.nbytes:
            return
        size = max(1, _BLOCK_BYTES // max(1, self.nbytes // len(self)))
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
    return Rows(array.shape, array.dtype, lambda numbers: np.atleast_1d(array)[numbers])


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
        if axis != 0:
            _require_memory(
                "an array that does not hold its items one after the other", source.nbytes
            )
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
            return {ONLY: _npy_entry(path, str(path))}
        if suffix == ".npz":
            return _npz_entries(path)
        if _is_hdf5(path):
            return _hdf5_entries(path)
        return open_mat(str(path), lambda: open(path, "rb"))


def whole(entry: Entry) -> np.ndarray:
    """What is under a name, read whole, with the axes as its writer names them.

    Raises:
      UserError: as `open_file`.
    """
    found = entry.open()
    if isinstance(found, list):
        return np.array(found if entry.shape else found[0], str)
    return np.asarray(found.rows).T if found.columns_first else np.asarray(found.rows)


class _reading:  # noqa: N801 - read as a verb
    """Turns whatever goes wrong while reading a file into a UserError that names it."""

    def __init__(self, what: str | pathlib.Path) -> None:
        self._what = str(what)

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


class _Allowance:
    """How much of one file may be unpacked into memory."""

    def __init__(self) -> None:
        self._left = _MOST_UNPACKED

    def take(self, what: str, num_bytes: int) -> None:
        """Raises a UserError where an array, or all so far together, are too large."""
        _require_memory(what, num_bytes)
        self._left -= num_bytes
        if self._left < 0:
            raise UserError(
                f"{what} and other arrays of this file would take more than "
                f"{_MOST_UNPACKED / 2**30:.0f} GiB of memory; save them in several files"
            )


def _require_numbers(what: str, dtype: np.dtype) -> None:
    if dtype.hasobject:
        raise UserError(f"{what} holds Python objects, which are not read; save it as numbers")
    if dtype.kind not in "biuf":
        raise UserError(f"{what} holds {dtype}, not real numbers")


def _npy_entry(path: pathlib.Path, what: str, offset: int = 0, end: float = math.inf) -> Entry:
    """The array whose .npy content lies between two places of a file."""
    with open(path, "rb") as file:
        file.seek(offset)
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
    size = path.stat().st_size
    num_bytes = math.prod(shape) * dtype.itemsize
    # Objects are stored in another way, which is not read. An axis of 0 hides how long others are.
    is_cut = offset + num_bytes > min(end, size) and not dtype.hasobject
    if is_cut or max(shape, default=0) > size:
        raise UserError(f"{what} is cut: its array of {shape} {dtype} does not end")
    raw = shape[::-1] if fortran else shape

    def open_array() -> Stored | list[str]:
        read = functools.partial(_read_from_file, path, offset, raw, dtype)
        rows = Rows(raw, dtype.newbyteorder("="), read)
        if _holds_texts(shape, dtype):
            return _texts(what, np.asarray(rows))
        _require_numbers(what, dtype)
        return Stored(rows, columns_first=fortran)

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
    are_sizes = all(type(size) is int and 0 <= size < 2**48 for size in shape)
    if len(shape) > _MOST_AXES or not are_sizes:
        raise ValueError(f"no array has the shape {str(shape)[:60]}")
    if not dtype.itemsize:
        raise ValueError(f"entries of the type {dtype} hold nothing")
    return shape, bool(fortran) and len(shape) > 1, dtype


def _holds_texts(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return dtype.kind in "US" and len(shape) < 2


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
    allowance = _Allowance()
    return {
        member.filename.removesuffix(".npy"): _member(path, member, allowance) for member in members
    }


def _member(path: pathlib.Path, member: zipfile.ZipInfo, allowance: _Allowance) -> Entry:
    what = f"{path}:{member.filename.removesuffix('.npy')}"
    if member.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as file:
            # Name and extra field may differ in length from those of the archive's directory.
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
        begin = member.header_offset + 30
        begin += sum(int.from_bytes(lengths[k : k + 2], "little") for k in (0, 2))
        return _npy_entry(path, what, begin, begin + member.file_size)
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, _, dtype = _npy_header(file)

    def open_array() -> Stored | list[str]:
        if not _holds_texts(shape, dtype):
            _require_numbers(what, dtype)
        allowance.take(what, max(math.prod(shape) * dtype.itemsize, *shape, 0))
        with _reading(path), zipfile.ZipFile(path) as archive, archive.open(member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            # Only at the end is the checksum compared.
            if file.read(1):
                raise UserError(f"{what} is longer than it says")
        return _texts(what, array) if dtype.kind in "US" else Stored(in_memory(array))

    return Entry(shape, open_array)


def _texts(what: str, array: np.ndarray) -> list[str]:
    with _reading(what):
        if array.dtype.kind == "S":
            return [text.decode() for text in array.ravel().tolist()]
        # numpy takes any number for a character; such a text ends the process sooner or later.
        native = array.astype(array.dtype.newbyteorder("="))
        characters = np.ascontiguousarray(native).reshape(-1).view(np.uint32)
        if ((characters > 0x10FFFF) | (characters >> 11 == 0xD800 >> 11)).any():
            raise ValueError("its texts hold numbers that are no characters")
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


# What an entry takes; a cell is an array, a sparse matrix becomes a whole one.
_MAT_ITEM_BYTES = {
    **{"double": 8, "int64": 8, "uint64": 8, "sparse": 8, "single": 4, "int32": 4, "uint32": 4},
    **{"char": 16, "cell": 1024},
}


def open_mat(path: str, opened: Callable[[], BinaryIO]) -> dict[str, Entry]:
    """Lists what a file of MATLAB's formats 4 and 5 holds; no array is read.

    Args:
      path: what messages call the file.
      opened: opens it.

    Raises:
      UserError: the file is damaged or of another kind.
    """
    import scipy.io

    allowance = _Allowance()

    def open_variable(name: str, shape: tuple[int, ...], kind: str) -> Stored | list[str]:
        what = f"{path}:{name}"
        if kind in ("struct", "object", "function", "opaque", "unknown"):
            raise UserError(f"{what} is a {kind} of MATLAB, not an array of numbers")
        allowance.take(what, max(math.prod(shape), *shape, 0) * _MAT_ITEM_BYTES.get(kind, 2))
        with _reading(what), opened() as file:
            mat_check.check(file, [name])
            found = scipy.io.loadmat(file, variable_names=[name])[name]
            if kind == "sparse":
                parts = found.data, found.indices, found.indptr
                return Stored(in_memory(_dense(*parts, shape)), columns_first=True)
        if kind in ("cell", "char"):
            return _mat_texts(what, found)
        _require_numbers(what, found.dtype)
        return Stored(in_memory(np.ascontiguousarray(found.T)), columns_first=True)

    with _reading(path), opened() as file:
        mat_check.check_heads(file)
        return {
            name: Entry(tuple(shape), functools.partial(open_variable, name, tuple(shape), kind))
            for name, shape, kind in scipy.io.whosmat(file)
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
            parts = [value.get(part) for part in _SPARSE_PARTS if _lies_in(value, part)]
            columns = parts[-1].size - 1 if len(parts) == len(_SPARSE_PARTS) else 0
            shape = (int(value.attrs["MATLAB_sparse"]), columns)
            open_it = functools.partial(_hdf5_sparse, f"{path}:{name}", parts, shape)
            entries[name] = Entry(shape, functools.partial(_guarded, f"{path}:{name}", open_it))
        elif isinstance(value, h5py.Dataset) and name.rpartition("/")[0] not in entries:
            matlab = _is_matlab(path) or "MATLAB_class" in value.attrs
            shape = value.shape[::-1] if matlab else value.shape
            open_it = functools.partial(_hdf5_array, f"{path}:{name}", value, matlab)
            opens = functools.partial(_guarded, f"{path}:{name}", open_it)
            entries[name] = Entry(shape or (), opens)

    # It visits what lies in this file alone: no link, soft or external, is followed.
    file.visititems(add)
    return entries


def _is_matlab(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"MATLAB"


def _guarded(what: str, read: Callable[[], Stored | list[str]]) -> Stored | list[str]:
    with _reading(what):
        return read()


_SPARSE_PARTS = ("data", "ir", "jc")


def _lies_in(group: Any, name: str) -> bool:
    """Whether a group has a data set of this name, and not only a link to one."""
    import h5py

    linked = isinstance(group, h5py.Group) and group.get(name, getlink=True)
    return isinstance(linked, h5py.HardLink) and isinstance(group.get(name), h5py.Dataset)


def _hdf5_sparse(what: str, parts: Sequence[Any], shape: tuple[int, int]) -> Stored:
    if len(parts) < len(_SPARSE_PARTS):
        raise UserError(f"{what} is no sparse matrix: it lacks one of {', '.join(_SPARSE_PARTS)}")
    _require_memory(what, max(math.prod(shape), *shape) * 8)
    for part in parts:
        _require_whole(what, part)
        _require_memory(what, part.nbytes)
        _require_numbers(what, part.dtype)
    return Stored(in_memory(_dense(*map(np.asarray, parts), shape)), columns_first=True)


def _require_whole(what: str, dataset: Any) -> None:
    """Raises a UserError unless all that a data set says to hold lies in its own file."""
    if dataset.external or dataset.is_virtual or dataset.shape is None:
        raise UserError(f"{what} lies in other files, which are not read; copy it into this one")
    if dataset.nbytes > _MOST_SHRUNK * dataset.id.get_storage_size():
        raise UserError(f"{what} was never written whole; write it again")


def _hdf5_array(what: str, dataset: Any, matlab: bool) -> Stored | list[str]:
    import h5py

    _require_whole(what, dataset)
    kind = dataset.attrs.get("MATLAB_class")
    if h5py.check_string_dtype(dataset.dtype):
        return _hdf5_strings(what, dataset)
    if h5py.check_ref_dtype(dataset.dtype):
        return _hdf5_cells(what, dataset)
    _require_numbers(what, dataset.dtype)
    if isinstance(kind, bytes) and kind == b"char":
        _require_few(what, dataset.size, _MOST_CHARACTERS)
        return [_hdf5_text(row) for row in np.atleast_2d(dataset[()]).T]
    native = dataset.dtype.newbyteorder("=")
    read = functools.partial(_read_from_hdf5, what, dataset)
    return Stored(Rows(dataset.shape, native, read), columns_first=matlab)


def _require_few(what: str, number: int, most: int) -> None:
    if number > most:
        raise UserError(f"{what} is longer than {most:,} texts or characters and is not read")


def _hdf5_strings(what: str, dataset: Any) -> list[str]:
    """Texts, read a few at a time: many may lie at one place of the file."""
    _require_few(what, dataset.size, _MOST_TEXTS)
    if not dataset.shape:
        return [dataset.asstr()[()]]
    texts: list[str] = []
    characters = 0
    axis = int(np.argmax(dataset.shape))
    for first in range(0, dataset.shape[axis], _TEXTS_AT_ONCE):
        place = [slice(None)] * dataset.ndim
        place[axis] = slice(first, first + _TEXTS_AT_ONCE)
        some = dataset.asstr()[tuple(place)].ravel().tolist()
        characters += sum(map(len, some))
        _require_few(what, characters, _MOST_CHARACTERS)
        texts += some
    return texts


def _hdf5_cells(what: str, dataset: Any) -> list[str]:
    """The texts of a cell array, whose cells are data sets of their own."""
    # Each cell has a head of its own; only where many are the same one there are more of them.
    in_file = pathlib.Path(dataset.file.filename).stat().st_size // _HDF5_HEAD_BYTES
    _require_few(what, dataset.size, min(in_file, _MOST_TEXTS))
    characters, texts = 0, []
    for reference in np.ravel(dataset[()]):
        cell = dataset.file[reference]
        _require_whole(what, cell)
        characters += cell.size
        _require_few(what, characters, _MOST_CHARACTERS)
        texts.append(_hdf5_text(cell[()].ravel()))
    return texts


def _hdf5_text(characters: np.ndarray) -> str:
    return characters.astype("<u2").tobytes().decode("utf-16-le").rstrip(" \0")


def _read_from_hdf5(what: str, dataset: Any, numbers: np.ndarray) -> np.ndarray:
    # In increasing order, so that no chunk is unpacked twice.
    order = np.argsort(numbers, kind="stable")
    increasing = numbers[order]
    rows = np.empty((len(numbers), *dataset.shape[1:]), dataset.dtype.newbyteorder("="))
    with _reading(what):
        if not dataset.shape:
            rows[:] = dataset[()]
            return rows
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
