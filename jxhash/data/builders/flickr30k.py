"""Flickr30k (Young et al., TACL 2014), from its own archives."""

import dataclasses
import re

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_TOKENS = "results_20130124.token"
_LINE = re.compile(r"(\d+)\.jpg#(\d)\t(.+)", re.ASCII)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(base.Config):
    """What is built of Flickr30k.

    Attributes:
      num_pictures: the pictures of the archive.
      num_captions: the captions of a picture.
      num_words: the size of the vocabulary.
    """

    num_pictures: int = 31_783
    num_captions: int = 5
    num_words: int = 3_000


class Flickr30k(base.PairsBuilder):
    """31,783 pictures with five captions each, and no labels: a picture's captions belong to it.

    `texts` has the five captions. The vocabulary is the 3,000 words that occur in the captions of
    the most pictures; number and rule are ours.
    """

    BUILDER_CONFIGS = [Config(name="pairs")]  # noqa: RUF012 - the name is tensorflow-datasets'
    LABELS = False
    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Ask for the archives with the form at
    https://shannon.cs.illinois.edu/DenotationGraph/ and put flickr30k-images.tar.gz (or its folder
    `flickr30k-images`) and flickr30k.tar.gz (or a folder `flickr30k` with {_TOKENS}) into the
    manual folder."""
    CITATION = """P. Young et al. From Image Descriptions to Visual Denotations. TACL 2014."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads the captions."""
        config = self.builder_config
        folder = archive.around(fetch.manual("flickr30k", "flickr30k.tar.gz"), _TOKENS)
        names = "flickr30k-images", "flickr30k-images.tar.gz", "flickr30k-images.tar"
        pictures = archive.within(fetch.manual(*names), names[0])
        captions = _read(folder / _TOKENS)
        if len(captions) != config.num_pictures:
            raise UserError(
                f"{folder / _TOKENS} describes {len(captions):,} pictures, not "
                f"{config.num_pictures:,}; it is not whole, or another version"
            )
        kept = {}
        for number, found in captions.items():
            if sorted(found) == list(range(config.num_captions)):
                kept[number] = [found[place] for place in range(config.num_captions)]
                continue
            faults.found(
                "captions",
                f"{folder / _TOKENS}: picture {number} has not {config.num_captions} captions",
            )
        vocabulary = base.frequent_words(kept.values(), config.num_words)
        word = base.columns(vocabulary)
        pairs = [
            base.Pair(
                id=f"{number}.jpg",
                texts=texts,
                words=base.numbers(base.words_of(texts), word),
                picture=pictures / f"{number}.jpg",
            )
            for number, texts in kept.items()
        ]
        return base.Contents(vocabulary, [], {"pairs": pairs})


def _read(path: archive.Folder) -> dict[str, dict[int, str]]:
    """Picture -> place -> caption."""
    captions: dict[str, dict[int, str]] = {}
    for number, line in enumerate(archive.read_lines(path), start=1):
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise UserError(f"{path}, line {number}: expected picture.jpg#place, a tab, a caption")
        captions.setdefault(found[1], {})[int(found[2])] = found[3]
    return captions
