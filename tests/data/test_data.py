"""Data sets: what they promise, and what they refuse."""

import os
import pathlib

import numpy as np
import pytest
import scipy.io
import small

from jxhash import data
from jxhash.data.builders import wikipedia_features
from jxhash.data.dataset import Dataset
from jxhash.data.embedded import embedded_sets
from jxhash.errors import UserError
from jxhash.inputs import text

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
    train = set(raw.rows({"train"}))
    words = text.build_vocabulary((raw.texts[row] for row in train), 2)
    assert clipart.training["pairs"]["text"].shape[1] == len(words)
    assert clipart.tasks[0].query.inputs["text"].shape[1] == len(words)


def test_transfer_training_has_no_label_of_its_domains(transfer):
    assert set(transfer.training) == {"pairs", "query", "database"}
    assert set(transfer.training["query"]) == {"image"}
    assert set(transfer.training["database"]) == {"text"}
    assert set(transfer.training["pairs"]) == {"image", "text", "labels"}


def test_transfer_queries_are_not_trained_on(transfer):
    forth, back = transfer.tasks
    queries = {row.tobytes() for row in forth.query.inputs["image"]}
    assert not queries & {row.tobytes() for row in transfer.training["query"]["image"]}
    assert not set(back.query.titles) & set(forth.database.titles)


def test_domain_labels_cannot_be_passed_to_training():
    given = small.dataset()
    labelled = dict(given.training["query"], labels=np.ones((37, 5), np.uint8))
    with pytest.raises(UserError, match=r"query.*labels"):
        Dataset(given.card, {**given.training, "query": labelled}, given.tasks)


def test_nan_empty_and_uneven_data_are_refused():
    given = small.dataset()
    pairs = dict(given.training["pairs"])
    spoilt = pairs["image"].copy()
    spoilt[[3, 8]] = np.nan
    for change, message in (
        ({"image": spoilt}, "image.*NaN.*2 rows.*row 3"),
        ({"image": pairs["image"][:5]}, "differ in length"),
        ({name: array[:0] for name, array in pairs.items()}, "empty"),
    ):
        with pytest.raises(UserError, match=message):
            Dataset(given.card, {**given.training, "pairs": {**pairs, **change}}, given.tasks)


def test_a_cut_file_of_the_package_is_named(tmp_path, monkeypatch):
    for path in embedded_sets.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "clipart.npz").read_bytes()
    (tmp_path / "clipart.npz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(embedded_sets, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"clipart\.npz.*install the package again"):
        data.load("clipart")
    (tmp_path / "emoji.jsonl").unlink()
    with pytest.raises(UserError, match=r"install the package again"):
        data.load("clipart-emoji")


def write_wikipedia(folder: pathlib.Path) -> None:
    """A small archive in the layout of the authors'."""
    generator = np.random.default_rng(0)
    arrays = {}
    for suffix, rows, file in (
        ("tr", 230, wikipedia_features.FILES[1]),
        ("te", 20, wikipedia_features.FILES[2]),
    ):
        arrays[f"I_{suffix}"] = generator.random((rows, 128))
        arrays[f"T_{suffix}"] = generator.random((rows, 10))
        lines = [f"text-{n}\timage-{n}\t{n % 10 + 1}" for n in range(rows)]
        (folder / file).write_text("\n".join(lines) + "\n")
    scipy.io.savemat(folder / wikipedia_features.FILES[0], arrays)


def test_wikipedia_is_read_and_standardised(tmp_path):
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    write_wikipedia(folder)
    loaded = data.load("wikipedia", tmp_path)
    pairs = loaded.training["pairs"]
    np.testing.assert_allclose(pairs["image"].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(pairs["text"].std(axis=0), 1, atol=1e-4)
    assert loaded.tasks[0].query.labels[:3].argmax(axis=1).tolist() == [0, 1, 2]
    held_out = data.load("wikipedia-held-out", tmp_path)
    assert len(held_out.tasks[0].query) == 200
    assert len(held_out.training["pairs"]["image"]) == 30


def test_wikipedia_mistakes_are_named(tmp_path, monkeypatch):
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    with pytest.raises(UserError, match=r"raw_features\.mat is missing"):
        data.load("wikipedia", tmp_path)
    monkeypatch.delenv("JXHASH_DATA_DIR", raising=False)
    with pytest.raises(UserError, match="JXHASH_DATA_DIR"):
        data.load("wikipedia")
    write_wikipedia(folder)
    features = folder / wikipedia_features.FILES[0]
    whole = features.read_bytes()
    features.write_bytes(whole[:5000])
    with pytest.raises(UserError, match="cannot be read"):
        data.load("wikipedia", tmp_path)
    features.write_bytes(whole)
    (folder / wikipedia_features.FILES[1]).write_text("text-1 image-1 11\n")
    with pytest.raises(UserError, match="line 1"):
        data.load("wikipedia", tmp_path)
    (folder / wikipedia_features.FILES[1]).write_text("text-1 image-1 1\n")
    with pytest.raises(UserError, match="do not belong together"):
        data.load("wikipedia", tmp_path)


@pytest.mark.skipif(
    not os.environ.get("JXHASH_DATA_DIR"), reason="JXHASH_DATA_DIR names no folder with Wikipedia"
)
def test_the_real_wikipedia():
    loaded = data.load("wikipedia")
    assert loaded.card["sizes"] == {"train": 2173, "query": 693}
    assert loaded.training["pairs"]["labels"].sum() == 2173
