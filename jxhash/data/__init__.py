"""Data sets by name, or by the path of the user's own files."""

import functools
import os
import pathlib
import re
from collections.abc import Callable

from jxhash.data import builders
from jxhash.data.builders import prepared, wikipedia_features
from jxhash.data.dataset import Dataset, Items, Task
from jxhash.data.embedded import embedded_sets
from jxhash.data.own import own_files
from jxhash.errors import UserError

__all__ = ["Dataset", "Items", "Task", "load", "names"]

_EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "clipart": embedded_sets.load_clipart,
    "clipart-emoji": embedded_sets.load_clipart_emoji,
    "clipart-pixels": functools.partial(embedded_sets.load_clipart_pixels, 64),
    "clipart-regions": embedded_sets.load_clipart_regions,
    "clipart-sentences": embedded_sets.load_clipart_sentences,
}
_FROM_FILES: dict[str, tuple[str, Callable[[pathlib.Path], Dataset]]] = {
    "wikipedia": ("wikipedia", wikipedia_features.load),
    "wikipedia-held-out": ("wikipedia", wikipedia_features.load_held_out),
}

# What follows the name of data whose pictures themselves are the images, before a protocol.
_PIXELS = re.compile(r"(.+)-pixels-([1-9][0-9]{0,3})(:.*)?")


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted([*_EMBEDDED, *_FROM_FILES])


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads a data set and checks it.

    Args:
      name: one of `names()`; the path of a file or folder that `own_files` reads; or a prepared
        data set, a protocol and a seed, such as "nuswide/tc21:dcmh:0" (see `prepared.load`). With
        "-pixels-SIZE" behind it ("clipart-pixels-224", "photographs-pixels-224",
        "nuswide/tc21-pixels-224:dcmh:0") the images are the pictures themselves.
      data_dir: the folder that holds the folders of the sets that do not come with the package; by
        default $JXHASH_DATA_DIR.

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
    plain, size = name, None
    match = _PIXELS.fullmatch(name)
    if match and not pathlib.Path(name).expanduser().exists():
        plain, size = match[1] + (match[3] or ""), int(match[2])
    if size and plain == "clipart":
        return embedded_sets.load_clipart_pixels(size)
    path = pathlib.Path(plain).expanduser()
    if path.exists():
        return own_files.load(path, size)
    if ":" in plain:
        otherwise = f"{name!r} is a prepared data set: give the folder that it was prepared in"
        return prepared.load(plain, _root(data_dir, otherwise), size)
    if plain.partition("/")[0] in builders.names():
        raise UserError(f"name a protocol after {name!r}, as in 'mirflickr25k:dcmh' (docs/data.md)")
    if len(path.parts) > 1:
        raise UserError(f"there is no file or folder {plain}")
    raise UserError(
        f"unknown data set {name!r}; known are {', '.join(names())}, the path of a file or folder, "
        f"and with a protocol after it, as in 'mirflickr25k:dcmh', {', '.join(builders.names())}; "
        "pictures themselves are NAME-pixels-SIZE"
    )


def _root(data_dir: str | os.PathLike[str] | None, otherwise: str) -> pathlib.Path:
    root = data_dir or os.environ.get("JXHASH_DATA_DIR")
    if not root:
        raise UserError(f"{otherwise} with --data_dir or JXHASH_DATA_DIR")
    return pathlib.Path(root).expanduser()
