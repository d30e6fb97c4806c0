"""Archives as their authors distribute them: found, opened without unpacking, checked."""

import codecs
import contextlib
import io
import pathlib
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import PIL.Image

from jxhash.data.text_files import decoded, lines_of, numbered
from jxhash.errors import UserError
from jxhash.formats.file_names import is_hidden

# A folder, or the inside of a zip file: both are read alike, and nothing is unpacked.
Folder = pathlib.Path | zipfile.Path

# Well above any file of a real archive.
_MAX_BYTES = 2**26
_MAX_LINE_BYTES = 2**20
_MAX_ARCHIVE_BYTES = 2**36
_MAX_MEMBERS = 2**19
# Of texts in a zip file; annotations shrink by a tenth of this.
_MAX_RATIO = 100
_NAMES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAX_PIXELS = 2**26

# Archives name all pictures .jpg, whatever their format.
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
            path = pathlib.Path(self._dl_manager.download(url))
        # A dead address raises many kinds of errors.
        except Exception as error:
            raise UserError(
                f"{url} cannot be downloaded ({type(error).__name__}: {error}); get "
                f"{' or '.join(names)} by other ways and put it into the manual folder"
            ) from error
        return self._opened(path)

    def _find(self, names: Sequence[str]) -> Folder | None:
        try:
            manual = pathlib.Path(self._dl_manager.manual_dir)
        except AssertionError:  # there is no such folder, or it is empty
            return None
        paths = [manual / name for name in names if (manual / name).exists()]
        return self._opened(paths[0]) if paths else None

    def _opened(self, path: pathlib.Path) -> Folder:
        if _is_tar(path):
            folder = pathlib.Path(self._dl_manager.download_dir) / "unpacked" / path.name
            return unpacked(path, folder)
        return opened(path)


def _is_tar(path: pathlib.Path) -> bool:
    try:
        with tarfile.open(path, tarinfo=_Member):
            return True
    # A truncated archive is told from another kind of file when it is opened.
    except Exception:
        return False


def opened(path: pathlib.Path) -> Folder:
    """A folder or a zip file, to be read alike.

    Raises:
      UserError: it is neither.
    """
    if path.is_dir():
        return path
    try:
        return zipfile.Path(zipfile.ZipFile(path))
    # A damaged central directory raises many kinds of errors.
    except Exception as error:
        raise UserError(
            f"{path} is neither a folder nor a complete zip file ({error}); download it again"
        ) from error


class _Member(tarfile.TarInfo):
    """A file or folder of a tar file; what else there is, such as links, is refused."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        """Refuses before the content is read, which for long names is kept whole."""
        member = super().frombuf(buf, encoding, errors)
        is_name = member.type in _NAMES
        if is_name and member.size > _MAX_LINE_BYTES:
            raise tarfile.ReadError(f"a name of {member.size:,} bytes")
        if not (is_name or member.isreg() or member.isdir()):
            raise tarfile.ReadError(f"{member.name!r:.80} is a link or a device")
        return member


def unpacked(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Unpacks a tar file into a folder, whole or not at all; what is there is taken as it is.

    Raises:
      UserError: the file is damaged, far too large, or has files that lie outside the folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    size = members = 0
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        whole = pathlib.Path(draft) / "whole"
        whole.mkdir()
        try:
            with tarfile.open(path, tarinfo=_Member) as archive:
                for members, member in enumerate(archive, start=1):
                    size += member.size
                    if size > _MAX_ARCHIVE_BYTES:
                        raise ValueError(f"it unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes")
                    if members > _MAX_MEMBERS:
                        raise ValueError(f"it holds more than {_MAX_MEMBERS:,} files")
                    archive.extract(member, whole, filter="data")
        # Each way of packing has errors of its own.
        except Exception as error:
            raise UserError(f"{path} cannot be unpacked ({error}); get it again") from error
        whole.rename(folder)
    return folder


def folders(path: Folder) -> list[Folder]:
    """The folders in a folder, by name.

    Raises:
      UserError: there is no such folder.
    """
    with _named(path):
        found = [one for one in path.iterdir() if one.is_dir() and not is_hidden(one.name)]
        return sorted(found, key=lambda one: one.name)


def around(root: Folder, marker: str) -> Folder:
    """The folder that holds a file or folder: `root`, or one in it.

    Raises:
      UserError: none does.
    """
    for folder in (root, *folders(root)):
        if (folder / marker).exists():
            return folder
    raise UserError(f"{root} has no {marker}; it is another archive, or another version of it")


def within(root: Folder, name: str) -> Folder:
    """The folder of a name in a folder; else the latter, as a zip file may hold what is in it."""
    return root / name if (root / name).exists() else root


def read(path: Folder, limit: int = _MAX_BYTES) -> bytes:
    """The bytes of a file of an archive.

    Raises:
      UserError: it is missing, damaged or larger than `limit`, in the archive or when unpacked.
    """
    with _named(path):
        if _size(path) > limit:
            raise UserError(f"{path} is larger than {limit:,} bytes; it is not of this archive")
        return path.read_bytes()


@contextlib.contextmanager
def _named(path: Folder) -> Iterator[None]:
    """Says which file it was that could not be read."""
    try:
        yield
    except (FileNotFoundError, KeyError) as error:
        raise UserError(f"{path} is missing") from error
    except UserError:
        raise
    # Each way of packing has errors of its own, for damage, passwords, and what it cannot do.
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}); get the archive again") from error


def _size(path: Folder) -> int:
    if not isinstance(path, zipfile.Path):
        return path.stat().st_size
    member = path.root.getinfo(path.at)
    if member.file_size > max(_MAX_LINE_BYTES, _MAX_RATIO * member.compress_size):
        raise ValueError(f"{member.compress_size:,} bytes unpack to {member.file_size:,}")
    return member.file_size


def read_lines(path: Folder) -> list[str]:
    """The lines of a text file, without blank ones at its end.

    Raises:
      UserError: it cannot be read, or a line is in another encoding.
    """
    return lines_of(decoded(path, read(path)).rstrip())


def numbered_lines(path: Folder) -> Iterator[tuple[str, str]]:
    """Place and text of each line of `read_lines` that has any, see `text_files.numbered`."""
    return numbered(path, read_lines(path))


def require_count(what: str, found: int, expected: int, unit: str) -> None:
    """Raises a UserError unless "FILE has" (`what`) as many rows as the archive is known for."""
    if found != expected:
        raise UserError(
            f"{what} {found:,} {unit}, not {expected:,}; it is truncated, or another version"
        )


def between(text: str, begin: str, end: str) -> str | None:
    """The text between two marks, or None; linear in the length of the text.

    >>> between("<a>red</a>", "<a>", "</a>")
    'red'
    """
    _, begun, rest = text.partition(begin)
    found, ended, _ = rest.partition(end)
    return found if begun and ended else None


def stream_lines(path: Folder) -> Iterator[bytes]:
    """The lines of a large file, one at a time.

    Raises:
      UserError: it is missing or damaged.
    """
    with _named(path), path.open("rb") as file:
        line = file.readline(_MAX_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
        while line:
            yield line
            line = file.readline(_MAX_LINE_BYTES)


def checked_picture(path: Folder) -> bytes:
    """Reads an encoded picture and decodes it once, since a cut one looks whole from outside.

    Raises:
      UserError: it cannot be read, or it is not a complete JPEG, PNG, GIF or BMP picture.
    """
    content = read(path)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            PIL.Image.open(io.BytesIO(content), formats=_PICTURES) as image,
        ):
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            image.draft("L", (1, 1))  # a JPEG is read to its end, but hardly transformed
            image.load()
    # Each decoder has errors of its own.
    except Exception as error:
        raise UserError(f"{path} is not a complete picture ({error})") from error
    return content
