"""Pascal Sentences (Rashtchian et al., 2010), from the authors' page."""

import dataclasses
import html.parser
import re

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_PAGE = "index.html"
_CELLS = ("table", "tr", "td")
_FILE = re.compile(r"([\w-]+)/([\w-]+)\.jpg", re.ASCII)


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(base.Config):
    """What is built of Pascal Sentences.

    Attributes:
      num_pictures: the pictures of the page.
      num_classes: their classes, which are its folders.
      num_sentences: the sentences of a picture.
      num_words: the size of the vocabulary.
    """

    num_pictures: int = 1_000
    num_classes: int = 20
    num_sentences: int = 5
    num_words: int = 1_000


class PascalSentence(base.PairsBuilder):
    """1,000 pictures of Pascal VOC with five sentences each, 50 of each of 20 classes.

    `texts` has the five sentences. The vocabulary is the 1,000 words that occur in the sentences of
    the most pictures; papers give the number, none a rule.
    """

    BUILDER_CONFIGS = [Config(name="pairs")]  # noqa: RUF012 - the name is tensorflow-datasets'
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
        classes = sorted({name for name, _ in map(_split, page.sentences)})
        if (len(page.sentences), len(classes)) != (config.num_pictures, config.num_classes):
            raise UserError(
                f"{folder / _PAGE} shows {len(page.sentences):,} pictures of {len(classes)} "
                f"classes, not {config.num_pictures:,} of {config.num_classes}; it is cut, or "
                "another version"
            )
        kept = {}
        for number, (file, sentences) in enumerate(page.sentences.items(), start=1):
            if len(sentences) == config.num_sentences:
                kept[file] = sentences
                continue
            faults.found(
                "sentences",
                f"{folder / _PAGE}, picture {number} ({file}): {len(sentences)} sentences, not "
                f"{config.num_sentences}",
            )
        vocabulary = base.frequent_words(kept.values(), config.num_words)
        word = base.columns(vocabulary)
        pairs = [
            base.Pair(
                id=file,
                texts=sentences,
                words=base.numbers(base.words_of(sentences), word),
                labels=[classes.index(_split(file)[0])],
                picture=folder / file,
            )
            for file, sentences in kept.items()
        ]
        return base.Contents(vocabulary, classes, {"pairs": pairs})


def _split(file: str) -> tuple[str, str]:
    found = _FILE.fullmatch(file)
    if not found:
        raise UserError(f"{_PAGE} shows the picture {file[:80]!r}; expected class/name.jpg")
    return found[1], found[2]


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
