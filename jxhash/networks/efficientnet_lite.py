"""EfficientNet-Lite0, the picture network whose features the embedded data holds.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
the Lite form (no squeeze-and-excitation, ReLU6 instead of swish, stem and head not scaled) is
described in the README of TensorFlow's `efficientnet/lite` folder. Inference only: batch
normalisation uses its running statistics.

XLA's grouped convolution is slow on CPU. A depthwise convolution is written as a sum of shifted
slices and a 1x1 convolution as a matrix product, which is several times faster there and the same
function.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

FEATURE_SIZE = 1280
BATCH_NORM_EPSILON = 1e-3
_STEM_CHANNELS = 32


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
      stride: step of the output in both directions.

    Returns:
      float [n, ceil(height / stride), ceil(width / stride), channels].
    """
    size = kernel.shape[0]
    height, width = x.shape[1:3]
    rows, columns = -(-height // stride), -(-width // stride)
    vertical = same_padding(height, size, stride)
    horizontal = same_padding(width, size, stride)
    padded = jnp.pad(x, ((0, 0), vertical, horizontal, (0, 0)))
    total = jnp.zeros((), x.dtype)
    for i in range(size):
        for j in range(size):
            window = padded[
                :,
                i : i + (rows - 1) * stride + 1 : stride,
                j : j + (columns - 1) * stride + 1 : stride,
            ]
            total = total + window * kernel[i, j].reshape(1, 1, 1, -1)
    return total


class Normalise(nn.Module):
    """Batch normalisation by stored statistics: float [..., channels] to the same shape."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns scale * (x - mean) / sqrt(variance + epsilon) + bias."""
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "var", jnp.ones, shape)
        factor = scale * jax.lax.rsqrt(variance.value + BATCH_NORM_EPSILON)
        shift = bias - mean.value * factor
        broadcast = (1,) * (x.ndim - 1) + shape
        return x * factor.reshape(broadcast) + shift.reshape(broadcast)


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


class Pointwise(nn.Module):
    """A 1x1 convolution without bias, as a matrix product."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float [..., c] to [..., channels]."""
        shape = (x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        return jnp.matmul(x, kernel, precision="highest")


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
            hidden = Pointwise(self.expansion * x.shape[-1], name="expand")(hidden)
            hidden = nn.relu6(Normalise(name="expand_norm")(hidden))
        hidden = Depthwise(self.kernel, self.stride, name="depthwise")(hidden)
        hidden = nn.relu6(Normalise(name="depthwise_norm")(hidden))
        hidden = Pointwise(self.channels, name="project")(hidden)
        hidden = Normalise(name="project_norm")(hidden)
        if self.stride == 1 and x.shape[-1] == self.channels:
            return x + hidden
        return hidden


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the pooled features.

        Args:
          x: float [n, height, width, 3], (pixel - 127) / 128.

        Returns:
          float [n, 1280], not negative.
        """
        shape = (3, 3, 3, _STEM_CHANNELS)
        kernel = self.param("stem", nn.initializers.lecun_normal(), shape)
        padding = [same_padding(size, 3, 2) for size in x.shape[1:3]]
        x = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest",
        )  # fmt: skip
        x = nn.relu6(Normalise(name="stem_norm")(x))
        number = 0
        for group in GROUPS:
            for repeat in range(group.repeats):
                stride = group.stride if repeat == 0 else 1
                name = f"block_{number}"
                x = Block(group.kernel, stride, group.expansion, group.channels, name=name)(x)
                number += 1
        x = Pointwise(FEATURE_SIZE, name="head")(x)
        x = nn.relu6(Normalise(name="head_norm")(x))
        return jnp.mean(x, axis=(1, 2))
