"""Archives as their authors distribute them: found, opened without unpacking, checked."""

import contextlib
import io
import os
import pathlib
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import PIL.Image

from jxhash.errors import UserError

# A folder, or the inside of a zip file: both are read alike, and nothing is unpacked.
Folder = pathlib.Path | zipfile.Path

# Far above what the archives hold; a file beyond these is no part of one.
_MAX_PICTURE_BYTES = 2**26
_MAX_TEXT_BYTES = 2**30
_MAX_LINE_BYTES = 2**20
_MAX_ARCHIVE_BYTES = 2**36
_MAX_PIXELS = 2**26

# Archives call all their pictures .jpg, whatever they are.
_PICTURES = ("JPEG", "PNG", "GIF", "BMP")


class Fetch:
    """Finds an archive in the manual folder, or downloads it.

    A folder and a zip file are read as they are; a tar file is unpacked, once, beside the
    downloads.
    """

    def __init__(self, dl_manager: Any, name: str, instructions: str) -> None:
        self._dl_manager, self._name, self._instructions = dl_manager, name, instructions

    def manual(self, *names: str) -> Folder:
        """Opens the first of some folders or files that the manual folder has.

        Raises:
          UserError: it has none; the message holds the instructions.
        """
        found = self._find(names)
        if found is None:
            raise UserError(
                f"{self._name} needs {' or '.join(names)} in the manual folder "
                f"({self._dl_manager.download_dir / 'manual'}, or as given); "
                f"{' '.join(self._instructions.split())}"
            )
        return found

    def download(self, url: str, *names: str) -> Folder:
        """Opens what the manual folder has, else what is at an address.

        Raises:
          UserError: there is neither.
        """
        found = self._find(names)
        if found is not None:
            return found
        try:
            path = _path(self._dl_manager.download(url))
        # A dead address shows as whatever the network or the server makes of it.
        except Exception as error:
            raise UserError(
                f"{url} cannot be downloaded ({type(error).__name__}: {error}); get "
                f"{' or '.join(names)} by other ways and put it into the manual folder"
            ) from error
        return self._opened(path)

    def _find(self, names: Sequence[str]) -> Folder | None:
        try:
            manual = _path(self._dl_manager.manual_dir)
        except AssertionError:  # there is no such folder, or it is empty
            return None
        paths = [manual / name for name in names if (manual / name).exists()]
        return self._opened(paths[0]) if paths else None

    def _opened(self, path: pathlib.Path) -> Folder:
        if path.is_dir() or not tarfile.is_tarfile(path):
            return opened(path)
        return unpacked(path, _path(self._dl_manager.download_dir) / "unpacked" / path.name)


def _path(path: os.PathLike) -> pathlib.Path:
    return pathlib.Path(os.fspath(path))


def opened(path: pathlib.Path) -> Folder:
    """A folder or a zip file, to be read alike.

    Raises:
      UserError: it is neither.
    """
    if path.is_dir():
        return path
    try:
        return zipfile.Path(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is no folder and no whole zip file ({error}); download it again"
        ) from error


def unpacked(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Unpacks a tar file into a folder, whole or not at all; what is there is taken as it is.

    Raises:
      UserError: the file is damaged, far too large, or has files that lie outside the folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        whole = pathlib.Path(draft) / "whole"
        whole.mkdir()
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    size += member.size
                    if size > _MAX_ARCHIVE_BYTES:
                        raise ValueError(f"it unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes")
                    archive.extract(member, whole, filter="data")
        except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked ({error}); get it again") from error
        whole.rename(folder)
    return folder


def around(root: Folder, marker: str) -> Folder:
    """The folder that holds a file or folder: `root`, or one in it.

    Raises:
      UserError: none does.
    """
    if (root / marker).exists():
        return root
    for folder in sorted((path for path in root.iterdir() if path.is_dir()), key=str):
        if (folder / marker).exists():
            return folder
    raise UserError(f"{root} has no {marker}; it is another archive, or another version of it")


def within(root: Folder, name: str) -> Folder:
    """The folder of a name in a folder, where there is one; else the folder itself.

    A zip file of a folder may hold that folder, or what is in it.
    """
    return root / name if (root / name).exists() else root


def read(path: Folder, limit: int = _MAX_TEXT_BYTES) -> bytes:
    """The bytes of a file of an archive.

    Raises:
      UserError: it is missing, damaged or larger than `limit`.
    """
    with _named(path):
        size = _size(path)
        content = path.read_bytes() if size <= limit else b""
    if size > limit:
        raise UserError(f"{path} is larger than {limit:,} bytes; it is no file of this archive")
    return content


@contextlib.contextmanager
def _named(path: Folder) -> Iterator[None]:
    """Says which file it was that could not be read."""
    try:
        yield
    except (FileNotFoundError, KeyError) as error:
        raise UserError(f"{path} is missing") from error
    # BadZipFile and zlib.error; zipfile says RuntimeError of what is encrypted.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); get the archive again") from error


def _size(path: Folder) -> int:
    if isinstance(path, zipfile.Path):
        return path.root.getinfo(path.at).file_size
    return path.stat().st_size


def read_lines(path: Folder, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, without blank ones at its end.

    Raises:
      UserError: it cannot be read, or a line is in another encoding.
    """
    lines = []
    for number, line in enumerate(read(path).rstrip().splitlines(), start=1):
        try:
            lines.append(line.decode(encoding))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not {encoding} ({error.reason})") from error
    return lines


def stream_lines(path: Folder) -> Iterator[bytes]:
    """The lines of a large file, one at a time.

    Raises:
      UserError: it is missing or damaged.
    """
    with _named(path), path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            yield line


def zipped(what: str, *lists: Iterable[Any]) -> Iterator[tuple]:
    """The rows of lists that belong together.

    Raises:
      UserError: one ends before the others.
    """
    try:
        yield from zip(*lists, strict=True)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{what} differ in length ({error}); they are not of one version"
        ) from error


def checked_picture(path: Folder) -> bytes:
    """Reads an encoded picture and decodes it once, since a cut one looks whole from outside.

    Raises:
      UserError: it cannot be read, or it is no whole JPEG, PNG, GIF or BMP picture.
    """
    content = read(path, _MAX_PICTURE_BYTES)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            PIL.Image.open(io.BytesIO(content), formats=_PICTURES) as image,
        ):
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            image.draft("L", (1, 1))  # a JPEG is read to its end, but hardly transformed
            image.load()
    # A damaged file shows as whatever its decoder happens to raise.
    except Exception as error:
        raise UserError(f"{path} is no whole picture ({error})") from error
    return content
