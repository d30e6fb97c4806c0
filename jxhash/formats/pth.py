"""Reads the tensors of a torch `.pth` file with numpy alone, and executes nothing from the file.

A `.pth` file is a pickle, and unpickling a stranger's file means running a stranger's program. This
reader never unpickles: `pickle_opcodes` interprets only what a dictionary of tensors is written
with. Both layouts of torch are read: the zip archive (torch 1.6 and later) and the older sequence
of five pickles followed by the storages.

Layout of the archive and of the older file: the public source of torch, `torch/serialization.py`.
"""

import io
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jxhash.formats.pickle_opcodes import (
    DamagedFileError,
    PthError,
    Storage,
    Tensor,
    UnsafePickleError,
    parse,
)

_TAR_MAGIC = b"ustar"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MOST_EMPTY = 2**16
_LONGEST_REASON = 200


def read(path: str | Path) -> dict[str, Any]:
    """Returns the dictionary of tensors that a `.pth` file holds.

    Args:
      path: a file that `torch.save` wrote from a `state_dict` or from dictionaries of tensors.

    Returns:
      Names to numpy arrays (read-only, the shapes of the file; float16/32/64, int8/16/32/64 or
      uint8); dictionaries inside the dictionary stay dictionaries. Tensors that share a storage
      share their memory.

    Raises:
      FileNotFoundError: there is no such file.
      PthError: the file is of torch before 0.2.
      UnsafePickleError: the file mentions anything but tensors and dictionaries.
      DamagedFileError: the file is truncated, or the sizes in it contradict each other.
    """
    with open(path, "rb") as file:
        try:
            return _read_archive(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        except PthError as error:
            raise type(error)(f"{path}: {_in_one_line(error)}") from None
        # What is truncated or damaged fails in as many ways.
        except Exception as error:
            raise DamagedFileError(
                f"{path}: truncated or damaged ({type(error).__name__}: {_in_one_line(error)})"
            ) from None


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]


def _read_archive(file: BinaryIO) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        members = _checked_members(archive, file.seek(0, io.SEEK_END))
        found = [name for name in members if re.search("(^|/)data.pkl$", name)]
        if len(found) != 1:
            raise DamagedFileError(f"{len(found)} files data.pkl in the archive, one is needed")
        prefix = found[0].removesuffix("data.pkl")
        order = f"{prefix}byteorder"
        if order in members and archive.read(order).strip() != b"little":
            raise DamagedFileError("its byte order is not 'little', the only one that is read")
        root, storages = parse(io.BytesIO(archive.read(found[0])))
        arrays = {}
        for key, storage in storages.items():
            name, expected = f"{prefix}data/{key}", storage.size * storage.dtype.itemsize
            if name not in members:
                raise DamagedFileError(f"storage {key!r} is missing from the archive")
            if members[name] != expected:
                raise DamagedFileError(
                    f"storage {key!r} holds {members[name]} bytes, its tensors need {expected}"
                )
            arrays[key] = np.frombuffer(archive.read(name), storage.dtype)
    return _with_arrays(root, arrays)


def _checked_members(archive: zipfile.ZipFile, total: int) -> dict[str, int]:
    """Name -> size of the members, which together must fit into a file of `total` bytes."""
    sizes: dict[str, int] = {}
    left = total
    for member in archive.infolist():
        name, size = member.filename, member.file_size
        if re.search(r"^/|\\|:|(^|/)\.\.(/|$)", name):
            raise UnsafePickleError(f"member {name!r} points outside the archive")
        if name in sizes:
            raise DamagedFileError(f"member {name!r} occurs twice")
        # torch never compresses; a compressed member may expand to any size.
        if member.compress_type != zipfile.ZIP_STORED:
            raise UnsafePickleError(f"member {name!r} is compressed, which torch never does")
        sizes[name] = size
        # Members that overlap can claim the same bytes many times over.
        left -= size
        if size != member.compress_size or left < 0:
            raise DamagedFileError(f"member {name!r} claims {size} bytes in a file of {total}")
    return sizes


def _read_legacy(file: BinaryIO) -> dict[str, Any]:
    file.seek(0)
    content = file.read()
    if content[257:262] == _TAR_MAGIC:
        raise PthError(
            "the tar layout of torch before 0.2 is not read; take a newer file of the same weights "
            "(torchvision: alexnet-owt-7be5be79.pth), or save it again with torch"
        )
    stream = io.BytesIO(content)
    (magic, _), (protocol, _), (system, _), (root, storages), (keys, _) = (
        parse(stream) for _ in range(5)
    )
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise DamagedFileError("neither a zip archive nor a torch file of the older layout")
    if system["little_endian"] is not True:
        raise DamagedFileError("only little-endian files are read")
    if sorted(keys) != sorted(storages):
        raise DamagedFileError("the list of storages does not match the tensors")
    arrays = {key: _legacy_storage(content, stream, storages[key]) for key in keys}
    return _with_arrays(root, arrays)


def _legacy_storage(content: bytes, stream: io.BytesIO, storage: Storage) -> np.ndarray:
    (size,) = struct.unpack("<q", stream.read(8))
    if size != storage.size:
        raise DamagedFileError(
            f"storage {storage.key!r} states {size} elements, its tensors state {storage.size}"
        )
    array = np.frombuffer(content, storage.dtype, size, stream.tell())
    stream.seek(array.nbytes, io.SEEK_CUR)
    return array


def _with_arrays(root: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Replaces the tensors of a dictionary, and of those inside it, by arrays."""
    if not isinstance(root, dict):
        raise UnsafePickleError(f"holds a {type(root).__name__}, not a dictionary of tensors")
    waiting, seen = [root], {id(root)}
    while waiting:
        dictionary = waiting.pop()
        for name, value in dictionary.items():
            if isinstance(value, Tensor):
                dictionary[name] = _view(name, value, arrays[value.storage.key])
            elif not isinstance(value, dict):
                raise UnsafePickleError(f"{name!r} is a {type(value).__name__}, not a tensor")
            elif id(value) in seen:
                raise UnsafePickleError(f"dictionary {name!r} occurs twice or holds itself")
            else:
                seen.add(id(value))
                waiting.append(value)
    return root


def _view(name: str, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    elements = math.prod(tensor.shape)
    if elements == 0:
        if max(tensor.shape) > _MOST_EMPTY:
            raise DamagedFileError(f"{name!r} is empty, of the shape {tensor.shape}")
        return np.zeros(tensor.shape, numbers.dtype)
    last = tensor.offset + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)
    )
    if elements > len(numbers) or last >= len(numbers):
        raise DamagedFileError(
            f"{name!r} of shape {tensor.shape} reaches beyond its storage of {len(numbers)} "
            "elements"
        )
    byte_strides = tuple(step * numbers.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :], tensor.shape, byte_strides, writeable=False
    )
