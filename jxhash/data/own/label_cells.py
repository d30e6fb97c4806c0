"""The labels in the cells of a table: lists in all spellings, separators, rows of 0 and 1."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from jxhash.data.own.cell_lists import entries_of, unquoted_entries
from jxhash.data.own.own_labels import NO_LABEL, signs_error
from jxhash.errors import UserError

# Patterns of one character, full-width ones among them. No name has these.
_SAFE = "[;|\uff1b\uff5c]"
# Read where they plainly combine fewer names.
_COMMAS = "[,\uff0c\u3001]"
# Many names have these, which are not read unless a description says so.
_UNCLEAR = ("/", r"\+", "&", ":", r"\^", ">", "\t", "\n", " ")

# A cell or an entry of these says nothing.
_EMPTY = ("", "None", "nan", "NaN", "null", "NULL", "N/A", "n/a", "<NA>")

_MARK = re.compile(r"[01](\.0*)?|True|False")
_SIGN = re.compile(r"[+-]?1(\.0*)?")


def label_lists(what: str, cells: Sequence[Any], separator: str | None = None) -> list[list[str]]:
    """The labels in each cell, in their order, each once.

    A cell is a list, a number, or a text: one that is a list in JSON, Python or numpy is read as
    one, all others are separated by `separator`. Where that is None it is ";" and "|" if a cell has
    one, or "," if the cells plainly combine fewer names; full-width ones are as these. Where all
    are lists of one length, above 1, of 0 and 1, these are multi-hot: the labels are the numbers of
    the columns that hold 1, or `NO_LABEL`.

    Raises:
      UserError: the cells look like lists by a separator that may be part of a name, or are nested.

    >>> label_lists("t.csv", ["sea|sky", "sky;sea", "sea", 3, None, "['red car']"])
    [['sea', 'sky'], ['sky', 'sea'], ['sea'], ['3'], [], ['red car']]
    >>> label_lists("t.csv", [[0, 1, 1], "[1. 0. 0.]", [0, 0, 0], None])
    [['1', '2'], ['0'], ['-1'], []]
    """
    found = [_text_or_entries(what, cell) for cell in cells]
    texts = [one for one in found if isinstance(one, str)]
    pattern = re.escape(separator) if separator else _separators(what, texts)
    split = [re.split(pattern, one) if isinstance(one, str) else one for one in found]
    named = [[name for one in row if (name := one.strip()) not in _EMPTY] for row in split]
    return [list(dict.fromkeys(row)) for row in _without_marks(what, named)]


def _text_or_entries(what: str, cell: Any) -> str | list[str]:
    entries = entries_of(what, cell)
    if entries is not None:
        return [str(entry) for entry in entries]
    text = str(cell).strip()  # 0 and False are labels
    if text in _EMPTY:
        return ""
    return unquoted_entries(what, text) or text


def _without_marks(what: str, rows: list[list[str]]) -> list[list[str]]:
    """Rows of 0 and 1 as the numbers of their columns; any other labels as they are."""
    filled = [row for row in rows if row]
    names = {name for row in filled for name in row}
    if len({len(row) for row in filled}) != 1 or len(filled[0]) == 1:
        return rows
    if all(map(_SIGN.fullmatch, names)) and any(name[0] == "-" for name in names):
        raise signs_error(what)
    if not all(map(_MARK.fullmatch, names)):
        return rows
    ones = [[str(n) for n, mark in enumerate(row) if mark[0] in "1T"] for row in rows]
    return [own or [NO_LABEL] * bool(row) for own, row in zip(ones, rows, strict=True)]


def _separators(what: str, cells: Sequence[str]) -> str:
    """The pattern that separates labels."""
    if any(re.search(_SAFE, cell) for cell in cells):
        return _SAFE
    whole = set(cells) - {""}
    if _number_of_parts(whole, _COMMAS) < len(whole):
        return _COMMAS
    parted = [cell for cell in cells if re.search(_COMMAS, cell)]
    all_parts = sum(len(_parts(cell, _COMMAS)) for cell in whole)
    recurring = all_parts > _number_of_parts(whole, _COMMAS)
    if parted and (recurring or 2 * len(parted) >= len(cells)):
        raise _unclear(what, _COMMAS, cells)
    for one in _UNCLEAR:
        # "polar bear", "brown bear" and other names have more parts than there are names.
        if _number_of_parts(whole, one) < len(whole):
            raise _unclear(what, one, cells)
    return _SAFE


def _parts(cell: str, pattern: str) -> set[str]:
    return {part.strip() for part in re.split(pattern, cell)} - {""}


def _number_of_parts(cells: Collection[str], pattern: str) -> int:
    return len(set().union(*(_parts(cell, pattern) for cell in cells)))


def _unclear(what: str, pattern: str, cells: Sequence[str]) -> UserError:
    found = next(match for cell in cells if (match := re.search(pattern, cell)))
    key = json.dumps(found[0], ensure_ascii=False)
    return UserError(
        f"{what}: {found.string[:60]!r} may be several labels, separated by {found[0]!r}; say in a "
        f'description (docs/data.md) "label_separator": {key}, or ";" for one'
    )
