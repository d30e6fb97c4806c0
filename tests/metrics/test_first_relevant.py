"""Ranks of the first relevant item against every order of the ties."""

import numpy as np
import oracles_metrics as oracles
import pytest
from random_arrays import make_codes, make_labels

from jxhash import codes, metrics
from jxhash.metrics import first_relevant


def test_exact_average_over_all_orders_of_ties():
    rng = np.random.default_rng(16)
    for _ in range(40):
        size, bits = rng.integers(1, 7), rng.integers(1, 3)
        query, database = make_codes(rng, 2, bits), make_codes(rng, size, bits)
        labels = make_labels(rng, 2, 3, 0.4), make_labels(rng, size, 3, 0.4)
        found = first_relevant.first_rank(metrics.distance_histogram(query, database, *labels))
        distances, shared = codes.hamming_distance(query, database), labels[0] @ labels[1].T
        for row in range(2):
            exact = oracles.over_orders(oracles.first_rank, distances[row], shared[row])
            assert found[row] == pytest.approx(exact, abs=1e-12)


def test_blocks_and_equal_groups_change_nothing(monkeypatch):
    rng = np.random.default_rng(17)
    ids = np.repeat(np.arange(100), 3)
    found = metrics.distance_histogram(
        make_codes(rng, 100, 8), make_codes(rng, 300, 8), ids[::3], ids
    )
    whole = first_relevant.reciprocal_rank(found)
    monkeypatch.setattr(first_relevant, "TERMS", 20)
    np.testing.assert_allclose(first_relevant.reciprocal_rank(found), whole, rtol=1e-12)
    tied = metrics.random_ranking(found)
    one = metrics.Histogram(*(part[:1] for part in tied))
    np.testing.assert_allclose(
        first_relevant.reciprocal_rank(tied), first_relevant.reciprocal_rank(one)[0], rtol=1e-12
    )


def test_median_and_queries_without_a_partner():
    counts = np.array([[1, 3], [2, 2], [1, 3]]), np.array([[1, 0], [0, 1], [0, 0]])
    found = metrics.Histogram(*counts, counts[1].astype(float), None)
    assert first_relevant.first_rank(found).tolist() == [1, 3.5, 5]
    assert metrics.median_rank(found) == 3.5
    assert metrics.median_rank(found, empty="skip") == 2.25
    assert metrics.mean_reciprocal_rank(found, empty="skip") == pytest.approx((1 + 7 / 24) / 2)
