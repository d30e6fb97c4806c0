"""Tensors from the weights files of other libraries, arranged as the variables of a Flax module."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jxhash.errors import UserError


def as_is(array: np.ndarray) -> np.ndarray:
    """For tensors whose axes stand as they should."""
    return array


class Entry(NamedTuple):
    """Where one tensor of a file goes.

    Attributes:
      place: the names that lead to a variable, from the collection on.
      tensor: the name in the file.
      convert: brings the file's order of axes to the variable's; axes of length 1 do not count.
    """

    place: tuple[str, ...]
    tensor: str
    convert: Callable[[np.ndarray], np.ndarray] = as_is


def kernel_from_torch(array: np.ndarray) -> np.ndarray:
    """The kernel of a convolution, [out, in, height, width], as [height, width, in, out]."""
    return array.transpose(2, 3, 1, 0)


def arrange(
    module: nn.Module,
    pictures: tuple[int, ...],
    entries: Iterable[Entry],
    tensors: Mapping[str, np.ndarray],
    source: str | Path,
) -> dict[str, Any]:
    """Arranges tensors as the variables of a module, in float32.

    Args:
      module: the network.
      pictures: the shape of some pictures that it takes.
      entries: one for each variable.
      tensors: names to arrays.
      source: what an error message calls the file.

    Raises:
      UserError: a tensor is missing or has another shape.
    """
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros(pictures, np.float32))
    shape_of = {place: one.shape for place, one in flatten_dict(shapes).items()}
    found = {one.place: _fitted(one, shape_of[one.place], tensors, source) for one in entries}
    variables: dict[str, Any] = unflatten_dict(found)
    return variables


def _fitted(
    entry: Entry, shape: tuple[int, ...], tensors: Mapping[str, np.ndarray], source: str | Path
) -> np.ndarray:
    if entry.tensor not in tensors:
        raise UserError(f"{source}: tensor {entry.tensor!r} is missing")
    tensor = np.asarray(tensors[entry.tensor])
    try:
        array = entry.convert(tensor)
        if np.squeeze(array).shape != tuple(size for size in shape if size != 1):
            raise ValueError
    except ValueError:
        raise UserError(
            f"{source}: tensor {entry.tensor!r} of shape {tensor.shape} does not fit {shape}"
        ) from None
    return np.ascontiguousarray(array.reshape(shape), np.float32)
