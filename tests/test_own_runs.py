"""Whole runs on data of one's own: by pairs, of any scale, small, and on everything."""

import json

import numpy as np
import pytest

import jxhash
from jxhash import configuration
from jxhash.evaluation.report import table

ROWS, CAPTIONS = 160, 3


@pytest.fixture(scope="module")
def arrays():
    """Pairs of which either half tells the other; three texts an item; classes."""
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(ROWS, 6))
    images = shared @ generator.normal(size=(6, 12)) + 0.1 * generator.normal(size=(ROWS, 12))
    texts = np.stack([shared @ generator.normal(size=(6, 9)) for _ in range(CAPTIONS)], axis=1)
    return {"images": images, "texts": texts, "labels": shared[:, :4].argmax(axis=1)}


def run(folder, method, arrays, **changes):
    np.savez(folder / "own.npz", **arrays)
    made = configuration.load(f"configs/{method}.py:{folder / 'own.npz'}")
    made.update_from_flattened_dict({"bits": 16, "validate_every": 0, **changes})
    return jxhash.run(made, folder / "run")


def test_pairs_without_labels(tmp_path, arrays, capfd):
    pairs = {name: arrays[name] for name in ("images", "texts")}
    report = run(tmp_path, "lcmh", pairs, validate_every=1)
    assert report["chosen"] == {"lcmh.anchors": 65}
    assert "auto: lcmh.anchors 65 for 130 training pairs" in capfd.readouterr().err
    for task, texts in (("image to text", CAPTIONS), ("text to image", 1)):
        found = report["results"][task]
        encoded, chance = (
            found[name]["hit_rate_at"]["5"] for name in ("encoded", "random ranking")
        )
        assert encoded > 1.5 * chance
        # Of 16 queries and their partners: the first of 3 of 48 at 49 / 4, of 1 of 16 at 17 / 2.
        assert found["random ranking"]["median_rank"] == (16 * texts + 1) / (texts + 1)
    said = table(report)
    assert "R@1     R@5    R@10  median rank     MRR" in said
    assert "auto: lcmh.anchors 65" in said
    assert "normalization: image centred" in said
    assert max(map(len, said.splitlines())) <= 80
    page = (tmp_path / "run" / "report.html").read_text()
    assert "belongs to the pair of the query" in page
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    validation = [json.loads(line) for line in lines if "validation" in line]
    assert 0 < validation[-1]["image to text"] <= 1
    assert str(np.load(tmp_path / "run" / "normalization.npz")["image_kind"]) == "scale"
    kept = np.load(tmp_path / "run" / "normalization.npz", allow_pickle=False)
    assert kept["image_centre"].shape == (12,)


def test_a_training_on_everything_is_no_test(tmp_path, arrays):
    report = run(tmp_path, "chn", arrays, split="all", **{"chn.epochs": 2, "batch_size": 32})
    assert "validation, not a test" in table(report)
    assert b"validation, not a test" in (tmp_path / "run" / "report.html").read_bytes()
    codes = np.load(tmp_path / "run" / "codes.npz", allow_pickle=False)
    assert len(codes["image_index"]) == ROWS
    assert len(codes["text_index"]) == ROWS * CAPTIONS
    assert report["results"]["image to text"]["encoded"]["map"] > 0
    assert report["protocol"]["data"]["split"].startswith("train: every row but the validation")


@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (300, 0), (0.01, 4)])
def test_the_scale_of_features_does_not_matter(tmp_path, arrays, factor, offset):
    scaled = arrays | {"images": factor * arrays["images"] + offset}
    report = run(tmp_path, "cmhh", scaled, **{"cmhh.epochs": 60})
    found = report["results"]["image to text"]["encoded"]["map"]
    assert found > report["results"]["image to text"]["random ranking"]["map"] + 0.15
    assert report["verdict"] == []


def test_what_went_wrong_stands_in_the_table(tmp_path, arrays, capfd):
    alike = arrays | {"images": np.zeros((ROWS, 12)) + np.float32(7)}
    report = run(tmp_path, "chn", alike, validate_every=1, **{"chn.epochs": 3, "batch_size": 32})
    assert any("image codes of the database are equal" in line for line in report["verdict"])
    said = capfd.readouterr().err
    # Once, although every epoch is measured.
    assert said.count("image codes of the validation rows are equal") == 1
    assert "WARNING: all" in table(report)
