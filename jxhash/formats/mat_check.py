"""Checks variables of MATLAB 4 and 5 files before SciPy reads them.

SciPy's reader trusts what a file says of itself: a type that does not exist, or a size that the
data does not have, ends the process. Here a variable is gone through without being kept: every
element is of a known type, lies within the one around it, and is as long as the shape asks for. Of
format 4, whose variables are a head and numbers, the heads are checked.
"""

import io
import math
import struct
import zlib
from collections.abc import Callable, Collection
from typing import BinaryIO, NamedTuple

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_CHARACTER_BYTES = {1: 1, 2: 1, 4: 2, 17: 2, 18: 4}
_UTF8 = 16
_CELL, _STRUCT, _CHARACTERS, _SPARSE, _NUMBERS = 1, 2, 4, 5, range(6, 16)
_COMPLEX = 0x0800
_DEEPEST = 8
_PIECE = 2**16
# Captions of a million pictures; texts grow several times when SciPy reads them.
_MOST_TEXT = 2**28


_OLD_HEAD = 20
_OLD_BYTES = (8, 4, 4, 2, 2, 1)
_OLD_KINDS = 3


class _Head(NamedTuple):
    """What a variable says of itself."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: bytes


def check_heads(file: BinaryIO) -> None:
    """Checks that the variables of a file of format 4 lie in it; any other is passed over.

    Raises:
      ValueError: one does not, or is of an unknown type.
    """
    from scipy.io.matlab import matfile_version

    if matfile_version(file)[0] != 0:
        return
    size, place = file.seek(0, io.SEEK_END), 0
    while place < size:
        file.seek(place)
        head = file.read(_OLD_HEAD)
        if len(head) < _OLD_HEAD:
            raise ValueError("it is cut")
        order = "<" if struct.unpack("<I", head[:4])[0] <= 5000 else ">"
        kind, rows, columns, is_complex, name = struct.unpack(f"{order}5i", head)
        number, matrix = kind // 10 % 100, kind % 10
        if number >= len(_OLD_BYTES) or matrix >= _OLD_KINDS or is_complex not in (0, 1):
            raise ValueError(f"a variable of the unknown type {kind}")
        if min(rows, columns) < 0 or name < 1:
            raise ValueError(f"a variable of the shape {rows} x {columns}")
        place += _OLD_HEAD + name + rows * columns * (1 + is_complex) * _OLD_BYTES[number]
        if place > size:
            raise ValueError("it is cut")


def check(file: BinaryIO, names: Collection[str]) -> None:
    """Checks all variables of some names in a file of MATLAB's format 5.

    A file of format 4 is passed over: SciPy reads it in Python.

    Args:
      file: the file, open to be read.
      names: of variables: arrays of numbers, sparse matrices, characters, or cells and structures
        of these.

    Raises:
      ValueError: a variable is damaged or holds something else, or there is none of these names.
    """
    from scipy.io.matlab import matfile_version

    if matfile_version(file)[0] == 0:
        return
    size = file.seek(0, io.SEEK_END)
    file.seek(_HEADER - 2)
    order = "<" if file.read(2) == b"IM" else ">"
    place, found = _HEADER, 0
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if place + 8 + length > size:
            raise ValueError("it is cut")
        if kind == _COMPRESSED:
            read = _inflated(file.read, length)
        else:
            file.seek(place)
            read = file.read
        found += _Walk(read, order).variable({name.encode("latin-1") for name in names})
        place += 8 + length
    if not found:
        raise ValueError(f"it has no variable {' or '.join(names)}")


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

    def variable(self, names: Collection[bytes]) -> bool:
        """Checks the variable that comes next, if it is of one of these names; says whether."""
        kind, length, _ = self._tag(None)
        if kind != _MATRIX:
            raise ValueError(f"an element of the type {kind} is no variable")
        head, left = self._head(length)
        if head.name not in names:
            return False
        self._content(head, left, 0)
        return True

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
        elif head.kind == _STRUCT and depth < _DEEPEST:
            self._structure(left, entries, depth)
        else:
            raise ValueError("it holds something other than numbers and texts")

    def _numbers(self, left: int, entries: int | None) -> int:
        kind, length, _, left = self._element(left, keep=False)
        size = _NUMBER_BYTES.get(kind)
        if size is None or length % size or (entries is not None and length != size * entries):
            raise ValueError(f"{length} bytes of the type {kind} are not its {entries} numbers")
        return left

    def _structure(self, left: int, entries: int, depth: int) -> None:
        kind, length, width, left = self._element(left, keep=True)
        width = struct.unpack(f"{self._order}i", width)[0] if (kind, length) == (5, 4) else 0
        kind, length, _, left = self._element(left, keep=False)
        if width < 1 or kind != 1 or length % width:
            raise ValueError("the names of its fields are damaged")
        for _ in range(entries * (length // width)):
            left = self._cell(left, depth)

    def _characters(self, left: int, entries: int) -> None:
        if left > _MOST_TEXT:
            raise ValueError(f"{left} bytes are more than texts have")
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
