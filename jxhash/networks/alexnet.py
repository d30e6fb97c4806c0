"""AlexNet as torchvision has it, up to the 4,096 features of its seventh layer.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997: the
network of Krizhevsky, Sutskever and Hinton (NIPS 2012) without groups and without local response
normalisation. Layers, names of the weights and preprocessing are those of
`torchvision.models.alexnet`.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jxhash.formats import tensor_files
from jxhash.networks import weights
from jxhash.networks.picture_encoder import Encoder
from jxhash.networks.picture_files import Picture, open_rgb

PICTURE_SIZE = 224
FEATURE_SIZE = 4096

# Of ImageNet's pixels in [0, 1], red, green, blue.
MEAN = np.array([[[[0.485, 0.456, 0.406]]]], np.float32)
DEVIATION = np.array([[[[0.229, 0.224, 0.225]]]], np.float32)

_SHORTER_SIDE = 256
_MAX_RATIO = 100  # of the sides: the longer one grows with the shorter
_FLAT = (256, 6, 6)  # of the last pooling, in torch's order

_TORCH_NAMES = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
}


class AlexNet(nn.Module):
    """AlexNet without its classifier."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [n, 224, 224, 3], see `normalise`, to float [n, 4096] after the last ReLU."""

        def convolve(x: jax.Array, channels: int, size: int, padding: int, name: str) -> jax.Array:
            stride = 4 if size == 11 else 1
            layer = nn.Conv(channels, (size, size), stride, padding, precision="highest", name=name)
            return nn.relu(layer(x))

        pool = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
        x = pool(convolve(x, 64, 11, 2, "conv1"))
        x = pool(convolve(x, 192, 5, 2, "conv2"))
        x = convolve(x, 384, 3, 1, "conv3")
        x = convolve(x, 256, 3, 1, "conv4")
        x = pool(convolve(x, 256, 3, 1, "conv5"))
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(FEATURE_SIZE, precision="highest", name="fc6")(x))
        return nn.relu(nn.Dense(FEATURE_SIZE, precision="highest", name="fc7")(x))


def fit(picture: Picture) -> np.ndarray:
    """Brings the shorter side to 256 pixels, bilinearly, and cuts out the middle.

    Returns:
      uint8 [224, 224, 3].

    Raises:
      ValueError: as `picture_files.open_rgb`, or one side is 100 times the other.
    """
    opened = open_rgb(picture)
    if max(opened.size) > _MAX_RATIO * min(opened.size):
        raise ValueError(f"a picture of {opened.width} x {opened.height} pixels is too slim")
    # Rounded down, as torchvision does.
    width, height = (int(_SHORTER_SIDE * side / min(opened.size)) for side in opened.size)
    resized = opened.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - PICTURE_SIZE) / 2), round((height - PICTURE_SIZE) / 2)
    return np.asarray(resized.crop((left, top, left + PICTURE_SIZE, top + PICTURE_SIZE)))


def normalise(pixels: Any) -> Any:
    """Brings RGB pixels [n, height, width, 3] in [0, 255] to ImageNet's mean 0 and deviation 1."""
    return (pixels / np.float32(255) - MEAN) / DEVIATION


def to_variables(tensors: Mapping[str, np.ndarray], source: str | Path) -> dict[str, Any]:
    """Arranges the tensors of a torchvision file as the variables of `AlexNet`, in float32.

    Raises:
      UserError: a tensor is missing or has another shape; `source` is what the message names.
    """
    shape = (1, PICTURE_SIZE, PICTURE_SIZE, 3)
    return weights.arrange(AlexNet(), shape, _entries(), tensors, source)


def encoder(path: Path) -> Encoder:
    """The network with the weights of a file.

    Args:
      path: torchvision's `.pth`, or the same tensors as `.safetensors`.

    Raises:
      UserError: there is no such file, it is damaged, or it is of another network.
    """
    variables = to_variables(tensor_files.read(path), path)

    def apply(variables: Any, pixels: jax.Array) -> Any:
        return AlexNet().apply(variables, normalise(pixels.astype(jnp.float32)))

    described = (
        "AlexNet (torchvision), layer fc7 after ReLU; shorter side to 256 pixels, bilinear, the "
        "middle 224 x 224"
    )
    return Encoder(
        fit, jax.jit(apply), jax.device_put(variables), FEATURE_SIZE, PICTURE_SIZE, described
    )


def _entries() -> Iterator[weights.Entry]:
    converts = {"fc6": _flat_from_torch, "fc7": lambda array: array.T}
    for name, torch_name in _TORCH_NAMES.items():
        convert = converts.get(name, weights.kernel_from_torch)
        yield weights.Entry(("params", name, "kernel"), f"{torch_name}.weight", convert)
        yield weights.Entry(("params", name, "bias"), f"{torch_name}.bias")


def _flat_from_torch(array: np.ndarray) -> np.ndarray:
    """[out, channels * height * width] as [height * width * channels, out]."""
    kernel = weights.kernel_from_torch(array.reshape(-1, *_FLAT))
    return kernel.reshape(-1, kernel.shape[-1])
