"""Lists and checks the variables of MATLAB files of the formats 4 and 5 before SciPy reads them.

SciPy's reader trusts the file: an unknown type, or a size that contradicts the data, crashes the
process. Here a variable of format 5 is walked through without being kept: every element must have a
known type, lie within the one around it, and be as long as the shape demands. Of format 4, whose
variables are a header and numbers, the headers are checked.
"""

import contextlib
import io
import math
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, NamedTuple

MATLAB_7_3 = 2

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_CHARACTER_BYTES = {1: 1, 2: 1, 4: 2, 17: 2, 18: 4}
_UTF8 = 16
_CELL, _STRUCT, _CHARACTERS, _SPARSE, _NUMBERS, _OPAQUE = 1, 2, 4, 5, range(6, 16), 17
_KINDS = (
    *("unknown", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8"),
    *("int16", "uint16", "int32", "uint32", "int64", "uint64", "function"),
)
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_DEEPEST = 8
_PIECE = 2**16
_MOST_HEAD = 2**12
# Captions of a million pictures; texts grow several times when SciPy reads them.
_MOST_TEXT = 2**28

# What SciPy calls variables without a name.
_WORKSPACE = "__function_workspace__"

_OLD_HEAD = 20
_OLD_BYTES = (8, 4, 4, 2, 2, 1)
_OLD_KINDS = 3


class Variable(NamedTuple):
    """What a variable's header says.

    Attributes:
      name: as SciPy knows it.
      shape: of characters, without the last axis.
      kind: MATLAB's class: "double", "cell", "table", ...; "logical", or "unknown".
    """

    name: str
    shape: tuple[int, ...]
    kind: str


class _Head(NamedTuple):
    kind: int
    flags: int
    shape: tuple[int, ...]
    name: bytes  # as SciPy knows it
    own_class: tuple[bytes, bytes] | None = None  # name and class of a string, table or the like


class _Element(NamedTuple):
    """An element of the file itself; `read` reads its content, decompressed."""

    length: int
    is_compressed: bool
    order: str
    read: Callable[[int], bytes]


def version(file: Any) -> int:
    """The major version of a file: 0 of format 4, 1 of format 5, or `MATLAB_7_3`.

    Raises:
      ValueError: it is no file of MATLAB.
    """
    from scipy.io.matlab import matfile_version

    return matfile_version(file)[0]


def variables(file: BinaryIO) -> list[Variable]:
    """Lists the variables of a file of format 4 or 5.

    Raises:
      ValueError: a header is damaged, or the file is of another format.
    """
    form = version(file)
    if form == 0:
        return _old_variables(file)
    if form == MATLAB_7_3:
        raise ValueError("its header says MATLAB 7.3, but its content is not HDF5")
    return [_described(_Walk(element).begin()[0]) for element in _elements(file)]


def _described(head: _Head) -> Variable:
    if head.own_class is not None:
        name, own_class = (one.decode("latin-1") for one in head.own_class)
        return Variable(name or _WORKSPACE, (), own_class)
    kind = _KINDS[head.kind] if head.kind < len(_KINDS) else "unknown"
    if head.flags & _LOGICAL and head.kind in (_SPARSE, *_NUMBERS):
        kind = "logical"
    shape = head.shape[:-1] if head.kind == _CHARACTERS else head.shape
    return Variable(head.name.decode("latin-1") or _WORKSPACE, shape, kind)


def _old_variables(file: Any) -> list[Variable]:
    """The variables of a file of format 4, once it is certain that they lie in it."""
    import scipy.io

    size, place = file.seek(0, io.SEEK_END), 0
    while place < size:
        file.seek(place)
        head = file.read(_OLD_HEAD)
        if len(head) < _OLD_HEAD:
            raise ValueError("it is truncated")
        order = "<" if struct.unpack("<I", head[:4])[0] <= 5000 else ">"
        kind, rows, columns, is_complex, name = struct.unpack(f"{order}5i", head)
        number, matrix = kind // 10 % 100, kind % 10
        if number >= len(_OLD_BYTES) or matrix >= _OLD_KINDS or is_complex not in (0, 1):
            raise ValueError(f"a variable of the unknown type {kind}")
        if min(rows, columns) < 0 or name < 1:
            raise ValueError(f"a variable of the shape {rows} x {columns}")
        place += _OLD_HEAD + name + rows * columns * (1 + is_complex) * _OLD_BYTES[number]
        if place > size:
            raise ValueError("it is truncated")
    file.seek(0)
    return [Variable(name, tuple(shape), kind) for name, shape, kind in scipy.io.whosmat(file)]


def check(file: BinaryIO, names: Collection[str]) -> None:
    """Checks all variables of some names in a file of MATLAB's format 5.

    Files of format 4 are not checked here: SciPy reads them in Python.

    Args:
      file: the file, open for reading.
      names: variables to check: arrays of numbers, sparse matrices, characters, or cells and
        structures of these.

    Raises:
      ValueError: a variable is damaged or holds something else, or none has one of these names.
    """
    if version(file) == 0:
        return
    wanted = {name.encode("latin-1") for name in names}
    if not sum([_Walk(element).variable(wanted) for element in _elements(file)]):
        raise ValueError(f"it has no variable {' or '.join(names)}")


def require_size(file: BinaryIO, most: int) -> None:
    """Raises a ValueError if a file of format 5 has more than some bytes when decompressed."""
    total = 0
    for element in _elements(file):
        if not element.is_compressed:
            total += element.length
        # Damage is for the reader to name.
        with contextlib.suppress(zlib.error):
            while element.is_compressed and total <= most and (piece := element.read(_PIECE)):
                total += len(piece)
        if total > most:
            raise ValueError(f"it decompresses to more than {most} bytes")


def _elements(file: BinaryIO) -> Iterator[_Element]:
    """The elements of a file of format 5; each must be read before the next is asked for."""
    size = file.seek(0, io.SEEK_END)
    file.seek(_HEADER - 2)
    order = "<" if file.read(2) == b"IM" else ">"
    place = _HEADER
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if place + 8 + length > size:
            raise ValueError("it is truncated")
        if kind == _COMPRESSED:
            yield _Element(length, True, order, _decompressed(file.read, length))
        else:
            file.seek(place)
            yield _Element(length, False, order, file.read)
        place += 8 + length


def _decompressed(read: Callable[[int], bytes], length: int) -> Callable[[int], bytes]:
    """A reader of what the next bytes hold compressed, which are read piece by piece."""
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

    def __init__(self, element: _Element) -> None:
        self._read, self._order = element.read, element.order

    def begin(self) -> tuple[_Head, int]:
        """Reads the header; returns it, and the number of bytes behind it."""
        kind, length, _ = self._tag(None)
        if kind != _MATRIX:
            raise ValueError(f"an element of the type {kind} is not a variable")
        return self._head(length)

    def variable(self, names: Collection[bytes]) -> bool:
        """Checks the variable if it has one of these names; returns whether it has."""
        head, left = self.begin()
        if head.name not in names:
            return False
        self._content(head, left, 0)
        return True

    def _take(self, length: int) -> bytes:
        found = self._read(length)
        if len(found) < length:
            raise ValueError("it is truncated")
        return found

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._take(min(length, _PIECE)))

    def _tag(self, left: int | None) -> tuple[int, int, bytes | None]:
        """Type and length of the next element, and its content if that is part of the tag."""
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

    def _element(self, left: int, keep: int = 0) -> tuple[int, int, bytes, int]:
        """Type, length and content of the next element, and the number of bytes behind it.

        Content is kept up to `keep` bytes, a longer one is refused; 0 keeps none.
        """
        kind, length, content = self._tag(left)
        if content is not None:
            return kind, length, content, left - 8
        if keep and length > keep:
            raise ValueError(f"an element of the type {kind} has {length} bytes")
        content = self._take(length) if keep else b""
        if not keep:
            self._skip(length)
        left -= 8 + length
        # The last element of a variable need not be padded.
        padding = min(-length % 8, left)
        self._skip(padding)
        return kind, length, content, left - padding

    def _head(self, left: int) -> tuple[_Head, int]:
        kind, length, content, left = self._element(left, keep=_MOST_HEAD)
        if (kind, length) != (6, 8):
            raise ValueError("it has no flags")
        flags = struct.unpack(f"{self._order}I", content[:4])[0]
        if flags & 0xFF == _OPAQUE:
            # A string, table or the like: it has no shape, and SciPy calls it "None".
            own, left = self._names(left)
            return _Head(_OPAQUE, flags, (), b"None", own), left
        kind, length, content, left = self._element(left, keep=_MOST_HEAD)
        if kind != 5 or length % 4 or length < 8:
            raise ValueError("it has no shape")
        shape = struct.unpack(f"{self._order}{length // 4}i", content)
        if min(shape) < 0:
            raise ValueError(f"it has the shape {shape}")
        kind, _, name, left = self._element(left, keep=_MOST_HEAD)
        if kind != 1:
            raise ValueError("it has no name")
        return _Head(flags & 0xFF, flags, shape, name), left

    def _names(self, left: int) -> tuple[tuple[bytes, bytes], int]:
        """Name and class of an object of MATLAB's own classes; between them its class system."""
        found = []
        for _ in range(3):
            kind, _, name, left = self._element(left, keep=_MOST_HEAD)
            if kind != 1:
                raise ValueError("it has no name")
            found.append(name)
        return (found[0], found[2]), left

    def _content(self, head: _Head, left: int, depth: int) -> None:
        entries = math.prod(head.shape)
        if head.kind in _NUMBERS:
            for _ in range(_parts(head)):
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

    def _numbers(self, left: int, entries: int | None, *, are_bytes: bool = False) -> int:
        """Checks an element of numbers, of this many unless None; returns the bytes behind it."""
        kind, length, _, left = self._element(left)
        size = _NUMBER_BYTES.get(kind, 0)
        fits = size and (are_bytes or not length % size)
        if not fits or (entries is not None and length != size * entries):
            raise ValueError(f"{length} bytes of the type {kind} are not its {entries} numbers")
        return left

    def _structure(self, left: int, entries: int, depth: int) -> None:
        kind, length, content, left = self._element(left, keep=_MOST_HEAD)
        width = struct.unpack(f"{self._order}i", content)[0] if (kind, length) == (5, 4) else 0
        kind, length, _, left = self._element(left)
        if width < 1 or kind != 1 or length % width:
            raise ValueError("the names of its fields are damaged")
        for _ in range(entries * (length // width)):
            left = self._cell(left, depth)

    def _characters(self, left: int, entries: int) -> None:
        if left > _MOST_TEXT:
            raise ValueError(f"{left} bytes are more than texts have")
        kind, length, content, _ = self._element(left, keep=_MOST_TEXT)
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
        # MATLAB writes logical values as bytes under the tag of doubles.
        are_bytes = head.flags & (_LOGICAL | _COMPLEX) == _LOGICAL
        for _ in range(_parts(head)):
            left = self._numbers(left, None, are_bytes=are_bytes)

    def _cell(self, left: int, depth: int) -> int:
        kind, length, content = self._tag(left)
        if kind != _MATRIX or content is not None:
            raise ValueError(f"a cell of the type {kind}")
        if length:
            head, inside = self._head(length)
            self._content(head, inside, depth + 1)
        return left - 8 - length


def _parts(head: _Head) -> int:
    """Real and imaginary part of complex numbers, else one."""
    return 2 if head.flags & _COMPLEX else 1
