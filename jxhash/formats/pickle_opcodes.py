"""Interprets the pickle opcodes that a dictionary of tensors is written with; executes nothing.

The names of Python objects that torch writes stand for dtypes and functions of this module; any
other name or opcode is refused.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jxhash.errors import UserError

# A pickle holds names and shapes only: a hundred thousand tensors fit.
_MAX_PICKLE_BYTES = 32 * 2**20
_MAX_DIMENSIONS = 16


class PthError(UserError):
    """A `.pth` file that is not read; the message names the file and the reason."""


class UnsafePickleError(PthError):
    """The pickle holds something other than tensors in dictionaries."""


class DamagedFileError(PthError):
    """The file is truncated, or its sizes contradict each other."""


class Storage(NamedTuple):
    """The place of a tensor's numbers: a key, a dtype and the number of elements."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A view into a storage, counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def parse(stream: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """Returns what the next pickle of a stream describes, and leaves the stream behind it.

    Args:
      stream: the pickle, perhaps followed by others.

    Returns:
      (root, storages): dictionaries, lists, tuples, texts and numbers, with a `Tensor` for each
      tensor; and all storages that it mentions, by key.

    Raises:
      UnsafePickleError: the pickle mentions anything but tensors and dictionaries.
      DamagedFileError: the pickle is too long, or a stated size does not fit.
      Exception: of any other kind: the pickle is truncated or malformed.
    """
    start, machine = stream.tell(), _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        if stream.tell() - start > _MAX_PICKLE_BYTES:
            raise DamagedFileError(f"the pickle is longer than {_MAX_PICKLE_BYTES} bytes")
        if opcode.name in _VALUES:
            machine.stack.append(_VALUES[opcode.name](argument))
        elif opcode.name in _ACTIONS:
            _ACTIONS[opcode.name](machine, argument)
        elif opcode.name not in ("PROTO", "FRAME", "STOP"):
            raise UnsafePickleError(f"opcode {opcode.name} is no part of a dictionary of tensors")
    (root,) = machine.stack
    return root, machine.storages


class _Machine:
    """The stack machine of pickle; below `stack` lie the stacks that open marks interrupt."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.interrupted: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def mark(self, _: Any) -> None:
        self.interrupted.append(self.stack)
        self.stack = []

    def until_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.interrupted.pop()
        return items

    def last(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def push_tuple(self, items: list[Any]) -> None:
        self.stack.append(tuple(items))

    def put(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def append_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise UnsafePickleError(f"appends to a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise UnsafePickleError(f"sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise UnsafePickleError(f"a key is a {type(key).__name__}, not a string")
            target[key] = value

    def named(self, name: str) -> None:
        if name not in _NAMED:
            said = name.replace(" ", ".", 1)
            raise UnsafePickleError(f"mentions {said}, which is neither tensor nor dictionary")
        self.stack.append(_NAMED[name])

    def reduce(self, _: Any) -> None:
        function, arguments = self.last(2)
        # Nothing else on the stack can be called.
        if function not in (_ordered_dict, _tensor, _parameter):
            raise UnsafePickleError(f"calls a {type(function).__name__}")
        self.stack.append(function(*arguments))

    def persistent(self, _: Any) -> None:
        storage = _storage(*self.stack.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise DamagedFileError(f"a tensor disagrees with another about storage {storage.key!r}")
        self.stack.append(storage)

    def build(self, _: Any) -> None:
        """Drops the attributes of an OrderedDict (`state_dict` keeps version numbers there)."""
        target, state = self.stack[-2], self.stack.pop()
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise UnsafePickleError(f"sets attributes of a {type(target).__name__}")


def _ordered_dict() -> dict[str, Any]:
    return {}


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise UnsafePickleError("a parameter is not made from a tensor")
    return tensor


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise UnsafePickleError("a tensor lacks its storage")
    if not all(_is_size(size) for size in (offset, *shape, *strides)):
        raise DamagedFileError("offset, shape or strides of a tensor are no sizes")
    if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
        raise DamagedFileError(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _storage(what: Any, dtype: Any, key: Any, device: Any, size: Any, view: Any = None) -> Storage:
    del device
    if what != "storage" or not isinstance(dtype, np.dtype):
        raise UnsafePickleError("refers to something other than a storage outside the pickle")
    if view is not None:
        raise UnsafePickleError("a storage is a view of another storage")
    if not isinstance(key, str) or not key.isalnum() or not _is_size(size):
        raise UnsafePickleError("key or size of a storage is not valid")
    return Storage(key, dtype, size)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


_NAMED: dict[str, Any] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    # The dtypes that numpy has too; bfloat16, quantised and complex storages are refused.
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
}
_VALUES: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"),
        lambda argument: argument,
    ),
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.until_mark()),
    "TUPLE1": lambda machine, _: machine.push_tuple(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push_tuple(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push_tuple(machine.last(3)),
    "APPEND": lambda machine, _: machine.append_items(machine.last(1)),
    "APPENDS": lambda machine, _: machine.append_items(machine.until_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.until_mark()),
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": lambda machine, _: machine.named(" ".join(machine.last(2))),
    "REDUCE": _Machine.reduce,
    "BINPERSID": _Machine.persistent,
    "BUILD": _Machine.build,
}
