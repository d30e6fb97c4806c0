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
        assert "no test" in everything.card["caution"]
        assert everything.card["sha256"] != own.card["sha256"]


def test_partners_that_are_not_searched_are_the_user_s_choice(tmp_path):
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS)
    rows = {"query": [0, 1, 2], "database": list(range(2, 40)), "train": list(range(10, ROWS))}
    (tmp_path / "dataset.json").write_text(json.dumps({"data": "a.npz", "split": rows}))
    task, _ = data.load(str(tmp_path)).tasks
    assert np.isin(task.query.labels, task.database.labels).tolist() == [False, False, True]


@pytest.mark.parametrize("labels", [np.arange(ROWS), IDS])
def test_labels_that_number_the_rows_are_told(labels, tmp_path):
    with pytest.raises(UserError, match=r"each row has a class of its own.*leave the labels out"):
        load(tmp_path, images=FEATURES, tags=TAGS, labels=labels)
