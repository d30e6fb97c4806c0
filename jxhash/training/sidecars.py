"""Arrays that are saved once and that checkpoints refer to: constants, and the best state."""

import hashlib
import pathlib
from collections import deque
from collections.abc import Iterable
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from jxhash.atomic_files import replacing


class Sidecars:
    """Files of arrays, each named by its content, in one folder.

    A file is on the disk before its name is returned, and is kept while any of the checkpoints that
    refer to it is: the newest `checkpoints` of them and one that is being saved.
    """

    def __init__(self, folder: pathlib.Path, checkpoints: int) -> None:
        """Uses a folder, which is made with the first file."""
        self._folder = folder
        self._referred: deque[frozenset[str]] = deque(maxlen=checkpoints + 1)

    def save(self, arrays: dict[str, Any]) -> str:
        """Writes nested dictionaries of arrays; returns the name of their file."""
        flat: dict[str, Any] = {
            name: np.asarray(array)
            for name, array in flax.traverse_util.flatten_dict(
                jax.device_get(arrays), sep="/"
            ).items()
        }
        name = f"{_digest(flat)}.npz"
        if not (self._folder / name).exists():
            with replacing(self._folder / name) as file:
                np.savez(file, **flat)
        return name

    def read(self, name: str) -> dict[str, Any]:
        """Reads a file.

        Raises:
          ValueError: it is not what was saved.
          OSError: it is missing or cannot be read.
        """
        with np.load(self._folder / name, allow_pickle=False) as content:
            flat = {name: content[name] for name in content.files}
        if f"{_digest(flat)}.npz" != name:
            raise ValueError(f"the arrays of {name} do not fit their checksum")
        arrays: dict[str, Any] = flax.traverse_util.unflatten_dict(flat, sep="/")
        return arrays

    def refer(self, names: Iterable[str]) -> None:
        """Notes what the newest checkpoint refers to; removes what none does."""
        self._referred.append(frozenset(names))
        # Checkpoints from before this process may refer to files that it knows nothing of.
        if len(self._referred) < (self._referred.maxlen or 0):
            return
        needed = frozenset().union(*self._referred)
        for file in self._folder.glob("*.npz"):
            if file.name not in needed:
                file.unlink(missing_ok=True)


def _digest(flat: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(flat.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        # numpy's stubs declare the buffer of an array from Python 3.12 on.
        digest.update(np.ascontiguousarray(array))  # type: ignore[arg-type]
    return digest.hexdigest()[:32]
