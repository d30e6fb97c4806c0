"""Reads the arrays of .npy and .npz files, by rows where they are not compressed.

No file is mapped: a file that is truncated while in use gives an error instead of a crash, and
what was read does not count as memory of the process.
"""

import math
import pathlib
import struct
import zipfile
from typing import IO

import numpy as np

from jxhash.errors import UserError
from jxhash.formats.file_names import is_hidden
from jxhash.formats.stored import (
    Allowance,
    Entry,
    Stored,
    Texts,
    reading,
    require_numbers,
    texts_of,
    widened,
)
from jxhash.rows import Rows, in_memory, runs

_MOST_AXES = 32
# How numpy writes bfloat16, a type that it does not know: two bytes of anything.
_BFLOAT16 = np.dtype("V2")


def npy_entry(path: pathlib.Path, what: str, offset: int = 0, end: float = math.inf) -> Entry:
    """The array whose .npy content lies between two offsets of a file.

    Args:
      path: the file.
      what: what messages call the array.
      offset: where the content begins.
      end: where it ends at the latest.

    Raises:
      UserError: the content is truncated.
      ValueError: the header is damaged.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        shape, fortran, dtype = _header(file)
        begin = file.tell()
    size = path.stat().st_size
    num_bytes = math.prod(shape) * dtype.itemsize
    # Objects are stored in another way, and are refused. An axis of 0 hides how long others are.
    is_truncated = begin + num_bytes > min(end, size) and not dtype.hasobject
    if is_truncated or max(shape, default=0) > size:
        raise UserError(f"{what} is truncated: its header claims an array of {shape} {dtype}")
    raw = shape[::-1] if fortran else shape

    def open_array() -> Stored | Texts:
        if dtype.kind in "US":
            rows = file_rows(path, begin, raw, dtype)
            return _texts(what, np.asarray(rows).T if fortran else np.asarray(rows))
        if dtype == _BFLOAT16:
            return Stored(bfloat16_rows(path, begin, raw), columns_first=fortran)
        require_numbers(what, dtype)
        return Stored(file_rows(path, begin, raw, dtype), columns_first=fortran)

    return Entry(shape, open_array)


def npz_entries(path: pathlib.Path) -> dict[str, Entry]:
    """Name -> array of a .npz file.

    Raises:
      UserError: an array is truncated.
      ValueError, zipfile.BadZipFile: the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if member.filename.endswith(".npy") and not is_hidden(member.filename)
        ]
    allowance = Allowance()
    return {
        member.filename.removesuffix(".npy"): _member(path, member, allowance) for member in members
    }


def _member(path: pathlib.Path, member: zipfile.ZipInfo, allowance: Allowance) -> Entry:
    what = f"{path}:{member.filename.removesuffix('.npy')}"
    if member.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as raw:
            # Name and extra field may differ in length from those of the archive's directory.
            raw.seek(member.header_offset + 26)
            begin = member.header_offset + 30 + sum(struct.unpack("<2H", raw.read(4)))
        return npy_entry(path, what, begin, begin + member.file_size)
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, _, dtype = _header(file)

    def open_array() -> Stored | Texts:
        if dtype.kind not in "US" and dtype != _BFLOAT16:
            require_numbers(what, dtype)
        allowance.take(what, max(math.prod(shape) * dtype.itemsize, *shape, 0))
        with reading(path), zipfile.ZipFile(path) as archive, archive.open(member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            # The checksum is compared only at the end.
            if file.read(1):
                raise UserError(f"{what} is longer than its header claims")
        if dtype == _BFLOAT16:
            array = widened(np.ascontiguousarray(array))
        return _texts(what, array) if dtype.kind in "US" else Stored(in_memory(array))

    return Entry(shape, open_array)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format holds no plain numbers")
    form = np.lib.format
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, fortran, dtype = read(file)
    are_sizes = all(type(size) is int and 0 <= size < 2**48 for size in shape)
    if len(shape) > _MOST_AXES or not are_sizes:
        raise ValueError(f"invalid shape {str(shape)[:60]}")
    if not dtype.itemsize:
        raise ValueError(f"entries of dtype {dtype} have no bytes")
    return shape, bool(fortran) and len(shape) > 1, dtype


def file_rows(path: pathlib.Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> Rows:
    """An array that lies contiguously from an offset of a file on, read by rows."""
    native = dtype.newbyteorder("=")
    return Rows(shape, native, lambda rows: _read_rows(path, offset, shape, dtype, rows))


def bfloat16_rows(path: pathlib.Path, offset: int, shape: tuple[int, ...]) -> Rows:
    """Numbers in bfloat16, see `file_rows`, as float32."""
    stored = file_rows(path, offset, shape, np.dtype("<u2"))
    return Rows(shape, np.dtype(np.float32), lambda rows: widened(stored.read(rows)))


def _read_rows(
    path: pathlib.Path, offset: int, shape: tuple[int, ...], dtype: np.dtype, numbers: np.ndarray
) -> np.ndarray:
    """Reads some of the rows that lie contiguously from an offset of a file on."""
    rows = np.empty((len(numbers), *shape[1:]), dtype)
    size = math.prod(shape[1:]) * dtype.itemsize
    content = rows.reshape(-1).view(np.uint8)
    with reading(path), open(path, "rb", buffering=0) as file:
        for begin, end in runs(numbers):
            file.seek(offset + int(numbers[begin]) * size)
            part = content[begin * size : end * size].data
            while len(part):
                read = file.readinto(part)
                if not read:
                    raise UserError(f"{path} was truncated while in use")
                part = part[read:]
    return rows.astype(dtype.newbyteorder("="), copy=False)


def _texts(what: str, array: np.ndarray) -> Texts:
    with reading(what):
        if array.dtype.kind == "S":
            return texts_of(what, np.char.decode(array, "utf-8"))
        # numpy accepts any number as a character; such a text crashes the process sooner or later.
        native = array.astype(array.dtype.newbyteorder("="))
        characters = np.ascontiguousarray(native).reshape(-1).view(np.uint32)
        if ((characters > 0x10FFFF) | (characters >> 11 == 0xD800 >> 11)).any():
            raise ValueError("its texts hold invalid Unicode code points")
        return texts_of(what, array)
