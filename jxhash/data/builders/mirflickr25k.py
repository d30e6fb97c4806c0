"""MIRFLICKR-25K (Huiskes and Lew, MIR 2008), from its own two archives."""

import collections
import dataclasses

from jxhash.data.builders import archive, base
from jxhash.data.text_files import whole_number
from jxhash.errors import UserError

# Both addresses are as published repositories use them; no SHA-256 of the files was found.
_URL = "http://press.liacs.nl/mirflickr/mirflickr25k.v3b/"
PICTURES, ANNOTATIONS = "mirflickr25k.zip", "mirflickr25k_annotations_v080.zip"

# The potential labels; those of the files *_r1.txt are parts of them.
_NAMES = """animals baby bird car clouds dog female flower food indoor lake male night people
plant_life portrait river sea sky structures sunset transport tree water"""
LABELS = tuple(_NAMES.split())


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(base.Config):
    """What is built of MIRFLICKR-25K."""

    num_pictures: int = 25_000
    tagged: bool = True  # whether a pair must have a word of the vocabulary
    min_pictures: int = 20  # that a word of the vocabulary is on, of all in the archive


class Mirflickr25k(base.PairsBuilder):
    """25,000 pictures of Flickr with tags and 24 labels.

    The vocabulary is the tags on at least 20 of the 25,000 pictures: 1,386. A pair is a picture
    with a label and such a tag: 20,015 of them (config "pairs", or "tags" without the pictures).
    Config "labelled" keeps pictures without such tags too: 24,581.
    """

    BUILDER_CONFIGS = [
        Config(name="pairs"),
        Config(name="tags", pictures=False),
        Config(name="labelled", tagged=False),
    ]
    HOMEPAGE = "https://press.liacs.nl/mirflickr/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Files that are not in the manual folder are downloaded:
    {PICTURES} (or its folder `mirflickr`) and {ANNOTATIONS} (or a folder of its name without
    .zip), from https://press.liacs.nl/mirflickr/mirdownload.html."""
    CITATION = """M. J. Huiskes and M. S. Lew. The MIR Flickr Retrieval Evaluation. ACM MIR 2008."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads tags and labels."""
        config = self.builder_config
        pictures = fetch.download(_URL + PICTURES, PICTURES, PICTURES[:-4], "mirflickr")
        annotations = fetch.download(_URL + ANNOTATIONS, ANNOTATIONS, ANNOTATIONS[:-4])
        pictures = archive.around(pictures, "meta/tags")
        labels = _labels(archive.around(annotations, f"{LABELS[0]}.txt"), config.num_pictures)
        tags = _tags(pictures, config.num_pictures, faults)
        counts = collections.Counter(tag for some in tags.values() for tag in set(some))
        vocabulary = sorted(tag for tag, count in counts.items() if count >= config.min_pictures)
        column = base.columns(vocabulary)
        pairs = [
            base.Pair(
                id=f"im{number}.jpg",
                texts=some,
                words=base.numbers(set(some), column),
                labels=labels[number],
                picture=pictures / f"im{number}.jpg",
            )
            for number, some in tags.items()
            if labels[number] and (not config.tagged or any(tag in column for tag in some))
        ]
        return base.Contents(vocabulary, LABELS, {"pairs": pairs})


def _tags(folder: archive.Folder, num_pictures: int, faults: base.Faults) -> dict[int, list[str]]:
    """Picture -> its tags, as in the archive: lower case, without blanks."""
    tags = {}
    for number in range(1, num_pictures + 1):
        try:
            lines = archive.numbered_lines(folder / f"meta/tags/tags{number}.txt")
            tags[number] = [tag for _, tag in lines]
        except UserError as error:
            faults.found("tags", f"picture {number}: {error}")
    return tags


def _labels(folder: archive.Folder, num_pictures: int) -> dict[int | None, list[int]]:
    """Picture -> the numbers of its labels."""
    labels: dict[int | None, list[int]] = {number: [] for number in range(1, num_pictures + 1)}
    for column, name in enumerate(LABELS):
        for where, line in archive.numbered_lines(folder / f"{name}.txt"):
            number = whole_number(line)
            if number not in labels:
                raise UserError(
                    f"{where}: expected a picture's number, 1 to {num_pictures}, found "
                    f"{line[:40]!r}"
                )
            labels[number].append(column)
    return labels
