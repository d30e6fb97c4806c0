"""IAPR TC-12 (Grubinger et al., 2006), labelled by its segments (Escalante et al., 2010)."""

import dataclasses
import html

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

# As published repositories use it; no SHA-256 of the file was found.
_URL = "http://www-i6.informatik.rwth-aachen.de/imageclef/resources/iaprtc12.tgz"


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(base.Config):
    """What is built of IAPR TC-12.

    Attributes:
      num_pictures: the pictures of the archive.
      num_labels: the labels that its segments have.
      num_words: the size of the vocabulary.
    """

    num_pictures: int = 20_000
    num_labels: int = 255
    num_words: int = 2_912


class IaprTc12(base.PairsBuilder):
    """20,000 pictures with English descriptions and the 255 labels that their segments have.

    The archive of segments lists more label names than are used; those of a segment are kept. The
    vocabulary is the 2,912 words that occur in the most descriptions: papers give the number, none
    a rule. A picture without a description or label is a fault. One public reader of the archive
    finds 19,999 descriptions, so that `skip_faulty` may be needed; this could not be verified.
    """

    BUILDER_CONFIGS = [Config(name="pairs")]  # noqa: RUF012 - the name is tensorflow-datasets'
    HOMEPAGE = "https://www.imageclef.org/photodata"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """The labels come in an archive of three parts that only a RAR
    program opens: get saiaprtc12ok.part1.rar to part3.rar from https://www.imageclef.org/SIAPRdata,
    unpack them and put the folder `benchmark` (with wlist.txt and saiapr_tc-12) into the manual
    folder. Pictures and descriptions, the folder `iaprtc12`, are downloaded where they are not
    there."""
    CITATION = """M. Grubinger et al. The IAPR TC-12 Benchmark. OntoImage 2006. H. J. Escalante et
    al. The Segmented and Annotated IAPR TC-12 Benchmark. CVIU 2010."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads labels and descriptions."""
        config = self.builder_config
        benchmark = archive.around(fetch.manual("benchmark", "saiaprtc12ok"), "wlist.txt")
        photos = archive.around(
            fetch.download(_URL, "iaprtc12", "iaprtc12.tgz"), "annotations_complete_eng"
        )
        names, segments = _read_labels(benchmark)
        if len(segments) != config.num_pictures or len(names) != config.num_labels:
            raise UserError(
                f"{benchmark} has {len(names)} labels on {len(segments):,} pictures, not "
                f"{config.num_labels} on {config.num_pictures:,}; it is another version"
            )
        column = base.columns(names)
        texts = {}
        for number, (folder, _) in segments.items():
            path = photos / f"annotations_complete_eng/{folder}/{number}.eng"
            try:
                texts[number] = _description(path)
            except UserError as error:
                faults.found("description", f"picture {number}: {error}")
        vocabulary = base.frequent_words(([text] for text in texts.values()), config.num_words)
        word = base.columns(vocabulary)
        pairs = [
            base.Pair(
                id=f"{segments[number][0]}/{number}.jpg",
                texts=[text],
                words=base.numbers(base.words_of([text]), word),
                labels=base.numbers(segments[number][1], column),
                picture=photos / f"images/{segments[number][0]}/{number}.jpg",
            )
            for number, text in texts.items()
        ]
        return base.Contents(vocabulary, [names[n] for n in names], {"pairs": pairs})


def _read_labels(
    benchmark: archive.Folder,
) -> tuple[dict[int, str], dict[int, tuple[str, set[int]]]]:
    """Label -> name of those that are used; picture -> its folder and labels, by number."""
    names = {}
    for line_number, line in enumerate(archive.read_lines(benchmark / "wlist.txt"), start=1):
        label, _, name = line.strip().partition("\t")
        number = archive.number(label)
        if number is None or not name:
            raise UserError(f"{benchmark / 'wlist.txt'}, line {line_number}: expected number, name")
        names[number] = name.strip()
    pictures: dict[int, tuple[str, set[int]]] = {}
    for folder in archive.folders(benchmark / "saiapr_tc-12"):
        path = folder / "labels.txt"
        for line_number, line in enumerate(archive.read_lines(path), start=1):
            cells = [archive.number(cell) for cell in line.split()[:3]]
            if not cells:
                continue
            if len(cells) < 3 or None in cells:
                raise UserError(f"{path}, line {line_number}: expected picture, segment, label")
            picture, _, label = cells
            if label not in names:
                raise UserError(f"{path}, line {line_number}: label {label} is not in wlist.txt")
            pictures.setdefault(picture, (folder.name, set()))[1].add(label)
    used = set().union(*(labels for _, labels in pictures.values()))
    return (
        {number: names[number] for number in sorted(used)},
        {number: pictures[number] for number in sorted(pictures)},
    )


def _description(path: archive.Folder) -> str:
    """The description in an annotation, which is Latin-1."""
    content = archive.read(path)
    if not content.isascii() and _is_utf8(content):
        raise UserError(f"{path} is UTF-8; the archive's are ISO-8859-1")
    found = archive.between(content.decode("latin-1"), "<DESCRIPTION>", "</DESCRIPTION>")
    if not found or not found.strip():
        raise UserError(f"{path} has no description, or is not ISO-8859-1")
    return " ".join(html.unescape(found).split())


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
