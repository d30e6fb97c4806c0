"""Measuring a trained method: the ranking by any distance says what the Hamming histogram says."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import codes, evaluate
from jxhash.auto_settings import resolved
from jxhash.errors import UserError
from jxhash.evaluation import artifacts, code_files, measure, retrieval
from jxhash.methods import code


def by_ranking(method):
    """The same method, its distances taken for any others."""
    return method._replace(code=method.code._replace(levels=None))


def search(rank):
    data = small.dataset()
    method, _ = small.build(small.config("dcmh"), data)
    method = by_ranking(method) if rank else method
    state = method.init(jax.random.key(0))
    return retrieval.retrieve(method, state, data.tasks)


def test_rankings_and_histograms_say_the_same():
    for one, other in zip(search(False).values(), search(True).values(), strict=True):
        assert one.histogram is not None
        assert other.histogram is None
        expected, found = measure.measures(one), measure.measures(other)
        assert found["lookup_precision"] is None
        for name in ("map", "map_at_50", "ndcg_at_50"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)
        assert found["precision_at"].keys() == expected["precision_at"].keys()
        for k, precision in expected["precision_at"].items():
            np.testing.assert_allclose(found["precision_at"][k], precision, rtol=1e-9)
        # All items are found at the end, and as many of them are relevant as at random.
        assert found["precision_recall"]["recall"][-1] == 1


def test_a_distance_of_one_s_own_is_reported_and_kept(tmp_path):
    data, made = small.dataset(), small.config("dcmh")
    method, _ = small.build(made, data)
    products = code.Code(
        name="minus the inner product",
        entries=lambda buffers, outputs: (outputs * 10).astype(jnp.int16),
        distances=lambda buffers, outputs, entries: -outputs @ entries.T.astype(jnp.float32),
        levels=None,
    )
    method = method._replace(code=products)
    state = method.init(jax.random.key(0))
    report = artifacts.write(method, state, data, resolved(made, 1), tmp_path, [])
    assert report["protocol"]["distance"] == "minus the inner product"
    assert report["bits"] == {}
    smallest = min(len(task.database) for task in data.tasks)
    cut = min(50, smallest, len(data.trained))
    assert report["protocol"]["definitions"]["cut"] == cut
    assert f"map_at_{cut}" in report["results"]["image to text"]["encoded"]
    assert b"minus the inner product" in (tmp_path / "report.html").read_bytes()
    with np.load(tmp_path / "codes.npz") as arrays:
        assert arrays["image_to_text_database_encoded"].dtype == np.int16
        assert arrays["image_to_text_query"].dtype == np.float32


def test_codes_of_a_run_are_scored_again(tmp_path):
    data, made = small.dataset(), small.config("dcmh")
    method, _ = small.build(made, data)
    state = method.init(jax.random.key(0))
    report = artifacts.write(method, state, data, resolved(made, 1), tmp_path, [])
    arguments = [str(tmp_path / "codes.npz"), f"--output={tmp_path / 'scores'}"]
    cut = report["protocol"]["definitions"]["cut"]
    evaluate.run(evaluate.parse([*arguments, f"--cut={cut}"]))
    scores = json.loads((tmp_path / "scores" / "report.json").read_text())["results"]
    for task, by_protocol in report["results"].items():
        assert scores[task]["given"] == by_protocol["encoded"]
        assert scores[f"{task} (learned)"]["given"] == by_protocol["learned"]
    with pytest.raises(UserError, match="which is not --num_bits=5"):
        evaluate.run(evaluate.parse([*arguments, "--num_bits=5"]))
    with np.load(tmp_path / "codes.npz") as arrays:
        old = {name: array for name, array in arrays.items() if "labels" not in name}
    np.savez(tmp_path / "codes.npz", **old)
    with pytest.raises(UserError, match="holds no image_to_text_query_labels; name its arrays"):
        evaluate.run(evaluate.parse(arguments))
    np.savez(tmp_path / "codes.npz", image_to_text_database_encoded=np.ones((3, 2), np.float32))
    with pytest.raises(UserError, match="a distance of its own"):
        evaluate.run(evaluate.parse(arguments))


@pytest.mark.parametrize("num_bits", [1, 20, 130])
def test_bits_in_blocks_are_those_of_all_rows(num_bits, monkeypatch):
    monkeypatch.setattr(measure, "_ROWS", 64)
    generator = np.random.default_rng(0)
    common = generator.normal(size=(300, 1))
    database = codes.sign(common + generator.normal(size=(300, num_bits)))
    database[:100], database[:, 0] = database[100:200], 1
    labels = np.ones(300, int), np.ones(300, int)
    found = code_files.found("query to database", code_files.Search(database, database, *labels))
    (statistics,) = measure.bit_statistics({"query to database": found}).values()
    np.testing.assert_allclose(statistics["mean"], database.mean(axis=0))
    assert statistics["constant"] == 1
    assert statistics["items"] == 300
    assert statistics["distinct"] == len({row.tobytes() for row in database})
    correlation = 0.0
    if num_bits > 1:
        every = np.abs(np.corrcoef(database[:, 1:].T))
        correlation = every[np.triu_indices(num_bits - 1, k=1)].mean()
    np.testing.assert_allclose(statistics["correlation"], correlation)


@pytest.mark.skipif(not pathlib.Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_a_large_database_takes_little_memory():
    def kilobytes(field):
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0])

    generator = np.random.default_rng(1)
    database = generator.choice(np.array([-1, 1], np.int8), (400_000, 64))
    ids = generator.integers(0, 9, 400_000)
    arrays = {"query": database[:2], "database": database}
    arrays |= {"query_labels": ids[:2], "database_labels": ids}
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    found = code_files.found("query to database", code_files.search_of(**arrays))
    measure.bit_statistics({"query to database": found})
    assert kilobytes("VmHWM") - before < 150_000
