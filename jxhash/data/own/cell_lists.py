"""Lists that stand in one cell of a table, as JSON, Python and numpy write them."""

import re
from typing import Any

from jxhash.atomic_files import parse_json
from jxhash.errors import UserError

_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_BETWEEN = re.compile(r"[\s,]|None|nan")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def entries_of(what: str, cell: Any) -> list[Any] | None:
    """The entries of a list, or of a text that is a list in JSON, or of quoted texts; else None.

    Raises:
      UserError: an entry is a list or an object itself.

    >>> entries_of("t.csv", "['a', 'b, c']"), entries_of("t.csv", "[1, null]")
    (['a', 'b, c'], [1, None])
    >>> entries_of("t.csv", "a (b)"), entries_of("t.csv", "[a b]")
    (None, None)
    """
    entries = list(cell) if isinstance(cell, (list, tuple)) else None
    if isinstance(cell, str):
        entries = _parsed(what, cell.strip())
    if isinstance(cell, dict) or any(isinstance(one, (list, tuple, dict)) for one in entries or ()):
        raise _nested(what, cell)
    return entries


def unquoted_entries(what: str, text: str) -> list[str] | None:
    """The entries of a text in square brackets, separated by commas or else blanks; else None.

    Raises:
      UserError: entries are left out, as numpy does when it prints more than a thousand.

    >>> unquoted_entries("t.csv", "[0. 1.]"), unquoted_entries("t.csv", "[a b, c]")
    (['0.', '1.'], ['a b', ' c'])
    """
    if not _is_bracketed(text) or text[0] != "[":
        return None
    inside = text[1:-1]
    entries = inside.split("," if "," in inside else None)
    if "..." in entries:
        raise UserError(f"{what}: {text[:60]!r} leaves entries out ('...'); save the whole list")
    return entries


def _is_bracketed(text: str) -> bool:
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1]


def _parsed(what: str, text: str) -> list[Any] | None:
    if not _is_bracketed(text):
        return None
    try:
        parsed = parse_json(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        raise _nested(what, text)
    if isinstance(parsed, list):
        return parsed
    inside = text[1:-1]
    quoted = [re.sub(r"\\(.)", r"\1", one[1] or one[2] or "") for one in _QUOTED.finditer(inside)]
    between = _BETWEEN.sub("", _QUOTED.sub("", inside))
    if quoted and between and not between.strip("[](){}"):
        raise _nested(what, text)
    return quoted if quoted and not between else None


def _nested(what: str, cell: Any) -> UserError:
    return UserError(f"{what}: {str(cell)[:60]!r} is nested; give one list of texts or numbers")
