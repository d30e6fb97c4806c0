"""Reads networks as MatConvNet stores them: a MATLAB 5 to 7 file of layers and an average image.

Both generations of the format are read: with `filters` and `biases`, or `weights`, in each layer;
with `normalization` beside the layers, or in `meta`; all of it at the top of the file, or in a
variable `net`. See `vl_simplenn_tidy` of MatConvNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jxhash.errors import UserError
from jxhash.formats import mat

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
      UserError: as `formats.mat.structures`, or the file holds something else.
    """
    found = mat.structures(path, _VARIABLES)
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
