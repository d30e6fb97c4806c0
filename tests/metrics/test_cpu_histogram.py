"""The compiled form of the histogram against the one in jax, and its threads."""

import jax
import pytest
from oracles_metrics import assert_same
from random_arrays import make_data

from jxhash import metrics
from jxhash.metrics import cpu_histogram
from jxhash.metrics import histogram as histograms


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("labels", ["multi-hot", "class ids"])
def test_compiled_and_jax_forms_agree_beyond_one_block(monkeypatch, labels, graded):
    data = make_data(1, 67, 2 * histograms._DATABASE_BLOCK + 5, 40, 9)
    if labels == "class ids":
        data = (*data[:2], data[2].argmax(1) - 1, data[3].argmax(1) - 1)
    monkeypatch.setattr(histograms, "_compiled_count", lambda: None)
    with_jax = metrics.distance_histogram(*data, graded=graded)
    monkeypatch.setattr(histograms, "_compiled_count", lambda: cpu_histogram.count)
    compiled_one = metrics.distance_histogram(*data, graded=graded)
    assert jax.device_count() == 2
    assert_same(with_jax, compiled_one)
    assert with_jax.retrieved.sum() == 67 * len(data[1])


def test_queries_shared_among_threads_come_back_in_order():
    data = make_data(3, 301, 9000, 32, 4)
    whole = metrics.distance_histogram(*data)
    parts = [
        metrics.distance_histogram(data[0][rows], data[1], data[2][rows], data[3])
        for rows in (slice(0, 1), slice(1, 300), slice(300, 301))
    ]
    assert_same(whole, metrics.join(parts))


def test_compiles_where_nothing_can_be_cached(monkeypatch):
    njit = cpu_histogram.numba.njit

    def without_cache(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(cpu_histogram.numba, "njit", without_cache)
    assert cpu_histogram._compile(lambda x: x + 1)(1) == 2
