"""Rankings by any distance against plain loops, histograms and scikit-learn."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import oracles_metrics as oracles
import pytest
from oracles_metrics import MEASURES_AT_K, assert_same
from random_arrays import make_data

from jxhash import codes, metrics
from jxhash.metrics import per_query


def test_database_order_is_the_plain_stable_loop():
    query, database, query_labels, labels = make_data(18, 20, 500, 8, 6)
    distances, shared = codes.hamming_distance(query, database), query_labels @ labels.T
    ranking = metrics.ranked_relevance(distances, shared, ties="database_order")
    ranked = [shared[q, np.argsort(distances[q], kind="stable")].tolist() for q in range(20)]
    for k in (1, 17, 500):
        for name, (measure, plain) in MEASURES_AT_K.items():
            expected = [plain(row, k) for row in ranked]
            np.testing.assert_allclose(measure(ranking, k), expected, atol=1e-12, err_msg=name)
        expected = [oracles.first_relevant_precision(row, k) for row in ranked]
        np.testing.assert_allclose(metrics.first_relevant_precision(ranking, k), expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float16, np.float32, np.float64])
def test_ranked_hamming_distances_are_the_histogram(dtype):
    query, database, query_labels, labels = make_data(19)
    query_labels[2] = 0
    found = metrics.distance_histogram(query, database, query_labels, labels, graded=True)
    shared = metrics.shared_labels(query_labels, labels)
    ranking = metrics.ranked_relevance(
        codes.hamming_distance(query, database).astype(dtype), shared
    )
    for name, (measure, _) in MEASURES_AT_K.items():
        np.testing.assert_allclose(
            measure(ranking, 21), measure(found, 21), atol=1e-12, err_msg=name
        )


def test_an_order_of_the_database_holds_little_and_is_read_like_any_ranking():
    distances = np.random.default_rng(27).integers(0, 300, (3, 1000))
    relevance = np.random.default_rng(28).integers(0, 4, (3, 1000)).astype(np.uint8)
    found = metrics.ranked_relevance(distances, relevance, ties="database_order")
    assert found.retrieved.strides == (0, 0)
    # Of all distances different, the groups are the items.
    distinct = np.argsort(np.argsort(distances, axis=1, kind="stable"), axis=1)
    assert_same(found, metrics.block_histogram(distinct, relevance, max_distance=999))


def test_order_is_kept_for_distances_of_any_size_and_sign():
    for distances in ([3, -1, 70000, 3], [-2, -2, -5, 0], [1 << 40, 0, 1, 2]):
        distances = np.array([distances])
        relevance = np.array([[1, 2, 3, 4]])
        ranking = metrics.ranked_relevance(distances, relevance, ties="database_order")
        order = np.argsort(distances[0], kind="stable")
        np.testing.assert_array_equal(ranking.gains[0], 2.0 ** relevance[0, order] - 1)


def test_real_valued_distances_equal_the_average_precision_of_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(20)
    distances, relevance = rng.random((5, 200)), rng.random((5, 200)) < 0.2
    expected = [
        sklearn_metrics.average_precision_score(r, -d)
        for r, d in zip(relevance, distances, strict=True)
    ]
    found = per_query.average_precision(metrics.ranked_relevance(distances, relevance))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_measuring_in_blocks_is_measuring_at_once(monkeypatch):
    rng = np.random.default_rng(21)
    distances, relevance = rng.random((10, 30)), rng.integers(0, 3, (10, 30))
    distances[:, ::3] = 0.5
    measures = {
        "AP": per_query.average_precision,
        "P": partial(per_query.precision_at, ks=[1, 5]),
        "NDCG": per_query.ndcg,
    }
    whole = metrics.ranked_relevance(distances, relevance)
    monkeypatch.setattr(metrics.ranking, "_PAIRS_A_BLOCK", 100)
    assert [s.stop - s.start for s in metrics.ranking.query_blocks(10, 30)] == [3, 3, 3, 1]
    found = metrics.measure_ranking(measures, distances.__getitem__, relevance.__getitem__, 10, 30)
    for name, measure in measures.items():
        np.testing.assert_allclose(found[name], measure(whole), atol=1e-14)


def test_labels_of_mirflickr():
    folder = os.environ.get("JXHASH_DATA_DIR")
    if not folder:
        pytest.skip("JXHASH_DATA_DIR does not point to a folder with mirflickr25k/text_labels.npz")
    labels = np.load(Path(folder) / "mirflickr25k" / "text_labels.npz")["labels"]
    assert labels.shape == (20015, 24)
    rng = np.random.default_rng(26)
    order = rng.permutation(20015)
    query_labels, labels = labels[order[:2000]], labels[order[2000:]]
    planes = rng.normal(size=(24, 16))
    query_codes, database_codes = (
        codes.sign((side - 0.2) @ planes + rng.normal(size=(len(side), 16)))
        for side in (query_labels, labels)
    )
    found = metrics.distance_histogram(
        query_codes, database_codes, query_labels, labels, graded=True
    )
    some = slice(0, 2000, 100)
    distances = codes.hamming_distance(query_codes[some], database_codes)
    shared = query_labels[some].astype(int) @ labels.T.astype(int)
    np.testing.assert_array_equal(found.relevant.sum(1)[some], (shared > 0).sum(1))
    ranking = metrics.ranked_relevance(distances, shared)
    for k in (50, 5000, 18015):
        for name, (measure, _) in MEASURES_AT_K.items():
            np.testing.assert_allclose(
                measure(found, k)[some], measure(ranking, k), rtol=1e-9, err_msg=name
            )
    floor = metrics.mean_average_precision(metrics.random_ranking(found))
    assert floor + 0.02 < metrics.mean_average_precision(found) < 1


@pytest.mark.parametrize(
    ("distances", "relevance", "message"),
    [
        ([[0.5, np.nan]], [[1, 0]], "1 distances are NaN"),
        ([[0.5, 1.0]], [[1, 0, 0]], "matrices of one shape"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "matrices of one shape with rows"),
        ([[0.5, 1.0]], [[0.5, 0]], "whole numbers"),
        ([[0.5, 1.0]], [[np.nan, 0]], "whole numbers"),
        ([[0.5, 1.0]], [[1e30, 0]], "whole numbers"),
        ([[0.5, 1.0]], [[-1, 0]], "whole numbers"),
        ([[0.5, 1.0]], [[97, 0]], "whole numbers from 0 to 96"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_rankings_refuse(distances, relevance, message):
    with pytest.raises(ValueError, match=message):
        metrics.ranked_relevance(np.array(distances), np.array(relevance))


def test_an_order_of_ties_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="ties is one of"):
        metrics.ranked_relevance(np.ones((1, 1)), np.ones((1, 1)), ties="random")


@pytest.mark.parametrize(
    ("num_queries", "num_items", "message"),
    [
        (0, 2, "0 queries over 2 items are no rankings"),
        (2, 0, "2 queries over 0 items"),
        (3, 2, r"queries 0 to 2 are of shape \(3, 2\), not \(2, 2\)"),
        (2, 3, r"queries 0 to 1 are of shape \(2, 3\), not \(2, 2\)"),
    ],
)
def test_blocks_that_are_not_there_are_refused(num_queries, num_items, message):
    two = np.eye(2).__getitem__
    with pytest.raises(ValueError, match=message):
        metrics.measure_ranking(
            {"AP": per_query.average_precision}, two, two, num_queries, num_items
        )
