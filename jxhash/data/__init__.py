"""Data sets by name, or by the path of the user's own files."""

import functools
import os
import pathlib
from collections.abc import Callable

from jxhash.data import builders, embedded, files, prepared, wikipedia
from jxhash.data.dataset import Dataset, Items, Task
from jxhash.errors import UserError

__all__ = ["Dataset", "Items", "Task", "load", "names"]

_EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "clipart": embedded.load_clipart,
    "clipart-emoji": embedded.load_clipart_emoji,
    "clipart-pixels": functools.partial(embedded.load_clipart_pixels, 64),
    "clipart-pixels-224": functools.partial(embedded.load_clipart_pixels, 224),
    "clipart-regions": embedded.load_clipart_regions,
    "clipart-sentences": embedded.load_clipart_sentences,
}
_FROM_FILES: dict[str, tuple[str, Callable[[pathlib.Path], Dataset]]] = {
    "wikipedia": ("wikipedia", wikipedia.load),
    "wikipedia-held-out": ("wikipedia", wikipedia.load_held_out),
}


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted([*_EMBEDDED, *_FROM_FILES])


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads a data set.

    Args:
      name: one of `names()`; the path of a file or folder that `files` reads; or a prepared data
        set, a protocol and a seed, such as "nuswide/tc21:dcmh:0" (see `prepared.load`).
      data_dir: the folder that holds the folders of the sets that do not come with the package; by
        default the environment variable JXHASH_DATA_DIR says it.

    Returns:
      The data set, checked.

    Raises:
      UserError: the name is unknown, or files are missing or damaged.
    """
    if name in _EMBEDDED:
        return _EMBEDDED[name]()
    if name in _FROM_FILES:
        folder, loader = _FROM_FILES[name]
        otherwise = (
            f"the data set {name!r} does not come with the package: put its files into a folder "
            f"{folder!r} and give the folder around it"
        )
        return loader(_root(data_dir, otherwise) / folder)
    path = pathlib.Path(name).expanduser()
    if path.exists():
        return files.load(path)
    if ":" in name:
        otherwise = f"{name!r} is a prepared data set: give the folder that it was prepared in"
        return prepared.load(name, _root(data_dir, otherwise))
    if name.partition("/")[0] in builders.names():
        raise UserError(f"name a protocol after {name!r}, as in 'mirflickr25k:dcmh' (docs/data.md)")
    if len(path.parts) > 1:
        raise UserError(f"there is no file or folder {name}")
    raise UserError(
        f"unknown data set {name!r}; known are {', '.join(names())}, the path of a file or folder, "
        f"and with a protocol after it, as in 'mirflickr25k:dcmh', {', '.join(builders.names())}"
    )


def _root(data_dir: str | os.PathLike | None, otherwise: str) -> pathlib.Path:
    root = data_dir or os.environ.get("JXHASH_DATA_DIR")
    if not root:
        raise UserError(f"{otherwise} with --data_dir or JXHASH_DATA_DIR")
    return pathlib.Path(root).expanduser()
