"""Losses between two sets of samples that nothing pairs."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn


@jax.custom_jvp
def _mean_kernel(squared: jax.Array, gammas: jax.Array) -> jax.Array:
    return sum(jnp.exp(-gamma * squared) for gamma in gammas) / len(gammas)


@_mean_kernel.defjvp
def _mean_kernel_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # The bandwidths are settings: they get no gradient.
    squared, gammas = primals
    kernels = [jnp.exp(-gamma * squared) for gamma in gammas]
    slope = sum(gamma * kernel for gamma, kernel in zip(gammas, kernels, strict=True))
    return sum(kernels) / len(gammas), -slope / len(gammas) * tangents[0]


def _about_the_mean(
    x: jax.Array, y: jax.Array, where_x: jax.Array, where_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The rows that count, less the mean of both sides together.

    Distances do not change under a translation, but their rounding errors grow with the norms;
    for the same reason the mean may be a constant of the gradient.
    """
    x, y = _reduction.keep_rows(x, where_x), _reduction.keep_rows(y, where_y)
    count = jnp.maximum(jnp.sum(where_x) + jnp.sum(where_y), 1)
    centre = jax.lax.stop_gradient(jnp.sum(x, axis=0) + jnp.sum(y, axis=0))[None, :] / count
    return _reduction.keep_rows(x - centre, where_x), _reduction.keep_rows(y - centre, where_y)


def _squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    norms_a, norms_b = jnp.sum(jnp.square(a), axis=1), jnp.sum(jnp.square(b), axis=1)
    products = _reduction.products(a, b)
    return jnp.maximum(norms_a[:, None] + norms_b[None, :] - 2 * products, 0)


class _Block(NamedTuple):
    """Squared distances of some pairs, which of them to look at, and how often each stands."""

    squared: jax.Array
    counted: jax.Array
    times: int


_LAST = jnp.iinfo(jnp.int32).max


def _median(blocks: list[_Block]) -> jax.Array:
    """The median of non-negative values, found by bisection, which is far cheaper than a sort."""
    # All integers are int32 like the patterns, also where 64 bits are enabled.
    count = sum(block.times * jnp.sum(block.counted, dtype=jnp.int32) for block in blocks)
    # Non-negative floats are ordered like their bit patterns; what does not count goes last.
    patterns = [
        jnp.where(
            block.counted,
            jax.lax.bitcast_convert_type(block.squared.astype(jnp.float32), jnp.int32),
            _LAST,
        )
        for block in blocks
    ]

    def number_below(limit: jax.Array) -> jax.Array:
        return sum(
            block.times * jnp.sum(values < limit, dtype=jnp.int32)
            for block, values in zip(blocks, patterns, strict=True)
        )

    def halve(step: jax.Array, found: jax.Array) -> jax.Array:
        candidate = found + (1 << (30 - step.astype(jnp.int32)))
        return jnp.where(number_below(candidate) <= (count - 1) // 2, candidate, found)

    lower = jax.lax.fori_loop(0, 31, halve, 0 * count)
    above = [jnp.min(jnp.where(values > lower, values, _LAST)) for values in patterns]
    upper = jnp.where(number_below(lower + 1) > count // 2, lower, jnp.min(jnp.stack(above)))
    pair = jax.lax.bitcast_convert_type(jnp.stack([lower, upper]), jnp.float32)
    return jnp.where(count > 0, jnp.mean(pair), 0)


def _median_gamma(blocks: list[_Block]) -> jax.Array:
    median = _median([jax.tree.map(jax.lax.stop_gradient, block) for block in blocks])
    # Rows that all agree have no scale of their own, and every kernel of them is 1.
    return jnp.where(median > 0, 1 / jnp.where(median > 0, median, 1), 1)[None]


def _between(
    a: jax.Array, b: jax.Array, where_a: jax.Array, where_b: jax.Array, times: int
) -> _Block:
    return _Block(_squared_distances(a, b), where_a[:, None] & where_b[None, :], times)


def _within(a: jax.Array, where: jax.Array) -> _Block:
    block = _between(a, a, where, where, 1)
    itself = jnp.eye(len(a), dtype=bool)
    # Rounding gives a long row a distance to itself.
    squared = jnp.where(itself, 0, block.squared)
    return block._replace(squared=squared, counted=block.counted & ~itself)


def _mean_over_pairs(
    block: _Block, where_a: jax.Array, where_b: jax.Array, gammas: jax.Array
) -> jax.Array:
    pairs = where_a[:, None] & where_b[None, :]
    total = jnp.sum(jnp.where(pairs, _mean_kernel(block.squared, gammas), 0))
    return total / jnp.maximum(jnp.sum(where_a), 1) / jnp.maximum(jnp.sum(where_b), 1)


@jax.jit
def _mmd(
    x: jax.Array,
    y: jax.Array,
    gammas: jax.Array | None,
    where_x: jax.Array,
    where_y: jax.Array,
) -> jax.Array:
    x, y = _about_the_mean(x, y, where_x, where_y)
    # Pairs within a side stand twice in their block, so those between the sides count double.
    blocks = [_within(x, where_x), _within(y, where_y), _between(x, y, where_x, where_y, 2)]
    gammas = _median_gamma(blocks) if gammas is None else gammas
    within_x = _mean_over_pairs(blocks[0], where_x, where_x, gammas)
    within_y = _mean_over_pairs(blocks[1], where_y, where_y, gammas)
    between = _mean_over_pairs(blocks[2], where_x, where_y, gammas)
    value = jax.nn.relu(within_x + within_y - 2 * between)
    return jnp.where(jnp.any(where_x) & jnp.any(where_y), value, 0)


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
    in which each sample is also compared with itself.

    .. math:: \overline{k(x, x')} + \overline{k(y, y')} - 2 \, \overline{k(x, y)}, \quad
              k(a, b) = \mathrm{mean}_g \, e^{-g \lVert a - b \rVert^2}

    Args:
      x: [m, K] real-valued outputs of one domain.
      y: [n, K] real-valued outputs of the other.
      gamma: a positive number, several of them (the mean of the kernels), or "median": one over
        the median squared distance between two rows of both sets together. Gets no gradient.
      where_x: boolean, broadcast to [m]; what is False does not count.
      where_y: boolean, broadcast to [n].
      weights: a number, multiplied with the loss.
      reduce_fn: ignored, since the loss is one number.

    Returns:
      A scalar in float32, not negative; 0 where one side has no row that counts.

    Raises:
      TypeError: `x` or `y` is not real-valued, a mask is not boolean.
      ValueError: the widths differ, or `gamma` is not positive.

    >>> x, y = jnp.array([[0.0]]), jnp.array([[1.0]])
    >>> round(float(mmd_loss(x, y, gamma=1.0)), 4)
    1.2642
    """
    x, y = _checks.outputs("x", x), _checks.outputs("y", y)
    _checks.same_width(x=x, y=y)
    gammas = _gammas(gamma)
    where_x = _checks.row_mask("where_x", where_x, x)
    where_y = _checks.row_mask("where_y", where_y, y)
    if 0 in x.shape or 0 in y.shape:
        value = jnp.zeros((), jnp.promote_types(x.dtype, y.dtype))
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
