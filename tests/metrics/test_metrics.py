import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles_metrics as oracles
import pytest

from jxhash import codes, metrics, parallel
from jxhash.metrics import histogram as histograms
from jxhash.metrics import per_query

few = hypothesis.settings(max_examples=25, deadline=None)

# Every measure of the first k positions: the library's, and the plain loop.
OF_POSITIONS = {
    "AP, min(k, relevant)": (
        lambda h, k: per_query.average_precision(h, top_k=k),
        lambda ranked, k: oracles.average_precision(ranked, k, "min(k, relevant)"),
    ),
    "AP, relevant": (
        lambda h, k: per_query.average_precision(h, top_k=k, denominator="relevant"),
        lambda ranked, k: oracles.average_precision(ranked, k, "relevant"),
    ),
    "AP, retrieved relevant": (
        lambda h, k: per_query.average_precision(h, top_k=k, denominator="retrieved relevant"),
        lambda ranked, k: oracles.average_precision(ranked, k, "retrieved relevant"),
    ),
    "precision": (lambda h, k: per_query.precision_at(h, [k])[:, 0], oracles.precision),
    "recall": (lambda h, k: per_query.recall_at(h, [k])[:, 0], oracles.recall),
    "hit rate": (lambda h, k: per_query.hit_rate_at(h, [k])[:, 0], oracles.hit_rate),
    "NDCG": (lambda h, k: per_query.ndcg(h, top_k=k), oracles.ndcg),
}


def make_codes(rng, rows, num_bits, dtype=np.int8):
    return rng.choice([-1, 1], (rows, num_bits)).astype(dtype)


def make_labels(rng, rows, num_classes, share=0.3):
    return (rng.random((rows, num_classes)) < share).astype(np.int32)


def make_data(seed, num_queries=7, num_items=50, num_bits=12, num_classes=5):
    rng = np.random.default_rng(seed)
    return (
        make_codes(rng, num_queries, num_bits),
        make_codes(rng, num_items, num_bits),
        make_labels(rng, num_queries, num_classes),
        make_labels(rng, num_items, num_classes),
    )


def plain_histogram(query_codes, database_codes, query_labels, database_labels):
    """retrieved, relevant and gains by counting each distance of each query."""
    distances = codes.hamming_distance(query_codes, database_codes)
    shared = np.asarray(query_labels, int) @ np.asarray(database_labels, int).T
    shape = (len(query_codes), query_codes.shape[1] + 1)
    retrieved, relevant, gains = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for d in range(shape[1]):
        at = distances == d
        retrieved[:, d] = at.sum(1)
        relevant[:, d] = (at & (shared > 0)).sum(1)
        gains[:, d] = np.where(at, 2.0**shared - 1, 0).sum(1)
    return retrieved, relevant, gains


def assert_same(a, b):
    for part, (left, right) in zip(metrics.Histogram._fields, zip(a, b, strict=True), strict=True):
        np.testing.assert_array_equal(left, right, err_msg=part)


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.setattr(histograms, "_compiled_count", lambda: None)


# The histogram.


@pytest.mark.parametrize("num_bits", [1, 7, 16, 64, 65, 128, 200])
@pytest.mark.parametrize("num_classes", [1, 24, 64, 255])
def test_histogram_counts_each_distance(num_bits, num_classes):
    data = make_data(0, 9, 300, num_bits, num_classes)
    found = metrics.distance_histogram(*data, graded=True)
    retrieved, relevant, gains = plain_histogram(*data)
    np.testing.assert_array_equal(found.retrieved, retrieved)
    np.testing.assert_array_equal(found.relevant, relevant)
    np.testing.assert_allclose(found.gains, gains, rtol=1e-14)
    assert found.retrieved.dtype == found.relevant.dtype == found.levels.dtype == np.int32
    assert found.gains.dtype == np.float64


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("labels", ["multi-hot", "class ids"])
def test_compiled_and_jax_forms_agree_beyond_one_block(without_numba, labels, graded):
    from jxhash.metrics import cpu_histogram

    data = make_data(1, 67, 2 * histograms._DATABASE_BLOCK + 5, 40, 9)
    if labels == "class ids":
        data = (*data[:2], data[2].argmax(1) - 1, data[3].argmax(1) - 1)
    with_jax = metrics.distance_histogram(*data, graded=graded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histograms, "_compiled_count", lambda: cpu_histogram.count)
        compiled_one = metrics.distance_histogram(*data, graded=graded)
    assert jax.device_count() == 2
    assert_same(with_jax, compiled_one)
    assert with_jax.retrieved.sum() == 67 * len(data[1])


@pytest.mark.parametrize("num_items", [1, 2, 3, 2049])
def test_devices_share_any_number_of_rows(without_numba, num_items):
    data = make_data(2, 3, num_items)
    retrieved, relevant, _ = plain_histogram(*data)
    found = metrics.distance_histogram(*data)
    np.testing.assert_array_equal(found.retrieved, retrieved)
    np.testing.assert_array_equal(found.relevant, relevant)


def test_queries_shared_among_threads_come_back_in_order():
    data = make_data(3, 301, 9000, 32, 4)
    whole = metrics.distance_histogram(*data)
    parts = [
        metrics.distance_histogram(data[0][rows], data[1], data[2][rows], data[3])
        for rows in (slice(0, 1), slice(1, 300), slice(300, 301))
    ]
    assert_same(whole, metrics.join(parts))


def test_both_ways_of_counting_keys_agree():
    keys = jnp.asarray(np.random.default_rng(4).integers(0, 8, (5, 100)))
    scattered = histograms._count_by_scatter(keys, 7)
    np.testing.assert_array_equal(scattered, histograms._count_by_comparison(keys, 7))
    np.testing.assert_array_equal(scattered.sum(1), (keys < 7).sum(1))


@pytest.mark.parametrize("num_classes", [5, 255])
@pytest.mark.parametrize("graded", [False, True])
def test_inside_jit(graded, num_classes):
    data = make_data(5, num_classes=num_classes)
    found = metrics.distance_histogram(*data, graded=graded)
    traced = jax.jit(partial(metrics.distance_histogram, graded=graded))(*data)
    assert isinstance(traced.retrieved, jax.Array)
    np.testing.assert_array_equal(traced.retrieved, found.retrieved)
    np.testing.assert_array_equal(traced.relevant, found.relevant)
    np.testing.assert_allclose(traced.gains, found.gains, rtol=1e-6)
    measure = partial(per_query.ndcg, top_k=20)
    np.testing.assert_allclose(measure(traced), measure(found), rtol=1e-6)


def test_gains_of_many_shared_labels_stay_finite_inside_jit():
    data = np.ones((1, 4)), np.ones((40, 4)), np.ones((1, 130)), np.ones((40, 130))
    traced = jax.jit(partial(metrics.distance_histogram, graded=True))(*data)
    found = metrics.distance_histogram(*data, graded=True)
    np.testing.assert_allclose(traced.gains, found.gains, rtol=1e-6)
    assert per_query.ndcg(traced) == pytest.approx(1)


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


def test_inside_pmapped_and_shard_map_each_device_counts_its_rows():
    query, database, query_labels, database_labels = make_data(6)
    found = metrics.distance_histogram(query, database, query_labels, database_labels)

    def count(rows, labels):
        return parallel.total(metrics.distance_histogram(query, rows, query_labels, labels))

    halves = database.reshape(2, 25, -1), database_labels.reshape(2, 25, -1)
    mapped = parallel.pmapped(count, in_axes=(0, 0))(*halves)
    np.testing.assert_array_equal(mapped.relevant, found.relevant)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), (parallel.AXIS,))
    rows, whole = jax.P(parallel.AXIS), jax.P()
    sharded = jax.shard_map(count, mesh=mesh, in_specs=(rows, rows), out_specs=whole)
    np.testing.assert_array_equal(
        jax.jit(sharded)(database, database_labels).relevant, found.relevant
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64, jnp.bfloat16])
@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_codes_of_any_dtype_and_kind(dtype, asarray):
    query, database, query_labels, database_labels = make_data(7)
    found = metrics.distance_histogram(
        asarray(query.astype(dtype)),
        asarray(database.astype(dtype)),
        query_labels.astype(bool),
        asarray(database_labels.astype(dtype)),
    )
    assert_same(found, metrics.distance_histogram(*make_data(7)))
    assert isinstance(found.retrieved, np.ndarray)


def test_nested_lists_are_arrays_too():
    found = metrics.distance_histogram([[1, 1]], [[1, -1], [1, 1]], [0], [0, 1])
    assert found.retrieved.tolist() == [[1, 1, 0]]
    assert found.relevant.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("num_bits", [5, 12, 64, 100])
@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_packed_codes_whatever_follows_their_last_bit(num_bits, asarray):
    query, database, *labels = make_data(8, num_bits=num_bits)
    packed_query, packed = codes.pack(query), codes.pack(database)
    if num_bits % 8:
        packed[::2, -1] |= 1
    found = metrics.distance_histogram(
        asarray(packed_query), asarray(packed), *labels, num_bits=num_bits
    )
    assert_same(found, metrics.distance_histogram(query, database, *labels))


@pytest.mark.parametrize("offset", [0, 5_000_000_000])
def test_class_ids_are_one_hot_labels(offset):
    query, database, *_ = make_data(9)
    rng = np.random.default_rng(9)
    query_ids, ids = rng.integers(0, 6, len(query)), rng.integers(0, 5, len(database))
    one_hot = metrics.distance_histogram(query, database, np.eye(6)[query_ids], np.eye(6)[ids])
    found = metrics.distance_histogram(query, database, query_ids + offset, ids + offset)
    assert_same(found, one_hot)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rows_without_labels_are_relevant_to_nothing(dtype):
    query, database, query_labels, database_labels = make_data(10)
    query_labels[0], database_labels[:5] = 0, 0
    found = metrics.distance_histogram(query, database, query_labels, database_labels)
    shared = query_labels @ database_labels.T
    np.testing.assert_array_equal(found.relevant.sum(1), (shared > 0).sum(1))
    assert found.relevant[0].sum() == 0
    nobody = np.full(len(query), -1, dtype), np.full(len(database), -1, dtype)
    assert metrics.distance_histogram(query, database, *nobody).relevant.sum() == 0


def test_without_numba_installed(tmp_path):
    # A fresh process, in which importing numba fails.
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from jxhash.metrics import histogram\n"
        "assert histogram._compiled_count() is None\n"
        "found = histogram.distance_histogram(*[np.ones((3, 4))] * 4)\n"
        "assert found.relevant[:, 0].tolist() == [3, 3, 3], found\n"
        "print('counted')"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert result.stdout == "counted\n", result.stderr


def test_compiles_where_nothing_can_be_cached(monkeypatch):
    from jxhash.metrics import cpu_histogram

    njit = cpu_histogram.numba.njit

    def without_cache(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(cpu_histogram.numba, "njit", without_cache)
    assert cpu_histogram._compile(lambda x: x + 1)(1) == 2


def test_numba_is_imported_only_when_it_counts():
    program = "import sys, jxhash.metrics; print('numba' in sys.modules)"
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert result.stdout == "False\n"


def test_block_histogram_and_join():
    query, database, query_labels, database_labels = make_data(11)
    distances = codes.hamming_distance(query, database)
    shared = metrics.shared_labels(query_labels, database_labels)
    blocks = [
        metrics.block_histogram(distances[rows], shared[rows], max_distance=12)
        for rows in (slice(0, 3), slice(3, 7))
    ]
    found = metrics.join(blocks)
    graded = metrics.distance_histogram(*make_data(11), graded=True)
    np.testing.assert_array_equal(found.retrieved, graded.retrieved)
    np.testing.assert_array_equal(found.relevant, graded.relevant)
    np.testing.assert_array_equal(found.gains, graded.gains)
    np.testing.assert_allclose(per_query.ndcg(found), per_query.ndcg(graded))


# Measures against every order of the ties, and against loops.


@pytest.mark.parametrize("name", OF_POSITIONS)
def test_exact_average_over_all_orders_of_ties(name):
    measure, plain = OF_POSITIONS[name]
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


@pytest.mark.parametrize("name", OF_POSITIONS)
@pytest.mark.parametrize("k", [1, 5, 40])
def test_plain_loop_without_ties(name, k):
    measure, plain = OF_POSITIONS[name]
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


def test_hits_of_many_queries_are_those_of_each(monkeypatch):
    found = metrics.distance_histogram(*make_data(29, 40, 300, 5))
    measure = partial(per_query.average_precision, top_k=100, denominator="retrieved relevant")
    whole = measure(found)
    monkeypatch.setattr(per_query, "_TERMS", 50)
    for query in range(40):
        one = metrics.Histogram(*(part[query : query + 1] for part in found))
        assert measure(one)[0] == pytest.approx(whole[query], rel=1e-12)
    np.testing.assert_allclose(measure(found), whole, rtol=1e-12)


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


def test_float64_where_float32_would_be_wrong():
    size, relevant = 400_000, 100_000
    found = metrics.Histogram(
        np.array([[size]]), np.array([[relevant]]), np.array([[float(relevant)]]), None
    )
    t = np.arange(1, size + 1, dtype=np.longdouble)
    slope = np.longdouble(relevant - 1) / (size - 1)
    exact = np.sum((1 + slope * (t - 1)) / t) / size
    assert metrics.mean_average_precision(found) == pytest.approx(float(exact), rel=1e-12)


def test_random_ranking_is_the_mean_over_random_orders():
    rng = np.random.default_rng(14)
    data = make_data(14, 4, 300, 16, 4)
    floor = metrics.random_ranking(metrics.distance_histogram(*data, graded=True))
    shared = (data[2] @ data[3].T)[0]
    orders = rng.permuted(np.tile(np.arange(300), (4000, 1)), axis=1)
    ranking = metrics.ranked_relevance(orders, np.tile(shared, (4000, 1)))
    for name, (measure, _) in OF_POSITIONS.items():
        values = measure(ranking, 25)
        error = values.std() / np.sqrt(len(values))
        assert abs(measure(floor, 25)[0] - values.mean()) < 4 * error + 1e-6, name
    np.testing.assert_allclose(per_query.precision_at(floor, [1, 99])[0], np.mean(shared > 0))


def test_ties_at_a_larger_size_by_monte_carlo():
    rng = np.random.default_rng(15)
    query, database, query_labels, labels = make_data(15, 3, 400, 8, 4)
    found = metrics.distance_histogram(query, database, query_labels, labels, graded=True)
    distances, shared = codes.hamming_distance(query, database), query_labels @ labels.T
    # A small random addition to whole distances is a random order of ties.
    noisy = distances[:, None, :] + rng.random((3, 1000, 400))
    for query in range(3):
        ranking = metrics.ranked_relevance(noisy[query], np.tile(shared[query], (1000, 1)))
        for name, (measure, _) in OF_POSITIONS.items():
            values = measure(ranking, 130)
            error = values.std() / np.sqrt(len(values))
            assert abs(measure(found, 130)[query] - values.mean()) < 4.5 * error + 1e-6, name


# Invariances.

small_data = st.integers(0, 2**32 - 1).map(
    lambda seed: make_data(
        seed, *np.random.default_rng(seed).integers([1, 1, 1, 1], [6, 40, 70, 7]).tolist()
    )
)


@few
@hypothesis.given(small_data, st.randoms(use_true_random=False))
def test_order_of_the_database_and_flipped_bits_change_nothing(data, random):
    query, database, query_labels, labels = data
    found = metrics.distance_histogram(*data, graded=True)
    order = list(range(len(database)))
    random.shuffle(order)
    permuted = metrics.distance_histogram(
        query, database[order], query_labels, labels[order], graded=True
    )
    assert_same(found, permuted)
    flip = np.array([random.choice([-1, 1]) for _ in range(query.shape[1])], np.int8)
    flipped = metrics.distance_histogram(
        query * flip, database * flip, query_labels, labels, graded=True
    )
    assert_same(found, flipped)


@few
@hypothesis.given(small_data)
def test_measures_stay_in_their_bounds(data):
    found = metrics.distance_histogram(*data, graded=True)
    num_items = len(data[1])
    answerable = per_query.answerable(found)
    for k in {1, (num_items + 1) // 2, num_items}:
        for name, (measure, _) in OF_POSITIONS.items():
            values = measure(found, k)
            assert np.all((values >= 0) & (values <= 1 + 1e-12)), name
            assert np.all(values[~answerable] == 0), name
    whole = per_query.average_precision(found)
    for denominator in per_query.DENOMINATORS:
        np.testing.assert_allclose(
            per_query.average_precision(found, denominator=denominator), whole, atol=1e-12
        )
    np.testing.assert_allclose(per_query.recall_at(found, [num_items])[:, 0], answerable)


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
    with pytest.raises(ValueError, match="3 of 5 queries have nothing relevant"):
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


# Rankings.


def test_database_order_is_the_plain_stable_loop():
    query, database, query_labels, labels = make_data(18, 20, 500, 8, 6)
    distances, shared = codes.hamming_distance(query, database), query_labels @ labels.T
    ranking = metrics.ranked_relevance(distances, shared, ties="database_order")
    ranked = [shared[q, np.argsort(distances[q], kind="stable")].tolist() for q in range(20)]
    for k in (1, 17, 500):
        for name, (measure, plain) in OF_POSITIONS.items():
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
    for name, (measure, _) in OF_POSITIONS.items():
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


def test_shared_labels_of_both_forms():
    rng = np.random.default_rng(23)
    a, b = make_labels(rng, 5, 4), make_labels(rng, 6, 4)
    np.testing.assert_array_equal(metrics.shared_labels(a * 2.5, b.astype(bool)), a @ b.T)
    for rows in (slice(1, 3), np.array([4, 0])):
        np.testing.assert_array_equal(metrics.label_relevance(a, b)(rows), a[rows] @ b.T)
    ids = np.array([0, -1, 2])
    np.testing.assert_array_equal(
        metrics.shared_labels(ids, ids), [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    )


# Confidence.


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(24)
    covered = 0
    for seed in range(150):
        interval = metrics.bootstrap_interval(rng.beta(2, 5, 120), resamples=400, seed=seed)
        covered += interval.low <= 2 / 7 <= interval.high
    assert 0.88 * 150 <= covered <= 150
    values = rng.beta(2, 5, 120)
    assert metrics.bootstrap_interval(values) == metrics.bootstrap_interval(values)
    wide, narrow = (metrics.bootstrap_interval(values, confidence=c) for c in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    normal = 1.96 * values.std() / np.sqrt(120)
    assert metrics.bootstrap_interval(values).high - values.mean() == pytest.approx(
        normal, rel=0.15
    )


def test_p_value_is_that_of_all_exchanges():
    a = np.array([0.9, 0.4, 0.7, 0.3, 0.8, 0.6, 0.55, 0.35])
    b = np.array([0.5, 0.5, 0.4, 0.2, 0.6, 0.6, 0.25, 0.3])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    exact = np.mean(abs(signs.T @ (a - b)) >= abs((a - b).sum()) - 1e-12)
    found = metrics.paired_comparison(a, b, resamples=20_000)
    assert found.p_value == pytest.approx(exact, abs=0.01)
    assert found.difference.mean == pytest.approx(np.mean(a - b))
    reverse = metrics.paired_comparison(b, a, resamples=20_000)
    assert reverse.p_value == found.p_value
    assert reverse.difference.mean == -found.difference.mean
    assert metrics.paired_comparison(a, a).p_value == 1
    assert metrics.paired_comparison(a + 1, a, resamples=99).p_value < 0.1


def test_small_portions_draw_the_same_numbers(monkeypatch):
    values = np.random.default_rng(25).random(40)
    whole = metrics.bootstrap_interval(values), metrics.paired_comparison(values, values[::-1])
    monkeypatch.setattr(metrics.confidence, "_DRAWS", 100)
    assert metrics.bootstrap_interval(values) == whole[0]
    assert metrics.paired_comparison(values, values[::-1]).p_value == whole[1].p_value


# What is refused.

ONES = np.ones((3, 16), np.int8)
LABELS = np.ones((3, 2))
IDS = np.array([0, 1, 2])
PACKED = codes.pack(ONES)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ONES[:0], ONES, LABELS[:0], LABELS), ValueError, "query codes are a matrix with rows"),
        ((ONES, ONES[:0], LABELS, LABELS[:0]), ValueError, "database codes are a matrix with rows"),
        ((ONES[0], ONES, LABELS, LABELS), ValueError, "query codes are a matrix"),
        (
            (ONES, ONES[:, :8], LABELS, LABELS),
            ValueError,
            "one length on both sides, not 16 and 8 bits",
        ),
        ((ONES * 2, ONES, LABELS, LABELS), ValueError, "query codes .* through codes.sign"),
        ((ONES * 0, ONES, LABELS, LABELS), ValueError, r"query codes hold 0 .* 2 \* bits - 1"),
        ((ONES, ONES > 0, LABELS, LABELS), ValueError, r"database codes hold 0 .* 2 \* bits - 1"),
        ((ONES, ONES * 1.5, LABELS, LABELS), ValueError, "database codes hold more than -1 and"),
        ((ONES, ONES * np.nan, LABELS, LABELS), ValueError, "pass them through codes.sign"),
        ((PACKED, PACKED, LABELS, LABELS), ValueError, "pass their length as num_bits"),
        ((PACKED, ONES, LABELS, LABELS), TypeError, "either both sides are packed"),
        ((ONES, ONES, LABELS[:2], LABELS), ValueError, "3 query codes need as many rows"),
        ((ONES, ONES, LABELS[:, :0], LABELS[:, :0]), ValueError, "query labels are rows of multi"),
        ((ONES, ONES, LABELS, LABELS[:2]), ValueError, "3 database codes need as many rows"),
        ((ONES, ONES, LABELS, LABELS[:, :1]), ValueError, "labels are over the same classes"),
        ((ONES, ONES, LABELS, LABELS[:, 0].astype(int)), ValueError, "over the same classes"),
        ((ONES, ONES, LABELS[:, 0], LABELS[:, 0]), TypeError, "class ids are integers"),
        ((ONES, ONES, -LABELS, LABELS), ValueError, "query labels are multi-hot, but hold a neg"),
        ((ONES, ONES, LABELS, LABELS * np.nan), ValueError, "database labels are multi-hot"),
        ((ONES, ONES, IDS[:, None], IDS[:, None]), ValueError, r"query labels .* labels\[:, 0\]"),
    ],
)
@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_histogram_refuses(arguments, error, message, asarray):
    with pytest.raises(error, match=message):
        metrics.distance_histogram(*map(asarray, arguments))


@pytest.mark.parametrize("num_bits", [8, 17, 0])
def test_num_bits_has_to_fit(num_bits):
    with pytest.raises(ValueError, match=f"num_bits={num_bits}"):
        metrics.distance_histogram(PACKED, PACKED, LABELS, LABELS, num_bits=num_bits)
    with pytest.raises(ValueError, match=f"num_bits={num_bits}"):
        metrics.distance_histogram(ONES, ONES, LABELS, LABELS, num_bits=num_bits)


def test_measures_refuse():
    found = metrics.distance_histogram(ONES, ONES, LABELS, LABELS)
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
    with pytest.raises(ValueError, match='average is "queries" or "pairs"'):
        metrics.precision_recall_curve(found, average="items")
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
            with pytest.raises(ValueError, match="a ranking has ranks and no distances"):
                measure(ranking)


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


def test_the_rest_refuses():
    with pytest.raises(ValueError, match="ties is one of"):
        metrics.ranked_relevance(np.ones((1, 1)), np.ones((1, 1)), ties="random")
    for distance in (-1, 3, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to max_distance=2"):
            metrics.block_histogram(np.array([[distance]]), np.array([[1]]), max_distance=2)
    for query_labels, labels, error, message in (
        (np.ones((2, 3)), np.ones((2, 4)), ValueError, "same classes or class ids"),
        (LABELS, LABELS * np.nan, ValueError, "database labels .* a negative value or NaN"),
        (LABELS * [1, -1], LABELS, ValueError, "query labels .* a negative value or NaN"),
        (IDS * 1.0, IDS * 1.0, TypeError, "class ids are integers"),
        (IDS[:, None], IDS[:, None], ValueError, r"labels\[:, 0\]"),
    ):
        with pytest.raises(error, match=message):
            metrics.shared_labels(query_labels, labels)
    for values in ([], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="one finite value a query"):
            metrics.bootstrap_interval(np.array(values))
    with pytest.raises(ValueError, match="a pair for each query"):
        metrics.paired_comparison(np.ones(3), np.ones(4))
    found = metrics.block_histogram(np.array([[1]]), np.array([[1]]), max_distance=2)
    wider = metrics.block_histogram(np.array([[1]]), np.array([[1]]), max_distance=3)
    for parts in ([], [found, wider], [found, metrics.random_ranking(found)]):
        with pytest.raises(ValueError, match="histograms to join are some"):
            metrics.join(parts)
    two = np.eye(2).__getitem__
    for num_queries, num_items, message in (
        (0, 2, "0 queries over 2 items are no rankings"),
        (2, 0, "2 queries over 0 items"),
        (3, 2, r"queries 0 to 2 are of shape \(3, 2\), not \(2, 2\)"),
        (2, 3, r"queries 0 to 1 are of shape \(2, 3\), not \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.measure_ranking(
                {"AP": per_query.average_precision}, two, two, num_queries, num_items
            )
    for resamples in (0, -3):
        with pytest.raises(ValueError, match="resamples is at least 1"):
            metrics.bootstrap_interval(np.ones(3), resamples=resamples)
        with pytest.raises(ValueError, match="resamples is at least 1"):
            metrics.paired_comparison(np.ones(3), np.ones(3), resamples=resamples)
    with pytest.raises(ValueError, match=r"confidence is within \(0, 1\)"):
        metrics.bootstrap_interval(np.ones(3), confidence=95)


# Labels of the field.


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
        for name, (measure, _) in OF_POSITIONS.items():
            np.testing.assert_allclose(
                measure(found, k)[some], measure(ranking, k), rtol=1e-9, err_msg=name
            )
    floor = metrics.mean_average_precision(metrics.random_ranking(found))
    assert floor + 0.02 < metrics.mean_average_precision(found) < 1
