"""Losses that pull outputs towards codes; one value per sample."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, row_sharded
from jxhash.losses import _reduction
from jxhash.losses._reduction import ReduceFn

_SMALLEST_MAGNITUDE = 1e-6


@jax.jit
@any_mesh(row_sharded)
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
      codes: [n, K] codes or their relaxation, any real dtype; a float array gets a gradient.
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: factors of the losses, broadcast to [n].
      reduce_fn: reduces the [n] losses; None returns them unreduced.

    Returns:
      float32, the [n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> float(quantization_loss(jnp.array([[0.5, -1.0]]), jnp.array([[1, -1]])))
    0.25
    """
    u, where = _reduction.check_samples(u, where)
    codes = _checks.real("codes", codes)
    _checks.same("shape", u=u, codes=codes)
    u, codes = _checks.one_dtype(u, codes)
    return _reduction.reduce(_quantization(u, codes, where), where, weights, reduce_fn)


@jax.jit
@any_mesh(row_sharded)
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
    r"""The negative log-magnitudes of outputs in (-1, 1), zero at codes.

    Cao et al., Transitive Hashing Network, AAAI 2017, the quantization term.

    .. math:: -\sum_k \log \max(|u_{ik}|, 10^{-6})

    Args:
      u: [n, K] real-valued outputs; the loss is not negative after tanh.
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: factors of the losses, broadcast to [n].
      reduce_fn: reduces the [n] losses; None returns them unreduced.

    Returns:
      float32, the [n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match.

    >>> round(float(log_magnitude_loss(jnp.tanh(jnp.array([[0.1, 1.0]])))), 4)
    2.5783
    """
    u, where = _reduction.check_samples(u, where)
    return _reduction.reduce(_log_magnitude(u, where), where, weights, reduce_fn)


@jax.jit
@any_mesh(row_sharded)
def _bit_margin(u: jax.Array, margin: ArrayLike, where: jax.Array | None) -> jax.Array:
    magnitudes = _reduction.magnitude(_reduction.keep_rows(u, where))
    return jnp.sum(jax.nn.relu(jnp.asarray(margin, u.dtype) - magnitudes), axis=1)


def bit_margin_loss(
    u: ArrayLike,
    *,
    margin: ArrayLike = 0.5,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""Hinge loss: how far the magnitudes are below a margin, summed over the bits.

    Cao et al., Deep Visual-Semantic Hashing for Cross-Modal Retrieval, KDD 2016, the bitwise
    maximum-margin term.

    .. math:: \sum_k \max(0, \mathrm{margin} - |u_{ik}|)

    Args:
      u: [n, K] real-valued outputs.
      margin: magnitudes of at least this have no loss; above 0.
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: factors of the losses, broadcast to [n].
      reduce_fn: reduces the [n] losses; None returns them unreduced.

    Returns:
      float32, the [n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `margin` is not positive.

    >>> round(float(bit_margin_loss(jnp.array([[-0.7, 0.2, 0.0, 0.5]]))), 4)
    0.8
    """
    _checks.setting("margin", margin, _checks.POSITIVE)
    u, where = _reduction.check_samples(u, where)
    return _reduction.reduce(_bit_margin(u, margin, where), where, weights, reduce_fn)
