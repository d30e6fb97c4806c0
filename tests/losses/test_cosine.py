"""Losses of angles: values by hand, exact Hamming distances, gradients of the focal loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses as oracles
import pytest
from random_arrays import draw, exact, normal, similar_pairs

from jxhash import losses


def test_right_angles_and_corners_by_hand():
    one, similar = np.ones((1, 2), np.float32), np.ones((1, 1), np.float32)
    right = np.array([[1, -1]], np.float32)
    for sign in (1, -1):
        at_right_angle = losses.cosine_margin_loss(one, right, sign * similar, margin=0.5)
        assert at_right_angle == pytest.approx(0.25)
    corner = np.array([[1, 0]], np.float32)
    assert losses.cosine_quantization_loss(corner, margin=1) == pytest.approx(1 - 0.5**0.5)
    assert losses.cosine_quantization_loss(-3 * right, margin=1) == 0


def test_cosines_by_hand():
    u = np.array([[1, 0]], np.float32)
    for cosine, sign, expected in ((0.6, 1, 0.0), (0.2, 1, 0.3), (0.2, -1, 0.7)):
        v = np.array([[cosine, math.sqrt(1 - cosine**2)]], np.float32)
        similarity = np.array([[sign]])
        hinge = losses.cosine_margin_loss(u, v, similarity, margin=0.5, power=1)
        assert hinge == pytest.approx(expected, abs=1e-6)
        slope = jax.grad(losses.cosine_margin_loss)(jnp.asarray(u), v, similarity, margin=0.5)
        assert bool(jnp.any(slope != 0)) == (expected > 0)


@pytest.mark.parametrize("margin", [0.0, 2.0, -1.0])
def test_a_margin_that_is_no_cosine_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        losses.cosine_quantization_loss(np.ones((5, 8), np.float32), margin=margin)


@pytest.mark.parametrize("distance", [0, 2, 8, 16])
def test_focal_loss_counts_bits(distance):
    u = np.ones((1, 16), np.float32)
    v = u.copy()
    v[0, :distance] = -1
    expected = {0: 0.0, 2: 0.0065717, 8: 0.2425909, 16: 1.0191507}[distance]
    got = losses.hamming_focal_loss(u, v, np.array([[1]]), beta=0.1)
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)
    linear = losses.hamming_focal_loss(u, v, np.array([[1]]), beta=0.1, focusing=0)
    assert linear == pytest.approx(0.1 * max(distance, 1e-6), rel=1e-6)


@pytest.mark.parametrize("num_bits", [12, 32, 48, 64])
def test_hamming_distance_of_codes_is_exact(num_bits):
    rng = np.random.default_rng(num_bits)
    codes = (2 * rng.integers(0, 2, (20, num_bits)) - 1).astype(np.float32)
    distances = (codes[:, None] != codes[None]).sum(axis=2)
    similar = np.ones((20, 20))
    got = losses.hamming_focal_loss(codes, codes, similar, beta=1, focusing=0, reduce_fn=None)
    np.testing.assert_array_equal(got, np.maximum(distances, np.float32(1e-6)))
    other = losses.hamming_focal_loss(codes, codes, 0 * similar, beta=1, focusing=0)
    assert np.isfinite(other)


@pytest.mark.parametrize("focusing", [0.0, 0.5, 2.0])
def test_focal_gradient_is_the_closed_form(focusing):
    beta, size = 0.3, 16
    angles = np.linspace(0.3, 2.8, 6)
    u = np.zeros((1, size), np.float32)
    u[0, 0] = 1
    v = np.zeros((6, size), np.float32)
    v[:, 0], v[:, 1] = np.cos(angles), np.sin(angles)
    d = size / 2 * (1 - np.cos(angles))
    p = np.exp(-beta * d)
    for similar in (0, 1):
        if similar:
            slope = beta * (1 - p) ** focusing + focusing * beta**2 * d * p * (1 - p) ** (
                focusing - 1
            )
        else:
            slope = beta * p**focusing * (focusing * np.log(1 - p) - p / (1 - p))
        # Turning v by an angle moves d by size / 2 sin(angle).
        expected = slope * size / 2 * np.sin(angles)

        def along(turn, similar=similar):
            turned = jnp.asarray(v)
            cos, sin = jnp.cos(angles + turn), jnp.sin(angles + turn)
            turned = turned.at[:, 0].set(cos).at[:, 1].set(sin)
            target = jnp.full((1, 6), similar)
            return losses.hamming_focal_loss(
                u, turned, target, beta=beta, focusing=focusing, reduce_fn=jnp.sum
            )

        got = jax.jit(jax.grad(along))(jnp.zeros(6))
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_focal_loss_is_monotone():
    d = np.linspace(0.02, 3.0, 30)
    u, v = np.array([[1, 0]], np.float32), np.stack([np.cos(d), np.sin(d)], 1).astype(np.float32)
    for similar, direction in ((1, 1), (0, -1)):
        target = np.full((1, 30), similar)
        each = losses.hamming_focal_loss(u, v, target, beta=0.5, reduce_fn=None)[0]
        assert (direction * np.diff(each) > 0).all()


def test_focal_loss_of_far_pairs_keeps_its_digits():
    u = np.zeros((1, 64), np.float32)
    u[0, 0] = 1
    v = normal(np.random.default_rng(34), 20, 64)
    far = np.zeros((1, 20))
    each = losses.hamming_focal_loss(u, v, far, beta=0.4, focusing=1.0, reduce_fn=None)
    expected = oracles.hamming_focal(*exact((u, v, far)), 0.4, 1.0)
    assert expected.max() < 1e-6
    np.testing.assert_allclose(each, expected, rtol=2e-5)


def test_focal_slopes_of_similarity_and_focusing():
    u, v, similarity = map(jnp.asarray, draw(similar_pairs, 21))

    def loss(similarity, focusing):
        return losses.hamming_focal_loss(
            u, v, similarity, beta=0.2, focusing=focusing, reduce_fn=jnp.sum
        )

    by_similarity, by_focusing = jax.grad(loss, (0, 1))(similarity, 1.5)
    arrays = exact((u, v, similarity, np.array([1.5])))

    def oracle(u, v, s, g):
        return oracles.hamming_focal(u, v, s, 0.2, g[0])

    np.testing.assert_allclose(by_similarity, oracles.slope(oracle, arrays, 2), rtol=1e-4)
    np.testing.assert_allclose(by_focusing, oracles.slope(oracle, arrays, 3)[0], rtol=1e-4)


def test_weights_of_the_two_classes():
    similarity = np.array([[1, 0, 0], [0, 0, 1]])
    where = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(losses.balanced_weights(similarity), [[3, 1, 1], [1, 1, 3]])
    np.testing.assert_array_equal(
        losses.balanced_weights(similarity, where=where), [[3, 1, 1], [1, 1, 3]]
    )
    assert (np.asarray(losses.balanced_weights(0 * similarity)) == 1).all()
    with pytest.raises(ValueError, match="empty"):
        losses.balanced_weights(similarity[:0])
