"""Shared by all pairwise losses: checks, masks, evaluation in blocks of rows, reduction."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, pair_sharded, row_sharded
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn

# 8 MiB of float32: holds a batch against ten thousand rows, far less than all pairs of a data set.
_MAX_ENTRIES = 2**21


class Pairs(NamedTuple):
    """Outputs u [m, K] and v [n, K]; similarity, mask and weights of their pairs [m, n]."""

    u: jax.Array
    v: jax.Array
    similarity: jax.Array
    where: jax.Array | None
    weights: jax.Array | None


class PairLoss(NamedTuple):
    """The mathematics of one loss.

    Attributes:
      block: maps some rows of u, all of v, the similarities of these pairs and the settings to the
        losses of these pairs.
      prepare: is applied once to all rows of u, and of v.
    """

    block: Callable[..., jax.Array]
    prepare: Callable[[jax.Array], jax.Array] = jnp.asarray


def check_outputs(u: ArrayLike, v: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Checks two sets of outputs: real-valued, not empty, of one width."""
    u, v = _checks.outputs("u", u), _checks.outputs("v", v)
    _checks.require_rows(u=u, v=v)
    _checks.same("width", u=u, v=v)
    u, v = _checks.one_dtype(u, v)
    return u, v


def check_pairs(
    u: jax.Array,
    v: jax.Array,
    similarity: ArrayLike,
    where: ArrayLike | None,
    weights: ArrayLike | None,
    alphabet: _checks.Alphabet | None,
) -> Pairs:
    """Checks similarity, mask and weights against the shape [m, n] and the loss's alphabet."""
    shape = (u.shape[0], v.shape[0])
    matrix = jnp.asarray(similarity)
    if matrix.shape != shape:
        raise ValueError(
            f"similarity has one value per pair, {shape}, not the shape {matrix.shape}"
        )
    _checks.require_real("similarity", matrix)
    where = _checks.mask("where", where, shape)
    if alphabet is not None:
        _checks.require_values("similarity", similarity, alphabet, where)
    return Pairs(u, v, matrix, where, _checks.factors(weights, shape))


def keep_pairs(pairs: Pairs) -> Pairs:
    """Zeroes the similarity of masked pairs, and the rows whose pairs are all masked.

    Selecting rows, [m, K] and [n, K], is cheap and the select of the similarity fuses into the
    loss, so the [m, n] products need no select.
    """
    where = pairs.where
    if where is None:
        return pairs
    return pairs._replace(
        u=_reduction.keep_rows(pairs.u, where.any(axis=1)),
        v=_reduction.keep_rows(pairs.v, where.any(axis=0)),
        similarity=_reduction.keep(pairs.similarity, where),
    )


def by_rows(kernel: Callable[[Any], jax.Array], rows: Any, columns: int) -> jax.Array:
    """`kernel(rows)`, in blocks of rows that the backward pass computes again.

    The kernel maps a pytree of arrays with a leading row axis to an array with that axis, and holds
    `columns` values per row; at most one block is held beside the result.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    limit = max(_MAX_ENTRIES // columns, 1)
    if num_rows <= limit:
        return kernel(rows)
    num_blocks = -(-num_rows // limit)
    size = -(-num_rows // num_blocks)

    def block(start: jax.Array) -> jax.Array:
        return kernel(jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), rows))

    def write(number: jax.Array | int, result: jax.Array) -> jax.Array:
        # The last block overlaps the one before and takes over the gradient of the shared rows.
        # A smaller last block would need a concatenation, which holds the result twice.
        start = jnp.minimum(number * size, num_rows - size)
        found = jax.checkpoint(block)(start)
        return jax.lax.dynamic_update_slice_in_dim(result, found, start, axis=0)

    like = jax.eval_shape(block, 0)
    result = jnp.zeros((num_rows, *like.shape[1:]), like.dtype)
    # The first block is written before the loop: under shard_map zeros are replicated, rows vary.
    found: jax.Array = jax.lax.fori_loop(1, num_blocks, write, write(0, result))
    return found


@functools.partial(jax.jit, static_argnums=0)
@any_mesh(pair_sharded)
def _losses(loss: PairLoss, pairs: Pairs, settings: tuple[Any, ...]) -> jax.Array:
    """The losses [m, n]."""
    return _in_blocks(loss, pairs, settings, lambda losses, where, weights: losses)


@functools.partial(jax.jit, static_argnums=0)
@any_mesh(row_sharded)
def _sums(loss: PairLoss, pairs: Pairs, settings: tuple[Any, ...]) -> jax.Array:
    """The sums [m] of the weighted losses."""
    return _in_blocks(
        loss, pairs, settings, lambda *weighted: jnp.sum(_reduction.weigh(*weighted), axis=1)
    )


def _in_blocks(
    loss: PairLoss, pairs: Pairs, settings: tuple[Any, ...], finish: Callable[..., jax.Array]
) -> jax.Array:
    """What `finish` makes of losses, mask and weights, block by block."""
    kept = keep_pairs(pairs)
    settings = _reduction.cast(settings, kept.u.dtype)
    whole = pairs._replace(u=loss.prepare(kept.u), v=loss.prepare(kept.v))
    # A mask or weights with a single row belong to every block.
    split = {
        name: array
        for name, array in whole._asdict().items()
        if name != "v" and array is not None and len(array) == len(whole.u)
    }

    def kernel(rows: dict[str, jax.Array]) -> jax.Array:
        u, v, similarity, where, weights = whole._replace(**rows)
        similarity = _reduction.keep(similarity, where)
        return finish(loss.block(u, v, similarity, *settings), where, weights)

    return by_rows(kernel, split, len(whole.v))


def reduced(
    loss: PairLoss, pairs: Pairs, settings: tuple[Any, ...], reduce_fn: ReduceFn | None
) -> jax.Array:
    """Reduces the losses of all pairs; large sums and means never hold the [m, n] losses."""
    shape = pairs.similarity.shape
    summable = reduce_fn is jnp.sum or reduce_fn is jnp.mean
    if pairs.similarity.size <= _MAX_ENTRIES or not summable:
        losses = _losses(loss, pairs, settings)
        return _reduction.reduce(losses, pairs.where, pairs.weights, reduce_fn)
    total = jnp.sum(_sums(loss, pairs, settings))
    if reduce_fn is jnp.sum:
        return total
    return total / jnp.maximum(_reduction.count(pairs.where, shape, total.dtype), 1)
