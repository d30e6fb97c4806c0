"""Bootstrap intervals and paired comparisons against exact values."""

import numpy as np
import pytest

from jxhash import metrics


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


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan]])
def test_values_that_are_not_one_per_query_are_refused(values):
    with pytest.raises(ValueError, match="one finite value per query"):
        metrics.bootstrap_interval(np.array(values))


def test_confidence_refuses():
    with pytest.raises(ValueError, match="paired values have one shape"):
        metrics.paired_comparison(np.ones(3), np.ones(4))
    for resamples in (0, -3):
        with pytest.raises(ValueError, match="resamples is at least 1"):
            metrics.bootstrap_interval(np.ones(3), resamples=resamples)
        with pytest.raises(ValueError, match="resamples is at least 1"):
            metrics.paired_comparison(np.ones(3), np.ones(3), resamples=resamples)
    with pytest.raises(ValueError, match=r"confidence is within \(0, 1\)"):
        metrics.bootstrap_interval(np.ones(3), confidence=95)
