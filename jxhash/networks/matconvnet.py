"""Reads networks as MatConvNet stores them: a MATLAB 5 to 7 file of layers and an average image.

Both generations of the format are read: with `filters` and `biases`, or `weights`, in each layer;
with `normalization` beside the layers, or in `meta`; all of it at the top of the file, or in a
variable `net`. See `vl_simplenn_tidy` of MatConvNet.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jxhash.errors import UserError
from jxhash.formats import mat_check

# Compressed files may unpack to a thousand times their size.
MAX_BYTES = 2**31

_HEADER, _TAG, _COMPRESSED = 128, 8, 15
_CHUNK = 2**20
_HDF5_VERSION = 2
_VARIABLES = ("layers", "normalization", "meta", "net")


class Network(NamedTuple):
    """What such a file holds.

    Attributes:
      layers: dictionaries with `type`, most with `name`; those with weights have `weights`, the
        kernel [height, width, in, out] and the bias, axes of length 1 left out.
      average_image: what is taken away from a picture, [height, width, 3] or [3].
    """

    layers: Sequence[Mapping[str, Any]]
    average_image: np.ndarray


def read(path: Path) -> Network:
    """Reads a file.

    Raises:
      UserError: there is no such file, it is damaged or of MATLAB 7.3, unpacks to more than
        `MAX_BYTES`, or holds something else.
    """
    import scipy.io
    from scipy.io.matlab import matfile_version

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    _require_modest(path)
    try:
        if matfile_version(path)[0] == _HDF5_VERSION:
            raise UserError(f"{path} is a MATLAB 7.3 file; save it again with -v7")
        with open(path, "rb") as file:
            mat_check.check(file, _VARIABLES)
            found = scipy.io.loadmat(file, simplify_cells=True, variable_names=_VARIABLES)
    except UserError:
        raise
    # Cut and changed files raise whatever the place of the damage leads to.
    except Exception as error:
        raise UserError(f"{path} cannot be read as a MATLAB file: {error}") from error
    try:
        return _network(found)
    # What stands in another place, or is of another kind, fails in as many ways.
    except Exception as error:
        raise UserError(
            f"{path} is no network as MatConvNet stores it: layers of a simple network and "
            f"normalization.averageImage are needed ({error})"
        ) from error


def _network(found: Mapping[str, Any]) -> Network:
    net = found.get("net", found)
    meta = net.get("meta", net)
    average = np.asarray(meta["normalization"]["averageImage"], np.float32)
    return Network([_layer(layer) for layer in net["layers"]], average)


def _layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    found = {**layer, "type": str(layer["type"])}
    if "filters" in found:
        found["weights"] = [found.pop("filters"), found.pop("biases")]
    if "weights" in found:
        found["weights"] = [np.asarray(array, np.float32) for array in found["weights"]]
    return found


def _require_modest(path: Path) -> None:
    """Walks over the top-level elements of the file without keeping what it unpacks."""
    total, whole = 0, path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(_HEADER)
        order = "<" if header[126:128] == b"IM" else ">"
        while len(tag := file.read(_TAG)) == _TAG:
            kind, size = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                total += size
                file.seek(size, 1)
            else:
                total += _unpacked(file.read(min(size, whole)), MAX_BYTES - total)
            if total > MAX_BYTES:
                raise UserError(f"{path} unpacks to more than {MAX_BYTES} bytes and is not read")


def _unpacked(content: bytes, enough: int) -> int:
    """The size of zlib-compressed bytes once unpacked, counted until it exceeds `enough`."""
    stream, total = zlib.decompressobj(), 0
    try:
        while content and total <= enough:
            total += len(stream.decompress(content, _CHUNK))
            content = stream.unconsumed_tail
    except zlib.error:
        pass  # the reader names the damage
    return total
