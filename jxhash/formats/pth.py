"""Reads the tensors of a torch `.pth` file with numpy alone, and runs nothing that the file says.

A `.pth` file is a pickle, and unpickling a stranger's file means running a stranger's program. This
reader never unpickles: it walks the opcodes, understands only what a dictionary of tensors is
written with, and refuses the rest. Both layouts of torch are read: the zip archive (torch 1.6 and
later) and the older sequence of five pickles followed by the storages.

Layout of the archive and of the older file: the public source of torch, `torch/serialization.py`.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

# The dtypes that numpy has too; bfloat16, quantised and complex storages are refused.
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
}
_TAR_MAGIC = b"ustar"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# A pickle holds names and shapes only: a hundred thousand tensors fit.
_MAX_PICKLE_BYTES = 32 * 2**20
_MAX_DIMENSIONS = 16
_MOST_EMPTY = 2**16


class PthError(ValueError):
    """A `.pth` file that is not read; the message names the file and the reason."""


class UnsafePickleError(PthError):
    """The pickle holds something other than tensors in dictionaries."""


class DamagedFileError(PthError):
    """The file is truncated, or its sizes contradict each other."""


class _Global(NamedTuple):
    """A name of a Python object that the pickle mentions; it stays a name."""

    module: str
    name: str


class _Storage(NamedTuple):
    """The place of a tensor's numbers: a key, a dtype and the number of elements."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view into a storage, counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()
_ORDERED_DICT = _Global("collections", "OrderedDict")
_REBUILD_TENSOR = _Global("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = _Global("torch._utils", "_rebuild_parameter")
_CALLABLE = (_ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_PARAMETER)


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
      DamagedFileError: the file is truncated, or a stated size does not fit.
    """
    path = Path(path)
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    with open(path, "rb") as file:
        if file.read(262)[257:] == _TAR_MAGIC:
            raise PthError(
                f"{path}: the tar layout of torch before 0.2 is not read; take a newer file of the "
                "same weights (torchvision: alexnet-owt-7be5be79.pth), or save it again with torch"
            )
    return _read_legacy(path)


# --- the two layouts ------------------------------------------------------------------------------


def _read_archive(path: Path) -> dict[str, Any]:
    try:
        archive = zipfile.ZipFile(path)
    # A directory with odd entries shows as whatever they lead to.
    except Exception as error:
        raise DamagedFileError(f"{path}: not a readable zip archive ({error})") from None
    with archive:
        members = _checked_members(path, archive)
        prefix = _archive_prefix(path, members)
        _require_little_endian(path, archive, members, prefix)
        root = _parse(path, _read_member(path, archive, members[prefix + "data.pkl"]))
        arrays: dict[str, np.ndarray] = {}
        for storage in _storages(path, root).values():
            member = members.get(f"{prefix}data/{storage.key}")
            if member is None:
                raise DamagedFileError(
                    f"{path}: storage {storage.key!r} is missing from the archive"
                )
            expected = storage.size * storage.dtype.itemsize
            if member.file_size != expected:
                raise DamagedFileError(
                    f"{path}: storage {storage.key!r} holds {member.file_size} bytes, "
                    f"its tensors need {expected}"
                )
            content = _read_member(path, archive, member)
            arrays[storage.key] = np.frombuffer(content, storage.dtype)
    return _with_arrays(path, root, arrays)


def _checked_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    total = path.stat().st_size
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        if (
            name.is_absolute()
            or ".." in name.parts
            or "\\" in member.filename
            or ":" in member.filename
        ):
            raise UnsafePickleError(
                f"{path}: member {member.filename!r} points outside the archive"
            )
        if member.filename in members:
            raise DamagedFileError(f"{path}: member {member.filename!r} occurs twice")
        # torch stores without compression: a compressed member is not its work, and may unpack to
        # any size.
        if member.compress_type != zipfile.ZIP_STORED:
            raise UnsafePickleError(
                f"{path}: member {member.filename!r} is compressed, which torch never does"
            )
        if member.file_size != member.compress_size or member.file_size > total:
            raise DamagedFileError(
                f"{path}: member {member.filename!r} claims {member.file_size} bytes "
                f"in a file of {total}"
            )
        members[member.filename] = member
    # Members that overlap can claim the same bytes many times over.
    if sum(member.file_size for member in members.values()) > total:
        raise DamagedFileError(f"{path}: the members claim more bytes than the file has ({total})")
    return members


def _archive_prefix(path: Path, members: dict[str, zipfile.ZipInfo]) -> str:
    found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise DamagedFileError(f"{path}: {len(found)} files data.pkl in the archive, one is needed")
    return found[0].removesuffix("data.pkl")


def _require_little_endian(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], prefix: str
) -> None:
    member = members.get(prefix + "byteorder")
    if member is None:
        return
    order = _read_member(path, archive, member).strip()
    if order != b"little":
        raise DamagedFileError(f"{path}: byte order {order!r} is not read, only 'little'")


def _read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size)
    except Exception as error:
        raise DamagedFileError(
            f"{path}: member {member.filename!r} cannot be read ({error})"
        ) from None
    if len(content) != member.file_size:
        raise DamagedFileError(f"{path}: member {member.filename!r} is truncated")
    return content


def _read_legacy(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    stream = io.BytesIO(content)
    magic, protocol, system, root, keys = (_next_pickle(path, stream) for _ in range(5))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise DamagedFileError(
            f"{path}: neither a zip archive nor a torch file of the older layout"
        )
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise DamagedFileError(f"{path}: only little-endian files are read")
    storages = _storages(path, root)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedFileError(f"{path}: the list of storages holds something other than names")
    if sorted(keys) != sorted(storages):
        raise DamagedFileError(f"{path}: the list of storages does not match the tensors")
    arrays = {key: _legacy_storage(path, content, stream, storages[key]) for key in keys}
    return _with_arrays(path, root, arrays)


def _next_pickle(path: Path, stream: io.BytesIO) -> Any:
    return _Machine(path).run(stream)


def _legacy_storage(
    path: Path, content: bytes, stream: io.BytesIO, storage: _Storage
) -> np.ndarray:
    header = stream.read(8)
    size = int.from_bytes(header, "little", signed=True)
    if len(header) != 8 or size != storage.size:
        raise DamagedFileError(
            f"{path}: storage {storage.key!r} states {size} elements, "
            f"its tensors state {storage.size}"
        )
    start, length = stream.tell(), size * storage.dtype.itemsize
    if start + length > len(content):
        raise DamagedFileError(f"{path}: storage {storage.key!r} is truncated")
    stream.seek(start + length)
    return np.frombuffer(content, storage.dtype, count=size, offset=start)


# --- from the parsed pickle to arrays -------------------------------------------------------------


def _walk(path: Path, root: Any) -> Iterator[tuple[dict, str, Any]]:
    """Yields (dictionary, name, value) once for each value."""
    if not isinstance(root, dict):
        raise UnsafePickleError(f"{path}: holds a {_kind(root)}, not a dictionary of tensors")
    waiting, seen = [root], {id(root)}
    while waiting:
        dictionary = waiting.pop()
        for name, value in dictionary.items():
            if not isinstance(name, str):
                raise UnsafePickleError(f"{path}: key {name!r} is not a string")
            if not isinstance(value, dict | _Tensor):
                raise UnsafePickleError(f"{path}: {name!r} is a {_kind(value)}, not a tensor")
            if isinstance(value, dict):
                if id(value) in seen:
                    raise UnsafePickleError(
                        f"{path}: dictionary {name!r} occurs twice or holds itself"
                    )
                seen.add(id(value))
                waiting.append(value)
            yield dictionary, name, value


def _storages(path: Path, root: Any) -> dict[str, _Storage]:
    storages: dict[str, _Storage] = {}
    for _, name, value in _walk(path, root):
        if isinstance(value, dict):
            continue
        known = storages.setdefault(value.storage.key, value.storage)
        if known != value.storage:
            raise DamagedFileError(
                f"{path}: {name!r} disagrees with another tensor about storage {known.key!r}"
            )
    return storages


def _with_arrays(path: Path, root: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    for dictionary, name, value in list(_walk(path, root)):
        if isinstance(value, _Tensor):
            dictionary[name] = _view(path, name, value, arrays[value.storage.key])
    return root


def _view(path: Path, name: str, tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    elements = math.prod(tensor.shape)
    if elements == 0:
        if max(tensor.shape) > _MOST_EMPTY:
            raise DamagedFileError(f"{path}: {name!r} is empty, of the shape {tensor.shape}")
        return np.zeros(tensor.shape, numbers.dtype)
    last = tensor.offset + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)
    )
    if elements > len(numbers) or last >= len(numbers):
        raise DamagedFileError(
            f"{path}: {name!r} of shape {tensor.shape} reaches beyond its storage "
            f"of {len(numbers)} elements"
        )
    byte_strides = tuple(step * numbers.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :], tensor.shape, byte_strides, writeable=False
    )


def _kind(value: Any) -> str:
    if isinstance(value, _Global):
        return f"reference to {value.module}.{value.name}"
    return type(value).__name__.lstrip("_").lower()


# --- the opcodes ----------------------------------------------------------------------------------


def _parse(path: Path, content: bytes) -> Any:
    return _Machine(path).run(io.BytesIO(content))


class _Machine:
    """A stack machine for the few opcodes of tensors in dictionaries; it calls nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """Returns what the next pickle of the stream describes and leaves the stream behind it."""
        start = stream.tell()
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if stream.tell() - start > _MAX_PICKLE_BYTES:
                    raise DamagedFileError(
                        f"{self.path}: the pickle is longer than {_MAX_PICKLE_BYTES} bytes"
                    )
                if opcode.name == "STOP":
                    break
                self.step(opcode.name, argument)
            (result,) = self.stack
        except PthError:
            raise
        # A pickle that is cut short fails in many ways: in genops, at an empty stack, at a memo.
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise DamagedFileError(
                f"{self.path}: the pickle is truncated or malformed ({error})"
            ) from None
        return result

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in _IGNORED:
            raise UnsafePickleError(
                f"{self.path}: opcode {name} is no part of a dictionary of tensors"
            )

    def until_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                items = self.stack[position + 1 :]
                del self.stack[position:]
                return items
        raise DamagedFileError(f"{self.path}: the pickle closes a container that it never opened")

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count or _MARK in items:
            raise DamagedFileError(f"{self.path}: the pickle lacks the items of a tuple")
        self.stack[-count:] = [items]

    def append_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise UnsafePickleError(f"{self.path}: appends to a {_kind(target)}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise UnsafePickleError(f"{self.path}: sets items of a {_kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise UnsafePickleError(f"{self.path}: key {_kind(key)} is not a string")
            target[key] = value

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def global_name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.push_global(module, name)

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnsafePickleError(f"{self.path}: mentions what is no name")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        found = _Global(module, name)
        if found not in _CALLABLE and not (module == "torch" and name in _DTYPES):
            raise UnsafePickleError(
                f"{self.path}: mentions {module}.{name}, which is neither tensor nor dictionary"
            )
        self.stack.append(found)

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if (
            not isinstance(function, _Global)
            or function not in _CALLABLE
            or not isinstance(arguments, tuple)
        ):
            raise UnsafePickleError(f"{self.path}: calls a {_kind(function)}")
        if function == _ORDERED_DICT:
            self.stack.append(self.ordered_dict(arguments))
        elif function == _REBUILD_TENSOR:
            self.stack.append(self.tensor(arguments))
        else:
            self.stack.append(self.parameter(arguments))

    def ordered_dict(self, arguments: tuple) -> dict[str, Any]:
        if arguments:
            raise UnsafePickleError(f"{self.path}: an OrderedDict is made from arguments")
        return {}

    def parameter(self, arguments: tuple) -> _Tensor:
        if len(arguments) != 3 or not isinstance(arguments[0], _Tensor):
            raise UnsafePickleError(f"{self.path}: a parameter is not made from a tensor")
        return arguments[0]

    def tensor(self, arguments: tuple) -> _Tensor:
        if len(arguments) not in (6, 7):
            raise UnsafePickleError(
                f"{self.path}: a tensor is made from {len(arguments)} arguments"
            )
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, _Storage) or not _is_size(offset):
            raise UnsafePickleError(f"{self.path}: a tensor lacks its storage")
        if not (
            _are_sizes(shape)
            and _are_sizes(strides)
            and len(shape) == len(strides) <= _MAX_DIMENSIONS
        ):
            raise DamagedFileError(f"{self.path}: shape or strides of a tensor are no sizes")
        return _Tensor(storage, offset, shape, strides)

    def persistent(self, _: Any) -> None:
        described = self.stack.pop()
        if (
            not isinstance(described, tuple)
            or len(described) not in (5, 6)
            or described[0] != "storage"
        ):
            raise UnsafePickleError(
                f"{self.path}: refers to a {_kind(described)} outside the pickle"
            )
        _, kind, key, _, size = described[:5]
        if not isinstance(kind, _Global) or kind.module != "torch" or kind.name not in _DTYPES:
            raise UnsafePickleError(f"{self.path}: storage of an unknown type {_kind(kind)}")
        if len(described) == 6 and described[5] is not None:
            raise UnsafePickleError(f"{self.path}: a storage is a view of another storage")
        if not isinstance(key, str) or not key.isalnum() or not _is_size(size):
            raise UnsafePickleError(f"{self.path}: key or size of a storage is not valid")
        self.stack.append(_Storage(key, _DTYPES[kind.name], size))

    def build(self, _: Any) -> None:
        """Drops the attributes of an OrderedDict (`state_dict` keeps version numbers there)."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise UnsafePickleError(f"{self.path}: sets attributes of a {_kind(target)}")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and all(_is_size(value) for value in values)


_IGNORED = frozenset({"PROTO", "FRAME"})
_CONSTANTS: dict[str, Any] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "MARK": _MARK,
}
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}
)
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.until_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append_items([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append_items(machine.until_mark()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.until_mark()),
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BINPERSID": _Machine.persistent,
    "BUILD": _Machine.build,
}
