"""What the losses over all pairs of two sets share: checks, masks, blocks of rows, reduction."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn

# 8 MiB of float32: above one batch against ten thousand rows, and small beside a whole data set.
_MAX_ENTRIES = 2**21


class Pairs(NamedTuple):
    """Two sets of outputs, [m, K] and [n, K], and what is known of each pair of them, [m, n]."""

    u: jax.Array
    v: jax.Array
    similarity: jax.Array
    where: jax.Array | None
    weights: jax.Array | None


class PairLoss(NamedTuple):
    """The mathematics of one loss.

    Attributes:
      prepare: maps u, v and the settings to what `block` reads of each: arrays or pytrees of
        arrays, with a row a sample.
      block: maps some rows of the prepared u, all of the prepared v, the similarities of those
        rows and the settings to the losses of these pairs.
    """

    prepare: Callable[..., tuple[Any, Any]]
    block: Callable[..., jax.Array]


def check_outputs(u: ArrayLike, v: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Checks the outputs of two sides that are to be compared."""
    u, v = _checks.outputs("u", u), _checks.outputs("v", v)
    _checks.require_rows(u=u, v=v)
    _checks.same_width(u=u, v=v)
    return u, v


def check_pairs(
    u: jax.Array,
    v: jax.Array,
    similarity: ArrayLike,
    where: ArrayLike | None,
    weights: ArrayLike | None,
    alphabet: _checks.Alphabet | None,
) -> Pairs:
    """Checks what is known of each pair against the outputs and the loss's alphabet."""
    shape = (u.shape[0], v.shape[0])
    matrix = jnp.asarray(similarity)
    if matrix.shape != shape:
        raise ValueError(f"similarity has one value a pair, {shape}, not the shape {matrix.shape}")
    _checks.require_real("similarity", matrix)
    where = _checks.mask("where", where, shape)
    if alphabet is not None:
        _checks.require_values("similarity", similarity, alphabet, where)
    return Pairs(u, v, matrix, where, _checks.factors(weights, shape))


def keep_pairs(pairs: Pairs) -> Pairs:
    """Zeros for the rows of which no pair counts, and for the similarity of pairs that do not.

    This costs a select of the rows, [m, K] and [n, K], and one of the similarity that fuses into
    the loss; the block of products needs none.
    """
    where = pairs.where
    if where is None:
        return pairs
    return pairs._replace(
        u=_reduction.keep_rows(pairs.u, where.any(axis=1)),
        v=_reduction.keep_rows(pairs.v, where.any(axis=0)),
        similarity=jnp.where(where, pairs.similarity, 0),
    )


def by_rows(kernel: Callable[[Any], jax.Array], rows: Any, columns: int) -> jax.Array:
    """Applies `kernel` to rows, in blocks that are computed again for the gradient.

    Args:
      kernel: maps a pytree of arrays with a leading axis of rows to an array with that axis.
      rows: the whole pytree.
      columns: how many values one row takes while the kernel runs.

    Returns:
      The same as `kernel(rows)`, holding at most one block beside the result.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    limit = max(_MAX_ENTRIES // columns, 1)
    if num_rows <= limit:
        return kernel(rows)
    num_blocks = -(-num_rows // limit)
    size = -(-num_rows // num_blocks)

    def block(start: jax.Array) -> jax.Array:
        return kernel(jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), rows))

    def write(number: jax.Array, result: jax.Array) -> jax.Array:
        # The last block writes some rows of the one before again, and takes over their gradient: a
        # remainder of its own would have to be joined, and the result held twice.
        start = jnp.minimum(number * size, num_rows - size)
        found = jax.checkpoint(block)(start)
        return jax.lax.dynamic_update_slice_in_dim(result, found, start, axis=0)

    like = jax.eval_shape(block, 0)
    result = jnp.zeros((num_rows, *like.shape[1:]), like.dtype)
    # Under shard_map zeros are known to be the same everywhere, and become rows of a device here.
    return jax.lax.fori_loop(1, num_blocks, write, write(0, result))


@functools.partial(jax.jit, static_argnums=0)
def _unreduced(loss: PairLoss, pairs: Pairs, settings: tuple) -> jax.Array:
    pairs = keep_pairs(pairs)
    u, v = loss.prepare(pairs.u, pairs.v, *settings)
    return by_rows(
        lambda rows: loss.block(rows[0], v, rows[1], *settings),
        (u, pairs.similarity),
        len(pairs.v),
    )


@functools.partial(jax.jit, static_argnums=0)
def _row_sums(loss: PairLoss, pairs: Pairs, settings: tuple) -> jax.Array:
    kept = keep_pairs(pairs)
    u, v = loss.prepare(kept.u, kept.v, *settings)
    num_rows = len(pairs.u)
    split, whole = {}, {}
    for name in ("similarity", "where", "weights"):
        array = getattr(pairs, name)
        of_rows = array is not None and array.shape[0] == num_rows
        (split if of_rows else whole)[name] = array

    def sums(rows: tuple) -> jax.Array:
        u_rows, known = rows
        known = whole | known
        similarity, where = known["similarity"], known["where"]
        if where is not None:
            similarity = jnp.where(where, similarity, 0)
        losses = loss.block(u_rows, v, similarity, *settings)
        return jnp.sum(_reduction.weigh(losses, where, known["weights"]), axis=1)

    return by_rows(sums, (u, split), len(pairs.v))


def reduced(loss: PairLoss, pairs: Pairs, settings: tuple, reduce_fn: ReduceFn | None) -> jax.Array:
    """The losses of all pairs, reduced; sums and means of large blocks never hold the block."""
    shape = pairs.similarity.shape
    summable = reduce_fn is jnp.sum or reduce_fn is jnp.mean
    if pairs.similarity.size <= _MAX_ENTRIES or not summable:
        losses = _unreduced(loss, pairs, settings)
        return _reduction.reduce(losses, pairs.where, pairs.weights, reduce_fn)
    total = jnp.sum(_row_sums(loss, pairs, settings))
    if reduce_fn is jnp.sum:
        return total
    return total / jnp.maximum(_reduction.count(pairs.where, shape), 1)
