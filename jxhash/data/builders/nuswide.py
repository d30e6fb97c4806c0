"""NUS-WIDE (Chua et al., CIVR 2009), from its own archives, with its 21 or 10 largest concepts."""

import codecs
import functools
import itertools
import re
from collections.abc import Iterator

import numpy as np

from jxhash.data.builders import archive, base
from jxhash.errors import UserError
from jxhash.formats.file_names import comparable

# The addresses on the authors' page; no SHA-256 of the files was found. Pictures are given on
# request, so that they have no address.
_URL = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/"
_CONCEPT = re.compile(r"[\w -]{1,80}", re.ASCII)
# Some copies of the list have paths as on the authors' machine.
_FILE = re.compile(r"(?:C:/ImageData/Flickr/)?([\w-]+/\d+_(\d+)\.jpg)", re.ASCII)


_config = functools.partial(base.Config, num_pictures=269_648, num_words=1_000)


class Nuswide(base.PairsBuilder):
    """269,648 pictures of Flickr with tags and 81 concepts, of which the 21 or 10 largest are kept.

    A pair is a picture with one of the concepts kept: 195,834 of 21 concepts. The bag of words is
    the archive's own, `AllTags1k.txt`: its 1,000 most frequent tags. Pairs without any of these
    tags are kept; protocols that leave them out say so. The configs "tc21-tags" and "tc10-tags" do
    without the pictures.
    """

    BUILDER_CONFIGS = [
        _config(name="tc21", num_labels=21),
        _config(name="tc10", num_labels=10),
        _config(name="tc21-tags", num_labels=21, pictures=False),
        _config(name="tc10-tags", num_labels=10, pictures=False),
    ]
    HOMEPAGE = _URL + "NUS-WIDE.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Ask for the pictures at {_URL}NUS-WIDE.html and put them into
    the manual folder as `Flickr`, with one folder in it for each query word. Groundtruth.zip,
    NUS_WID_Tags.zip, ConceptsList.zip and ImageList.zip (or folders of these names) are downloaded
    where they are not there."""
    CITATION = """T.-S. Chua et al. NUS-WIDE: A Real-World Web Image Database from National
    University of Singapore. CIVR 2009."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads concepts and lists; tags are read pair by pair."""
        config = self.builder_config
        truth, tags, concepts, images = (
            archive.around(fetch.download(f"{_URL}{name}.zip", f"{name}.zip", name), marker)
            for name, marker in (
                ("Groundtruth", "AllLabels"),
                ("NUS_WID_Tags", "All_Tags.txt"),
                ("ConceptsList", "Concepts81.txt"),
                ("ImageList", "Imagelist.txt"),
            )
        )
        pictures = images
        if config.pictures:
            pictures = archive.within(fetch.manual("Flickr", "Flickr.zip"), "Flickr")
        files = archive.read_lines(images / "Imagelist.txt")
        listed = f"{images / 'Imagelist.txt'} has"
        archive.require_count(listed, len(files), config.num_pictures, "lines")
        names, labels = _largest(
            archive.read_lines(concepts / "Concepts81.txt"), truth, len(files), config.num_labels
        )
        vocabulary = [line.strip() for line in archive.read_lines(tags / "TagList1k.txt")]
        listed = f"{tags / 'TagList1k.txt'} has"
        archive.require_count(listed, len(vocabulary), config.num_words, "tags")
        pairs = _pairs(files, labels, tags, pictures, len(vocabulary), faults)
        return base.Contents(vocabulary, names, {"pairs": pairs})


def _largest(
    concepts: list[str], truth: archive.Folder, num_pictures: int, kept: int
) -> tuple[list[str], np.ndarray]:
    """The concepts on most pictures, in the order of the archive's list, and who has them."""
    names = [line.strip() for line in concepts if line.strip()]
    strange = [name for name in names if not _CONCEPT.fullmatch(name)]
    if strange or len(names) < kept:
        raise UserError(f"Concepts81.txt has {len(names)} names, {strange[:1] or 'too few'}")
    marks = [_marks(truth / f"AllLabels/Labels_{name}.txt", num_pictures) for name in names]
    order = np.argsort([-column.sum(dtype=np.int64) for column in marks], kind="stable")
    chosen = sorted(order[:kept])
    return [names[number] for number in chosen], np.stack([marks[n] for n in chosen], axis=1)


def _marks(path: archive.Folder, num_pictures: int) -> np.ndarray:
    lines = archive.read(path).removeprefix(codecs.BOM_UTF8).split()
    for number, line in enumerate(lines, start=1):
        if line not in (b"0", b"1"):
            raise UserError(f"{path}, line {number}: expected 0 or 1, found {line[:40]!r}")
    archive.require_count(f"{path} has", len(lines), num_pictures, "lines")
    return np.array([line == b"1" for line in lines], np.uint8)


def _pairs(
    files: list[str],
    labels: np.ndarray,
    tags: archive.Folder,
    pictures: archive.Folder,
    num_tags: int,
    faults: base.Faults,
) -> Iterator[base.Pair]:
    """The pairs that have a label, one line of each list at a time."""
    bags = archive.stream_lines(tags / "AllTags1k.txt")
    raw = archive.stream_lines(tags / "All_Tags.txt")
    for number, row in enumerate(itertools.zip_longest(files, labels, bags, raw), start=1):
        if any(cell is None for cell in row):
            raise UserError(
                f"Imagelist.txt and the lists in {tags} differ in length; get them of one version"
            )
        file, mark, bag, line = row
        found = _FILE.fullmatch(comparable(file.strip()))
        if not found:
            raise UserError(
                f"Imagelist.txt, line {number}: expected folder\\number_id.jpg, found {file[:60]!r}"
            )
        path, name = found.groups()
        if not mark.any():
            continue
        try:
            photo, *texts = line.decode("utf-8").split()
        except (UnicodeDecodeError, ValueError) as error:
            faults.found("tags", f"{tags / 'All_Tags.txt'}, line {number}: no UTF-8 tags ({error})")
            continue
        if photo.lstrip("0") != name.lstrip("0"):
            raise UserError(
                f"{tags / 'All_Tags.txt'}, line {number}: tags of {photo[:40]!r}, but the picture "
                f"is {name}; the lists are not of one version"
            )
        cells = bag.split()
        if len(cells) != num_tags or not set(cells) <= {b"0", b"1"}:
            raise UserError(
                f"{tags / 'AllTags1k.txt'}, line {number}: expected {num_tags:,} times 0 or 1"
            )
        yield base.Pair(
            id=path,
            texts=texts,
            words=[column for column, cell in enumerate(cells) if cell == b"1"],
            labels=np.flatnonzero(mark).tolist(),
            picture=pictures / path,
        )
