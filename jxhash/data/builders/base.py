"""What the builders share: the features of a pair, damaged pairs, words.

A builder reads an archive as its authors distribute it and writes pairs of a picture and its texts,
in tensorflow-datasets' array_record format, which needs no TensorFlow.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from jxhash.data.builders.archive import Fetch, Folder, checked_picture
from jxhash.errors import UserError
from jxhash.inputs.text import build_vocabulary, words

# Every config has another of its name and this ending, which leaves damaged pairs out.
SKIPPING = "-skipping"


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

    def contents(self, fetch: Fetch, faults: Faults) -> Contents:
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
