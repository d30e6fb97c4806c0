"""The trace loss: its gradient, and the warning of a similarity that fits no codes."""

import jax
import numpy as np
import pytest
from random_arrays import draw, signed_pairs

from jxhash import losses


def test_trace_gradient_is_the_pull_of_the_other_side():
    u, v, similarity = draw(signed_pairs, 30)
    slope = jax.grad(losses.trace_loss)(u, v, similarity)
    np.testing.assert_allclose(slope, -similarity @ v, rtol=1e-5, atol=1e-6)


def test_a_similarity_without_dissimilar_pairs_gets_a_warning(recwarn):
    u, v, dissimilar = np.ones((2, 3)), np.ones((4, 3)), -np.ones((2, 4))
    with pytest.warns(UserWarning, match=r"similarity .*\(2, 4\)"):
        losses.trace_loss(u, v, -dissimilar)
    losses.trace_loss(u, v, dissimilar)
    jax.jit(losses.trace_loss)(u, v, -dissimilar)
    assert not recwarn.list
