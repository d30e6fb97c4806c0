"""Means over queries: values by hand, and queries that have no answer."""

from functools import partial

import numpy as np
import pytest
from random_arrays import make_codes, make_data

from jxhash import metrics


def test_hand_values():
    # One irrelevant item at distance 0, two at 1 of which one is relevant, one relevant at 2.
    found = metrics.block_histogram(
        np.array([[0, 1, 1, 2]]), np.array([[0, 1, 0, 1]]), max_distance=2
    )
    first_at_2, first_at_3 = (1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2
    assert metrics.mean_average_precision(found) == pytest.approx((first_at_2 + first_at_3) / 2)
    assert metrics.mean_average_precision(found, top_k=2) == pytest.approx(0.5 * 0.5 / 2)
    by_relevant = partial(metrics.mean_average_precision, found, top_k=1, denominator="relevant")
    assert by_relevant() == 0
    by_hits = partial(metrics.mean_average_precision, found, denominator="retrieved relevant")
    assert by_hits(top_k=2) == pytest.approx(0.5 * (1 / 2) / 1)
    np.testing.assert_allclose(metrics.precision_at(found, [1, 2, 3, 4]), [0, 1 / 4, 1 / 3, 1 / 2])
    np.testing.assert_allclose(metrics.recall_at(found, [1, 2, 3, 4]), [0, 1 / 4, 1 / 2, 1])
    np.testing.assert_allclose(metrics.hit_rate_at(found, [1, 2, 3, 4]), [0, 1 / 2, 1, 1])
    assert metrics.lookup_precision(found, 1) == pytest.approx(1 / 3)
    assert metrics.lookup_recall(found, 1) == pytest.approx(1 / 2)
    assert (metrics.lookup_success(found, 0), metrics.lookup_success(found, 1)) == (0, 1)
    curve = metrics.precision_recall_curve(found)
    np.testing.assert_allclose(curve.precision, [0, 1 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [0, 1 / 2, 1])
    gain = (1 / np.log2(3) + 1 / np.log2(4)) / 2 + 1 / np.log2(5)
    assert metrics.ndcg(found) == pytest.approx(gain / (1 + 1 / np.log2(3)))


def test_curve_averages_queries_or_pairs():
    found = metrics.block_histogram(
        np.array([[0, 1, 1, 1], [1, 1, 1, 1]]),
        np.array([[1, 1, 0, 0], [1, 0, 0, 0]]),
        max_distance=1,
    )
    of_queries = metrics.precision_recall_curve(found)
    np.testing.assert_allclose(of_queries.precision, [(1 + 0) / 2, (1 / 2 + 1 / 4) / 2])
    np.testing.assert_allclose(of_queries.recall, [(1 / 2 + 0) / 2, 1])
    of_pairs = metrics.precision_recall_curve(found, average="pairs")
    np.testing.assert_allclose(of_pairs.precision, [1 / 1, 3 / 8])
    np.testing.assert_allclose(of_pairs.recall, [1 / 3, 1])


def test_a_perfect_ranking_has_one_and_codes_without_meaning_the_base_rate():
    rng = np.random.default_rng(16)
    ids = rng.integers(0, 4, 2000)
    own = np.where(np.eye(4)[ids] > 0, 1, -1)
    perfect = metrics.distance_histogram(own[:50], own, ids[:50], ids)
    assert metrics.mean_average_precision(perfect) == pytest.approx(1)
    assert metrics.mean_average_precision(perfect, top_k=10) == pytest.approx(1)
    assert metrics.ndcg(perfect, top_k=700) == pytest.approx(1)
    meaningless = metrics.distance_histogram(
        make_codes(rng, 50, 32), make_codes(rng, 2000, 32), ids[:50], ids
    )
    floor = metrics.mean_average_precision(metrics.random_ranking(meaningless))
    assert metrics.mean_average_precision(meaningless) == pytest.approx(floor, abs=0.01)
    assert floor == pytest.approx(0.25, abs=0.01)


# Queries that have no answer.


def unanswered():
    query, database, query_labels, labels = make_data(17, 5)
    query_labels[:], labels[0] = 0, 1
    query_labels[3:] = 1
    return metrics.distance_histogram(query, database, query_labels, labels)


MEANS = {
    "MAP": metrics.mean_average_precision,
    "precision": partial(metrics.precision_at, ks=[3]),
    "recall": partial(metrics.recall_at, ks=[3]),
    "hit rate": partial(metrics.hit_rate_at, ks=[3]),
    "lookup precision": partial(metrics.lookup_precision, radius=6),
    "lookup recall": partial(metrics.lookup_recall, radius=6),
    "lookup success": partial(metrics.lookup_success, radius=6),
    "NDCG": metrics.ndcg,
    "curve": lambda h, **empty: np.array(metrics.precision_recall_curve(h, **empty)),
}


@pytest.mark.parametrize("name", MEANS)
def test_queries_without_a_relevant_item(name):
    found = unanswered()
    answered = metrics.Histogram(*(part[3:] for part in found))
    zero, skip = MEANS[name](found), MEANS[name](found, empty="skip")
    np.testing.assert_allclose(skip, MEANS[name](answered), atol=1e-15)
    np.testing.assert_allclose(zero, np.multiply(skip, 2 / 5), atol=1e-15)
    with pytest.raises(ValueError, match="3 of 5 queries have no relevant item"):
        MEANS[name](found, empty="error")
    with pytest.raises(ValueError, match="empty is one of"):
        MEANS[name](found, empty="ignore")
    none = metrics.Histogram(*(part[:3] for part in found))
    for empty in ("zero", "skip"):
        np.testing.assert_array_equal(MEANS[name](none, empty=empty), np.zeros_like(zero))


def test_zero_holds_whatever_a_measure_gave():
    values, answerable = np.array([[0.5, 1.0], [np.nan, 1.0]]), np.array([True, False])
    np.testing.assert_array_equal(metrics.mean_over_queries(values, answerable), [0.25, 0.5])


def test_pairs_skip_what_unanswerable_queries_retrieve():
    found = unanswered()
    answered = metrics.Histogram(*(part[3:] for part in found))
    pairs = partial(metrics.precision_recall_curve, average="pairs")
    np.testing.assert_allclose(pairs(found, empty="skip"), pairs(answered))
    assert pairs(found).precision[-1] == pytest.approx(pairs(answered).precision[-1] * 2 / 5)


def test_a_curve_averages_queries_or_pairs_only():
    with pytest.raises(ValueError, match='average is "queries" or "pairs"'):
        metrics.precision_recall_curve(unanswered(), average="items")
