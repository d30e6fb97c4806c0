"""Picture features as the embedded data has them: EfficientNet-Lite0, pooled and projected.

The projection was fitted on the training split of the embedded clip art.
"""

import functools
from collections.abc import Iterable
from importlib import resources
from itertools import islice

import numpy as np

from jxhash.networks import efficientnet_lite
from jxhash.networks.picture_encoder import Encoder, encode
from jxhash.networks.picture_files import Picture

# The network sees every picture at this size. It was trained at 224. On the embedded clip art,
# whose pictures have 64 pixels, retrieval by features gains up to 160 and hardly beyond.
PICTURE_SIZE = 160


def picture_features(
    pictures: Iterable[Picture], *, batch_size: int = 32, size: int = PICTURE_SIZE
) -> np.ndarray:
    """Returns the features of pictures, comparable with those of the embedded data.

    Args:
      pictures: encoded pictures or uint8 arrays; see `picture_files.open_rgb`. They are read batch
        by batch.
      batch_size: pictures that pass through the network together; the result does not depend on it.
      size: the height and width at which the network sees them; smaller is faster and coarser.

    Returns:
      float32 [n, 256]: pooled features of EfficientNet-Lite0, centred and projected.

    Raises:
      ImportError: the package with the weights is not installed.
      ValueError: a picture cannot be read, or batch_size is below 1.
    """
    mean, components = _projection()
    pooled = pooled_features(pictures, batch_size=batch_size, size=size)
    projected: np.ndarray = (pooled - mean) @ components
    return projected


def pooled_features(
    pictures: Iterable[Picture], *, batch_size: int = 32, size: int = PICTURE_SIZE
) -> np.ndarray:
    """Returns the features before the projection, float32 [n, 1280]; see `picture_features`."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    network = _compiled(size)
    parts = [np.zeros((0, network.width), np.float32)]
    iterator = iter(pictures)
    while batch := list(islice(iterator, batch_size)):
        parts.append(encode(network, np.stack([network.fit(item) for item in batch]), batch_size))
    return np.concatenate(parts)


@functools.cache
def _compiled(size: int) -> Encoder:
    return efficientnet_lite.encoder(size=size)


@functools.cache
def _projection() -> tuple[np.ndarray, np.ndarray]:
    path = resources.files("jxhash.inputs") / "lite0_projection.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        return content["mean"].astype(np.float32), content["components"].astype(np.float32)
