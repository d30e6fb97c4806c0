"""What configs share: finding one by path, checking its keys, naming the run that it describes."""

import dataclasses
import difflib
import hashlib
import json
import math
import pathlib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import ml_collections

from jxhash.errors import UserError

Settings = TypeVar("Settings")

PACKAGE = pathlib.Path(__file__).resolve().parent

# What may change when a run goes on, on a machine with less memory for instance.
_PRACTICAL = ("checkpoint_seconds", "resident_gigabytes")


@dataclasses.dataclass(frozen=True)
class Run:
    """The settings that every config has, whatever its method.

    Attributes:
      method: name of a method, a file of `jxhash/methods`.
      data: name of an embedded data set, or of a reader of `jxhash.data`, or the path of a file or
        folder that `jxhash.data.own.own_files` reads.
      bits: code length K, at least 1.
      seed: seed of initialisation, batches and dropout.
      batch_size: rows a step, over all devices.
      validate_every: epochs between two measurements on the validation split; 0 for none.
      checkpoint_seconds: seconds between two checkpoints, at the least; 0 to save after every call.
      resident_gigabytes: training arrays up to this size are kept on every device; larger ones are
        streamed from the host.
    """

    method: str
    data: str
    bits: int
    seed: int
    batch_size: int
    validate_every: int
    checkpoint_seconds: float
    resident_gigabytes: float

    def __post_init__(self) -> None:
        require_positive(self, "bits", "batch_size")
        require_not_negative(
            self, "seed", "validate_every", "checkpoint_seconds", "resident_gigabytes"
        )
        if self.seed >= 2**32:
            raise UserError(f"config key 'seed' must be below 2^32, not {self.seed}")


def run_config(**values: Any) -> ml_collections.ConfigDict:
    """A config with the keys of `Run` at their defaults, `values` put in or added."""
    defaults = {
        "seed": 0,
        "batch_size": 128,
        "validate_every": 0,
        "checkpoint_seconds": 30.0,
        "resident_gigabytes": 4.0,
    }
    return ml_collections.ConfigDict(defaults | values)


def read_run(config: ml_collections.ConfigDict) -> Run:
    """Reads the settings that every config has; what is left must be the method's own part.

    Raises:
      UserError: a key is missing, unknown, or holds what it cannot hold.
    """
    own = config.get("method")
    common = {key: value for key, value in config.items() if key != own}
    return read_settings(ml_collections.ConfigDict(common), Run)


def read_settings(
    config: Mapping[str, Any] | ml_collections.ConfigDict, settings: type[Settings]
) -> Settings:
    """Turns a part of a config into a frozen dataclass.

    Args:
      config: names and values.
      settings: a dataclass whose fields are int, float, str, bool, tuples, or dataclasses of such.

    Returns:
      An instance of `settings`.

    Raises:
      UserError: a key is missing or unknown, or a value has the wrong type.
    """
    fields = {field.name: field.type for field in dataclasses.fields(settings)}
    for key in config:
        if key not in fields:
            raise UserError(unknown_key_message(key, fields))
    missing = [name for name in fields if name not in config]
    if missing:
        raise UserError(f"the config lacks {', '.join(map(repr, missing))}, part of {settings}")
    return settings(**{name: _read(name, config[name], kind) for name, kind in fields.items()})


def unknown_key_message(key: str, known: Iterable[str]) -> str:
    """One line that names an unknown key and the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown config key {key!r}; {hint}"


def _read(name: str, value: Any, kind: type) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_settings(value, kind)
    if typing.get_origin(kind) is tuple:
        return _read_tuple(name, value, typing.get_args(kind)[0])
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise UserError(f"config key {name!r} holds {value!r}, which is no {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise UserError(f"config key {name!r} holds {value!r}; give a finite number")
    return value


def _read_tuple(name: str, value: Any, kind: type) -> tuple:
    if not isinstance(value, (tuple, list)) or any(type(entry) is not kind for entry in value):
        raise UserError(f"config key {name!r} holds {value!r}, not a tuple of {kind.__name__}")
    return tuple(value)


def require_positive(settings: Any, *names: str) -> None:
    """Raises a UserError for the first named number, or tuple of numbers, not above zero."""
    for name in names:
        value = getattr(settings, name)
        entries = value if isinstance(value, tuple) else (value,)
        if any(entry <= 0 for entry in entries):
            raise UserError(f"config key {name!r} must be positive, not {value}")


def require_not_negative(settings: Any, *names: str) -> None:
    """Raises a UserError for the first named attribute below zero."""
    for name in names:
        if getattr(settings, name) < 0:
            raise UserError(f"config key {name!r} must not be negative: {getattr(settings, name)}")


def require_rate(settings: Any, *names: str) -> None:
    """Raises a UserError for the first named attribute outside [0, 1)."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise UserError(
                f"config key {name!r} must be at least 0 and below 1: {getattr(settings, name)}"
            )


def require_one_of(settings: Any, name: str, known: tuple[str, ...]) -> None:
    """Raises a UserError where the named attribute is none of the known words."""
    value = getattr(settings, name)
    if value not in known:
        raise UserError(f"config key {name!r} is one of {', '.join(known)}, not {value!r}")


def find(path: str) -> str:
    """Finds a config file: as given, else among those that come with the package.

    Args:
      path: a path such as "configs/thn.py" or "configs/dcmh.py:wikipedia"; what follows the colon
        is kept for the config itself.

    Returns:
      The path of an existing file, with what followed the colon.

    Raises:
      UserError: there is no such file in any of the places.
    """
    file, colon, argument = path.partition(":")
    for candidate in _candidates(file):
        if candidate.is_file():
            return f"{candidate}{colon}{argument}"
    packaged = sorted({p.name for p in _packaged_configs() if not p.name.startswith("_")})
    raise UserError(
        f"no config at {file!r}; the packaged ones are configs/{{{','.join(packaged)}}}"
    )


def _candidates(file: str) -> list[pathlib.Path]:
    given = pathlib.Path(file)
    folders = _config_folders()
    return [given, *(folder / given.name for folder in folders if given.parent.name == "configs")]


def _config_folders() -> list[pathlib.Path]:
    # Inside an installed package; beside the package in a checkout and an editable install.
    return [PACKAGE / "configs", PACKAGE.parent / "configs"]


def _packaged_configs() -> list[pathlib.Path]:
    return [path for folder in _config_folders() for path in folder.glob("*.py")]


def as_json(config: ml_collections.ConfigDict) -> str:
    """The config as stable, readable JSON."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config, as JSON holds it, on which the numbers of a run depend."""
    return {key: value for key, value in values.items() if key not in _PRACTICAL}


def run_name(config: ml_collections.ConfigDict) -> str:
    """The name of the folder of a run: method, data, bits, seed and a hash of all that decides."""
    decided = json.dumps(deciding(config.to_dict()), sort_keys=True)
    digest = hashlib.sha256(decided.encode()).hexdigest()[:8]
    # Data may be a path.
    data = pathlib.Path(config.data).stem
    return f"{config.method}-{data}-{config.bits}-s{config.seed}-{digest}"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names the keys in which two configs differ, each with both values."""
    lines = []
    for key in sorted(set(ours) | set(theirs)):
        one, other = ours.get(key, "absent"), theirs.get(key, "absent")
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            lines += differences(one, other, f"{prefix}{key}.")
        elif one != other:
            lines.append(f"{prefix}{key}: {one!r} here, {other!r} there")
    return lines
