"""Pascal Sentences (Rashtchian et al., 2010), from the authors' page."""

import html.parser
import re

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_PAGE = "index.html"
_CELLS = ("table", "tr", "td")
_FILE = re.compile(r"([\w-]+)/[\w-]+\.jpg", re.ASCII)


class PascalSentence(base.PairsBuilder):
    """1,000 pictures of Pascal VOC with five sentences each, 50 of each of 20 classes.

    `texts` has the five sentences. The vocabulary is the 1,000 words that occur in the sentences of
    the most pictures; papers give the number, none a rule.
    """

    BUILDER_CONFIGS = [
        base.Config(name="pairs", num_pictures=1_000, num_labels=20, num_texts=5, num_words=1_000)
    ]
    HOMEPAGE = "http://vision.cs.uiuc.edu/pascal-sentences/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """There is no archive, only a page: `wget -r -np -nH
    http://vision.cs.uiuc.edu/pascal-sentences/` in the manual folder makes `pascal-sentences`, with
    index.html and a folder of pictures for each class."""
    CITATION = """C. Rashtchian et al. Collecting Image Annotations Using Amazon's Mechanical Turk.
    NAACL HLT 2010 Workshop."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads the page."""
        config = self.builder_config
        folder = archive.around(fetch.manual("pascal-sentences", "pascal-sentences.zip"), _PAGE)
        page = _Page()
        page.feed("\n".join(archive.read_lines(folder / _PAGE)))
        classes = sorted(set(map(_class_of, page.sentences)))
        shown = f"{folder / _PAGE} shows"
        archive.require_count(shown, len(page.sentences), config.num_pictures, "pictures")
        shown += f" {len(page.sentences):,} pictures of"
        archive.require_count(shown, len(classes), config.num_labels, "classes")
        pairs = []
        for number, (file, sentences) in enumerate(page.sentences.items(), start=1):
            if len(sentences) == config.num_texts:
                labels = [classes.index(_class_of(file))]
                pairs.append(base.Pair(file, sentences, labels=labels, picture=folder / file))
                continue
            what = f"{len(sentences)} sentences, not {config.num_texts}"
            faults.found("sentences", f"{folder / _PAGE}, picture {number} ({file}): {what}")
        return base.Contents(None, classes, {"pairs": pairs})


def _class_of(file: str) -> str:
    found = _FILE.fullmatch(file)
    if not found:
        raise UserError(f"{_PAGE} shows the picture {file[:80]!r}; expected class/name.jpg")
    return found[1]


class _Page(html.parser.HTMLParser):
    """Picture -> the sentences in the cells of the table that follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: dict[str, list[str]] = {}
        self._picture: str | None = None
        self._cell: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _CELLS:
            self._finish()
        if tag == "img":
            self._picture = dict(attrs).get("src") or ""
            self.sentences[self._picture] = []

    def handle_endtag(self, tag: str) -> None:
        if tag in _CELLS:
            self._finish()

    def handle_data(self, data: str) -> None:
        self._cell.append(data)

    def _finish(self) -> None:
        text = " ".join("".join(self._cell).split())
        self._cell = []
        if text and self._picture is not None:
            self.sentences[self._picture].append(text)
