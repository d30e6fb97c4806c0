"""Which pairs are queries, database, training and validation: the papers' divisions by name.

Papers draw their divisions at random and rarely publish them; what they share are the sizes. So a
protocol here is the sizes of a paper and a seed. Two numbers are comparable where name, seed and
hash agree; a file of a paper's own indices can be given instead (`read`).
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jxhash import formats
from jxhash.data.dataset import content_hash
from jxhash.data.ids import require_apart, row_numbers
from jxhash.data.text_files import numbered, read_lines, whole_number
from jxhash.errors import UserError
from jxhash.formats.file_names import visible

PARTS = ("query", "database", "train", "validation")

# Lists of a few hundred thousand rows are far below.
_MAX_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How many pairs a protocol gives to what; all pairs but the queries are the database."""

    query: int
    train: int | None  # pairs of the database; None for all of it
    validation: int = 0  # to choose settings with, neither queries nor trained on
    pools: tuple[int, ...] = ()  # the published numbers of pairs; empty where none was found
    tagged: bool = False  # pairs without a word are left out of the pool
    disjoint: bool = False  # training pairs are no part of the database
    by_pairs: bool = False  # without labels: queries search for their partners among each other


_MIR = (20_015,)
_IAPR = (20_000, 19_999)  # 19,999 where the archive's one picture without a description is skipped
_NUS_10 = (186_577, 186_557)  # papers give either
_COCO = (122_218,)

_SPELLINGS = {
    "query": re.compile("query|test"),
    "database": re.compile("database|retrieval|db"),
    "train": re.compile("train"),
    "validation": re.compile("valid|(?<!retrie)val"),
}

# Protocol -> data set -> sizes. The source of each is in docs/data.md.
PROTOCOLS: Mapping[str, Mapping[str, Sizes]] = {
    "dcmh": {
        "mirflickr25k": Sizes(2_000, 10_000, 1_000, _MIR),
        "iapr_tc12": Sizes(2_000, 10_000, 1_000, _IAPR),
        "nuswide/tc21": Sizes(2_100, 10_500, 1_000, (195_834,)),
    },
    "ssah": {
        "mirflickr25k": Sizes(2_000, 10_000, 1_000, _MIR),
        "nuswide/tc21": Sizes(2_100, 10_500, 1_000, (190_421,), tagged=True),
    },
    "scahn": {
        "mirflickr25k": Sizes(2_000, 10_000, 1_000),
        "iapr_tc12": Sizes(2_000, 10_000, 1_000),
        "nuswide/tc21": Sizes(2_100, 10_500, 1_000),
        "mscoco2014": Sizes(5_000, 10_000, 1_000),
    },
    "mith": {
        "mirflickr25k": Sizes(2_000, 10_000, 1_000, _MIR),
        "nuswide/tc21": Sizes(2_100, 10_500, 1_000, (190_421,), tagged=True),
        "mscoco2014": Sizes(5_000, 10_000, 1_000, _COCO),
    },
    "dchmt": {
        "mirflickr25k": Sizes(5_000, 10_000, 1_000, (24_581,)),
        "nuswide/tc21": Sizes(5_000, 10_000, 1_000),
        "mscoco2014": Sizes(5_000, 10_000, 1_000),
    },
    "ucch": {
        "mirflickr25k": Sizes(2_000, None, 0, _MIR),
        "iapr_tc12": Sizes(2_000, None, 0, _IAPR),
        "nuswide/tc10": Sizes(2_100, None, 0, _NUS_10),
        "mscoco2014": Sizes(5_000, None, 0, _COCO),
    },
    "djsrh": {
        "mirflickr25k": Sizes(2_000, 5_000, 1_000, _MIR),
        "nuswide/tc10": Sizes(2_000, 5_000, 1_000, _NUS_10),
    },
    # The usual test of image-text retrieval: captions and pictures of 1,000 pairs.
    "pairs": {"flickr30k": Sizes(1_000, None, 1_000, (31_783,), by_pairs=True)},
    "acmr": {"pascal_sentence": Sizes(200, None, 0, (1_000,))},
    "thn": {
        "mirflickr25k": Sizes(2_000, 10_000, 1_000, _MIR, disjoint=True),
        "nuswide/tc21": Sizes(2_100, 10_500, 1_000, disjoint=True),
    },
}


@dataclasses.dataclass(frozen=True)
class Split:
    """A division of the rows of a data set: row numbers, int64, sorted, no query elsewhere."""

    query: np.ndarray
    database: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    card: Mapping[str, Any]  # name, seed or file, sizes and `sha256`, printed with every number


def names() -> list[str]:
    """The names that `draw` knows."""
    return sorted(PROTOCOLS)


def draw(
    name: str, data: str, num_rows: int, seed: int = 0, *, tagged: np.ndarray | None = None
) -> Split:
    """Draws a protocol's division.

    The same seed draws the same queries and training pairs with every version of numpy.

    Args:
      name: one of `names()`.
      data: the data set, and its config where protocols differ by it, such as "nuswide/tc21".
      num_rows: its pairs.
      seed: another seed draws another division.
      tagged: bool [num_rows], the pairs with a word; for protocols that leave the others out.

    Raises:
      UserError: the name is unknown, says nothing of this data set, or belongs to a pool of another
        size than the pairs given.

    >>> split = draw("dcmh", "mirflickr25k", 20015, seed=1)
    >>> [len(getattr(split, part)) for part in PARTS]
    [2000, 18015, 10000, 1000]
    """
    sizes = _sizes(name, data)
    rows = np.arange(num_rows)
    if sizes.tagged:
        if tagged is None:
            raise UserError(f"protocol {name!r} needs to know which pairs of {data} have words")
        rows = np.flatnonzero(tagged)
    if sizes.pools and len(rows) not in sizes.pools:
        pools = " or ".join(f"{pool:,}" for pool in sizes.pools)
        raise UserError(
            f"protocol {name!r} divides {pools} pairs of {data}"
            f"{' that have words' if sizes.tagged else ''}, but there are {len(rows):,}; build the "
            "config that it is for, give a file of indices, or divide with other sizes"
        )
    return divide(rows, sizes, seed, {"protocol": name, "data": data})


def _sizes(name: str, data: str) -> Sizes:
    if name not in PROTOCOLS:
        raise UserError(
            f"unknown protocol {name!r}; known are {', '.join(names())}, and a file or folder of "
            "indices"
        )
    known = PROTOCOLS[name]
    whole = data.removesuffix("-skipping").removesuffix("-tags")
    sizes = known.get(whole) or known.get(whole.partition("/")[0])
    if sizes is None:
        raise UserError(f"protocol {name!r} says nothing of {data!r}, only of {', '.join(known)}")
    return sizes


def divide(
    rows: np.ndarray, sizes: Sizes, seed: int, card: Mapping[str, Any] | None = None
) -> Split:
    """Divides the pool `rows` at random: queries first, then training, then validation pairs.

    Raises:
      UserError: there are too few rows.
    """
    train = len(rows) - sizes.query - sizes.validation if sizes.train is None else sizes.train
    if sizes.query + max(train, 1) + sizes.validation > len(rows):
        raise UserError(
            f"{len(rows):,} pairs are too few for {sizes.query:,} queries, {max(train, 1):,} to "
            f"train on and {sizes.validation:,} for validation"
        )
    # RandomState's stream is frozen for good; that of numpy's newer generators is not.
    order = np.random.RandomState(seed).permutation(np.sort(rows))
    query, rest = order[: sizes.query], order[sizes.query :]
    database = rest[train:] if sizes.disjoint else rest
    parts = {
        "query": query,
        "database": query if sizes.by_pairs else database,
        "train": rest[:train],
        "validation": rest[train : train + sizes.validation],
    }
    return of_parts(parts, {**(card or {}), "seed": seed})


def read(
    path: str | os.PathLike[str], num_rows: int, *, first: int | None = None, by_pairs: bool = False
) -> Split:
    """Reads a division from an authors' files.

    Args:
      path: an .npz, .mat or .h5 file with an array a part, whose name holds one of "query" or
        "test", "database", "retrieval" or "db", "train", and "val"; or a folder with a file a part
        (.npy, or .txt with a number a line). The database is all but the queries where it is not
        given, training pairs are the database.
      num_rows: the pairs of the data set.
      first: how the file calls the first row; by default 1 in a .mat file, as MATLAB counts, and
        0 in all others.
      by_pairs: the database is by default the queries, whose partners are there.

    Returns:
      The division, checked.

    Raises:
      UserError: a file is missing or malformed, or a list has numbers out of range, duplicates, or
        queries that are also in the database or trained on.
    """
    path = pathlib.Path(path)
    if first is None:
        first = int(path.suffix.lower() == ".mat")
    hint = f" (give first={1 - first} where rows are counted from {1 - first})"
    lists: dict[str, np.ndarray] = {}
    for part, where, array in _lists_in(path):
        if part in lists:
            raise UserError(f"{where}: two arrays are called as if they were {part} indices")
        lists[part] = row_numbers(where, array, num_rows, first, hint)
    if "query" not in lists:
        raise UserError(f"{path} has no indices of queries, under a name with 'query' or 'test'")
    everything = np.arange(num_rows, dtype=np.int64)
    others = np.setdiff1d(everything, lists["query"])
    lists.setdefault("train", others if by_pairs else lists.get("database", others))
    lists.setdefault("database", lists["query"] if by_pairs else others)
    lists.setdefault("validation", everything[:0])
    for part in ("train", "validation") if by_pairs else PARTS[1:]:
        require_apart(str(path), lists["query"], lists[part], part, first)
    return of_parts(lists, {"protocol": "indices from a file", "file": path.name, "first": first})


def of_parts(parts: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> Split:
    """A division by lists of rows, one for each of `PARTS`."""
    lists = {part: np.sort(np.asarray(parts[part], np.int64)) for part in PARTS}
    sizes = {part: len(rows) for part, rows in lists.items()}
    return Split(**lists, card={**card, "sizes": sizes, "sha256": content_hash(lists)})


def _part(name: str) -> str | None:
    """Which part an array is, by its name; None where the name says none, or several."""
    found = [part for part, spelling in _SPELLINGS.items() if spelling.search(name.lower())]
    return found[0] if len(found) == 1 else None


def _lists_in(path: pathlib.Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Part, where it stands, and the numbers, of all that is named like a part."""
    if not path.exists():
        raise UserError(f"{path} is missing; give a file or folder of indices")
    if path.is_dir():
        for file in visible(path):
            part = _part(file.stem)
            if part and file.suffix == ".txt":
                yield part, str(file), _read_list(file)
            if part and file.suffix == ".npy":
                yield part, str(file), _opened(str(file), formats.open_file(file)[formats.ONLY])
        return
    for name, entry in formats.open_file(path).items():
        part = _part(name)
        if part:
            yield part, f"{path}, {name}", _opened(f"{path}, {name}", entry)


def _opened(where: str, entry: formats.Entry) -> np.ndarray:
    _require_small(8 * math.prod(entry.shape), where)
    return formats.whole(entry)


def _read_list(path: pathlib.Path) -> np.ndarray:
    _require_small(path.stat().st_size, str(path))
    rows = []
    for where, line in numbered(path, read_lines(path)):
        rows.append(whole_number(line))
        if rows[-1] is None:
            raise UserError(f"{where}: no row number: {line[:40]!r}")
    return np.array(rows, np.int64)


def _require_small(size: int, where: str) -> None:
    if size > _MAX_BYTES:
        raise UserError(f"{where} is larger than {_MAX_BYTES:,} bytes; it is not a list of indices")
