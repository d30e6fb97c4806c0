"""Opens files of named arrays: .npy, .npz, .mat (4, 5 and 7.3), .h5, .safetensors.

Opening reads no array. An array is read by rows, on demand, if its rows lie contiguously in the
file (.npy, uncompressed .npz, HDF5, .safetensors), else into memory, at most 4 GiB of an array and
8 GiB of a file. Nothing is unpickled, and no link out of an HDF5 file is followed.
"""

import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from jxhash.errors import UserError
from jxhash.formats.file_names import resolved
from jxhash.formats.hdf5 import hdf5_entries, is_hdf5
from jxhash.formats.mat import open_mat
from jxhash.formats.npy import npy_entry, npz_entries
from jxhash.formats.safetensors_file import safetensors_entries
from jxhash.formats.stored import Entry, Stored, reading, shape_of

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".safetensors")

# The name of the only array of a .npy file.
ONLY = "array"


def open_file(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """Lists the arrays of a file; no array is read.

    Args:
      path: a file with one of `SUFFIXES`.

    Returns:
      name -> array. The array of a .npy file is called "array".

    Raises:
      UserError: the file is missing, damaged or of another kind. A fault in one array alone is
        raised when that array is opened or read.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is none of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    with reading(path):
        if suffix == ".npy":
            return {ONLY: npy_entry(path, str(path))}
        if suffix == ".npz":
            return npz_entries(path)
        if suffix == ".safetensors":
            return safetensors_entries(path)
        if is_hdf5(path):
            return hdf5_entries(path)
        return open_mat(str(path), lambda: open(path, "rb"))


def whole(entry: Entry) -> np.ndarray:
    """Reads an array whole, with the axes as its writer names them: numbers, or texts as dtype str.

    Raises:
      UserError: as `open_file`; or the texts are not as many in each row.
    """
    found = entry.open()
    if isinstance(found, Stored):
        return np.asarray(found.rows).T if found.columns_first else np.asarray(found.rows)
    if isinstance(next(iter(found), None), list) and len(shape_of(found)) < 2:
        raise UserError("texts, not as many in each row, make no array; give each row as many")
    return np.array(found if entry.shape else found[0], str)


def find(entries: Mapping[str, Entry], what: str, key: str) -> str:
    """The name of the array to take from a file: the key, or the only name if the key is empty.

    Args:
      entries: the arrays of the file, from `open_file`.
      what: what messages call the file.
      key: a name, or "".

    Raises:
      UserError: there is no such name, or no key and several names.
    """
    if key in entries:
        return key
    arrays = [name for name, entry in entries.items() if entry.is_array]
    if not key and len(arrays) == 1:
        return arrays[0]
    wanted = f"no array {key!r}" if key else "more than one array"
    raise UserError(f"{what} holds {wanted}; say which as {what}:NAME, it has {listed(entries)}")


def listed(entries: Mapping[str, Entry]) -> str:
    """The names and shapes of the arrays of a file, for messages.

    >>> listed({"images": Entry((20, 3), list), "L": Entry((20,), list)})
    'L (20), images (20 x 3)'
    """
    return ", ".join(
        f"{name} ({' x '.join(map(str, entry.shape))})"
        for name, entry in sorted(entries.items())
        if entry.is_array
    )


def split_reference(reference: str, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Splits "FILE" or "FILE:NAME" into path and name; a relative path is relative to a folder."""
    path = resolved(folder, reference)
    match = re.fullmatch(r"(.+):([^:/\\]*)", reference)
    if path.exists() or match is None:
        return path, ""
    return resolved(folder, match[1]), match[2]
