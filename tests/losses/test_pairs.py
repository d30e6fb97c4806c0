"""Blocks of rows: labelled rows, rows of two devices, a number of rows that no block divides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from random_arrays import BLOCKS, draw, labelled_pairs, normal, similar_pairs

from jxhash import losses
from jxhash.losses import _pairs


def test_blocks_of_labelled_rows_give_the_same(monkeypatch):
    u, v, labels_u, labels_v = draw(labelled_pairs, 37, BLOCKS)
    where, where_v = np.arange(7) != 2, np.arange(4) != 1
    similarity = (labels_u @ labels_v.T > 0).astype(np.float32)
    options = {"scale": 1.5, "clip": 2.0}
    pairs = functools.partial(losses.pairwise_log_likelihood_loss, **options)
    expected = jax.value_and_grad(pairs, (0, 1))(
        u, v, similarity, where=where[:, None] & where_v[None, :]
    )
    rows = functools.partial(losses.pairwise_log_likelihood_from_labels_loss, **options)
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 8)
    found = jax.jit(
        lambda u, v: jax.value_and_grad(rows, (0, 1))(
            u, v, labels_u, labels_v, where=where, where_v=where_v
        )
    )(u, v)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)


def test_blocks_of_rows_of_two_devices(monkeypatch):
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 8)
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    u, v, similarity = draw(similar_pairs, 39, (14, 4, 3))
    slope = jax.grad(functools.partial(losses.pairwise_log_likelihood_loss, reduce_fn=jnp.sum))
    of_rows = jax.P("i")
    mapped = jax.shard_map(
        lambda u, similarity: slope(u, v, similarity),
        mesh=mesh,
        in_specs=(of_rows, of_rows),
        out_specs=of_rows,
    )
    np.testing.assert_allclose(mapped(u, similarity), slope(u, v, similarity), rtol=1e-5)


def test_a_prime_number_of_rows_goes_in_few_blocks(monkeypatch):
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 100)
    rows = jnp.asarray(normal(np.random.default_rng(38), 509, 3))
    seen = set()

    def kernel(block):
        seen.add(len(block))
        return jnp.sin(block)

    value, back = jax.vjp(jax.jit(lambda x: _pairs.by_rows(kernel, x, 10)), rows)
    assert seen == {10}
    np.testing.assert_allclose(value, jnp.sin(rows), rtol=1e-6)
    np.testing.assert_allclose(back(value)[0], jnp.cos(rows) * value, rtol=1e-5)
