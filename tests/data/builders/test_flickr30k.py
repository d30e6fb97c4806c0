"""Flickr30k: captions in any order."""

import shutil
import tarfile

import numpy as np
import pytest
from archives import CAPTIONS, FLICKR, build, picture, write_flickr

from jxhash.data import protocols
from jxhash.data.builders import flickr30k, prepared
from jxhash.errors import UserError
from jxhash.inputs.text_forms import Words


def test_flickr30k_is_built_without_labels(tmp_path):
    write_flickr(tmp_path / "manual")
    pairs = build(flickr30k.Flickr30k, FLICKR, tmp_path)
    assert pairs.ids == ["77.jpg", "5.jpg"]
    assert pairs.texts == ["Dog runs .\nA dog .", "Two men .\nMen in a park ."]
    assert pairs.labels is None
    assert pairs.metadata["vocabulary"] == ["a", "dog", "in"]
    split = protocols.divide(np.arange(2), protocols.Sizes(1, None, by_pairs=True), seed=0)
    features = np.float32([[1, 2, 3], [4, 5, 6]])
    dataset = prepared.dataset(pairs, split, features, Words(form="bag", min_texts=1))
    (query,), (train,) = split.query, split.train
    forth, back = dataset.tasks
    assert forth.by_pairs
    np.testing.assert_array_equal(forth.query.inputs["image"], features[[query]])
    # Each caption is an item of its own, of its picture's pair.
    assert forth.database.titles == back.query.titles == pairs.texts[query].split("\n")
    assert forth.database.labels.tolist() == [query, query]
    assert "labels" not in dataset.training["pairs"]
    assert dataset.training["pairs"]["text"].counts.tolist() == [2]
    assert dataset.trained is None
    assert train != query


def test_flickr30k_pictures_may_be_a_tar_file(tmp_path):
    manual = tmp_path / "manual"
    write_flickr(manual)
    with tarfile.open(manual / "flickr30k-images.tar", "w") as archive:
        archive.add(manual / "flickr30k-images", "flickr30k-images")
    shutil.rmtree(manual / "flickr30k-images")
    pairs = build(flickr30k.Flickr30k, FLICKR, tmp_path)
    assert list(pairs.pictures) == [picture(77), picture(5)]


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (CAPTIONS.replace("77.jpg#1", "77.jpg#0"), "picture 77.jpg does not have 2 cap.*-skipping"),
        (CAPTIONS.replace("#0\tTwo", " Two"), r"token, line 3: expected picture.jpg#place"),
        (CAPTIONS.replace("5.jpg", "6.jpg", 1), "describes 3 pictures, not 2"),
        (CAPTIONS.replace("A dog", "A d\xf6g").encode("latin-1"), "token, line 1: not in UTF-8"),
    ],
)
def test_wrong_flickr30k_is_named(tmp_path, captions, message):
    write_flickr(tmp_path / "manual", captions)
    with pytest.raises(UserError, match=message):
        build(flickr30k.Flickr30k, FLICKR, tmp_path)
