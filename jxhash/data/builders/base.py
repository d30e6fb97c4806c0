"""What the builders share: features of a pair, archives that are checked, faults that are named.

A builder reads an archive as its authors distribute it and writes pairs of a picture and its texts,
in tensorflow-datasets' array_record format, which needs no TensorFlow. Its archive may lie in the
manual folder, as the file or unpacked; what has an address is downloaded otherwise.
"""

import collections
import contextlib
import dataclasses
import io
import itertools
import os
import pathlib
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from jxhash.data.text import build_vocabulary, words
from jxhash.errors import UserError

# Every config has another of its name and this ending, which leaves damaged pairs out.
SKIPPING = "-skipping"

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


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
    """What is built of an archive.

    Attributes:
      pictures: whether pictures are read, or texts and labels alone.
      skip_faulty: leave out pairs that are damaged (a truncated picture, a missing or unreadable
        text) and count them in the metadata, instead of stopping at the first. Faults of the whole
        archive stop in either case.
    """

    pictures: bool = True
    skip_faulty: bool = False

    def skipping(self) -> "Config":
        """The config that leaves damaged pairs out."""
        return dataclasses.replace(self, name=f"{self.name}{SKIPPING}", skip_faulty=True)


class Faults:
    """The damaged pairs of an archive: the first one stops, or all are counted."""

    def __init__(self, config: Config) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._config = config

    def found(self, kind: str, what: str) -> None:
        """Counts a damaged pair.

        Args:
          kind: a few words, the same for all faults of this kind.
          what: names file and row, and says what is wrong.

        Raises:
          UserError: damaged pairs are not to be skipped.
        """
        if not self._config.skip_faulty:
            raise UserError(
                f"{what}; mend the archive, or build the config "
                f"'{self._config.name}{SKIPPING}', which leaves such pairs out and counts them"
            )
        self.counts[kind] += 1


class Pair(NamedTuple):
    """One row before its picture is read.

    Attributes:
      id: the path of its picture, below the archive's folder of pictures.
      texts: its tags or sentences, as the archive has them.
      words: numbers of the words in the vocabulary.
      labels: numbers of its labels.
      picture: the file of its encoded picture.
      arrays: features that the archive itself brings.
    """

    id: str
    texts: Sequence[str]
    words: Sequence[int]
    labels: Sequence[int] = ()
    picture: Folder | None = None
    arrays: Mapping[str, np.ndarray] = {}


class Contents(NamedTuple):
    """An archive, read except for its pictures.

    Attributes:
      vocabulary: V words, the columns of the bag of words.
      label_names: C names, the columns of the labels; empty where the archive has no labels.
      splits: name -> pairs, in the order of the archive.
    """

    vocabulary: Sequence[str]
    label_names: Sequence[str]
    splits: Mapping[str, Iterable[Pair]]


class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds pairs; a data set says where its archive is (`fetch`) and how to read it.

    Features: `id` (text), `row` (its place in the archive, counted over all splits; the order to
    which protocols refer), `image` (encoded bytes as they are in the archive), `texts` (a list),
    `words` (uint8 [V] in {0, 1}) and `labels` (uint8 [C] in {0, 1}). The metadata holds
    `vocabulary`, `label_names` and `skipped`, the numbers of skipped pairs by fault.
    """

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = ""
    CITATION = ""
    LABELS = True
    ARRAYS: Mapping[str, int] = {}

    def __init__(self, *, file_format: str = "array_record", **options: Any) -> None:
        super().__init__(file_format=file_format, **options)

    def contents(self, fetch: "Fetch", faults: Faults) -> Contents:
        """Reads the archive, except for its pictures.

        Args:
          fetch: finds the files.
          faults: takes damaged pairs.

        Returns:
          What the archive holds.

        Raises:
          UserError: a file is missing, malformed or of another version.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        bits = tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding="zlib")
        features = {
            "id": tfds.features.Text(),
            "row": tfds.features.Scalar(dtype=np.int64),
            "texts": tfds.features.Sequence(tfds.features.Text()),
            "words": bits,
        }
        if self.LABELS:
            features["labels"] = bits
        if self.builder_config.pictures:
            features["image"] = tfds.features.Image()
        for name, width in self.ARRAYS.items():
            features[name] = tfds.features.Tensor(
                shape=(width,), dtype=np.float64, encoding="bytes"
            )
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        faults = Faults(self.builder_config)
        fetch = Fetch(dl_manager, self.name, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        contents = self.contents(fetch, faults)
        self.info.metadata.update(
            vocabulary=list(contents.vocabulary),
            label_names=list(contents.label_names),
            skipped=faults.counts,
        )
        sizes = len(contents.vocabulary), len(contents.label_names)
        rows = itertools.count()
        return {
            split: self._generate_examples(pairs, rows, sizes, faults)
            for split, pairs in contents.splits.items()
        }

    def _generate_examples(
        self, pairs: Iterable[Pair], rows: Iterator[int], sizes: tuple[int, int], faults: Faults
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        vocabulary_size, num_labels = sizes
        seen = set()
        for pair in pairs:
            if pair.id in seen:
                raise UserError(f"the archive has the picture {pair.id} twice; it is damaged")
            seen.add(pair.id)
            example = {
                "id": pair.id,
                "texts": list(pair.texts),
                "words": marked(pair.words, vocabulary_size),
                **pair.arrays,
            }
            if self.LABELS:
                example["labels"] = marked(pair.labels, num_labels)
            if self.builder_config.pictures:
                try:
                    example["image"] = checked_picture(pair.picture)
                except UserError as error:
                    faults.found("picture", f"pair {pair.id}: {error}")
                    continue
            yield pair.id, {**example, "row": next(rows)}


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
    """The lines of a text file.

    Raises:
      UserError: it cannot be read, or a line is in another encoding.
    """
    lines = []
    for number, line in enumerate(read(path).splitlines(), start=1):
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


def marked(columns: Sequence[int], width: int) -> np.ndarray:
    """uint8 [width], 1 in the given columns."""
    row = np.zeros(width, np.uint8)
    row[list(columns)] = 1
    return row


def frequent_words(texts: Iterable[Sequence[str]], size: int) -> list[str]:
    """The words that occur in the texts of the most pairs, sorted; `texts` has those of each."""
    return build_vocabulary(map("\n".join, texts), min_texts=1, max_words=size)


def words_of(texts: Sequence[str]) -> set[str]:
    """The words of all texts of a pair."""
    return set(words("\n".join(texts)))


def numbers(names: Iterable[str], column: Mapping[str, int]) -> list[int]:
    """The numbers of those names that have one."""
    return sorted(column[name] for name in names if name in column)


def columns(names: Iterable[str]) -> dict[str, int]:
    """Name -> its place."""
    return {name: number for number, name in enumerate(names)}
