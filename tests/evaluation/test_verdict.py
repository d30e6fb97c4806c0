"""What a table says before its numbers: codes that tell nothing, chance, lost queries."""

import numpy as np
import pytest

from jxhash.data.dataset import Items, Task
from jxhash.evaluation import measure, verdict

LABELS = np.eye(4, dtype=np.uint8)[np.arange(400) % 4]


def found(codes, labels=LABELS, query_codes=None):
    items, query = Items({}, labels, [""] * 400), Items({}, LABELS[:40], [""] * 40)
    task = Task("image", "text", query, items)
    asked = codes[:40] if query_codes is None else query_codes
    return {task.name: measure.found_by_codes(task, items, asked, codes)}


def told(*given, **options):
    searched = found(*given, **options)
    results = measure.evaluate({measure.ENCODED: searched})
    return [*verdict.of_codes(searched), *verdict.of_results(searched, results)]


def codes_of(constant, rng):
    codes = rng.choice(np.array([-1, 1], np.int8), (400, 16))
    codes[:, 4:8] = 2 * LABELS.astype(np.int8) - 1
    codes[:, 16 - constant :] = 1
    return codes


@pytest.mark.parametrize(("constant", "lines"), [(0, 0), (4, 0), (5, 1)])
def test_more_than_a_quarter_of_constant_bits(constant, lines):
    said = told(codes_of(constant, np.random.default_rng(0)))
    assert len(said) == lines
    if lines:
        assert said[0].startswith("5 of 16 bits are constant over the 400 text codes of the datab")
        assert "'normalization'" in said[0]


def test_codes_all_alike_are_no_better_than_chance():
    alike, chance = told(np.ones((400, 16), np.int8))
    assert alike.startswith("all 400 text codes of the database are equal; likely causes: ")
    assert chance.startswith("image to text: MAP 0.2")
    assert "is not above that of a random ranking, 0.2" in chance


def test_random_codes_are_no_better_than_chance():
    codes = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (440, 16))
    (line,) = told(codes[:400], query_codes=codes[400:])
    assert "is not above that of a random ranking" in line


def test_queries_without_an_answer_are_counted():
    labels = LABELS.copy()
    labels[:, 3] = 0
    (line,) = told(codes_of(0, np.random.default_rng(2)), labels)
    assert line == "image to text: 10 of 40 queries have nothing relevant in the database"


def test_entries_that_are_no_codes():
    one = found(codes_of(0, np.random.default_rng(3)))["image to text"]
    for entries, lines in ((np.ones((400, 3), np.uint8), 1), (np.eye(400, 3, dtype=np.uint8), 0)):
        own = measure.Found(one.task, one.database, one.query, entries, one.distances, None)
        assert len(verdict.of_codes({"image to text": own})) == lines
