"""Likelihoods: values by hand, closed forms of gradients, similarities from labels."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_arrays import draw, gradient, labelled_pairs, similar_pairs

from jxhash import losses


def test_pairs_by_hand():
    one, similar = np.ones((1, 2), np.float32), np.ones((1, 1), np.float32)
    of_pair = losses.pairwise_log_likelihood_loss
    both = np.array([[1, 1], [-1, -1]], np.float32)
    expected = 2 * (math.log(1 + math.e) - 1) + 2 * math.log(1 + math.exp(-1))
    assert of_pair(both, both, np.eye(2), reduce_fn=jnp.sum) == pytest.approx(expected)
    zeros = np.zeros((3, 4), np.float32)
    assert of_pair(zeros, zeros, np.eye(3)) == pytest.approx(math.log(2))
    assert of_pair(20 * one, 20 * one, similar, scale=1, clip=15) == pytest.approx(
        math.log1p(math.exp(-15))
    )
    assert of_pair(500 * one, one, similar) == 0


def test_pairwise_gradient_is_the_closed_form():
    u, v, similarity = draw(similar_pairs, 22)
    theta = 0.5 * u.astype(np.float64) @ v.T.astype(np.float64)
    residual = 1 / (1 + np.exp(-theta)) - similarity
    function = functools.partial(losses.pairwise_log_likelihood_loss, reduce_fn=jnp.sum)
    by_u, by_v, by_similarity = gradient(function, (u, v, similarity), (0, 1, 2))
    np.testing.assert_allclose(by_u, 0.5 * residual @ v, atol=1e-5)
    np.testing.assert_allclose(by_v, 0.5 * residual.T @ u, atol=1e-5)
    np.testing.assert_allclose(by_similarity, -theta, atol=1e-5)
    forward = jax.jvp(lambda u: function(u, v, similarity), (u,), (np.ones_like(u),))[1]
    np.testing.assert_allclose(forward, by_u.sum(), rtol=1e-4, atol=1e-5)


def test_clipped_pairs_have_no_gradient():
    u, v = 4 * np.ones((1, 8), np.float32), np.ones((1, 8), np.float32)
    function = functools.partial(losses.pairwise_log_likelihood_loss, scale=1, clip=15)
    (slope,) = gradient(lambda u: function(u, v, np.zeros((1, 1))), (u,), (0,))
    assert (np.asarray(slope) == 0).all()
    inside = function(0.1 * u, v, np.zeros((1, 1)))
    assert inside == function(0.1 * u, v, np.zeros((1, 1)), clip=None)


def test_scale_may_be_shared_out():
    u, v, similarity = draw(similar_pairs, 23)
    root = np.float32(0.3**0.5)
    scaled = losses.pairwise_log_likelihood_loss(u, v, similarity, scale=0.3)
    shared = losses.pairwise_log_likelihood_loss(root * u, root * v, similarity, scale=1)
    np.testing.assert_allclose(scaled, shared, rtol=1e-6)
    swapped = losses.pairwise_log_likelihood_loss(-u, v, 1 - similarity, scale=0.3)
    np.testing.assert_allclose(scaled, swapped, rtol=1e-6)


def test_from_labels_equals_the_similarity_of_the_labels():
    u, v, labels_u, labels_v = draw(labelled_pairs, 24)
    similarity = (labels_u @ labels_v.T > 0).astype(np.float32)
    where, where_v = np.arange(5) != 2, np.arange(7) > 1
    expected = losses.pairwise_log_likelihood_loss(
        u, v, similarity, where=where[:, None] & where_v[None, :]
    )
    got = losses.pairwise_log_likelihood_from_labels_loss(
        u, v, labels_u, labels_v, where=where, where_v=where_v
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_cross_entropy_of_a_soft_target_is_least_at_its_logit():
    targets = np.array([[0.2, 0.5, 0.9]], np.float32)
    logits = np.log(targets / (1 - targets))
    each = losses.bit_cross_entropy_loss(logits, targets, reduce_fn=None)
    entropy = -targets * np.log(targets) - (1 - targets) * np.log(1 - targets)
    np.testing.assert_allclose(each, entropy, rtol=1e-6)
    slope = jax.grad(losses.bit_cross_entropy_loss)(jnp.asarray(logits), targets)
    np.testing.assert_allclose(slope, np.zeros((1, 3)), atol=1e-7)
    other = jax.grad(losses.bit_cross_entropy_loss)(jnp.zeros((1, 3)), targets)
    np.testing.assert_allclose(other, (0.5 - targets) / 3, rtol=1e-6)
