"""From prepared pairs to a data set."""

import hashlib

import numpy as np
import pytest
import scipy.io
from archives import MIR, build, picture, write_mirflickr

from jxhash import data
from jxhash.data import protocols
from jxhash.data.builders import mirflickr25k, prepared
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.networks import efficientnet_lite


def ids(*numbers):
    return [f"im{number}.jpg" for number in sorted(numbers)]


def test_prepared_pairs_become_a_data_set(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    split = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=5)
    images = np.arange(10, dtype=np.float32).reshape(5, 2)
    dataset = prepared.dataset(pairs, split, images)
    query = dataset.tasks[0].query
    np.testing.assert_array_equal(query.inputs["image"], images[split.query])
    np.testing.assert_array_equal(query.inputs["text"], pairs.words[split.query])
    assert query.pictures[0] == picture((1, 2, 3, 6, 8)[split.query[0]])
    assert dataset.card["sizes"] == {"query": 1, "database": 4, "train": 2, "validation": 1}
    assert dataset.card["split"]["sha256"] == split.card["sha256"]
    other = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=6)
    assert prepared.dataset(pairs, other, images).card["sha256"] != dataset.card["sha256"]
    with pytest.raises(UserError, match="4 images were given for 5 pairs"):
        prepared.dataset(pairs, split, images[:4])
    again = prepared.open_pairs(next((tmp_path / "prepared").glob("*/*/1.0.0")))
    np.testing.assert_array_equal(again.words, pairs.words)
    assert again.texts == pairs.texts


def test_prepared_pictures_themselves_as_images(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    split = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=5)
    dataset = prepared.dataset(pairs, split, prepared.pixels(pairs, 8))
    assert dataset.card["name"] == "mirflickr25k/small-pixels-8"
    assert dataset.card["image"] == "the pictures, 8 x 8 pixels, RGB"
    for items, rows in ((dataset.trained, split.train), (dataset.tasks[0].query, split.query)):
        assert isinstance(items.inputs["image"], EncodedPictures)
        fitted = [efficientnet_lite.fit(picture((1, 2, 3, 6, 8)[row]), 8) for row in rows]
        np.testing.assert_array_equal(items.inputs["image"][:], fitted)
    hashes = {dataset.card["sha256"]}
    for other, size in ((pairs, 9), (pairs._replace(pictures_sha256="0"), 8)):
        again = prepared.dataset(other, split, prepared.pixels(other, size))
        hashes.add(again.card["sha256"])
    assert len(hashes) == 3
    with pytest.raises(UserError, match="small is prepared without pictures"):
        prepared.pixels(pairs._replace(pictures=None), 8)
    reopened = prepared.open_pairs(next((tmp_path / "prepared").glob("*/*/1.0.0")))
    assert reopened.pictures_sha256 == pairs.pictures_sha256
    digests = [hashlib.sha256(one).digest() for one in pairs.pictures]
    assert pairs.pictures_sha256 == hashlib.sha256(b"".join(digests)).hexdigest()


def test_features_of_pictures_are_found_by_id(tmp_path):
    path = tmp_path / "image_features.npz"
    features = np.random.default_rng(0).random((3, 4))
    np.savez(path, ids=["b", "a", "c"], features=features)
    read = prepared.read_features(path, ["a", "b"])
    np.testing.assert_array_equal(read, features[[1, 0]].astype(np.float32))
    with pytest.raises(UserError, match=r"no row for 1 of 2 pictures, such as 'd'; .* like 'b'"):
        prepared.read_features(path, ["a", "d"])
    with pytest.raises(UserError, match=r"is missing: make features .*'-pixels-224'"):
        prepared.read_features(tmp_path / "none.npz", ["a"])
    np.savez(path, ids=["b", "b", "a"], features=features)
    with pytest.raises(UserError, match="the id 'b' names the rows 0 and 1"):
        prepared.read_features(path, ["a", "b"])
    np.savez(path, ids=["b", "a"], features=features)
    with pytest.raises(UserError, match=r"features of shape \(3, 4\) do not fit 2 ids"):
        prepared.read_features(path, ["a", "b"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read"):
        prepared.read_features(path, ["a"])


def test_a_prepared_set_is_divided_before_its_features_are_read(tmp_path, monkeypatch):
    write_mirflickr(tmp_path / "manual")
    build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    folder = tmp_path / "prepared"
    (folder / "mirflickr25k/small").rename(folder / "mirflickr25k/pairs")
    for name, message in (
        ("mirflickr25k:dcmh", "divides 20,015 pairs of .* but there are 5"),
        ("mirflickr25k:none", "unknown protocol 'none'; .* or folder of indices"),
        ("mirflickr25k:archive:1", "does not divide its pairs"),
    ):
        with pytest.raises(UserError, match=message):
            data.load(name, folder)
    features = np.arange(10, dtype=np.float32).reshape(5, 2)
    np.savez(
        folder / "mirflickr25k/pairs/1.0.0/image_features",
        ids=ids(1, 2, 3, 6, 8),
        features=features,
    )
    lists = {"query": [2], "train": [4, 1]}
    scipy.io.savemat(tmp_path / "split.mat", lists)
    monkeypatch.chdir(tmp_path)
    dataset = data.load("mirflickr25k:split.mat", "prepared")
    assert dataset.card["sizes"] == {"query": 1, "database": 4, "train": 2, "validation": 0}
    np.testing.assert_array_equal(dataset.tasks[0].query.inputs["image"], features[1:2])
    assert dataset.card["text"] == "which of the 3 words of all pairs a text has"
    sentences = data.load("mirflickr25k-sentences:split.mat", folder)
    # The only word that both training pairs have is sky; its number is 1.
    assert sentences.training["pairs"]["text"].tolist() == [[1, *[0] * 11]] * 2
    assert sentences.card["text"].startswith("numbers of the first 12 of 1 words")
    assert sentences.vocabulary_size == 1
    assert sentences.card["sha256"] != dataset.card["sha256"]
    weighted = data.load("mirflickr25k-tf-idf:split.mat", folder)
    assert weighted.card["text"].startswith("tf-idf of 1 words")
    dataset = data.load("mirflickr25k:split.mat:0", folder)
    np.testing.assert_array_equal(dataset.tasks[0].query.inputs["image"], features[2:3])
