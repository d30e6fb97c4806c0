"""CNN-F, also VGG-F: the picture network of DCMH and of most that came after it.

Chatfield, Simonyan, Vedaldi and Zisserman, "Return of the Devil in the Details", BMVC 2014, table
1, up to the 4,096 features of its seventh layer. The weights are MatConvNet's `imagenet-vgg-f.mat`:
pictures in RGB from 0 to 255, less the average image. Pictures are brought to 224 x 224 whatever
their shape, as MatConvNet's examples and the published code of the field do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jxhash.errors import UserError
from jxhash.networks import matconvnet, weights
from jxhash.networks.encoder import Encoder
from jxhash.networks.pictures import Picture, open_rgb

PICTURE_SIZE = 224
FEATURE_SIZE = 4096


class _Convolution(NamedTuple):
    channels: int
    size: int
    stride: int
    padding: int


_CONVOLUTIONS = {
    "conv1": _Convolution(channels=64, size=11, stride=4, padding=0),
    "conv2": _Convolution(channels=256, size=5, stride=1, padding=2),
    "conv3": _Convolution(channels=256, size=3, stride=1, padding=1),
    "conv4": _Convolution(channels=256, size=3, stride=1, padding=1),
    "conv5": _Convolution(channels=256, size=3, stride=1, padding=1),
    # In the file fully connected layers are convolutions too.
    "fc6": _Convolution(FEATURE_SIZE, size=6, stride=1, padding=0),
    "fc7": _Convolution(FEATURE_SIZE, size=1, stride=1, padding=0),
}
_NORMALISED = ("conv1", "conv2")
_POOLED = ("conv1", "conv2", "conv5")

# Channels summed over, what is added, the factor of the squares, the exponent.
_NORMALISATION = (5, 2.0, 1e-4, 0.75)


def local_response_norm(x: jax.Array) -> jax.Array:
    """Divides each channel by (2 + 1e-4 s)^0.75, s the sum of squares of it and two on each side.

    Args:
      x: float [n, height, width, channels].

    Returns:
      An array like `x`.
    """
    size, offset, factor, exponent = _NORMALISATION
    channels, reach = x.shape[-1], size // 2
    squares = jnp.pad(x**2, ((0, 0), (0, 0), (0, 0), (reach, reach)))
    total = sum(squares[..., first : first + channels] for first in range(size))
    return x * (offset + factor * total) ** -exponent


def _pool(x: jax.Array) -> jax.Array:
    """The maximum of 3 x 3 windows two pixels apart; the last may reach beyond the border."""
    padding = [(0, (size - 3) % 2) for size in x.shape[1:3]]
    return nn.max_pool(x, (3, 3), (2, 2), padding)


class CNNF(nn.Module):
    """CNN-F without its classifier."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the features after the ReLU of the seventh layer.

        Args:
          x: float [n, 224, 224, 3], pixels less the average image.

        Returns:
          float [n, 4096], not negative.
        """
        for name, (channels, size, stride, padding) in _CONVOLUTIONS.items():
            if name == "fc6":
                x = x.reshape(len(x), -1)
            if name.startswith("fc"):
                x = nn.relu(nn.Dense(channels, precision="highest", name=name)(x))
                continue
            layer = nn.Conv(channels, (size, size), stride, padding, precision="highest", name=name)
            x = nn.relu(layer(x))
            x = local_response_norm(x) if name in _NORMALISED else x
            x = _pool(x) if name in _POOLED else x
        return x


def fit(picture: Picture) -> np.ndarray:
    """Brings a picture to 224 x 224 pixels, bicubically and whatever its shape.

    Args:
      picture: see `pictures.open_rgb`.

    Returns:
      uint8 [224, 224, 3].

    Raises:
      ValueError: it is no picture.
    """
    size = (PICTURE_SIZE, PICTURE_SIZE)
    return np.asarray(open_rgb(picture).resize(size, Image.Resampling.BICUBIC))


def to_variables(network: matconvnet.Network, source: str | Path) -> dict[str, Any]:
    """Arranges the layers of MatConvNet's file as the variables of `CNNF`, and the average image.

    Args:
      network: as `matconvnet.read` returns it.
      source: what an error message calls the file.

    Returns:
      {"params": ..., "average_image": float32 [1, 224, 224, 3]}.

    Raises:
      UserError: the layers are not those of CNN-F.
    """
    layers = [layer for layer in network.layers if layer["type"] != "dropout"]
    _require_kinds(layers, source)
    weighted = [layer for layer in layers if layer["type"] == "conv"]
    tensors = {}
    for (name, expected), layer in zip(_CONVOLUTIONS.items(), weighted, strict=False):
        _require_numbers(layer, {"stride": (expected.stride,), "pad": (expected.padding,)}, source)
        kernel, bias = layer.get("weights", (np.zeros(0), np.zeros(0)))
        tensors |= {f"{name} filters": kernel, f"{name} biases": bias}
    shapes = jax.eval_shape(CNNF().init, jax.random.key(0), np.zeros((1, 224, 224, 3), np.float32))
    variables = weights.arrange(shapes, _entries(), tensors, source)
    average = network.average_image
    if average.shape not in ((3,), (PICTURE_SIZE, PICTURE_SIZE, 3)):
        raise UserError(f"{source}: an average image of shape {average.shape} does not fit")
    shape = (1, PICTURE_SIZE, PICTURE_SIZE, 3)
    return {**variables, "average_image": np.array(np.broadcast_to(average, shape))}


def encoder(path: Path) -> Encoder:
    """The network with the weights of `imagenet-vgg-f.mat`.

    Raises:
      UserError: there is no such file, it is damaged, or it is of another network.
    """
    variables = to_variables(matconvnet.read(path), path)

    def apply(variables: Any, pixels: jax.Array) -> jax.Array:
        pictures = pixels.astype(jnp.float32) - variables["average_image"]
        return CNNF().apply({"params": variables["params"]}, pictures)

    described = "CNN-F, layer fc7 after ReLU; 224 x 224 whatever the shape, bicubic"
    return Encoder(
        fit, jax.jit(apply), jax.device_put(variables), FEATURE_SIZE, PICTURE_SIZE, described
    )


def _kinds() -> Iterator[str]:
    for name in _CONVOLUTIONS:
        yield from ("conv", "relu")
        if name in _NORMALISED:
            yield "normalize"
        if name in _POOLED:
            yield "pool"


def _require_kinds(layers: Sequence[Mapping[str, Any]], source: str | Path) -> None:
    expected = list(_kinds())
    found = ["normalize" if layer["type"] == "lrn" else layer["type"] for layer in layers]
    if found[: len(expected)] != expected:
        raise UserError(
            f"{source} is not CNN-F: its layers are {', '.join(found) or 'none'}, not "
            f"{', '.join(expected)}"
        )
    for layer, kind in zip(layers, expected, strict=False):
        if kind == "normalize":
            _require_numbers(layer, {"param": _NORMALISATION}, source)
        if kind == "pool":
            _require_numbers(layer, {"pool": (3,), "stride": (2,)}, source)


def _require_numbers(
    layer: Mapping[str, Any], expected: Mapping[str, tuple[float, ...]], source: str | Path
) -> None:
    for name, numbers in expected.items():
        found = np.atleast_1d(np.asarray(layer.get(name, numbers)))
        if found.size % len(numbers) or not np.allclose(found.reshape(-1, len(numbers)), numbers):
            raise UserError(
                f"{source} is not CNN-F: layer {layer.get('name', layer['type'])!r} has {name} "
                f"{found.tolist()}, not {list(numbers)}"
            )


def _entries() -> Iterator[weights.Entry]:
    for name in _CONVOLUTIONS:
        convert = _flat if name == "fc6" else weights.as_is
        yield weights.Entry(("params", name, "kernel"), f"{name} filters", convert)
        yield weights.Entry(("params", name, "bias"), f"{name} biases", weights.as_is)


def _flat(array: np.ndarray) -> np.ndarray:
    """[height, width, in, out] as [height * width * in, out]."""
    return array.reshape(-1, array.shape[-1])
