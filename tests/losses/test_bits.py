"""Losses on the statistics of bits: values and gradients by hand."""

import jax
import numpy as np
import pytest
from random_arrays import normal

from jxhash import losses


def test_balanced_codes_have_no_loss():
    assert losses.bit_balance_loss(np.array([[1, 1], [-1, -1]], np.float32)) == 0


def test_balance_counts_the_rest_of_the_training_set():
    u = normal(np.random.default_rng(25), 6, 4)
    whole = losses.bit_balance_loss(u)
    batch = losses.bit_balance_loss(u[:2], rest=u[2:].sum(axis=0))
    np.testing.assert_allclose(batch, whole, rtol=1e-6)
    slope = jax.grad(lambda x: losses.bit_balance_loss(x, rest=u[2:].sum(axis=0)))(u[:2])
    np.testing.assert_allclose(slope, np.broadcast_to(2 * u.sum(axis=0), (2, 4)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"rest .*\(2, 4\)"):
        losses.bit_balance_loss(u, rest=u[:2])


def test_decorrelation_by_hand_and_in_closed_form():
    orthogonal = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]], np.float32)
    assert losses.decorrelation_loss(orthogonal) == 0
    assert losses.decorrelation_loss(orthogonal[:, :1] * np.ones((1, 2), np.float32)) == 1
    assert losses.decorrelation_loss(orthogonal[:1]) == 0
    u = normal(np.random.default_rng(26), 5, 4)
    np.testing.assert_allclose(
        losses.decorrelation_loss(2 * u), 16 * losses.decorrelation_loss(u), rtol=1e-5
    )
    centred = u - u.mean(axis=0)
    covariance = centred.T @ centred / 5
    np.fill_diagonal(covariance, 0)
    slope = jax.grad(losses.decorrelation_loss)(u)
    np.testing.assert_allclose(slope, 2 / 5 * centred @ covariance, rtol=1e-4, atol=1e-6)
