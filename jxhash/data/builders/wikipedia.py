"""The Wikipedia cross-modal set (Rasiwasia et al., ACM Multimedia 2010), from its own archive."""

import dataclasses
import html
import re

import numpy as np

from jxhash.data.builders import archive, base, wikipedia_features
from jxhash.errors import UserError

# As a public data report gives it; no SHA-256 of the file was found.
_URL = "http://www.svcl.ucsd.edu/projects/crossmodal/wikipedia_dataset.zip"
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_MARKUP = re.compile(r"<[^<>]*>")


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(base.Config):
    """What is built of Wikipedia.

    Attributes:
      num_words: the size of the vocabulary.
    """

    num_words: int = 3_000


class WikipediaCrossModal(base.PairsBuilder):
    """2,173 training and 693 test pairs of a picture and a section of an article, of 10 classes.

    Splits: "train" and "test", the authors' lists. Besides pictures and texts (config "pairs")
    every pair has the archive's own features (config "features": these alone):
    `image_features`, 128 counts of visual words, and `text_features`, 10 topic proportions, as in
    raw_features.mat. The vocabulary is the 3,000 words that occur in the most training sections;
    papers give the number, none a rule.
    """

    BUILDER_CONFIGS = [  # noqa: RUF012 - the name is tensorflow-datasets'
        Config(name="pairs"),
        Config(name="features", pictures=False),
    ]
    ARRAYS = {"image_features": 128, "text_features": 10}  # noqa: RUF012
    HOMEPAGE = "http://www.svcl.ucsd.edu/projects/crossmodal/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """Downloaded where it is not in the manual folder:
    wikipedia_dataset.zip (or its folder `wikipedia_dataset`, or `wikipedia`), from
    http://www.svcl.ucsd.edu/projects/crossmodal/."""
    CITATION = """N. Rasiwasia et al. A New Approach to Cross-Modal Multimedia Retrieval. ACM
    Multimedia 2010."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads the authors' lists, their features and the articles."""
        names = "wikipedia_dataset.zip", "wikipedia_dataset", "wikipedia"
        folder = archive.around(fetch.download(_URL, *names), wikipedia_features.FILES[0])
        lines = archive.read_lines(folder / "categories.list")
        classes = [line.strip() for line in lines if line.strip()]
        if not all(map(_NAME.fullmatch, classes)) or len(classes) != wikipedia_features.NUM_CLASSES:
            raise UserError(
                f"{folder / 'categories.list'}: expected {wikipedia_features.NUM_CLASSES} names "
                f"of folders, found {len(classes)} lines; it is cut, or another version"
            )
        sides = dict(zip(("train", "test"), wikipedia_features.read_sides(folder), strict=True))
        texts = {}
        if self.builder_config.pictures:
            texts = _read_texts(folder, sides, faults)
        training = (texts[key] for key in sides["train"]["ids"][:, 0] if key in texts)
        vocabulary = base.frequent_words(
            ([text] for text in training), self.builder_config.num_words
        )
        word = base.columns(vocabulary)
        splits = {
            name: [
                _pair(folder, side, row, texts, word, classes)
                for row, (key, _) in enumerate(side["ids"])
                if key in texts or not self.builder_config.pictures
            ]
            for name, side in sides.items()
        }
        return base.Contents(vocabulary, classes, splits)


def _pair(
    folder: archive.Folder,
    side: dict[str, np.ndarray],
    row: int,
    texts: dict[str, str],
    word: dict[str, int],
    classes: list[str],
) -> base.Pair:
    key, image = side["ids"][row]
    label = int(side["labels"][row].argmax())
    text = [texts[key]] if key in texts else []
    return base.Pair(
        id=f"{classes[label]}/{image}.jpg",
        texts=text,
        words=base.numbers(base.words_of(text), word),
        labels=[label],
        picture=folder / f"images/{classes[label]}/{image}.jpg",
        arrays={"image_features": side["image"][row], "text_features": side["text"][row]},
    )


def _read_texts(
    folder: archive.Folder, sides: dict[str, dict], faults: base.Faults
) -> dict[str, str]:
    """Id -> the section of an article, without its markup."""
    texts = {}
    for list_file, side in zip(wikipedia_features.FILES[1:], sides.values(), strict=True):
        for number, names in enumerate(side["ids"], start=1):
            if not all(_NAME.fullmatch(name) for name in names):
                raise UserError(f"{folder / list_file}, line {number}: these are no file names")
            path = folder / f"texts/{names[0]}.xml"
            try:
                texts[str(names[0])] = _read_text(path)
            except UserError as error:
                faults.found("text", f"{list_file}, line {number}: {error}")
    return texts


def _read_text(path: archive.Folder) -> str:
    found = archive.between("\n".join(archive.read_lines(path)), "<text>", "</text>")
    text = _MARKUP.sub(" ", found or "")
    if not text.strip():
        raise UserError(f"{path} has no text")
    return " ".join(html.unescape(text).split())
