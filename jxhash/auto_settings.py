"""Settings that a config leaves open: "auto" becomes a number once the size of the data is known.

The rules are ours, chosen on validation rows of several data sets (experiments/any_data.py).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from jxhash import configuration
from jxhash.errors import UserError

AUTO = "auto"

# Smaller data needs smaller batches for enough steps, larger data larger ones for its many pairs.
_BATCH_SIZES = (32, 256)
# A training takes about so many steps, and sees each row at least so often.
_STEPS = 2000
_LEAST_EPOCHS = 20
_MOST_ANCHORS = 400

_USUAL_ROWS = 1000


def _batch_size(rows: int) -> int:
    """The power of two nearest to a sixteenth of the rows, within bounds."""
    low, high = _BATCH_SIZES
    return min(max(low, 1 << max(0, round(math.log2(max(rows, 1) / 16)))), high)


def _epochs(rows: int, batch_size: int) -> int:
    return max(_LEAST_EPOCHS, round(_STEPS / math.ceil(rows / batch_size)))


def _anchors(rows: int, bits: int) -> int:
    return min(rows, max(bits + 1, min(_MOST_ANCHORS, rows // 2)))


# From the number of training rows, the batch size and the bits.
_RULES: Mapping[str, Callable[[int, int, int], int]] = {
    "batch_size": lambda rows, batch_size, bits: _batch_size(rows),
    "epochs": lambda rows, batch_size, bits: _epochs(rows, batch_size),
    "image_epochs": lambda rows, batch_size, bits: _epochs(rows, batch_size),
    "text_epochs": lambda rows, batch_size, bits: _epochs(rows, batch_size),
    "anchors": lambda rows, batch_size, bits: _anchors(rows, bits),
}


class Resolved(NamedTuple):
    """A config without "auto", and what was chosen, such as {"chn.epochs": 120}."""

    config: ml_collections.ConfigDict
    chosen: Mapping[str, int]


def resolved(config: ml_collections.ConfigDict, rows: int) -> Resolved:
    """Puts a number wherever a config says "auto" for a setting that has a rule.

    Args:
      config: as a file of configs/ returns it.
      rows: the number of training pairs.
    """
    chosen: dict[str, int] = {}

    def number(key: str, value: Any, batch_size: int = 0) -> Any:
        rule = _RULES.get(key.rpartition(".")[2])
        if rule is None or value != AUTO:
            return value
        chosen[key] = rule(rows, batch_size, config.get("bits", 0))
        return chosen[key]

    def resolve(values: Mapping[str, Any], within: str, batch_size: int) -> dict[str, Any]:
        return {
            key: resolve(value, f"{within}{key}.", batch_size)
            if isinstance(value, Mapping)
            else number(f"{within}{key}", value, batch_size)
            for key, value in values.items()
        }

    values = config.to_dict()
    batch_size = number("batch_size", values.get("batch_size"))
    values = resolve(values, "", batch_size if type(batch_size) is int and batch_size > 0 else 1)
    return Resolved(ml_collections.ConfigDict(values), chosen)


def leave_open(config: ml_collections.ConfigDict, keys: Sequence[str]) -> None:
    """Sets settings to "auto".

    Raises:
      UserError: one of them has no rule.
      KeyError: the config has no such key.
    """
    for key in keys:
        if key.rpartition(".")[2] not in _RULES:
            raise UserError(f"config key {key!r} cannot be 'auto', only {', '.join(_RULES)}")
    config.update_from_flattened_dict(dict.fromkeys(keys, AUTO))


def read_numbers(config: ml_collections.ConfigDict) -> None:
    """Turns texts into numbers in the settings that may be "auto", as the command line brings them.

    >>> config = ml_collections.ConfigDict({"batch_size": "48", "method": "7"})
    >>> read_numbers(config)
    >>> config.to_dict()
    {'batch_size': 48, 'method': '7'}
    """
    for key, value in list(config.items()):
        if isinstance(value, ml_collections.ConfigDict):
            read_numbers(value)
        elif key in _RULES and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,9}", value):
            with config.ignore_type():
                config[key] = int(value)


def read_run(config: ml_collections.ConfigDict) -> configuration.Run:
    """`configuration.read_run` before the data is known, as for data of a usual size."""
    if isinstance(config, ml_collections.ConfigDict):
        config = resolved(config, _USUAL_ROWS).config
    return configuration.read_run(config)
