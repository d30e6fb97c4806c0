"""Histograms of distances against counting, in numpy, jax and on two devices."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles_metrics import MEASURES_AT_K, assert_same
from random_arrays import make_data, small_data

from jxhash import codes, metrics, parallel
from jxhash.metrics import histogram as histograms
from jxhash.metrics import per_query


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


@pytest.mark.parametrize("num_items", [1, 2, 3, 2049])
def test_devices_share_any_number_of_rows(monkeypatch, num_items):
    monkeypatch.setattr(histograms, "_compiled_count", lambda: None)
    data = make_data(2, 3, num_items)
    retrieved, relevant, _ = plain_histogram(*data)
    found = metrics.distance_histogram(*data)
    np.testing.assert_array_equal(found.retrieved, retrieved)
    np.testing.assert_array_equal(found.relevant, relevant)


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
@pytest.mark.parametrize("spec", [jax.P(), jax.P("data")])
def test_devices_count_arrays_that_lie_on_a_mesh(monkeypatch, kind, spec):
    monkeypatch.setattr(histograms, "_is_on_host", lambda array: False)
    data = make_data(3, 2, 4)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
    placed = jax.device_put(data, jax.sharding.NamedSharding(mesh, spec))
    np.testing.assert_array_equal(
        metrics.distance_histogram(*placed).retrieved, plain_histogram(*data)[0]
    )


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


@hypothesis.settings(max_examples=25, deadline=None)
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


def test_random_ranking_is_the_mean_over_random_orders():
    rng = np.random.default_rng(14)
    data = make_data(14, 4, 300, 16, 4)
    floor = metrics.random_ranking(metrics.distance_histogram(*data, graded=True))
    shared = (data[2] @ data[3].T)[0]
    orders = rng.permuted(np.tile(np.arange(300), (4000, 1)), axis=1)
    ranking = metrics.ranked_relevance(orders, np.tile(shared, (4000, 1)))
    for name, (measure, _) in MEASURES_AT_K.items():
        values = measure(ranking, 25)
        error = values.std() / np.sqrt(len(values))
        assert abs(measure(floor, 25)[0] - values.mean()) < 4 * error + 1e-6, name
    np.testing.assert_allclose(per_query.precision_at(floor, [1, 99])[0], np.mean(shared > 0))


# What is refused.

ONES, LABELS, IDS = np.ones((3, 16), np.int8), np.ones((3, 2)), np.array([0, 1, 2])
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


def test_blocks_and_joins_refuse():
    for distance in (-1, 3, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to max_distance=2"):
            metrics.block_histogram(np.array([[distance]]), np.array([[1]]), max_distance=2)
    found = metrics.block_histogram(np.array([[1]]), np.array([[1]]), max_distance=2)
    wider = metrics.block_histogram(np.array([[1]]), np.array([[1]]), max_distance=3)
    for parts in ([], [found, wider], [found, metrics.random_ranking(found)]):
        with pytest.raises(ValueError, match="join takes at least one histogram"):
            metrics.join(parts)
