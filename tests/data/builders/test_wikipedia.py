"""Wikipedia: three training pairs and two to test."""

import os
import pathlib

import numpy as np
import pytest
import scipy.io
from archives import WIKI, build, picture, write, write_wikipedia, zip_folder

from jxhash import data
from jxhash.data import builders
from jxhash.data.builders import prepared, wikipedia
from jxhash.errors import UserError

DATA_DIR = os.environ.get("JXHASH_DATA_DIR")


@pytest.mark.parametrize("zipped", [False, True])
def test_wikipedia_is_built(tmp_path, zipped):
    manual = tmp_path / "manual"
    arrays = write_wikipedia(manual)
    if zipped:
        zip_folder(manual / "wikipedia_dataset", manual / "wikipedia_dataset.zip")
    pairs = build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)
    assert pairs.ids == [f"class{n}/image{n}.jpg" for n in (1, 2, 3, 4, 5)]
    assert pairs.parts.tolist() == ["train"] * 3 + ["test"] * 2
    assert pairs.labels.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert pairs.texts[3] == "The battle of 4 & more aa ab ac"
    assert pairs.metadata["vocabulary"] == ["battle", "more", "of"]
    both = np.concatenate([arrays["I_tr"], arrays["I_te"]])
    np.testing.assert_array_equal(pairs.arrays["image_features"], both)
    assert list(pairs.pictures) == [picture(n) for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("texts/text-2.xml", "<article>", r"trainset.*line 2: .*text-2.xml has no text.*skip"),
        ("texts/text-5.xml", None, r"testset.*line 2: .*text-5.xml is missing.*-skipping"),
        ("testset_txt_img_cat.list", "a\t../b\t1\nc\td\t2\n", "line 1: .*no file names"),
        ("testset_txt_img_cat.list", "a\tb\t1\n", "do not belong together"),
        ("testset_txt_img_cat.list", b"a\tb\t1\na\t\xe9\t2\n", "list, line 2: not in UTF-8"),
        (
            "categories.list",
            "art\nbiology\n",
            r"categories\.list: expected 10 names of folders, found 2",
        ),
        (
            "images/class1/image1.jpg",
            picture(1)[:300],
            "pair class1/image1.jpg: .*image1.jpg is not a complete pic",
        ),
    ],
)
def test_wrong_wikipedia_is_named(tmp_path, file, content, message):
    write_wikipedia(tmp_path / "manual")
    folder = tmp_path / "manual/wikipedia_dataset"
    (folder / file).unlink()
    if content is not None:
        write(folder, {file: content})
    with pytest.raises(UserError, match=message):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


def test_features_that_lie_are_refused_before_scipy_reads_them(tmp_path):
    manual = tmp_path / "manual"
    write_wikipedia(manual)
    file = manual / "wikipedia_dataset/raw_features.mat"
    content = bytearray(file.read_bytes())
    place = content.index(b"I_tr") + 4
    content[place : place + 4] = (77).to_bytes(4, "little")  # a type that there is not
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"raw_features\.mat:I_tr cannot be read .*type 77"):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


def test_a_damaged_list_in_a_zip_file_is_named(tmp_path):
    manual = tmp_path / "manual"
    write_wikipedia(manual)
    zip_folder(manual / "wikipedia_dataset", manual / "wikipedia_dataset.zip")
    whole = (manual / "wikipedia_dataset.zip").read_bytes()
    changed = whole.replace(b"text-4\timage4\t4", b"text-4\timage9\t4")  # its sum is wrong
    (manual / "wikipedia_dataset.zip").write_bytes(changed)
    with pytest.raises(UserError, match=r"testset_txt_img_cat\.list is damaged .*CRC"):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with Wikipedia")
def test_the_real_wikipedia(tmp_path):
    path = builders.prepare("wikipedia_cross_modal/features", tmp_path, DATA_DIR)
    pairs = prepared.open_pairs(path)
    folder = pathlib.Path(DATA_DIR) / "wikipedia"
    official = scipy.io.loadmat(folder / "raw_features.mat")
    for name, letter in (("image_features", "I"), ("text_features", "T")):
        for part, suffix in (("train", "tr"), ("test", "te")):
            given = pairs.arrays[name][pairs.parts == part]
            np.testing.assert_array_equal(given, official[f"{letter}_{suffix}"])
    lines = (folder / "trainset_txt_img_cat.list").read_text().splitlines()
    lines += (folder / "testset_txt_img_cat.list").read_text().splitlines()
    classes = (folder / "categories.list").read_text().split()
    rows = [line.split() for line in lines]
    assert pairs.ids == [f"{classes[int(row[2]) - 1]}/{row[1]}.jpg" for row in rows]
    assert (pairs.labels.argmax(axis=1) + 1).tolist() == [int(row[2]) for row in rows]
    dataset = data.load("wikipedia_cross_modal/features:archive", tmp_path)
    assert dataset.card["sizes"] == {"query": 693, "database": 2173, "train": 2173, "validation": 0}
