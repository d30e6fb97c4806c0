"""Data without labels: a query looks for what belongs to its pair."""

import json

import numpy as np
import pytest

from jxhash import data
from jxhash.data.assemble import normalized
from jxhash.errors import UserError

ROWS = 60
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
TAGS = np.random.default_rng(1).random((ROWS, 8)).astype(np.float32)
IDS = np.array([f"id {row}" for row in range(ROWS)])


def load(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return data.load(str(folder / "a.npz"))


def test_images_and_texts_alone_load(tmp_path):
    dataset = load(tmp_path, images=FEATURES, tags=TAGS)
    assert set(dataset.training["pairs"]) == {"image", "text"}
    assert dataset.trained is None
    whole = {row.tobytes(): number for number, row in enumerate(FEATURES)}
    for task in (*dataset.tasks, *dataset.validation):
        assert task.by_pairs
        # The partner of each query is searched, and both have the number of their pair.
        np.testing.assert_array_equal(task.query.labels, task.database.labels)
        numbers = [whole[row.tobytes()] for row in task.query.inputs["image"][:]]
        assert task.query.labels.tolist() == numbers
    asked, held = dataset.tasks[0].query.labels, dataset.validation[0].query.labels
    trained = [whole[row.tobytes()] for row in dataset.training["pairs"]["image"][:]]
    assert sorted([*asked, *held, *trained]) == list(range(ROWS))
    assert dataset.card["labels"].startswith("none")


def test_several_vectors_of_an_item(tmp_path):
    texts = np.random.default_rng(5).normal(size=(ROWS, 4, 7)).astype(np.float32)
    dataset = load(tmp_path, images=FEATURES, texts=texts)
    forth, back = dataset.tasks
    assert len(back.query) == 4 * len(forth.query)
    rows = forth.query.labels
    np.testing.assert_array_equal(back.query.inputs["text"][:], texts[rows].reshape(-1, 7))
    assert back.query.labels.tolist() == np.repeat(rows, 4).tolist()
    grouped = dataset.training["pairs"]["text"]
    assert grouped.shape == (len(dataset.training["pairs"]["image"]), 7)
    mapped = normalized(dataset, "scale")
    assert list(mapped.card["normalization"]) == ["image", "text"]
    found = mapped.training["pairs"]["text"]
    assert found.counts.tolist() == grouped.counts.tolist()
    assert abs(found.flat[:].mean()) < 1e-5
    np.testing.assert_allclose(np.mean(np.square(found.flat[:])), 1, rtol=1e-5)
    # The same map for what is asked and searched.
    scale = texts[rows].std() / mapped.tasks[1].query.inputs["text"][:].std()
    assert 0.9 < scale < 1.1


def test_a_last_training_on_everything(tmp_path):
    for arrays in (
        {"images": FEATURES, "tags": TAGS},
        {"images": FEATURES, "tags": TAGS, "labels": np.arange(ROWS) % 3},
    ):
        own = load(tmp_path, **arrays)
        everything = own.on_everything()
        held = everything.validation[0].query.labels
        np.testing.assert_array_equal(held, own.validation[0].query.labels)
        np.testing.assert_array_equal(held, everything.tasks[0].query.labels)
        assert len(everything.training["pairs"]["image"]) == ROWS - len(held)
        assert "not a test" in everything.card["caution"]
        assert everything.card["sizes"]["train"] == ROWS - len(held)
        assert [len(items) for items in everything.index.values()] == [ROWS, ROWS]
        assert everything.card["sha256"] != own.card["sha256"]


def test_everything_is_more_than_a_split_of_small_sizes(tmp_path):
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS)
    split = {"query": 5, "train": 20, "validation": 4}
    (tmp_path / "dataset.json").write_text(json.dumps({"data": "a.npz", "split": split}))
    own = data.load(str(tmp_path))
    assert len(own.training["pairs"]["image"]) == 20
    assert len(own.on_everything().training["pairs"]["image"]) == ROWS - 4


def test_partners_that_are_not_searched(tmp_path):
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS)
    rows = {"query": [0, 1, 2], "database": list(range(2, 40)), "train": list(range(10, ROWS))}
    (tmp_path / "dataset.json").write_text(json.dumps({"data": "a.npz", "split": rows}))
    task, _ = data.load(str(tmp_path)).tasks
    assert np.isin(task.query.labels, task.database.labels).tolist() == [False, False, True]
    rows["database"] = list(range(3, 40))
    (tmp_path / "dataset.json").write_text(json.dumps({"data": "a.npz", "split": rows}))
    with pytest.raises(UserError, match="no query has its partner in the database; leave out"):
        data.load(str(tmp_path))


def test_texts_without_a_known_word_are_left_out(tmp_path):
    lines = ["id,caption", *(f"{row},a red gull {row % 7}" for row in range(40))]
    lines += ["40,🙂", "41,a red gull", "41,🙂", "42,??"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "features.npz", ids=np.arange(43), features=np.eye(43, 6))
    dataset = data.load(str(tmp_path))
    assert dataset.card["skipped"] == {"no known word": 2}
    assert sum(dataset.card["sizes"].values()) - dataset.card["sizes"]["query"] == 41
    everything = dataset.on_everything()
    assert sorted(everything.index["image"].labels) == [*range(40), 41]
    assert "🙂" not in everything.index["text"].titles
    lines = ["id,caption", *(f"{row},🙂" for row in range(43))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="no word occurs in 2 of the"):
        data.load(str(tmp_path))


@pytest.mark.parametrize("labels", [np.arange(ROWS), IDS])
def test_labels_that_number_the_rows_are_told(labels, tmp_path):
    with pytest.raises(UserError, match=r"each row has a class of its own.*leave the labels out"):
        load(tmp_path, images=FEATURES, tags=TAGS, labels=labels)
