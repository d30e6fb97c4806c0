"""The Wikipedia cross-modal set (Rasiwasia et al., ACM Multimedia 2010), from its own archive."""

import html
import re
from collections.abc import Iterator

from jxhash.data.builders import archive, base, wikipedia_features
from jxhash.errors import UserError

# As a public data report gives it; no SHA-256 of the file was found.
_URL = "http://www.svcl.ucsd.edu/projects/crossmodal/wikipedia_dataset.zip"
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_MARKUP = re.compile(r"<[^<>]*>")


class WikipediaCrossModal(base.PairsBuilder):
    """2,173 training and 693 test pairs of a picture and a section of an article, of 10 classes.

    Splits: "train" and "test", the authors' lists. Besides pictures and texts (config "pairs")
    every pair has the archive's own features (config "features": these alone):
    `image_features`, 128 counts of visual words, and `text_features`, 10 topic proportions, as in
    raw_features.mat. The vocabulary is the 3,000 words that occur in the most training sections;
    papers give the number, none a rule.
    """

    BUILDER_CONFIGS = [
        base.Config(name="pairs", num_words=3_000),
        base.Config(name="features", pictures=False, num_words=3_000),
    ]
    ARRAYS = {"image_features": 128, "text_features": 10}
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
        classes = [line for _, line in archive.numbered_lines(folder / "categories.list")]
        if not all(map(_NAME.fullmatch, classes)) or len(classes) != wikipedia_features.NUM_CLASSES:
            raise UserError(
                f"{folder / 'categories.list'}: expected {wikipedia_features.NUM_CLASSES} names "
                f"of folders, found {len(classes)} lines; it is truncated, or another version"
            )
        sides = dict(zip(("train", "test"), wikipedia_features.read_sides(folder), strict=True))
        with_texts = self.builder_config.pictures
        splits = {
            name: list(_pairs(folder, name, side, classes, faults, with_texts))
            for name, side in sides.items()
        }
        return base.Contents(None, classes, splits)


def _pairs(
    folder: archive.Folder,
    name: str,
    side: wikipedia_features.Side,
    classes: list[str],
    faults: base.Faults,
    with_texts: bool,
) -> Iterator[base.Pair]:
    """The pairs of a split; the text of each is the section of an article, without its markup."""
    for row, (key, image) in enumerate(side["ids"]):
        where = f"{name}set_txt_img_cat.list, line {row + 1}"
        label = int(side["labels"][row].argmax())
        file = f"{classes[label]}/{image}.jpg"
        texts = []
        if with_texts:
            if not (_NAME.fullmatch(key) and _NAME.fullmatch(image)):
                raise UserError(f"{folder}, {where}: these are no file names")
            try:
                texts = [_read_text(folder / f"texts/{key}.xml")]
            except UserError as error:
                faults.found("text", f"{where}: {error}")
                continue
        yield base.Pair(
            id=file,
            texts=texts,
            labels=[label],
            picture=folder / "images" / file,
            arrays={"image_features": side["image"][row], "text_features": side["text"][row]},
        )


def _read_text(path: archive.Folder) -> str:
    found = archive.between("\n".join(archive.read_lines(path)), "<text>", "</text>")
    text = _MARKUP.sub(" ", found or "")
    if not text.strip():
        raise UserError(f"{path} has no text")
    return " ".join(html.unescape(text).split())
