"""MIRFLICKR-25K: eight pictures; a tag is a word on two of them."""

import os
import pathlib
import zipfile

import numpy as np
import pytest
from archives import MIR, build, picture, write, write_mirflickr

from jxhash import data
from jxhash.data import builders, protocols
from jxhash.data.builders import mirflickr25k, prepared
from jxhash.errors import UserError

DATA_DIR = os.environ.get("JXHASH_DATA_DIR")


def ids(*numbers):
    return [f"im{number}.jpg" for number in sorted(numbers)]


def test_mirflickr_is_built(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    assert pairs.metadata["vocabulary"] == ["sea", "sky", "zürich"]
    assert pairs.ids == ids(1, 2, 3, 6, 8)
    assert pairs.words.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert pairs.texts[1] == "sky\nzürich"
    assert pairs.texts[4] == "sea\nonly\nonly"
    names = [np.array(pairs.metadata["label_names"])[row == 1].tolist() for row in pairs.labels]
    assert names == [["sea", "sky"], ["sky"], ["sea"], ["night"], ["night"]]
    assert list(pairs.pictures) == [picture(n) for n in (1, 2, 3, 6, 8)]
    assert pairs.metadata["skipped"] == {}
    assert pairs.name == "mirflickr25k/small"


def test_mirflickr_without_pictures_or_without_the_rule_of_tags(tmp_path):
    write_mirflickr(tmp_path / "manual")
    for path in (tmp_path / "manual/mirflickr").glob("*.jpg"):
        path.unlink()
    config = mirflickr25k.Config(
        name="l", pictures=False, tagged=False, num_pictures=8, min_pictures=2
    )
    pairs = build(mirflickr25k.Mirflickr25k, config, tmp_path)
    assert pairs.ids == ids(1, 2, 3, 4, 5, 6, 8)
    assert pairs.words[3].tolist() == [0, 0, 0]
    assert pairs.texts[4] == ""
    assert pairs.pictures is None


MIR_DAMAGE = [
    ("mirflickr/im3.jpg", picture(3)[:-90], "pair im3.jpg: .*im3.jpg is not a complete picture"),
    ("mirflickr/im3.jpg", b"GIF89a", "pair im3.jpg: .*im3.jpg is not a complete picture"),
    ("mirflickr/im3.jpg", None, r"pair im3.jpg: .*im3.jpg is missing"),
    ("mirflickr/meta/tags/tags2.txt", "sky\nzürich".encode("latin-1"), r"tags2.txt, line 2: not"),
    ("mirflickr/meta/tags/tags2.txt", b"\xff\xfes", r"picture 2: .*tags2.txt, line 1"),
    ("mirflickr/meta/tags/tags2.txt", None, r"picture 2: .*tags2.txt is missing"),
]


@pytest.mark.parametrize(("file", "content", "message"), MIR_DAMAGE)
def test_a_damaged_pair_stops_or_is_counted(tmp_path, file, content, message):
    write_mirflickr(tmp_path / "manual")
    (tmp_path / "manual" / file).unlink()
    if content is not None:
        write(tmp_path / "manual", {file: content})
    with pytest.raises(UserError, match=f"{message}.*-skipping"):
        build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    pairs = build(mirflickr25k.Mirflickr25k, MIR.skipping(), tmp_path)
    assert sum(pairs.metadata["skipped"].values()) == 1
    assert pairs.ids == ids(*({1, 2, 3, 6, 8} - {3 if "im3" in file else 2}))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mirflickr25k_annotations_v080/sky.txt", "1\n25001\n", "sky.txt, line 2: .*1 to 8"),
        ("mirflickr25k_annotations_v080/sky.txt", "1 1\n", "sky.txt, line 1: .*'1 1'"),
        ("mirflickr25k_annotations_v080/tree.txt", None, "tree.txt is missing"),
        ("mirflickr25k_annotations_v080/animals.txt", None, r"has no animals.txt; .*another ver"),
    ],
)
def test_a_damaged_archive_always_stops(tmp_path, file, content, message):
    write_mirflickr(tmp_path / "manual")
    (tmp_path / "manual" / file).unlink()
    if content is not None:
        write(tmp_path / "manual", {file: content})
    with pytest.raises(UserError, match=message):
        build(mirflickr25k.Mirflickr25k, MIR.skipping(), tmp_path)


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with MIRFLICKR's tags")
def test_the_real_mirflickr_tags(tmp_path):
    """The archive's tag and label files, written again from the 20,015 pairs that are at hand.

    Of the other 4,985 pictures only this is known: they have no label or no frequent tag. The tags
    that the pairs lack of 20 pictures are given to pictures without labels.
    """
    with np.load(pathlib.Path(DATA_DIR) / "mirflickr25k/text_labels.npz") as real:
        tags = np.unpackbits(real["tags_packed"], axis=1, count=int(real["n_tags"]))
        vocabulary, labels, names = real["vocab"].tolist(), real["labels"], real["label_names"]
        numbers = real["image_id"].tolist()
    texts = {
        number: [vocabulary[c] for c in np.flatnonzero(row)]
        for number, row in zip(numbers, tags, strict=True)
    }
    others = [number for number in range(1, 25_001) if number not in texts]
    for column, lacking in enumerate(20 - tags.sum(axis=0, dtype=int)):
        for number in others[: max(lacking, 0)]:
            texts.setdefault(number, []).append(vocabulary[column])
    for number in others[30:]:
        texts[number] = [f"rare{number}"]
    manual = tmp_path / "manual"
    manual.mkdir()
    with zipfile.ZipFile(manual / "mirflickr25k.zip", "w") as archive:
        for number in range(1, 25_001):
            lines = "".join(f"{tag}\n" for tag in texts.get(number, ()))
            archive.writestr(f"mirflickr/meta/tags/tags{number}.txt", lines)
    with zipfile.ZipFile(manual / "mirflickr25k_annotations_v080.zip", "w") as archive:
        for column, name in enumerate(names):
            lines = "".join(f"{numbers[row]}\n" for row in np.flatnonzero(labels[:, column]))
            archive.writestr(f"{name}.txt", lines)
    pairs = prepared.open_pairs(builders.prepare("mirflickr25k/tags", tmp_path / "out", manual))
    assert len(pairs.metadata["vocabulary"]) == 1_386
    assert pairs.metadata["vocabulary"] == vocabulary
    assert pairs.ids == ids(*numbers)
    np.testing.assert_array_equal(pairs.words, tags)
    np.testing.assert_array_equal(pairs.labels, labels)
    features = np.ones((20_015, 2), np.float32)
    np.savez(
        tmp_path / "out/mirflickr25k/tags/1.0.0/image_features", ids=pairs.ids, features=features
    )
    dataset = data.load("mirflickr25k/tags:dcmh:3", tmp_path / "out")
    assert dataset.card["sizes"]["database"] == 18_015
    assert dataset.training["pairs"]["text"].shape == (10_000, 1_386)
    queries = protocols.draw("dcmh", "mirflickr25k", 20_015, seed=3).query
    np.testing.assert_array_equal(dataset.tasks[0].query.labels, labels[queries])
