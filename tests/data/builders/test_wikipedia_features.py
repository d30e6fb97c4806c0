"""The features that come with the Wikipedia archive."""

import os
import pathlib

import numpy as np
import pytest
import scipy.io

from jxhash import data
from jxhash.data.builders import wikipedia_features
from jxhash.errors import UserError


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
