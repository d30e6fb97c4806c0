"""IAPR TC-12 (Grubinger et al., 2006), labelled by its segments (Escalante et al., 2010)."""

import html

from jxhash.data.builders import archive, base
from jxhash.data.text_files import whole_number
from jxhash.errors import UserError

# As published repositories use it; no SHA-256 of the file was found.
_URL = "http://www-i6.informatik.rwth-aachen.de/imageclef/resources/iaprtc12.tgz"


class IaprTc12(base.PairsBuilder):
    """20,000 pictures with English descriptions and the 255 labels that their segments have.

    The archive of segments lists more label names than are used; those of a segment are kept. The
    vocabulary is the 2,912 words that occur in the most descriptions: papers give the number, none
    a rule. A picture without a description or label is a fault. One public reader of the archive
    finds 19,999 descriptions, so that `skip_faulty` may be needed; this could not be verified.
    """

    BUILDER_CONFIGS = [
        base.Config(name="pairs", num_pictures=20_000, num_labels=255, num_words=2_912)
    ]
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
        found = f"{benchmark} has {len(names)} labels on"
        archive.require_count(found, len(segments), config.num_pictures, "pictures")
        archive.require_count(f"{benchmark} has", len(names), config.num_labels, "labels")
        column = base.columns(names)
        pairs = []
        for number, (folder, labels) in segments.items():
            try:
                text = _description(photos / f"annotations_complete_eng/{folder}/{number}.eng")
            except UserError as error:
                faults.found("description", f"picture {number}: {error}")
                continue
            file = f"{folder}/{number}.jpg"
            own = base.numbers(labels, column)
            pairs.append(base.Pair(file, [text], labels=own, picture=photos / "images" / file))
        return base.Contents(None, list(names.values()), {"pairs": pairs})


def _read_labels(
    benchmark: archive.Folder,
) -> tuple[dict[int, str], dict[int, tuple[str, set[int]]]]:
    """Label -> name of those that are used; picture -> its folder and labels, by number."""
    names = {}
    for where, line in archive.numbered_lines(benchmark / "wlist.txt"):
        cell, _, name = line.partition("\t")
        number = whole_number(cell)
        if number is None or not name:
            raise UserError(f"{where}: expected number, name")
        names[number] = name.strip()
    pictures: dict[int, tuple[str, set[int]]] = {}
    for folder in archive.folders(benchmark / "saiapr_tc-12"):
        for where, line in archive.numbered_lines(folder / "labels.txt"):
            cells = [whole_number(cell) for cell in line.split()[:3]]
            numbers = [number for number in cells if number is not None]
            if len(numbers) < 3:
                raise UserError(f"{where}: expected picture, segment, label")
            picture, _, label = numbers
            if label not in names:
                raise UserError(f"{where}: label {label} is not in wlist.txt")
            pictures.setdefault(picture, (folder.name, set()))[1].add(label)
    used = set().union(*(labels for _, labels in pictures.values()))
    return {number: names[number] for number in sorted(used)}, dict(sorted(pictures.items()))


def _description(path: archive.Folder) -> str:
    """The description in an annotation, which is Latin-1."""
    content = archive.read(path)
    if not content.isascii() and "\ufffd" not in content.decode(errors="replace"):
        raise UserError(f"{path} is UTF-8; the archive's are ISO-8859-1")
    found = archive.between(content.decode("latin-1"), "<DESCRIPTION>", "</DESCRIPTION>")
    if not found or not found.strip():
        raise UserError(f"{path} has no description, or is not ISO-8859-1")
    return " ".join(html.unescape(found).split())
