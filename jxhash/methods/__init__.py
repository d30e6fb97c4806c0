"""The published methods, one file each."""

import importlib
import pkgutil
from types import ModuleType
from typing import NamedTuple

import ml_collections

from jxhash.configuration import read_settings, unknown_key_message
from jxhash.errors import UserError
from jxhash.methods.contract import Method, Spec
from jxhash.methods.needs import Needs

_SHARED = ("code", "contract", "needs", "objective", "settings", "updates")


class Published(NamedTuple):
    """A published method.

    Attributes:
      name: as configs have it.
      module: its file, see `contract`.
    """

    name: str
    module: ModuleType

    @property
    def needs(self) -> Needs:
        """What the method needs of a data set."""
        needs: Needs = self.module.NEEDS
        return needs

    def build(self, config: ml_collections.ConfigDict, spec: Spec) -> Method:
        """Builds the method for one config and one data set.

        Args:
          config: `bits`, and the method's settings under its name.
          spec: of the data.

        Raises:
          UserError: the settings are wrong, or the data does not fit them or the method's needs.
        """
        settings = read_settings(config[self.name], self.module.Settings, f"{self.name}.")
        self.needs.check(spec, self.name.upper(), _unsupervised)
        method: Method = self.module.build(settings, config.bits, spec)
        return method


def names() -> list[str]:
    """The names of all methods, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _SHARED)


def _unsupervised() -> list[str]:
    return [name for name in names() if not get(name).needs.labels]


def get(name: str) -> Published:
    """A method by name.

    Raises:
      UserError: there is no such method.
    """
    if name not in names():
        raise UserError(unknown_key_message(name, names()).replace("config key", "method"))
    return Published(name, importlib.import_module(f"{__name__}.{name}"))
