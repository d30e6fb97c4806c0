"""Flickr8k: the authors' splits, and their captions as they are."""

import os
import pathlib
import zipfile

import archives
import numpy as np
import pytest
from archives import FLICKR8K, build, write_flickr8k

from jxhash.data.builders import base, flickr8k, prepared
from jxhash.errors import UserError

CAPTIONS = pathlib.Path(os.environ.get("JXHASH_DATA_DIR", "missing"), "flickr8k")


def test_flickr8k_has_the_authors_splits(tmp_path):
    write_flickr8k(tmp_path / "manual")
    pairs = build(flickr8k.Flickr8k, FLICKR8K, tmp_path)
    assert pairs.ids == ["7_0a.jpg", "3_0a.jpg", "9_0a.jpg", "4_0a.jpg"]
    assert pairs.texts[0] == "A red gull .\nThe gull flies ."
    assert list(pairs.pictures) == [archives.picture(n) for n in (7, 3, 9, 4)]
    split = prepared.division(pairs, "archive")
    assert split.train.tolist() == [0, 1]
    assert split.validation.tolist() == [2]
    # The partner of each query is searched.
    assert split.query.tolist() == split.database.tolist() == [3]
    dataset = prepared.dataset(pairs, split, np.eye(4, dtype=np.float32))
    assert dataset.validation[0].database.titles == ["A gull and a dog .", "Two animals ."]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lists": ("7_0a.jpg", "9_0a.jpg", "4_0a.jpg")}, "lists 3 pictures, not 4"),
        (
            {"captions": archives.CAPTIONS8K.replace("3_0a.jpg#1", "3_0a.jpg#0")},
            "3_0a.jpg does not",
        ),
        ({"captions": "7_0a.jpg 0 A gull"}, "token.txt, line 1: expected picture.jpg#place"),
        ({"captions": "../7_0a.jpg#0\tA gull"}, "token.txt, line 1: expected picture.jpg#place"),
    ],
)
def test_wrong_flickr8k_is_named(tmp_path, changes, message):
    write_flickr8k(tmp_path / "manual", **changes)
    with pytest.raises(UserError, match=message):
        build(flickr8k.Flickr8k, FLICKR8K, tmp_path)


@pytest.mark.skipif(not CAPTIONS.is_dir(), reason="JXHASH_DATA_DIR names no folder with Flickr8k")
def test_the_real_captions(tmp_path):
    captions, listed = [], {}
    for split in ("train", "dev", "test"):
        lines = (CAPTIONS / f"{split}_captions.tsv").read_text().splitlines()
        rows = [line.split("\t", 1) for line in lines]
        listed[split] = list(dict.fromkeys(name for name, _ in rows))
        captions += [f"{name}#{n % 5}\t{text}" for n, (name, text) in enumerate(rows)]
    (tmp_path / "manual" / "Flicker8k_Dataset").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "manual" / "Flickr8k_text.zip", "w") as archive:
        archive.writestr("Flickr8k.token.txt", "\n".join(captions))
        for split, names in listed.items():
            archive.writestr(f"Flickr_8k.{split}Images.txt", "\n".join(names))
    number = sum(map(len, listed.values()))
    config = base.Config(
        name="texts", pictures=False, num_pictures=number, num_texts=5, num_words=3_000
    )
    pairs = build(flickr8k.Flickr8k, config, tmp_path)
    assert len(pairs.ids) == number == len(captions) / 5
    split = prepared.division(pairs, "archive")
    assert [len(split.train), len(split.validation), len(split.query)] == [5996, 1000, 1000]
    assert {"dog", "man", "water"} <= set(pairs.metadata["vocabulary"])
