"""Measuring a trained method: the ranking by any distance says what the Hamming histogram says."""

import jax
import jax.numpy as jnp
import numpy as np
import small

from jxhash.evaluation import measure, outcome, retrieval
from jxhash.methods.base import hamming_distances


def by_ranking(method):
    """The same method, its distances taken for any others."""
    return method._replace(distances=lambda *arguments: hamming_distances(*arguments))


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
    method = method._replace(
        index=lambda state, modality, outputs: (outputs * 10).astype(jnp.int16),
        distances=lambda state, outputs, entries: -outputs @ entries.T.astype(jnp.float32),
        distance="minus the inner product",
    )
    state = method.init(jax.random.key(0))
    report = outcome.write(method, state, data, made.to_dict(), tmp_path, [])
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
