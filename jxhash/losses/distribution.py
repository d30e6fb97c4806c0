"""Losses between the distributions of two unpaired sets of samples."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, replicated
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn


def _mean_kernel(squared: jax.Array, gammas: jax.Array) -> jax.Array:
    # The bandwidths are settings without a gradient.
    kernels = [jnp.exp(-gamma * squared) for gamma in jax.lax.stop_gradient(gammas)]
    return functools.reduce(jnp.add, kernels) / len(kernels)


def _squared_distances(rows: jax.Array) -> jax.Array:
    norms = jnp.sum(jnp.square(rows), axis=1)
    squared = norms[:, None] + norms[None, :] - 2 * _reduction.products(rows, rows)
    # Rounding gives rows of large norm a distance to themselves.
    return jnp.where(jnp.eye(len(rows), dtype=bool), 0, jnp.maximum(squared, 0))


def _median(values: jax.Array, counted: jax.Array) -> jax.Array:
    """The median of non-negative values by bisection, far cheaper than a sort."""
    # Non-negative floats are ordered like their bit patterns; masked values go last.
    last = np.iinfo(np.int32).max
    patterns = jax.lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)
    patterns = jnp.where(counted, patterns, last)
    # int32 like the bit patterns, also with 64-bit types enabled.
    count = jnp.sum(counted, dtype=jnp.int32)

    def number_below(limit: jax.Array) -> jax.Array:
        return jnp.sum(patterns < limit, dtype=jnp.int32)

    def halve(step: jax.Array, found: jax.Array) -> jax.Array:
        candidate = found + (1 << (30 - jnp.asarray(step, jnp.int32)))
        return jnp.where(number_below(candidate) <= (count - 1) // 2, candidate, found)

    lower = jax.lax.fori_loop(0, 31, halve, 0 * count)
    above = jnp.min(jnp.where(patterns > lower, patterns, last))
    upper = jnp.where(number_below(lower + 1) > count // 2, lower, above)
    pair = jax.lax.bitcast_convert_type(jnp.stack([lower, upper]), jnp.float32)
    return jnp.where(count > 0, jnp.mean(pair), 0)


def _median_gamma(squared: jax.Array, where: jax.Array) -> jax.Array:
    pairs = where[:, None] & where[None, :] & ~jnp.eye(len(where), dtype=bool)
    median = _median(jax.lax.stop_gradient(squared), pairs)
    # If all rows are equal there is no scale, and every kernel is 1.
    return jnp.where(median > 0, 1 / jnp.where(median > 0, median, 1), 1)[None]


@jax.jit
@any_mesh(replicated)
def _mmd(
    x: jax.Array, y: jax.Array, gammas: jax.Array | None, where_x: jax.Array, where_y: jax.Array
) -> jax.Array:
    # One quadratic form over the rows of both sides: x weighs 1 / m, y weighs -1 / n.
    num_x, num_y = (jnp.sum(where).astype(x.dtype) for where in (where_x, where_y))
    where = jnp.concatenate([where_x, where_y])
    shares = jnp.where(where_x, 1 / num_x, 0), jnp.where(where_y, -1 / num_y, 0)
    rows = _reduction.keep_rows(jnp.concatenate([x, y]), where)
    # Distances are invariant to translation, but their rounding errors grow with the norms. By the
    # same invariance the mean needs no gradient.
    centre = jax.lax.stop_gradient(jnp.sum(rows, axis=0)) / jnp.maximum(num_x + num_y, 1)
    squared = _squared_distances(_reduction.keep_rows(rows - centre[None, :], where))
    gammas = _median_gamma(squared, where) if gammas is None else gammas
    gammas = gammas.astype(squared.dtype)
    weights = jnp.concatenate(shares)
    means = jnp.matmul(_mean_kernel(squared, gammas), weights, precision="highest")
    value = jax.nn.relu(jnp.vdot(weights, means, precision="highest"))
    return jnp.where((num_x > 0) & (num_y > 0), value, 0)


def mmd_loss(
    x: ArrayLike,
    y: ArrayLike,
    *,
    gamma: ArrayLike | Sequence[float] | Literal["median"],
    where_x: ArrayLike | None = None,
    where_y: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The squared maximum mean discrepancy between two sets of outputs, with Gaussian kernels.

    Cao et al., Transitive Hashing Network, AAAI 2017, the distribution term: the biased estimate,
    which also compares each sample with itself.

    .. math:: \overline{k(x, x')} + \overline{k(y, y')} - 2 \, \overline{k(x, y)}, \quad
              k(a, b) = \mathrm{mean}_g \, e^{-g \lVert a - b \rVert^2}

    Args:
      x: [m, K] real-valued outputs of one domain.
      y: [n, K] real-valued outputs of the other.
      gamma: a positive number, several (their kernels are averaged), or "median", the inverse of
        the median squared distance between rows of both sets together. It gets no gradient.
      where_x: boolean mask, broadcast to [m]; False entries are ignored.
      where_y: boolean mask, broadcast to [n].
      weights: a factor of the loss, one number.
      reduce_fn: ignored; the loss is a scalar.

    Returns:
      float32 scalar, not negative; 0 if one side is empty or fully masked.

    Raises:
      TypeError: `x` or `y` is not real-valued, a mask is not boolean.
      ValueError: the widths differ, or `gamma` is not positive.

    >>> x, y = jnp.array([[0.0]]), jnp.array([[1.0]])
    >>> round(float(mmd_loss(x, y, gamma=1.0)), 4)
    1.2642
    """
    x, y = _checks.outputs("x", x), _checks.outputs("y", y)
    _checks.same("width", x=x, y=y)
    x, y = _checks.one_dtype(x, y)
    gammas = _gammas(gamma)
    where_x = _checks.row_mask("where_x", where_x, x)
    where_y = _checks.row_mask("where_y", where_y, y)
    if 0 in x.shape or 0 in y.shape:
        value = jnp.zeros((), x.dtype)
    else:
        value = _mmd(x, y, gammas, where_x, where_y)
    return _reduction.reduce_scalar(value, weights)


def _gammas(gamma: ArrayLike | Sequence[float] | str) -> jax.Array | None:
    if isinstance(gamma, str):
        if gamma != "median":
            raise ValueError(f'gamma is a number, several numbers or "median", not "{gamma}"')
        return None
    _checks.require_values("gamma", gamma, _checks.POSITIVE)
    gammas = jnp.atleast_1d(jnp.asarray(gamma, jnp.float32))
    if gammas.ndim != 1 or gammas.size == 0:
        raise ValueError(f"gamma is a number or a row of numbers, not of shape {gammas.shape}")
    return gammas
