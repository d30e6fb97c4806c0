"""CNN-F, also VGG-F: the picture network of DCMH and of most that came after it.

Chatfield, Simonyan, Vedaldi and Zisserman, "Return of the Devil in the Details", BMVC 2014, table
1, up to the 4,096 features of its seventh layer. The weights are MatConvNet's `imagenet-vgg-f.mat`:
pictures in RGB from 0 to 255, less the average image. Pictures are brought to 224 x 224 whatever
their shape, as MatConvNet's examples and the published code of the field do.
"""

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
from jxhash.networks.picture_encoder import Encoder
from jxhash.networks.picture_files import Picture, open_rgb

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

    Takes and returns float [n, height, width, channels].
    """
    size, offset, factor, exponent = _NORMALISATION
    channels, reach = x.shape[-1], size // 2
    squares = jnp.pad(x**2, ((0, 0), (0, 0), (0, 0), (reach, reach)))
    total = sum(squares[..., first : first + channels] for first in range(size))
    return x * (offset + factor * total) ** -exponent


class CNNF(nn.Module):
    """CNN-F without its classifier."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [n, 224, 224, 3], less the average image, to float [n, 4096] after a ReLU."""
        for name, (channels, size, stride, padding) in _CONVOLUTIONS.items():
            if name == "fc6":
                x = x.reshape(len(x), -1)
            if name.startswith("fc"):
                x = nn.relu(nn.Dense(channels, precision="highest", name=name)(x))
                continue
            layer = nn.Conv(channels, (size, size), stride, padding, precision="highest", name=name)
            x = nn.relu(layer(x))
            x = local_response_norm(x) if name in _NORMALISED else x
            if name in _POOLED:
                # The last window may reach beyond the border.
                beyond = [(0, (length - 3) % 2) for length in x.shape[1:3]]
                x = nn.max_pool(x, (3, 3), (2, 2), beyond)
        return x


def fit(picture: Picture) -> np.ndarray:
    """Brings a picture to uint8 [224, 224, 3], bicubically and whatever its shape.

    Raises:
      ValueError: as `picture_files.open_rgb`.
    """
    size = (PICTURE_SIZE, PICTURE_SIZE)
    return np.asarray(open_rgb(picture).resize(size, Image.Resampling.BICUBIC))


def to_variables(network: matconvnet.Network, source: str | Path) -> dict[str, Any]:
    """Arranges the layers of MatConvNet's file as the variables of `CNNF`, and the average image.

    Returns:
      {"params": ..., "average_image": float32 [1, 224, 224, 3]}.

    Raises:
      UserError: the layers are not those of CNN-F; `source` is what the message names.
    """
    layers = [layer for layer in network.layers if layer["type"] != "dropout"]
    _require_cnn_f(layers, source)
    weighted = [layer for layer in layers if layer["type"] == "conv"]
    tensors: dict[str, np.ndarray] = {}
    for name, layer in zip(_CONVOLUTIONS, weighted, strict=False):
        kernel, bias = layer.get("weights", (np.zeros(0), np.zeros(0)))
        tensors |= {f"{name} filters": kernel, f"{name} biases": bias}
    shape = (1, PICTURE_SIZE, PICTURE_SIZE, 3)
    variables = weights.arrange(CNNF(), shape, _entries(), tensors, source)
    average = network.average_image
    if average.shape not in ((3,), shape[1:]):
        raise UserError(f"{source}: an average image of shape {average.shape} does not fit")
    return {**variables, "average_image": np.array(np.broadcast_to(average, shape))}


def encoder(path: Path) -> Encoder:
    """The network with the weights of `imagenet-vgg-f.mat`.

    Raises:
      UserError: there is no such file, it is damaged, or it is of another network.
    """
    variables = to_variables(matconvnet.read(path), path)

    def apply(variables: Any, pixels: jax.Array) -> Any:
        pictures = pixels.astype(jnp.float32) - variables["average_image"]
        return CNNF().apply({"params": variables["params"]}, pictures)

    described = "CNN-F, layer fc7 after ReLU; 224 x 224 whatever the shape, bicubic"
    return Encoder(
        fit, jax.jit(apply), jax.device_put(variables), FEATURE_SIZE, PICTURE_SIZE, described
    )


def _layers() -> Iterator[tuple[str, dict[str, tuple[float, ...]]]]:
    """The type of each layer, and its numbers."""
    for name, layer in _CONVOLUTIONS.items():
        yield "conv", {"stride": (layer.stride,), "pad": (layer.padding,)}
        yield "relu", {}
        if name in _NORMALISED:
            yield "normalize", {"param": _NORMALISATION}
        if name in _POOLED:
            yield "pool", {"pool": (3,), "stride": (2,)}


def _require_cnn_f(layers: Sequence[Mapping[str, Any]], source: str | Path) -> None:
    kinds = [kind for kind, _ in _layers()]
    found = ["normalize" if layer["type"] == "lrn" else layer["type"] for layer in layers]
    if found[: len(kinds)] != kinds:
        raise UserError(
            f"{source} is not CNN-F: its layers are {', '.join(found) or 'none'}, not "
            f"{', '.join(kinds)}"
        )
    for layer, (_, expected) in zip(layers, _layers(), strict=False):
        for name, numbers in expected.items():
            has = np.atleast_1d(np.asarray(layer.get(name, numbers)))
            if has.size % len(numbers) or not np.allclose(has.reshape(-1, len(numbers)), numbers):
                raise UserError(
                    f"{source} is not CNN-F: layer {layer.get('name', layer['type'])!r} has {name} "
                    f"{has.tolist()}, not {list(numbers)}"
                )


def _entries() -> Iterator[weights.Entry]:
    for name in _CONVOLUTIONS:
        convert = _flat if name == "fc6" else weights.as_is
        yield weights.Entry(("params", name, "kernel"), f"{name} filters", convert)
        yield weights.Entry(("params", name, "bias"), f"{name} biases")


def _flat(array: np.ndarray) -> np.ndarray:
    """[height, width, in, out] as [height * width * in, out]."""
    return array.reshape(-1, array.shape[-1])
