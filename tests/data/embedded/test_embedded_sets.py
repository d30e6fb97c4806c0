"""The embedded data sets: splits, vocabularies, and what is kept apart."""

import shutil

import numpy as np
import pytest

from jxhash import data
from jxhash.data.embedded import embedded_sets
from jxhash.data.pictures import regions
from jxhash.errors import UserError
from jxhash.inputs import text
from jxhash.networks import efficientnet_lite

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("data")


@pytest.fixture(scope="module")
def clipart():
    return data.load("clipart")


@pytest.fixture(scope="module")
def transfer():
    return data.load("clipart-emoji")


def test_clipart_splits(clipart):
    query, database = clipart.tasks[0].query, clipart.tasks[0].database
    assert len(query) == 500
    assert clipart.card["sizes"]["database"] == len(database)
    searched = set(zip(database.titles, database.pictures, strict=True))
    assert not searched & set(zip(query.titles, query.pictures, strict=True))
    train = clipart.training["pairs"]
    assert len(train["image"]) + len(clipart.validation[0].query) == len(database)


def test_vocabulary_is_of_training_texts_alone(clipart):
    raw = embedded_sets._read("clipart")
    train = set(raw.rows("train"))
    words = text.build_vocabulary((raw.texts[row] for row in train), 2)
    assert clipart.training["pairs"]["text"].shape[1] == len(words)
    assert clipart.tasks[0].query.inputs["text"].shape[1] == len(words)


def test_clip_art_keeps_its_bags_and_transfer_adds_mean_vectors(clipart, transfer):
    raw = embedded_sets._read("clipart")
    rows = raw.rows("query")
    words = text.build_vocabulary((raw.texts[row] for row in raw.rows("train")), 2)
    exact = [[word in text.words(raw.texts[row]) for word in words] for row in rows]
    np.testing.assert_array_equal(clipart.tasks[0].query.inputs["text"], exact)
    texts = transfer.training["pairs"]["text"]
    assert texts.shape[1] == len(words) + 100
    bags, means = np.split(texts.astype(np.float64), [len(words)], axis=1)
    assert set(np.unique(bags)) == {0, 1}
    assert (bags >= clipart.training["pairs"]["text"]).all()
    np.testing.assert_allclose(np.square(means).sum(), bags.sum(), rtol=1e-3)
    np.testing.assert_allclose(means[means.any(axis=1)].mean(axis=0), 0, atol=1e-3)
    parts = transfer.card["parts"]
    without = [parts[name]["texts without a known word"] for name in ("clipart", "emoji")]
    assert without == [21, 3]


def test_transfer_training_has_no_label_of_its_domains(transfer):
    assert set(transfer.training) == {"pairs", "query", "database"}
    assert set(transfer.training["query"]) == {"image"}
    assert set(transfer.training["database"]) == {"text"}
    assert set(transfer.training["pairs"]) == {"image", "text", "labels"}


def test_transfer_queries_are_not_trained_on(transfer):
    *on_clipart, forth, back = transfer.tasks
    names = [task.name for task in on_clipart]
    assert names == ["image to text on clip art", "text to image on clip art"]
    pairs = {row.tobytes() for row in transfer.training["pairs"]["image"]}
    assert not pairs & {row.tobytes() for row in on_clipart[0].query.inputs["image"]}
    queries = {row.tobytes() for row in forth.query.inputs["image"]}
    assert not queries & {row.tobytes() for row in transfer.training["query"]["image"]}
    assert not set(back.query.titles) & set(forth.database.titles)


def test_a_cut_file_of_the_package_is_named(tmp_path, monkeypatch):
    for path in embedded_sets.FOLDER.glob("*.*"):
        shutil.copy(path, tmp_path)
    whole = (tmp_path / "clipart.npz").read_bytes()
    (tmp_path / "clipart.npz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(embedded_sets, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"clipart\.npz.*install the package again"):
        data.load("clipart")
    (tmp_path / "emoji.jsonl").unlink()
    with pytest.raises(UserError, match=r"install the package again"):
        data.load("clipart-emoji")


def test_clipart_sentences_are_the_words_of_clipart():
    plain, sentences = data.load("clipart"), data.load("clipart-sentences")
    assert sentences.vocabulary_size == plain.training["pairs"]["text"].shape[1]
    assert plain.vocabulary_size is None
    assert sentences.card["sizes"] == plain.card["sizes"]
    for name in ("image", "labels"):
        one, other = (d.training["pairs"][name] for d in (plain, sentences))
        np.testing.assert_array_equal(one, other)
    for one, other in ((plain.tasks, sentences.tasks), (plain.validation, sentences.validation)):
        for bags, tokens in zip(one, other, strict=True):
            _assert_same_words(bags.query.inputs["text"], tokens.query.inputs["text"])
            _assert_same_words(bags.database.inputs["text"], tokens.database.inputs["text"])
            assert bags.query.titles == tokens.query.titles


def _assert_same_words(bags, tokens):
    assert tokens.shape == (len(bags), embedded_sets.SENTENCE_LENGTH)
    for bag, sentence in zip(bags, tokens, strict=True):
        words = sentence[sentence > 0]
        assert not np.any(sentence[len(words) :])
        known = set(np.flatnonzero(bag) + 1)
        assert set(words) <= known
        if len(words) < embedded_sets.SENTENCE_LENGTH:
            assert set(words) == known


def test_clipart_regions_bring_regions_and_sentences(monkeypatch):
    sentences = data.load("clipart-sentences")

    def quick(name, pictures, whole):
        assert name == "clipart"
        rows = np.zeros((len(pictures), 3, whole.shape[1] + 4), np.float16)
        rows[:, 0, : whole.shape[1]] = whole
        return rows

    monkeypatch.setattr(regions, "of_pictures", quick)
    loaded = data.load("clipart-regions")
    assert loaded.vocabulary_size == sentences.vocabulary_size
    assert loaded.card["sha256"] != sentences.card["sha256"]
    assert loaded.training["pairs"]["image"].shape == (1683, 3, 260)
    for one, other in zip(loaded.tasks, sentences.tasks, strict=True):
        np.testing.assert_array_equal(one.query.inputs["text"], other.query.inputs["text"])
        whole = one.query.inputs["image"][:, 0, :256]
        np.testing.assert_array_equal(whole, other.query.inputs["image"])


def test_clip_art_at_any_size():
    stored, larger = (data.load(f"clipart-pixels{end}") for end in ("", "-80"))
    assert stored.training["pairs"]["image"].shape == (1683, 64, 64, 3)
    assert larger.training["pairs"]["image"].shape == (1683, 80, 80, 3)
    assert (stored.card["name"], larger.card["name"]) == ("clipart-pixels-64", "clipart-pixels-80")
    assert stored.card["sha256"] != larger.card["sha256"]
    row = larger.tasks[0].query.inputs["image"][3:4]
    expected = efficientnet_lite.fit(larger.tasks[0].query.pictures[3], 80)
    np.testing.assert_array_equal(row[0], expected)
