"""Cyclic coordinate descent against brute force over all codes."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from random_arrays import assert_rows_agree, codes, every_code, few, normal, seeds

from jxhash import discrete


@few
@given(seed=seeds)
def test_coordinate_descent_never_increases_its_objective(seed):
    rng = np.random.default_rng(seed)
    linear, weights, start = normal(rng, 3, 4), normal(rng, 4, 2), codes(rng, 3, 4)

    def cost(b):
        return np.sum((b @ weights) ** 2) - 2 * np.sum(b * linear)

    def lowest(b):
        return min(cost(np.where(np.arange(4)[None] == k, s, b)) for k in range(4) for s in (-1, 1))

    found, costs = start, [cost(start)]
    for _ in range(4):
        found = discrete.cyclic_coordinate_descent(linear, weights, previous=found)
        costs.append(cost(found))
    assert (np.diff(costs) <= 1e-4).all()
    assert costs[-1] >= min(map(cost, every_code(3, 4))) - 1e-4
    assert costs[-1] <= lowest(np.asarray(found)) + 1e-4
    at_once = discrete.cyclic_coordinate_descent(linear, weights, previous=start, sweeps=4)
    np.testing.assert_array_equal(at_once, found)


def test_coordinate_descent_without_coupling_and_at_ties():
    linear = np.array([[2.0, -3.0, 0.0]], np.float32)
    previous = np.array([[-1, 1, -1]], np.int8)
    orthogonal = np.eye(3, dtype=np.float32)
    found = discrete.cyclic_coordinate_descent(linear, orthogonal, previous=previous)
    assert found.dtype == jnp.int8
    assert found.tolist() == [[1, -1, -1]]
    with pytest.raises(ValueError, match="weights"):
        discrete.cyclic_coordinate_descent(linear, orthogonal[:2], previous=previous)


def test_rows_of_two_devices_give_the_same():
    rng = np.random.default_rng(10)
    linear, previous, weights = normal(rng, 8, 4), codes(rng, 8, 4), normal(rng, 4, 3)
    assert_rows_agree(
        lambda f, b: discrete.cyclic_coordinate_descent(f, weights, previous=b), linear, previous
    )


F, BITS = np.ones((2, 3)), np.array([[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: discrete.cyclic_coordinate_descent(F[:0], BITS, previous=F[:0]), "linear"),
        (lambda: discrete.cyclic_coordinate_descent(F, F.T, previous=F, sweeps=-1), "sweeps"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
