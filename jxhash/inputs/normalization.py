"""Normalisation of features: fitted on training rows, the same map for every row read later.

Methods learn from entries of a few units. Features of other encoders may have any scale and
offset, which no method should notice.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from jxhash.rows import Rows

#: "scale": centred, divided by one number; "standardize": centred, each feature divided by its own;
#: "length": centred, each row brought to one length; "none": as they are.
Kind = Literal["scale", "standardize", "length", "none"]

SAID = {
    "scale": "centred, divided by one number, so that the mean square of an entry is 1",
    "standardize": "centred, each feature divided by its standard deviation",
    "length": "centred, each row scaled to a mean square of 1",
    "none": "as given",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """A map of features [..., d] to float32: (x - centre) * factor, maybe of one length a row.

    Attributes:
      kind: see `Kind`.
      centre: float64 [d], of the training rows.
      factor: float64 [d]; 0 for a feature that is constant in them.
    """

    kind: Kind
    centre: np.ndarray
    factor: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features of any real dtype [..., d] -> float32 [..., d]."""
        if self.kind == "none":
            return features
        mapped = (features.astype(np.float64) - self.centre) * self.factor
        if self.kind == "length":
            length = np.sqrt(np.mean(np.square(mapped), axis=-1, keepdims=True))
            mapped /= np.where(length > 0, length, 1)
        return np.asarray(mapped, np.float32)

    @property
    def constant(self) -> np.ndarray:
        """The numbers of the features that were constant."""
        return np.flatnonzero(self.factor == 0)

    def rows(self, features: Rows) -> Rows:
        """The rows of an array, mapped when they are read."""
        return features if self.kind == "none" else features.mapped(self, np.float32)


def fit(kind: Kind, features: Rows) -> Normalization:
    """Fits a normalisation to training rows [n, ..., d].

    >>> from jxhash.rows import in_memory
    >>> fit("scale", in_memory(np.array([[1.0, 7], [3, 7]])))(np.array([[4.0, 8]])).tolist()
    [[2.8284270763397217, 0.0]]
    """
    width = features.shape[-1]
    if kind == "none":
        return Normalization(kind, np.zeros(width), np.ones(width))
    mean, square, constant = _moments(features)
    deviation = np.sqrt(square if kind == "standardize" else np.full(width, square.mean()))
    factor = 1 / np.where(deviation > 0, deviation, 1)
    return Normalization(kind, mean, np.where(constant, 0.0, factor))


def arrays_of(maps: Mapping[str, Normalization]) -> dict[str, np.ndarray]:
    """The parts of each modality's normalisation, under "image_kind" and the like."""
    return {
        f"{modality}_{name}": np.asarray(getattr(one, name))
        for modality, one in maps.items()
        for name in ("kind", "centre", "factor")
    }


def _moments(features: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and mean squared deviation of each feature, and whether it is constant; one pass.

    Blocks are joined as in Chan, Golub and LeVeque (1983), which loses no digits to a large mean.
    """
    width = features.shape[-1]
    number, mean, sums = 0, np.zeros(width), np.zeros(width)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for _, read in features.blocks():
        block = read.reshape(-1, width).astype(np.float64)
        own = block.mean(axis=0)
        total = number + len(block)
        sums += np.square(block - own).sum(axis=0)
        sums += np.square(own - mean) * (number * len(block) / total)
        mean += (own - mean) * (len(block) / total)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        number = total
    constant = low == high
    return np.where(constant, low, mean), np.where(constant, 0, sums / number), constant
