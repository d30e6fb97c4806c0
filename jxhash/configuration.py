"""What configs share: finding one by path, checking its keys, naming the run that it describes."""

import dataclasses
import difflib
import hashlib
import json
import math
import pathlib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import ml_collections
from absl import flags
from ml_collections import config_flags

from jxhash.errors import UserError

Class = TypeVar("Class")
Variant = TypeVar("Variant")

PACKAGE = pathlib.Path(__file__).resolve().parent

# What may change when a run goes on, on a machine with less memory for instance.
_PRACTICAL = ("checkpoint_seconds", "resident_gigabytes")


@dataclasses.dataclass(frozen=True)
class Range:
    """What a number of a config may be; stands in the type of a setting.

    Attributes:
      words: what it must be, for the message.
      holds: whether a number lies within.
    """

    words: str
    holds: Callable[[float], bool]


_Number = TypeVar("_Number", int, float)

Positive = Annotated[_Number, Range("positive", lambda number: number > 0)]
NotNegative = Annotated[_Number, Range("at least 0", lambda number: number >= 0)]
#: a share of a whole, in (0, 1]
Share = Annotated[float, Range("above 0 and at most 1", lambda number: 0 < number <= 1)]
#: a dropout rate, in [0, 1)
Rate = Annotated[float, Range("at least 0 and below 1", lambda number: 0 <= number < 1)]


@dataclass_transform(frozen_default=True)
def settings(cls: type[Class]) -> type[Class]:
    """Makes a class a part of a config: frozen, with ranges in its types; see `read_settings`."""
    return dataclasses.dataclass(frozen=True)(cls)


@settings
class Run:
    """The settings that every config has, whatever its method."""

    #: name of a method, a file of `jxhash/methods`
    method: str
    #: name of a data set, or the path of a file or folder; see `jxhash.data.load`
    data: str
    #: the data set's own split; "all" trains on every row but validation rows, for a last training
    split: Literal["own", "all"]
    #: code length K
    bits: Positive[int]
    #: seed of initialisation, batches and dropout
    seed: Annotated[int, Range("at least 0 and below 2^32", lambda seed: 0 <= seed < 2**32)]
    #: rows a step, over all devices
    batch_size: Positive[int]
    #: of features as given, fitted on training rows; see `jxhash.inputs.normalization`
    normalization: Literal["scale", "standardize", "length", "none"]
    #: epochs between two measurements on the validation split; 0 for none
    validate_every: NotNegative[int]
    #: the state that is evaluated: the last, or the best on the validation split
    select: Literal["last", "best"]
    #: seconds between two checkpoints, at the least; 0 to save after every call
    checkpoint_seconds: NotNegative[float]
    #: training arrays up to this size are kept on every device, larger ones streamed from the host
    resident_gigabytes: NotNegative[float]


def run_config(**values: Any) -> ml_collections.ConfigDict:
    """A config with the keys of `Run` at their defaults, `values` put in or added."""
    defaults = {
        "split": "own",
        "seed": 0,
        "batch_size": 128,
        "normalization": "scale",
        "validate_every": 0,
        "select": "last",
        "checkpoint_seconds": 30.0,
        "resident_gigabytes": 4.0,
    }
    plain = ml_collections.ConfigDict(defaults | values).to_dict()
    # A number may take the place of "auto"; `read_settings` checks all types.
    return ml_collections.ConfigDict(plain, type_safe=False)


def variant(data: str, known: Mapping[str, Variant], own: Variant) -> Variant:
    """What a config says for a data set: by its name before "-" or ":", else for one's own data.

    >>> variant("wikipedia-held-out", {"clipart": 1, "wikipedia": 2}, own=3)
    2
    """
    return known.get(re.split("[-:]", data)[0], own)


def adam(
    learning_rate: float, final_learning_rate: float, *, weight_decay: float = 0.0
) -> dict[str, Any]:
    """The part of a config for Adam with a learning rate that falls geometrically."""
    return {
        "name": "adam",
        "learning_rate": learning_rate,
        "final_learning_rate": final_learning_rate,
        "decay": "geometric",
        "momentum": 0.0,
        "weight_decay": weight_decay,
        "b1": 0.9,
    }


def mlps(hidden: tuple[int, ...], **each: float) -> dict[str, Any]:
    """The part of a config for a multilayer perceptron a modality, both alike."""
    return {modality: {"hidden": hidden, **each} for modality in ("image", "text")}


def read_run(config: ml_collections.ConfigDict) -> Run:
    """Reads the settings that every config has; what is left must be the method's own part.

    Raises:
      UserError: a key is missing, unknown, or holds what it cannot hold.
    """
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"a config is a ConfigDict, as configuration.load('configs/chn.py') returns it, not "
            f"{type(config).__name__}"
        )
    own = config.get("method")
    if own not in config:
        raise UserError(f"config key 'method' is {own!r}, and the config has no settings {own!r}")
    common = {key: value for key, value in config.items() if key != own}
    return read_settings(ml_collections.ConfigDict(common), Run)


def read_settings(
    config: Mapping[str, Any] | ml_collections.ConfigDict, kind: type[Class], within: str = ""
) -> Class:
    """Turns a part of a config into a frozen dataclass.

    Args:
      config: names and values.
      kind: a class under `settings`, whose fields are numbers, words (`Literal`), texts, tuples,
        any of these or None, and classes of this kind.
      within: the path of the part, such as "dcmh.", for messages.

    Returns:
      An instance of `kind`.

    Raises:
      UserError: a key is missing or unknown, or a value has the wrong type or is out of range.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    # A class under `settings` is a dataclass.
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for key in config:
        if key not in hints:
            raise UserError(unknown_key_message(key, hints, within))
    missing = [f.name for f in fields if f.name not in config and f.default is dataclasses.MISSING]
    if missing:
        raise UserError(f"the config lacks {', '.join(repr(within + name) for name in missing)}")
    return kind(**{name: _read(within + name, config[name], hints[name]) for name in config})


def unknown_key_message(key: str, known: Iterable[str], within: str = "") -> str:
    """One line that names an unknown key and the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown config key {within + key!r}; {hint}"


def _read(name: str, value: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _read_in_range(name, value, *arguments)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _read(name, value, arguments[0])
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"config key {name!r} is one of {', '.join(arguments)}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            raise UserError(f"config key {name!r} holds {value!r}, not a tuple")
        return tuple(_read(name, entry, arguments[0]) for entry in value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, (Mapping, ml_collections.ConfigDict)):
            raise UserError(f"config key {name!r} holds {value!r}, not settings of its own")
        return read_settings(value, kind, f"{name}.")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"config key {name!r} holds {value!r}, which is no {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise UserError(f"config key {name!r} holds {value!r}; give a finite number")
    return value


def _read_in_range(name: str, value: Any, kind: Any, allowed: Range) -> Any:
    value = _read(name, value, kind)
    if not allowed.holds(value):
        raise UserError(f"config key {name!r} must be {allowed.words}, not {value}")
    return value


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


def is_packaged(path: str) -> bool:
    """Whether a path without an argument is that of a config that comes with the package."""
    return pathlib.Path(path).resolve() in map(pathlib.Path.resolve, _packaged_configs())


def load(path: str) -> ml_collections.ConfigDict:
    """The config of a file and its argument, such as "configs/dcmh.py:wikipedia"; see `find`."""
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=values, lock_config=False)
    values(["", f"--config={find(path)}"])
    config: ml_collections.ConfigDict = holder.value
    return config


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


def affects_results(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config, as JSON holds it, on which the numbers of a run depend."""
    return {key: value for key, value in values.items() if key not in _PRACTICAL}


def run_name(config: ml_collections.ConfigDict) -> str:
    """The name of the folder of a run: method, data, bits, seed and a hash of all that decides."""
    decided = json.dumps(affects_results(config.to_dict()), sort_keys=True)
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
