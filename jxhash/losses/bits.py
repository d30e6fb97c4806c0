"""Losses on statistics of the bits over a set of samples; each is a scalar."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, replicated
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn


@jax.jit
@any_mesh(replicated)
def _bit_balance(u: jax.Array, where: jax.Array | None, rest: ArrayLike) -> jax.Array:
    return jnp.sum(jnp.square(jnp.sum(_reduction.keep_rows(u, where), axis=0) + rest))


def bit_balance_loss(
    u: ArrayLike,
    *,
    rest: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The squared norm of the sum over samples, zero when every bit is balanced.

    Jiang and Li, Deep Cross-Modal Hashing, CVPR 2017, third term of equation 2. The sum is over
    the whole training set, of which a step holds one batch, and is not divided by its size.

    .. math:: \lVert \mathrm{rest} + \sum_i u_i \rVert^2

    Args:
      u: [n, K] real-valued outputs.
      rest: [K], the sum over the samples that are not in `u`; None for 0.
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: a factor of the loss, one number.
      reduce_fn: ignored; the loss is a scalar.

    Returns:
      float32 scalar.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> float(bit_balance_loss(jnp.array([[1.0, 1.0], [-1.0, 1.0]])))
    4.0
    """
    u, where = _reduction.check_samples(u, where)
    if rest is not None and np.shape(rest) != u.shape[1:]:
        raise ValueError(f"rest has one sum per bit, {u.shape[1:]}, not the shape {np.shape(rest)}")
    rest = jnp.zeros((), u.dtype) if rest is None else jnp.asarray(rest, u.dtype)
    return _reduction.reduce_scalar(_bit_balance(u, where, rest), weights)


@jax.jit
@any_mesh(replicated)
def _decorrelation(u: jax.Array, where: jax.Array) -> jax.Array:
    count = jnp.maximum(jnp.sum(where), 1).astype(u.dtype)
    mean = jnp.sum(_reduction.keep_rows(u, where), axis=0) / count
    centred = _reduction.keep_rows(u - mean[None, :], where)
    covariance = jnp.matmul(centred.T, centred, precision="highest") / count
    others = ~jnp.eye(u.shape[1], dtype=bool)
    return jnp.sum(jnp.square(jnp.where(others, covariance, 0))) / 2


def decorrelation_loss(
    u: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""Half the squared covariances between different bits over the batch.

    Yang et al., Pairwise Relationship Guided Deep Hashing for Cross-Modal Retrieval, AAAI 2017,
    the decorrelation term. The paper prints half of the gradient of this loss.

    .. math:: \frac12 \sum_{a \neq b} C_{ab}^2, \quad
              C_{ab} = \frac1n \sum_i (u_{ia} - \bar u_a)(u_{ib} - \bar u_b)

    Args:
      u: [n, K] real-valued outputs.
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: a factor of the loss, one number.
      reduce_fn: ignored; the loss is a scalar.

    Returns:
      float32 scalar.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> bits = jnp.array([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    >>> float(decorrelation_loss(bits))
    1.0
    """
    u = _checks.outputs("u", u)
    _checks.require_rows(u=u)
    where = _checks.row_mask("where", where, u)
    return _reduction.reduce_scalar(_decorrelation(u, where), weights)
