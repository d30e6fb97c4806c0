"""Names of files, as people write them into tables and lists and as systems store them."""

import os
import pathlib
import posixpath
import unicodedata
from collections.abc import Iterator

# The folder in which macOS keeps what its archives say beside the files themselves.
_OF_ARCHIVES = "__MACOSX"


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder around it in a relative path, is none of the user's data.

    >>> is_hidden("a/._p0.png"), is_hidden("__MACOSX/p0.png"), is_hidden("../a.b/p0.png")
    (True, True, False)
    """
    parts = name.replace("\\", "/").split("/")
    return any(
        part == _OF_ARCHIVES or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files and folders in a folder by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def comparable(name: str) -> str:
    r"""One spelling for all names of a file: separators "/", composed Unicode, no "./" or "..".

    >>> comparable("img\\p0.png"), comparable("./e\u0301.png") == "\u00e9.png"
    ('img/p0.png', True)
    """
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def resolved(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file of a name, relative to a folder or absolute; a path without a file where none is.

    A file is also found under the separators of Windows, and in the other form of Unicode.
    """
    exact = folder / name
    if os.path.lexists(exact):
        return exact
    path = folder
    for part in pathlib.PurePosixPath(name.replace("\\", "/")).parts:
        path = next((one for one in _spellings(path, part) if os.path.lexists(one)), path / part)
    return path


def _spellings(folder: pathlib.Path, part: str) -> Iterator[pathlib.Path]:
    yield folder / part
    yield folder / unicodedata.normalize("NFC", part)
    yield folder / unicodedata.normalize("NFD", part)


def inside(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file of a name in a folder, see `resolved`; None where the name leads out of the folder.

    An absolute path is taken if it lies in the folder. Links in the folder are the user's own.
    """
    if os.path.isabs(name):
        within = relative(folder, name)
    elif pathlib.PureWindowsPath(name).anchor and not os.path.lexists(folder / name):
        within = None
    else:
        within = os.path.normpath(name)
        if not os.path.lexists(folder / within):
            within = os.path.normpath(name.replace("\\", "/"))
    if within is None or within.split(os.sep)[0] == os.pardir:
        return None
    return resolved(folder, within)


def relative(folder: pathlib.Path, name: str) -> str | None:
    """An absolute path relative to a folder, or None where it does not lie in the folder."""
    if not os.path.isabs(name) or "\0" in name:
        return None
    for spelled in (os.path.abspath, os.path.realpath):
        within = os.path.relpath(spelled(name), spelled(folder))
        if within.split(os.sep)[0] != os.pardir:
            return within
    return None
