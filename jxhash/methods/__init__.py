"""The published methods, one file each."""

import importlib
import pkgutil
from types import ModuleType

from jxhash.configuration import unknown_key_message
from jxhash.errors import UserError

_SHARED = "base"


def names() -> list[str]:
    """The names of all methods, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != _SHARED)


def get(name: str) -> ModuleType:
    """The module of a method; its `build(config, spec)` makes a `Method`.

    Raises:
      UserError: there is no such method.
    """
    if name not in names():
        raise UserError(unknown_key_message(name, names()).replace("config key", "method"))
    return importlib.import_module(f"{__name__}.{name}")
