"""Reads the tensors of `.safetensors` files by rows.

The file is a length (uint64), a JSON header of that length with dtype, shape and place of each
tensor, and the tensors: https://github.com/huggingface/safetensors.
"""

import functools
import math
import pathlib
import struct
from typing import Any

import numpy as np

from jxhash.atomic_files import parse_json
from jxhash.errors import UserError
from jxhash.formats.npy import bfloat16_rows, file_rows
from jxhash.formats.stored import Entry, Stored

_MOST_HEADER = 2**26
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "|b1"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1"},
}


def safetensors_entries(path: pathlib.Path) -> dict[str, Entry]:
    """Name -> tensor of a file; bfloat16 becomes float32.

    Raises:
      ValueError: the file is damaged.
    """
    with open(path, "rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else _MOST_HEADER + 1
        size = path.stat().st_size - 8 - length
        if length > _MOST_HEADER or size < 0:
            raise ValueError("its header is longer than the file")
        header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    header.pop("__metadata__", None)
    entries, left = {}, size
    for name, described in header.items():
        shape, num_bytes, opened = _tensor(path, name, described, 8 + length, size)
        # Tensors that overlap can claim the same bytes many times over.
        left -= num_bytes
        if left < 0:
            raise ValueError("its tensors overlap")
        entries[name] = Entry(shape, opened)
    return entries


def _tensor(
    path: pathlib.Path, name: str, described: Any, begin: int, size: int
) -> tuple[tuple[int, ...], int, functools.partial[Stored]]:
    """Shape and bytes of a tensor, and what opens it."""
    try:
        kind, shape = described["dtype"], tuple(described["shape"])
        first, last = described["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name!r:.80} has no dtype, shape and place") from error
    sizes = (*shape, first, last)
    if not all(type(one) is int and 0 <= one < 2**48 for one in sizes) or len(shape) > 32:
        raise ValueError(f"{name!r:.80} has an invalid shape or place")
    dtype = np.dtype(_DTYPES.get(kind, "V0") if isinstance(kind, str) else "V0")
    if dtype.itemsize and last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r:.80} of shape {shape} does not fit its {last - first} bytes")
    if last > size or max(shape, default=0) > size:
        raise ValueError(f"{name!r:.80} reaches beyond the end of the file")
    opened = functools.partial(_open, f"{path}:{name}", path, kind, begin + first, shape, dtype)
    return shape, last - first, opened


def _open(
    what: str, path: pathlib.Path, kind: Any, offset: int, shape: tuple[int, ...], dtype: np.dtype
) -> Stored:
    if not dtype.itemsize:
        raise UserError(f"{what} holds {kind!r:.20}, not real numbers of a known type")
    if kind == "BF16":
        return Stored(bfloat16_rows(path, offset, shape))
    return Stored(file_rows(path, offset, shape, dtype))
