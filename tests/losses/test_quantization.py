"""Quantization losses: values and gradients by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jxhash import losses


def test_quantization_by_hand():
    bits = np.array([[-0.7, 0.2, 0, 0.5]], np.float32)
    assert losses.bit_margin_loss(bits) == pytest.approx(0.8)
    for x, expected in ((0.1, 2.3059107), (1.0, 0.2723415), (3.0, 0.0049575)):
        assert losses.log_magnitude_loss(np.tanh([[np.float32(x)]])) == pytest.approx(
            expected, rel=1e-4
        )
    codes = np.array([[1, 1], [-1, -1]], np.float32)
    assert losses.log_magnitude_loss(codes) == 0
    assert losses.log_magnitude_loss(np.zeros((1, 2), np.float32)) == pytest.approx(
        -2 * math.log(1e-6)
    )


def test_log_magnitude_gradient_is_minus_the_inverse():
    u = jnp.array([[0.5, -0.2, 1e-9]])
    slope = jax.grad(losses.log_magnitude_loss)(u)
    np.testing.assert_allclose(slope, [[-2.0, 5.0, 0.0]], rtol=1e-6)


def test_bit_margin_gradient_points_away_from_zero():
    u = jnp.array([[0.2, -0.2, 0.9, 0.0]])
    slope = jax.grad(losses.bit_margin_loss)(u)
    np.testing.assert_array_equal(slope, [[-1.0, 1.0, 0.0, 0.0]])


@pytest.mark.parametrize("margin", [-0.5, np.full(8, 0.5)])
def test_a_margin_that_is_not_one_positive_number_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        losses.bit_margin_loss(np.ones((5, 8), np.float32), margin=margin)
