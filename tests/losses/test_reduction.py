"""Reductions under a mask: any callable, whole and by rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_arrays import draw, normal, similar_pairs

from jxhash import losses


def spread(x, where=None):
    return -jnp.mean(jnp.log1p(x), where=where)


@pytest.mark.parametrize(
    ("reduce_fn", "by_numpy"),
    [
        (jnp.max, np.max),
        (jnp.min, np.min),
        (jnp.var, np.var),
        (jnp.std, np.std),
        (spread, lambda x, axis=None: -np.mean(np.log1p(x), axis=axis)),
        (lambda x: jnp.sum(x), np.sum),
    ],
)
def test_any_reduction_leaves_out_what_does_not_count(reduce_fn, by_numpy):
    u, v, similarity = draw(similar_pairs, 35)
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    mask[:, 0], mask[2] = False, True
    loss = functools.partial(losses.pairwise_log_likelihood_loss, u, v, similarity)
    each = np.asarray(loss(reduce_fn=None))
    found = jax.jit(lambda where: loss(where=where, reduce_fn=reduce_fn))(mask)
    np.testing.assert_allclose(found, by_numpy(each[mask]), rtol=1e-5)
    assert loss(where=np.zeros((5, 7), bool), reduce_fn=reduce_fn) == 0
    np.testing.assert_allclose(loss(reduce_fn=reduce_fn), by_numpy(each), rtol=1e-5)


@pytest.mark.parametrize("reduce_fn", [jnp.max, jnp.min, jnp.var])
def test_a_reduction_of_rows_is_zero_where_a_row_does_not_count(reduce_fn):
    u, v, similarity = draw(similar_pairs, 36)
    mask = np.random.default_rng(1).random((5, 7)) < 0.6
    mask[3] = False
    loss = functools.partial(losses.pairwise_log_likelihood_loss, u, v, similarity, where=mask)
    each = np.asarray(loss(reduce_fn=None))
    found = loss(reduce_fn=functools.partial(reduce_fn, axis=1))
    by_numpy = getattr(np, reduce_fn.__name__)
    expected = [
        by_numpy(row[counted]) if any(counted) else 0
        for row, counted in zip(each, mask, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_builtin_may_reduce():
    u = normal(np.random.default_rng(0), 3, 2)
    each = losses.bit_margin_loss(u, margin=3.0, reduce_fn=None)
    where = np.array([True, True, False])
    assert losses.bit_margin_loss(u, margin=3.0, where=where, reduce_fn=max) == each[:2].max()
