"""Reads files of named tensors: `.pth`, `.pt` and `.safetensors`."""

from pathlib import Path

import numpy as np

from jxhash.errors import UserError
from jxhash.formats import pth
from jxhash.formats.opening import open_file, whole


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file; nothing is unpickled.

    Args:
      path: a `.safetensors` file, or a `state_dict` as torch saves it, under the key `state_dict`
        or by itself.

    Raises:
      UserError: there is no such file, it is damaged, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        return {name: whole(entry) for name, entry in open_file(path).items()}
    found = pth.read(path)
    return found["state_dict"] if isinstance(found.get("state_dict"), dict) else found
