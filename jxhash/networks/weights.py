"""Tensors from the weights files of other libraries, arranged as the variables of a Flax module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jxhash.errors import UserError
from jxhash.formats import pth


class Entry(NamedTuple):
    """Where one tensor of a file goes.

    Attributes:
      place: the names that lead to a variable, from the collection on.
      tensor: the name in the file.
      convert: brings the file's order of axes to the variable's; axes of length 1 do not count.
    """

    place: tuple[str, ...]
    tensor: str
    convert: Callable[[np.ndarray], np.ndarray]


def as_is(array: np.ndarray) -> np.ndarray:
    """For tensors whose axes stand as they should."""
    return array


def kernel_from_torch(array: np.ndarray) -> np.ndarray:
    """The kernel of a convolution, [out, in, height, width], as [height, width, in, out]."""
    return array.transpose(2, 3, 1, 0)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a `.pth`, `.pt` or `.safetensors` file; nothing is unpickled.

    Args:
      path: a `state_dict` as torch saves it, in a dictionary `state_dict` or by itself.

    Raises:
      UserError: there is no such file, it is damaged or holds other things, or safetensors is not
        installed.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        found = pth.read(path)
    except pth.PthError as error:
        raise UserError(str(error)) from error
    return found["state_dict"] if isinstance(found.get("state_dict"), dict) else found


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise UserError(
            f"reading {path} takes safetensors: pip install 'jxhash[pretrained]'"
        ) from error
    try:
        return load_file(path)
    # numpy lacks some of the format's types.
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error


def arrange(
    shapes: Mapping[str, Any],
    entries: Iterable[Entry],
    tensors: Mapping[str, np.ndarray],
    source: str | Path,
) -> dict[str, Any]:
    """Arranges tensors as variables.

    Args:
      shapes: what `jax.eval_shape` says of a module's `init`.
      entries: one for each variable.
      tensors: names to arrays.
      source: what an error message calls the file.

    Returns:
      Variables of these shapes, in float32.

    Raises:
      UserError: a tensor is missing or has another shape.
    """
    found = {entry.place: _fitted(shapes, entry, tensors, source) for entry in entries}
    return jax.tree_util.tree_map_with_path(
        lambda path, _: found[tuple(step.key for step in path)], dict(shapes)
    )


def _fitted(
    shapes: Mapping[str, Any], entry: Entry, tensors: Mapping[str, np.ndarray], source: str | Path
) -> np.ndarray:
    if entry.tensor not in tensors:
        raise UserError(f"{source}: tensor {entry.tensor!r} is missing")
    expected: Any = shapes
    for name in entry.place:
        expected = expected[name]
    tensor = np.asarray(tensors[entry.tensor])
    try:
        array = entry.convert(tensor)
        if np.squeeze(array).shape != tuple(size for size in expected.shape if size != 1):
            raise ValueError
    except ValueError:
        raise UserError(
            f"{source}: tensor {entry.tensor!r} of shape {tensor.shape} does not fit "
            f"{expected.shape}"
        ) from None
    return np.ascontiguousarray(array.reshape(expected.shape), np.float32)
