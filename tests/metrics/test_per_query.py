"""Measures of each query against every order of the ties, and against loops."""

from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import oracles_metrics as oracles
import pytest
from oracles_metrics import MEASURES_AT_K
from random_arrays import make_codes, make_data, make_labels, small_data

from jxhash import codes, metrics
from jxhash.metrics import per_query


@pytest.mark.parametrize("name", MEASURES_AT_K)
def test_exact_average_over_all_orders_of_ties(name):
    measure, plain = MEASURES_AT_K[name]
    rng = np.random.default_rng(12)
    cuts_in_ties = 0
    for _ in range(25):
        num_items, num_bits = rng.integers(1, 7), rng.integers(1, 4)
        data = (
            make_codes(rng, 2, num_bits),
            make_codes(rng, num_items, num_bits),
            make_labels(rng, 2, 3, 0.5),
            make_labels(rng, num_items, 3, 0.5),
        )
        found = metrics.distance_histogram(*data, graded=True)
        distances = codes.hamming_distance(*data[:2])
        shared = data[2] @ data[3].T
        for k in range(1, num_items + 1):
            values = measure(found, k)
            for query in range(2):
                exact = oracles.over_orders(plain, distances[query], shared[query], k)
                assert values[query] == pytest.approx(exact, abs=1e-12)
                ordered = np.sort(distances[query])
                cuts_in_ties += k < num_items and ordered[k - 1] == ordered[k]
    assert cuts_in_ties > 50


@pytest.mark.parametrize("name", MEASURES_AT_K)
@pytest.mark.parametrize("k", [1, 5, 40])
def test_plain_loop_without_ties(name, k):
    measure, plain = MEASURES_AT_K[name]
    rng = np.random.default_rng(13)
    # One item at each of 40 distances.
    database = np.ones((40, 39), np.int8)
    for row, flipped in enumerate(rng.permutation(40)):
        database[row, rng.permutation(39)[:flipped]] = -1
    query, labels, query_labels = (
        np.ones((6, 39), np.int8),
        make_labels(rng, 40, 4, 0.2),
        make_labels(rng, 6, 4),
    )
    found = metrics.distance_histogram(query, database, query_labels, labels, graded=True)
    order = codes.hamming_distance(query, database).argsort(1)
    ranked = np.take_along_axis(query_labels @ labels.T, order, 1)
    expected = [plain(row, k) for row in ranked.tolist()]
    np.testing.assert_allclose(measure(found, k), expected, atol=1e-12)


def test_hits_of_many_queries_are_those_of_each(monkeypatch):
    found = metrics.distance_histogram(*make_data(29, 40, 300, 5))
    measure = partial(per_query.average_precision, top_k=100, denominator="retrieved relevant")
    whole = measure(found)
    monkeypatch.setattr(per_query, "TERMS", 50)
    for query in range(40):
        one = metrics.Histogram(*(part[query : query + 1] for part in found))
        assert measure(one)[0] == pytest.approx(whole[query], rel=1e-12)
    np.testing.assert_allclose(measure(found), whole, rtol=1e-12)


def test_float64_where_float32_would_be_wrong():
    size, relevant = 400_000, 100_000
    found = metrics.Histogram(
        np.array([[size]]), np.array([[relevant]]), np.array([[float(relevant)]]), None
    )
    t = np.arange(1, size + 1, dtype=np.longdouble)
    slope = np.longdouble(relevant - 1) / (size - 1)
    exact = np.sum((1 + slope * (t - 1)) / t) / size
    assert metrics.mean_average_precision(found) == pytest.approx(float(exact), rel=1e-12)


def test_ties_at_a_larger_size_by_monte_carlo():
    rng = np.random.default_rng(15)
    query, database, query_labels, labels = make_data(15, 3, 400, 8, 4)
    found = metrics.distance_histogram(query, database, query_labels, labels, graded=True)
    distances, shared = codes.hamming_distance(query, database), query_labels @ labels.T
    # A small random addition to whole distances is a random order of ties.
    noisy = distances[:, None, :] + rng.random((3, 1000, 400))
    for query in range(3):
        ranking = metrics.ranked_relevance(noisy[query], np.tile(shared[query], (1000, 1)))
        for name, (measure, _) in MEASURES_AT_K.items():
            values = measure(ranking, 130)
            error = values.std() / np.sqrt(len(values))
            assert abs(measure(found, 130)[query] - values.mean()) < 4.5 * error + 1e-6, name


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(small_data)
def test_measures_stay_in_their_bounds(data):
    found = metrics.distance_histogram(*data, graded=True)
    num_items = len(data[1])
    answerable = per_query.answerable(found)
    for k in {1, (num_items + 1) // 2, num_items}:
        for name, (measure, _) in MEASURES_AT_K.items():
            values = measure(found, k)
            assert np.all((values >= 0) & (values <= 1 + 1e-12)), name
            assert np.all(values[~answerable] == 0), name
    whole = per_query.average_precision(found)
    for denominator in per_query.DENOMINATORS:
        np.testing.assert_allclose(
            per_query.average_precision(found, denominator=denominator), whole, atol=1e-12
        )
    np.testing.assert_allclose(per_query.recall_at(found, [num_items])[:, 0], answerable)


def test_recall_of_paired_data():
    rng = np.random.default_rng(22)
    query = make_codes(rng, 30, 10)
    pair = np.arange(30)
    found = metrics.distance_histogram(query, query, pair, pair)
    distances = codes.hamming_distance(query, query)
    for k in (1, 5):
        closer, same = (distances < 0).sum(1), (distances == 0).sum(1)
        expected = np.clip((k - closer) / same, 0, 1)
        np.testing.assert_allclose(per_query.hit_rate_at(found, [k])[:, 0], expected)
        np.testing.assert_allclose(per_query.recall_at(found, [k])[:, 0], expected)


@pytest.mark.filterwarnings("error")
def test_measures_of_a_histogram_in_jax_are_those_in_numpy():
    counts = np.full((3000, 2), 500_000, np.int32)
    found = metrics.Histogram(counts, counts // 2, counts / 2.0, counts)
    in_jax = metrics.Histogram(*map(jnp.asarray, found))
    for average in ("pairs", "queries"):
        for one, other in zip(
            metrics.precision_recall_curve(in_jax, average=average),
            metrics.precision_recall_curve(found, average=average),
            strict=True,
        ):
            assert one.dtype == np.float64
            np.testing.assert_array_equal(one, other)
    for measure in (
        per_query.average_precision,
        per_query.ndcg,
        per_query.lookup_recall,
        partial(per_query.recall_at, ks=[7]),
    ):
        args = (1,) if measure is per_query.lookup_recall else ()
        one, other = measure(in_jax, *args), measure(found, *args)
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, other)


def test_measures_refuse():
    ones, labels = np.ones((3, 16), np.int8), np.ones((3, 2))
    found = metrics.distance_histogram(ones, ones, labels, labels)
    for measure in (
        metrics.mean_average_precision,
        metrics.ndcg,
        lambda h, top_k: metrics.precision_at(h, [1, top_k]),
        lambda h, top_k: metrics.recall_at(h, [top_k]),
        lambda h, top_k: metrics.hit_rate_at(h, [top_k]),
        lambda h, top_k: metrics.first_relevant_precision(h, top_k),
    ):
        for k in (0, 4):
            with pytest.raises(ValueError, match=f"k={k} is not within the database of 3 items"):
                measure(found, top_k=k)
    with pytest.raises(ValueError, match="denominator is one of"):
        metrics.mean_average_precision(found, denominator="k")
    for lookup in (metrics.lookup_precision, metrics.lookup_recall, metrics.lookup_success):
        for radius in (-1, 17):
            with pytest.raises(ValueError, match=f"radius={radius} is not among the distances"):
                lookup(found, radius)
    with pytest.raises(ValueError, match="ties have no order here"):
        metrics.first_relevant_precision(found, 2)
    for measure in (
        lambda: metrics.precision_at(found, [2.5]),
        lambda: metrics.mean_average_precision(found, top_k=2.5),
        lambda: metrics.ndcg(found, top_k=2.0),
        lambda: metrics.lookup_recall(found, 2.5),
    ):
        with pytest.raises(TypeError, match=r"is a whole number, not 2\.[05]"):
            measure()
    for measure in (metrics.precision_at, metrics.recall_at, metrics.hit_rate_at):
        with pytest.raises(ValueError, match="ks holds no number"):
            measure(found, [])
    with pytest.raises(ValueError, match="no levels"):
        metrics.ndcg(found._replace(levels=None))


def test_nothing_is_within_a_radius_of_a_ranking():
    rankings = [
        metrics.ranked_relevance(np.eye(3), np.eye(3), ties=ties)
        for ties in ("expected", "database_order")
    ]
    rankings.append(
        metrics.random_ranking(metrics.block_histogram(np.eye(3), np.eye(3), max_distance=2))
    )
    for ranking in rankings:
        assert isinstance(jax.tree.map(np.asarray, ranking), metrics.Ranking)
        for measure in (
            metrics.lookup_precision,
            metrics.lookup_recall,
            metrics.lookup_success,
            metrics.precision_recall_curve,
        ):
            with pytest.raises(ValueError, match="a ranking has ranks, not distances"):
                measure(ranking)
