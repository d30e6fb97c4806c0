"""k-means and anchor affinities against plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from random_arrays import assert_totals_agree, few, normal, seeds

from jxhash import discrete


@few
@given(seed=seeds)
def test_kmeans_never_gets_worse(seed):
    points = normal(np.random.default_rng(seed), 30, 3)

    def cost(centres):
        return ((points[:, None] - np.asarray(centres)[None]) ** 2).sum(axis=2).min(axis=1).sum()

    costs = [
        cost(discrete.kmeans(jax.random.key(seed), points, 4, steps=steps)) for steps in range(4)
    ]
    assert (np.diff(costs) <= 1e-4).all()


def test_kmeans_finds_clusters_and_survives_too_few_points():
    rng = np.random.default_rng(8)
    centres = np.array([[0, 0], [20, 0], [0, 20]], np.float32)
    points = np.repeat(centres, 10, axis=0) + 0.1 * normal(rng, 30, 2)
    found = np.asarray(discrete.kmeans(jax.random.key(0), points, 3))
    means = points.reshape(3, 10, 2).mean(axis=1)
    np.testing.assert_allclose(sorted(found.tolist()), sorted(means.tolist()), atol=1e-4)
    where = np.arange(30) < 20
    points[20:] = np.nan
    found = np.asarray(discrete.kmeans(jax.random.key(0), points, 2, where=where))
    np.testing.assert_allclose(sorted(found.tolist()), sorted(means[:2].tolist()), atol=1e-4)
    twice = discrete.kmeans(jax.random.key(0), np.ones((30, 2), np.float32), 3)
    np.testing.assert_array_equal(twice, np.ones((3, 2)))
    with pytest.raises(ValueError, match="num_clusters"):
        discrete.kmeans(jax.random.key(0), points, 0)


def test_affinities_of_anchors():
    rng = np.random.default_rng(9)
    points, anchors = normal(rng, 6, 3), normal(rng, 4, 3)
    squared = ((points[:, None].astype(np.float64) - anchors[None]) ** 2).sum(axis=2)
    weights = np.exp(-squared / 0.7)
    found = discrete.anchor_affinities(points, anchors, bandwidth=0.7)
    np.testing.assert_allclose(found, weights / weights.sum(axis=1, keepdims=True), rtol=1e-4)
    sharp = discrete.anchor_affinities(anchors, anchors, bandwidth=1e-6)
    np.testing.assert_allclose(sharp, np.eye(4), atol=1e-6)
    flat = discrete.anchor_affinities(points, anchors, bandwidth=1e9)
    np.testing.assert_allclose(flat, np.full((6, 4), 0.25), rtol=1e-6)
    two = np.asarray(discrete.anchor_affinities(points, anchors, bandwidth=0.7, nearest=2))
    assert ((two > 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(two.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(two.argmax(axis=1), squared.argmin(axis=1))
    bandwidth = discrete.anchor_bandwidth(points, anchors)
    assert bandwidth == pytest.approx(np.median(squared), rel=1e-5)
    where = np.arange(6) % 3 > 0
    points[~where] = np.nan
    bandwidth = discrete.anchor_bandwidth(points, anchors, where=where)
    assert bandwidth == pytest.approx(np.median(squared[where]), rel=1e-5)
    for nearest in (0, 5):
        with pytest.raises(ValueError, match="nearest"):
            discrete.anchor_affinities(points, anchors, bandwidth=1.0, nearest=nearest)


def test_points_of_two_devices_give_the_same():
    points, where = normal(np.random.default_rng(10), 8, 4), np.arange(8) != 3
    assert_totals_agree(
        lambda f, w: discrete.kmeans(jax.random.key(0), f, 2, where=w), points, where
    )
    assert_totals_agree(
        lambda f, w: discrete.anchor_bandwidth(f, np.ones((2, 4)), where=w), points, where
    )


POINTS, KEY = np.ones((2, 4)), jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: discrete.kmeans(KEY, POINTS, 0), "num_clusters"),
        (lambda: discrete.kmeans(KEY, POINTS, 2, steps=-1), "steps"),
        (lambda: discrete.anchor_bandwidth(POINTS[:0], POINTS), "points"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS[:0], bandwidth=1.0), "anchors"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=0.0), "bandwidth"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=np.ones(2)), r"\(2,\)"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=jnp.ones(2)), r"\(2,\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
