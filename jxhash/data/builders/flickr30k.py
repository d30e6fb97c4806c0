"""Flickr30k (Young et al., TACL 2014), from its own archives."""

import re

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_TOKENS = "results_20130124.token"
_LINE = re.compile(r"(\d+)\.jpg#(\d)\t(.+)", re.ASCII)


class Flickr30k(base.PairsBuilder):
    """31,783 pictures with five captions each, and no labels: a picture's captions belong to it.

    `texts` has the five captions. The vocabulary is the 3,000 words that occur in the captions of
    the most pictures; number and rule are ours.
    """

    BUILDER_CONFIGS = [base.Config(name="pairs", num_pictures=31_783, num_texts=5, num_words=3_000)]
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
        described = f"{folder / _TOKENS} describes"
        archive.require_count(described, len(captions), config.num_pictures, "pictures")
        pairs = []
        for number, found in captions.items():
            if sorted(found) == list(range(config.num_texts)):
                texts = [found[place] for place in sorted(found)]
                file = f"{number}.jpg"
                pairs.append(base.Pair(file, texts, picture=pictures / file))
                continue
            what = f"picture {number} does not have {config.num_texts} captions"
            faults.found("captions", f"{folder / _TOKENS}: {what}")
        return base.Contents(None, [], {"pairs": pairs})


def _read(path: archive.Folder) -> dict[str, dict[int, str]]:
    """Picture -> place -> caption."""
    captions: dict[str, dict[int, str]] = {}
    for where, line in archive.numbered_lines(path):
        found = _LINE.fullmatch(line)
        if not found:
            raise UserError(f"{where}: expected picture.jpg#place, a tab, a caption")
        captions.setdefault(found[1], {})[int(found[2])] = found[3]
    return captions
