"""The page of a report: every text is escaped, whatever it holds."""

import dataclasses
import html.parser

import numpy as np

from jxhash.data.dataset import Items, Task
from jxhash.evaluation import measure, report, report_page

HOSTILE = """<script>alert(1)</script>{{ 7 * 7 }}{% if %}"'&"""


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(content.decode())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def found():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (12, 3)).astype(np.uint8)
    items = Items({}, labels, titles=[HOSTILE] * 12, pictures=[b"\x89PNG"] * 12)
    codes = generator.choice(np.array([-1, 1], np.int8), (12, 8))
    return measure.found_by_codes(Task("image", "text", items, items), items, codes, codes)


def render(config, searched):
    definitions = measure.fitted(measure.DEFAULT, [found()])
    results = measure.evaluate({"given": {HOSTILE: found()}}, definitions)
    card = {"name": HOSTILE, "version": "1", HOSTILE: HOSTILE}
    bits = {HOSTILE: measure.bit_statistics(searched)["text"]}
    made = report.make_report(HOSTILE, card, HOSTILE, results, bits, config, definitions)
    for part in ("database", "measures", "versions"):
        made["protocol"][part][HOSTILE] = HOSTILE
    lines = [{"stage": "s", "epoch": 1, "update": HOSTILE, "loss": 0.5}]
    return Page(report_page.make_page(made, searched, lines))


def test_hostile_texts_stay_texts():
    page = render({"seed": 0, HOSTILE: HOSTILE}, {"image to text": found()})
    assert "script" not in {tag for tag, _ in page.tags}
    texts = "".join(page.texts)
    # Two titles, the task, the distance, the row of bits and three pairs of name and text.
    assert texts.count(HOSTILE) >= 2 + 1 + 1 + 1 + 3 * 2
    figures = [attributes for tag, attributes in page.tags if tag == "figure"]
    assert len(figures) == report_page.QUERIES * (1 + report_page.RESULTS)
    assert all(attributes["title"] == HOSTILE for attributes in figures)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == report_page.QUERIES
    assert all(attributes["alt"] == HOSTILE for attributes in pictures)
    assert all(attributes["src"] == "data:image/png;base64,iVBORw==" for attributes in pictures)


def test_an_item_without_a_picture_is_shown_by_its_title():
    searched = found()
    items = dataclasses.replace(searched.database, pictures=None)
    task = searched.task._replace(query=items, database=items)
    page = render({}, {"image to text": dataclasses.replace(searched, task=task, database=items)})
    assert "img" not in {tag for tag, _ in page.tags}
    assert "Config" not in page.texts
