"""The labels in the cells of a table: lists in all spellings, and separators."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from jxhash.atomic_files import parse_json
from jxhash.errors import UserError

_SEPARATORS = (";", "|")  # no name has these
# Many names have these, which are not read unless a description says so.
_UNCLEAR = ("/", "+", "\t", "\n", " ")

_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_BETWEEN = re.compile(r"[\s,]|None|nan")
_EMPTY = ("", "None", "nan", "NaN", "null")


def label_lists(what: str, cells: Sequence[Any], separator: str | None = None) -> list[list[str]]:
    """The labels in each cell, in their order, each once.

    A cell is a list, a number, or a text: one that is a list in JSON or Python is read as one, all
    others are separated by `separator`. Where that is None it is ";" or "|" if a cell has one, or
    "," if the cells plainly combine fewer names.

    Raises:
      UserError: the cells look like lists by a separator that may be part of a name.

    >>> label_lists("t.csv", ["sea|sky", "sky", "sea", 3, None, "['red car']"])
    [['sea', 'sky'], ['sky'], ['sea'], ['3'], [], ['red car']]
    """
    found = [_parsed(cell, separator) for cell in cells]
    texts = [one for one in found if isinstance(one, str)]
    between = separator or _separator(what, texts)
    split = [one.split(between) if isinstance(one, str) else one for one in found]
    return [list(dict.fromkeys(name for one in row if (name := one.strip()))) for row in split]


def _parsed(cell: Any, separator: str | None) -> str | list[str]:
    """The entries of a list; any other cell as its text."""
    if isinstance(cell, (list, tuple)):
        return [str(entry) for entry in cell if entry is not None]
    text = "" if cell is None else str(cell).strip()  # 0 and False are labels
    if text in _EMPTY:
        return ""
    entries = _entries(text) if separator is None else None
    return text if entries is None else entries


def _entries(text: str) -> list[str] | None:
    """The entries of a text that is a list in JSON, Python or numpy; None for any other text."""
    if (text[0], text[-1]) not in (("[", "]"), ("(", ")"), ("{", "}")) or len(text) < 2:
        return None
    try:
        parsed = parse_json(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, list) and not any(isinstance(one, (list, dict)) for one in parsed):
        return [str(entry) for entry in parsed if entry is not None]
    inside = text[1:-1]
    quoted = [_unescaped(one[1] or one[2] or "") for one in _QUOTED.finditer(inside)]
    if quoted:
        return None if _BETWEEN.sub("", _QUOTED.sub("", inside)) else quoted
    if text[0] != "[":
        return None
    return inside.split("," if "," in inside else None)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _separator(what: str, cells: Sequence[str]) -> str:
    for one in _SEPARATORS:
        if any(one in cell for cell in cells):
            return one
    whole = set(cells) - {""}
    if _number_of_parts(whole, ",") < len(whole):
        return ","
    parted = [cell for cell in cells if "," in cell]
    recurring = sum(len(_parts(cell, ",")) for cell in whole) > _number_of_parts(whole, ",")
    if parted and (recurring or 2 * len(parted) >= len(cells)):
        raise _unclear(what, ",", cells)
    for one in _UNCLEAR:
        # "polar bear", "brown bear" and other names have more parts than there are names.
        if _number_of_parts(whole, one) < len(whole):
            raise _unclear(what, one, cells)
    return _SEPARATORS[0]


def _parts(cell: str, separator: str) -> set[str]:
    return {part.strip() for part in cell.split(separator)} - {""}


def _number_of_parts(cells: Collection[str], separator: str) -> int:
    return len(set().union(*(_parts(cell, separator) for cell in cells)))


def _unclear(what: str, separator: str, cells: Sequence[str]) -> UserError:
    shown = next(cell for cell in cells if separator in cell)
    return UserError(
        f"{what}: {shown[:60]!r} may be several labels, separated by {separator!r}; say in a "
        f'description (docs/data.md) "label_separator": {json.dumps(separator)}, or ";" for one'
    )
