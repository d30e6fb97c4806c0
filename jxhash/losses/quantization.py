"""Losses that draw outputs towards codes: one value a sample."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn

_SMALLEST_MAGNITUDE = 1e-6


@jax.jit
def _quantization(u: jax.Array, codes: jax.Array, where: jax.Array | None) -> jax.Array:
    u, codes = _reduction.keep_rows(u, where), _reduction.keep_rows(codes, where)
    return jnp.sum(jnp.square(u - codes), axis=1)


def quantization_loss(
    u: ArrayLike,
    codes: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The squared distance of each output to its code.

    Jiang and Li, Deep Cross-Modal Hashing, CVPR 2017, second term of equation 2.

    .. math:: \lVert u_i - b_i \rVert^2

    Args:
      u: [n, K] real-valued outputs.
      codes: [n, K] of any real dtype: codes, or what stands for them, which gets a gradient too.
      where: boolean, broadcast to [n]; what is False does not count.
      weights: broadcast to [n], multiplied with the loss.
      reduce_fn: reduces the [n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [n] losses, in float32.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> float(quantization_loss(jnp.array([[0.5, -1.0]]), jnp.array([[1, -1]])))
    0.25
    """
    u, codes = _checks.outputs("u", u), _checks.real("codes", codes)
    _checks.require_rows(u=u)
    _checks.same_shape(u=u, codes=codes)
    where = _checks.mask("where", where, u.shape[:1])
    return _reduction.reduce(_quantization(u, codes, where), where, weights, reduce_fn)


@jax.jit
def _log_magnitude(u: jax.Array, where: jax.Array | None) -> jax.Array:
    magnitudes = jnp.maximum(
        _reduction.magnitude(_reduction.keep_rows(u, where)), _SMALLEST_MAGNITUDE
    )
    return -jnp.sum(jnp.log(magnitudes), axis=1)


def log_magnitude_loss(
    u: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""How far the magnitudes of outputs in (-1, 1) are from one, on the scale of logarithms.

    Cao et al., Transitive Hashing Network, AAAI 2017, the quantization term.

    .. math:: -\sum_k \log \max(|u_{ik}|, 10^{-6})

    Args:
      u: [n, K] real-valued outputs, after tanh for a loss that is not negative.
      where: boolean, broadcast to [n]; what is False does not count.
      weights: broadcast to [n], multiplied with the loss.
      reduce_fn: reduces the [n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [n] losses, in float32.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> round(float(log_magnitude_loss(jnp.tanh(jnp.array([[0.1, 1.0]])))), 4)
    2.5783
    """
    u = _checks.outputs("u", u)
    _checks.require_rows(u=u)
    where = _checks.mask("where", where, u.shape[:1])
    return _reduction.reduce(_log_magnitude(u, where), where, weights, reduce_fn)


@jax.jit
def _bit_margin(u: jax.Array, margin: ArrayLike, where: jax.Array | None) -> jax.Array:
    return jnp.sum(
        jax.nn.relu(margin - _reduction.magnitude(_reduction.keep_rows(u, where))), axis=1
    )


def bit_margin_loss(
    u: ArrayLike,
    *,
    margin: ArrayLike = 0.5,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""How much the magnitude of each bit falls short of a margin, summed over the bits.

    Cao et al., Deep Visual-Semantic Hashing for Cross-Modal Retrieval, KDD 2016, the bitwise
    maximum-margin term.

    .. math:: \sum_k \max(0, \mathrm{margin} - |u_{ik}|)

    Args:
      u: [n, K] real-valued outputs.
      margin: the magnitude that is enough, above 0.
      where: boolean, broadcast to [n]; what is False does not count.
      weights: broadcast to [n], multiplied with the loss.
      reduce_fn: reduces the [n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [n] losses, in float32.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `margin` is not positive.

    >>> round(float(bit_margin_loss(jnp.array([[-0.7, 0.2, 0.0, 0.5]]))), 4)
    0.8
    """
    _checks.setting("margin", margin, _checks.POSITIVE)
    u = _checks.outputs("u", u)
    _checks.require_rows(u=u)
    where = _checks.mask("where", where, u.shape[:1])
    return _reduction.reduce(_bit_margin(u, margin, where), where, weights, reduce_fn)
