"""MMD: values by hand, the median bandwidth, long rows."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses as oracles
import pytest
from random_arrays import SQUARE, WIDE, draw, exact, two_sides

from jxhash import losses


def test_mmd_by_hand():
    zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    assert losses.mmd_loss(zero, one, gamma=1.0) == pytest.approx(2 - 2 / math.e)
    x, y = draw(two_sides, 27)
    assert losses.mmd_loss(x, y, gamma=0.1) == pytest.approx(
        float(losses.mmd_loss(y, x, gamma=0.1)), rel=1e-5
    )
    assert losses.mmd_loss(0 * x, 0 * y, gamma=1) == 0
    assert losses.mmd_loss(x, x, gamma=(0.1, 1.0)) == pytest.approx(0, abs=1e-6)
    assert losses.mmd_loss(x[:0], y, gamma=1.0) == 0
    assert losses.mmd_loss(x, y[:0], gamma="median") == 0
    slope = jax.grad(losses.mmd_loss)(jnp.asarray(x), jnp.asarray(x), gamma=0.1)
    np.testing.assert_allclose(slope, np.zeros_like(x), atol=1e-6)


@pytest.mark.parametrize("shape", [WIDE, SQUARE])
def test_mmd_at_the_median(shape):
    x, y = draw(two_sides, 28, shape)
    gamma = oracles.median_gamma(*exact((x, y)))
    expected = oracles.mmd(*exact((x, y)), [gamma])
    np.testing.assert_allclose(losses.mmd_loss(x, y, gamma="median"), expected, atol=2e-6)
    where = np.arange(len(y)) != 1
    gamma = oracles.median_gamma(*exact((x, y[where])))
    expected = oracles.mmd(*exact((x, y[where])), [gamma])
    got = losses.mmd_loss(x, y, gamma="median", where_y=where)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    fixed = jax.grad(losses.mmd_loss)(jnp.asarray(x), y, gamma=float(gamma), where_y=where)
    moving = jax.grad(losses.mmd_loss)(jnp.asarray(x), y, gamma="median", where_y=where)
    np.testing.assert_allclose(moving, fixed, atol=1e-6)
    same = np.ones_like(x), np.ones_like(y)
    assert losses.mmd_loss(*same, gamma="median") == pytest.approx(0, abs=1e-6)


def test_mmd_at_the_median_with_64_bits():
    x, y = draw(two_sides, 40)
    script = f"""
import jax, numpy as np
from jxhash import losses
jax.config.update("jax_enable_x64", True)
x, y = (np.array(a, np.float32) for a in ({x.tolist()}, {y.tolist()}))
print(float(losses.mmd_loss(x, y, gamma="median")))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) == pytest.approx(float(losses.mmd_loss(x, y, gamma="median")), 1e-6)


@pytest.mark.parametrize("size", [8.0, 100.0, 1e4])
def test_mmd_of_long_rows_keeps_their_distance_to_themselves(size):
    x, y = draw(two_sides, 41, (20, 20, 64), 0.01)
    x, y = (a + np.float32(size) * np.sign(a) for a in (x, y))
    expected = oracles.mmd(*exact((x, y)), [1.0])
    np.testing.assert_allclose(losses.mmd_loss(x, y, gamma=1.0), expected, atol=4e-6)
    for slope in jax.grad(losses.mmd_loss, (0, 1))(jnp.asarray(x), jnp.asarray(y), gamma=1.0):
        assert np.isfinite(slope).all()


def test_mmd_refuses_what_is_no_bandwidth():
    x, y = draw(two_sides, 29)
    for gamma in (0.0, -1.0, (0.1, 0.0), "mean", np.ones((2, 2)), ()):
        with pytest.raises(ValueError, match="gamma"):
            losses.mmd_loss(x, y, gamma=gamma)
        with pytest.raises(ValueError, match="gamma"):
            losses.mmd_loss(x[:0], y, gamma=gamma)
    with pytest.raises(ValueError, match="weights"):
        losses.mmd_loss(x[:0], y, gamma=1.0, weights=np.ones(3))
