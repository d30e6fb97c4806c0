"""Feature files: a row of numbers for each picture, and the name of the picture.

`FILE.npz` holds two arrays, `ids` (text [n], each once) and `features` (float [n, d], finite), and
may hold a third, `card` (JSON text), which says how they were made. `FILE.npy` holds the features
alone, to be mapped into memory; `FILE.ids.txt` beside it has an id a line, `FILE.card.json` the
card.
"""

import json
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from jxhash import formats
from jxhash.atomic_files import parse_json, read_json, replacing, write_atomically
from jxhash.data.ids import Matched, match, require_once
from jxhash.data.text_files import read_lines
from jxhash.errors import UserError

SUFFIXES = (".npz", ".npy")
_IDS, _CARD = ".ids.txt", ".card.json"  # beside a .npy file

# Of a compressed file; features hardly shrink, ids by a tenth and more.
_MAX_RATIO = 64


class Features(NamedTuple):
    """What a feature file holds."""

    ids: list[str]  # each once
    features: np.ndarray  # float [n, d], finite
    card: Mapping[str, Any]  # how they were made; empty where the file does not say


def read(path: pathlib.Path) -> Features:
    """Reads and checks a feature file; that of a `.npy` file is mapped into memory.

    Raises:
      UserError: the file is missing, damaged or of another kind, or holds what it must not.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: a feature file ends in {' or '.join(SUFFIXES)}")
    entries = formats.open_file(path)
    read_kind = _read_npz if path.suffix == ".npz" else _read_npy
    try:
        ids, features, card = read_kind(path, entries)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a feature file: {error}") from error
    if not isinstance(card, dict):
        raise UserError(f"{path}: the card is not a JSON object")
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise UserError(f"{path}: ids are text or whole numbers [n], not {ids.dtype} {ids.shape}")
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8", errors="replace")
    names = [str(name) for name in ids.tolist()]
    require_once(str(path), names)
    _require_finite(path, features, len(names))
    return Features(names, features, card)


_Read = tuple[np.ndarray, np.ndarray, Any]


def _read_npz(path: pathlib.Path, entries: Mapping[str, formats.Entry]) -> _Read:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MAX_RATIO * path.stat().st_size:
        raise UserError(f"{path} unpacks to {unpacked} bytes, more than features ever do")
    for name in ("ids", "features"):
        if name not in entries:
            raise UserError(
                f"{path} holds no array {name!r}, it has {', '.join(entries) or 'none'}"
            )
    card = parse_json(str(formats.whole(entries["card"]))) if "card" in entries else {}
    return formats.whole(entries["ids"]), formats.whole(entries["features"]), card


def _read_npy(path: pathlib.Path, entries: Mapping[str, formats.Entry]) -> _Read:
    entries[formats.ONLY].open()
    features = np.load(path, allow_pickle=False, mmap_mode="r")
    if features.dtype.kind == "V":  # bfloat16
        features = formats.whole(entries[formats.ONLY])
    ids = read_lines(path.with_suffix(_IDS))
    card = path.with_suffix(_CARD)
    return np.array(ids, str), features, read_json(card) if card.exists() else {}


def _require_finite(path: pathlib.Path, features: np.ndarray, rows: int) -> None:
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
        raise UserError(
            f"{path}: features are floats [n, d], not {features.dtype} {features.shape}"
        )
    if len(features) != rows or features.size == 0:
        raise UserError(f"{path}: features of shape {features.shape} do not fit {rows} ids")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise UserError(
            f"{path}: features hold NaN or infinity in {bad.size} rows, the first is row {bad[0]}"
        )


def matched(path: pathlib.Path, names: Sequence[str], ids: Sequence[str]) -> Matched:
    """The rows of a feature file with these ids in the order of the pictures' names, see `match`.

    Raises:
      UserError: a picture has no row.
    """
    found = match(names, ids)
    if found.missing.size:
        raise UserError(
            f"{path} has no row for {found.missing.size:,} of {len(names):,} pictures, such as "
            f"{names[found.missing[0]]!r}; its ids are like {ids[0]!r}"
        )
    return found


def write(
    path: pathlib.Path,
    ids: Sequence[str],
    parts: Iterable[np.ndarray],
    width: int,
    card: Mapping[str, Any],
) -> None:
    """Writes a feature file, .npz or .npy; it is there whole, or not at all.

    The features are arrays [m, width] that follow one another; read one by one, so that more can be
    written than fits into memory. The card has JSON values that say how they were made.

    Raises:
      ValueError: the parts have not as many rows as there are ids, or another width.
    """
    parts = _of_shape(parts, len(ids), width)
    text = json.dumps(card, indent=2)
    if path.suffix == ".npy":
        # The features come last: where they are, the others are.
        write_atomically(path.with_suffix(_IDS), "".join(f"{name}\n" for name in ids).encode())
        write_atomically(path.with_suffix(_CARD), f"{text}\n".encode())
        with replacing(path) as file:
            _write_features(file, parts, (len(ids), width))
        return
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in (("ids", np.array(ids, str)), ("card", np.array(text))):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        with archive.open("features.npy", "w", force_zip64=True) as member:
            _write_features(member, parts, (len(ids), width))


def _of_shape(parts: Iterable[np.ndarray], rows: int, width: int) -> Iterator[np.ndarray]:
    found = 0
    for part in parts:
        found += len(part)
        if part.shape[1:] != (width,):
            raise ValueError(f"features of shape {part.shape} are not {width} wide")
        yield np.ascontiguousarray(part, "<f4")
    if found != rows:
        raise ValueError(f"{found} rows of features do not fit {rows} ids")


def _write_features(file: IO[bytes], parts: Iterable[np.ndarray], shape: tuple[int, int]) -> None:
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    for part in parts:
        file.write(part.tobytes())
