"""Checks variables of MATLAB 5 files before SciPy reads them.

SciPy's reader trusts what a file says of itself: a type that does not exist, or a size that the
data does not have, ends the process. Here a variable is gone through without being kept: every
element is of a known type, lies within the one around it, and is as long as the shape asks for.
"""

import math
import os
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_CHARACTER_BYTES = {1: 1, 2: 1, 4: 2, 17: 2, 18: 4}
_UTF8 = 16
_CELL, _CHARACTERS, _SPARSE, _NUMBERS = 1, 4, 5, range(6, 16)
_COMPLEX = 0x0800
_DEEPEST = 8
_PIECE = 2**16


class _Head(NamedTuple):
    """What a variable says of itself."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: bytes


def check(path: str | os.PathLike, name: str) -> None:
    """Checks all variables of a name in a file of MATLAB's format 5 (any other is passed over).

    Args:
      path: the file.
      name: of the variable: an array of numbers, a sparse matrix, characters, or cells of these.

    Raises:
      ValueError: the variable is damaged, or holds something else.
    """
    with open(path, "rb") as file:
        check_content(file, name)


def check_content(file: BinaryIO, name: str) -> None:
    """Checks all variables of a name, as `check` does, in a file that is open.

    Raises:
      ValueError: the variable is damaged, or holds something else.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(_HEADER)
    if header[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        return
    order = "<" if header[126:] == b"IM" else ">"
    place = _HEADER
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if place + 8 + length > size:
            raise ValueError("it is cut")
        if kind == _COMPRESSED:
            _Walk(_inflated(file.read, length), order).variable(name.encode())
        else:
            file.seek(place)
            _Walk(file.read, order).variable(name.encode())
        place += 8 + length


def _inflated(read: Callable[[int], bytes], length: int) -> Callable[[int], bytes]:
    """A reader of what is packed in the next bytes, which are read piece by piece."""
    unpacker, left = zlib.decompressobj(), length

    def read_unpacked(wanted: int) -> bytes:
        nonlocal left
        found = b""
        while len(found) < wanted:
            packed = unpacker.unconsumed_tail
            if not packed:
                packed = read(min(left, _PIECE))
                left -= len(packed)
            piece = unpacker.decompress(packed, wanted - len(found))
            if not piece and not left and not unpacker.unconsumed_tail:
                break
            found += piece
        return found

    return read_unpacked


class _Walk:
    """One pass over a variable."""

    def __init__(self, read: Callable[[int], bytes], order: str) -> None:
        self._read, self._order = read, order

    def variable(self, name: bytes) -> None:
        """Checks the variable that comes next, if it is of this name."""
        kind, length, _ = self._tag(None)
        if kind != _MATRIX:
            raise ValueError(f"an element of the type {kind} is no variable")
        head, left = self._head(length)
        if head.name == name:
            self._content(head, left, 0)

    def _take(self, length: int) -> bytes:
        found = self._read(length)
        if len(found) < length:
            raise ValueError("it is cut")
        return found

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._take(min(length, _PIECE)))

    def _tag(self, left: int | None) -> tuple[int, int, bytes | None]:
        """Type and length of the next element, and its content where that is part of the tag."""
        tag = self._take(8)
        kind, length = struct.unpack(f"{self._order}II", tag)
        if kind >> 16:
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise ValueError(f"a short element of {length} bytes")
            return kind, length, tag[4 : 4 + length]
        if left is not None and 8 + length > left:
            raise ValueError("an element is longer than the one around it")
        return kind, length, None

    def _element(self, left: int, *, keep: bool) -> tuple[int, int, bytes, int]:
        """Type, length and, if kept, content of the next element; and the bytes left behind it."""
        kind, length, content = self._tag(left)
        if content is not None:
            return kind, length, content, left - 8
        padding = -length % 8
        content = self._take(length) if keep else b""
        if not keep:
            self._skip(length)
        left -= 8 + length
        # The last element of a variable need not be padded.
        self._skip(min(padding, left))
        return kind, length, content, left - min(padding, left)

    def _head(self, left: int) -> tuple[_Head, int]:
        kind, length, flags, left = self._element(left, keep=True)
        if (kind, length) != (6, 8):
            raise ValueError("it has no flags")
        flags = struct.unpack(f"{self._order}I", flags[:4])[0]
        kind, length, shape, left = self._element(left, keep=True)
        if kind != 5 or length % 4 or length < 8:
            raise ValueError("it has no shape")
        shape = struct.unpack(f"{self._order}{length // 4}i", shape)
        if min(shape) < 0:
            raise ValueError(f"it has the shape {shape}")
        kind, _, name, left = self._element(left, keep=True)
        if kind != 1:
            raise ValueError("it has no name")
        return _Head(flags & 0xFF, bool(flags & _COMPLEX), shape, name), left

    def _content(self, head: _Head, left: int, depth: int) -> None:
        entries = math.prod(head.shape)
        if head.kind in _NUMBERS:
            for _ in range(1 + head.is_complex):
                left = self._numbers(left, entries)
        elif head.kind == _CHARACTERS:
            self._characters(left, entries)
        elif head.kind == _SPARSE:
            self._sparse(head, left)
        elif head.kind == _CELL and depth < _DEEPEST:
            for _ in range(entries):
                left = self._cell(left, depth)
        else:
            raise ValueError("it holds something other than numbers and texts")

    def _numbers(self, left: int, entries: int | None) -> int:
        kind, length, _, left = self._element(left, keep=False)
        size = _NUMBER_BYTES.get(kind)
        if size is None or length % size or (entries is not None and length != size * entries):
            raise ValueError(f"{length} bytes of the type {kind} are not its {entries} numbers")
        return left

    def _characters(self, left: int, entries: int) -> None:
        kind, length, content, _ = self._element(left, keep=True)
        if kind == _UTF8:
            text = content.decode()
            fits = entries in (len(text), len(text.encode("utf-16-le")) // 2)
        else:
            fits = length == entries * _CHARACTER_BYTES.get(kind, -1)
        if not fits and (length or entries):
            raise ValueError(f"{length} bytes of the type {kind} are not its {entries} characters")

    def _sparse(self, head: _Head, left: int) -> None:
        if len(head.shape) != 2:
            raise ValueError(f"a sparse matrix has two axes, not {len(head.shape)}")
        left = self._numbers(left, None)
        left = self._numbers(left, head.shape[1] + 1)
        for _ in range(1 + head.is_complex):
            left = self._numbers(left, None)

    def _cell(self, left: int, depth: int) -> int:
        kind, length, content = self._tag(left)
        if kind != _MATRIX or content is not None:
            raise ValueError(f"a cell of the type {kind}")
        if length:
            head, inside = self._head(length)
            self._content(head, inside, depth + 1)
        return left - 8 - length
