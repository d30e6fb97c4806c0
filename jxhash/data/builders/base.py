"""What the builders share: the features of a pair, damaged pairs, words.

A builder reads an archive as its authors distribute it and writes pairs of a picture and its texts,
in tensorflow-datasets' array_record format, which needs no TensorFlow.
"""

import collections
import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow_datasets as tfds

from jxhash.data.builders.archive import Fetch, Folder, checked_picture
from jxhash.errors import UserError
from jxhash.inputs.text import build_vocabulary, words

Name = TypeVar("Name", bound=Hashable)

# Every config has another of its name and this ending, which leaves damaged pairs out.
SKIPPING = "-skipping"


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
    """What is built of an archive."""

    pictures: bool = True  # whether pictures are read, or texts and labels alone
    # Damaged pairs (a truncated picture, a missing or unreadable text) are left out and counted in
    # the metadata; else the first one stops. Faults of the whole archive stop in either case.
    skip_faulty: bool = False
    # Of the archive, and texts a picture; 0 where a builder does not check it.
    num_pictures: int = 0
    num_labels: int = 0
    num_texts: int = 0
    num_words: int = 0  # the size of the vocabulary

    def skipping(self) -> "Config":
        """The config that leaves damaged pairs out."""
        changes: dict[str, Any] = {"name": f"{self.name}{SKIPPING}", "skip_faulty": True}
        return dataclasses.replace(self, **changes)


class Faults:
    """The damaged pairs of an archive: the first one stops, or all are counted."""

    def __init__(self, config: Config) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._config = config

    def found(self, kind: str, what: str) -> None:
        """Counts a damaged pair under its kind; `what` names file and row, and what is wrong.

        Raises:
          UserError: damaged pairs are not to be skipped.
        """
        if not self._config.skip_faulty:
            raise UserError(
                f"{what}; fix the archive, or build the config "
                f"'{self._config.name}{SKIPPING}', which leaves such pairs out and counts them"
            )
        self.counts[kind] += 1


class Pair(NamedTuple):
    """One row before its picture is read."""

    id: str  # the path of its picture, below the archive's folder of pictures
    texts: Sequence[str]  # tags or sentences, as the archive has them
    words: Sequence[int] | None = None  # numbers in the vocabulary; None for the texts' words
    labels: Sequence[int] = ()  # their numbers
    picture: Folder | None = None  # the encoded picture
    arrays: Mapping[str, np.ndarray] = {}  # features that the archive itself brings


class Contents(NamedTuple):
    """An archive, read except for its pictures."""

    # The columns of the bag of words; None for the `num_words` words that occur in the texts of the
    # most pairs of the first split.
    vocabulary: Sequence[str] | None
    label_names: Sequence[str]  # the columns of the labels
    splits: Mapping[str, Iterable[Pair]]  # in the order of the archive


# mypy does not know the base, hence not `skip_registration`.
class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
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
        """Reads the archive, except for its pictures; tells `faults` of damaged pairs.

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

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        faults = Faults(self.builder_config)
        fetch = Fetch(dl_manager, self.name, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        contents = self.contents(fetch, faults)
        vocabulary = vocabulary_of(contents, self.builder_config.num_words)
        self.info.metadata.update(
            vocabulary=list(vocabulary),
            label_names=list(contents.label_names),
            skipped=faults.counts,
        )
        word, rows = columns(vocabulary), itertools.count()
        return {
            split: self._generate_examples(pairs, rows, word, len(contents.label_names), faults)
            for split, pairs in contents.splits.items()
        }

    def _generate_examples(
        self,
        pairs: Iterable[Pair],
        rows: Iterator[int],
        word: Mapping[str, int],
        num_labels: int,
        faults: Faults,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        seen = set()
        for pair in pairs:
            if pair.id in seen:
                raise UserError(f"the archive has the picture {pair.id} twice; it is damaged")
            seen.add(pair.id)
            example = {
                "id": pair.id,
                "texts": list(pair.texts),
                "words": bag(pair, word),
                **pair.arrays,
            }
            if self.LABELS:
                example["labels"] = marked(pair.labels, num_labels)
            if pair.picture is not None and self.builder_config.pictures:
                try:
                    example["image"] = checked_picture(pair.picture)
                except UserError as error:
                    faults.found("picture", f"pair {pair.id}: {error}")
                    continue
            yield pair.id, {**example, "row": next(rows)}


def vocabulary_of(contents: Contents, size: int) -> Sequence[str]:
    """The vocabulary of an archive, of at most `size` words where the texts decide it."""
    if contents.vocabulary is not None:
        return contents.vocabulary
    texts = ("\n".join(pair.texts) for pair in next(iter(contents.splits.values())))
    return build_vocabulary(texts, min_texts=1, max_words=size)


def bag(pair: Pair, word: Mapping[str, int]) -> np.ndarray:
    """Which words of the vocabulary a pair has, uint8 [V]; `word` maps a word to its column."""
    own = pair.words
    if own is None:
        own = numbers(set(words("\n".join(pair.texts))), word)
    return marked(own, len(word))


def marked(columns: Sequence[int], width: int) -> np.ndarray:
    """uint8 [width], 1 in the given columns."""
    row = np.zeros(width, np.uint8)
    row[list(columns)] = 1
    return row


def numbers(names: Iterable[Hashable], column: Mapping[Any, int]) -> list[int]:
    """The numbers of those names that have one."""
    return sorted(column[name] for name in names if name in column)


def columns(names: Iterable[Name]) -> dict[Name, int]:
    """Name -> its place."""
    return {name: number for number, name in enumerate(names)}
