"""Discrete cyclic coordinate descent: quadratic problems over codes, solved bit by bit."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks, codes
from jxhash._sharding import any_mesh, like_first


@jax.jit
@any_mesh(like_first)
def _descend(
    linear: jax.Array, weights: jax.Array, previous: jax.Array, sweeps: ArrayLike
) -> jax.Array:
    num_bits = linear.shape[1]
    gram = jnp.matmul(weights, weights.T, precision="highest")
    # A bit does not act on itself: its square is always one.
    coupling = jnp.where(jnp.eye(num_bits, dtype=bool), 0, gram)

    def update(step: jax.Array, current: jax.Array) -> jax.Array:
        bit = step % num_bits
        pull = linear[:, bit] - jnp.matmul(current, coupling[:, bit], precision="highest")
        bits = codes.sign(pull, current[:, bit]).astype(current.dtype)
        return current.at[:, bit].set(bits)

    found: jax.Array = jax.lax.fori_loop(0, sweeps * num_bits, update, previous).astype(jnp.int8)
    return found


def cyclic_coordinate_descent(
    linear: ArrayLike, weights: ArrayLike, *, previous: ArrayLike, sweeps: int = 1
) -> jax.Array:
    r"""Codes that predict targets linearly, optimised one bit at a time for all samples.

    Shen et al., Supervised Discrete Hashing, CVPR 2015, the step for B. Each update minimises
    exactly over one bit, so starting from `previous` it never increases

    .. math:: \lVert B W \rVert^2 - 2 \langle B, Q \rangle

    For Q = Y W^T + nu F this is, up to a constant, the squared distance of B W to targets Y plus
    nu times that of B to outputs F.

    Args:
      linear: [n, K], the matrix Q.
      weights: [K, C], the matrix W.
      previous: [n, K] codes to start from, kept at a tie.
      sweeps: the number of passes over all bits.

    Returns:
      int8 codes [n, K] in {-1, +1}.

    Raises:
      ValueError: the shapes do not match, or `sweeps` is below 1.

    >>> previous = jnp.array([[1, 1]])
    >>> cyclic_coordinate_descent(
    ...     jnp.array([[1.0, -1.0]]), jnp.array([[1.0], [2.0]]), previous=previous
    ... ).tolist()
    [[-1, 1]]
    """
    linear, weights = _checks.real("linear", linear), _checks.real("weights", weights)
    linear, weights = _checks.one_dtype(linear, weights)
    start = _checks.real("previous", previous)
    _checks.same("shape", linear=linear, previous=start)
    _checks.setting("sweeps", sweeps, _checks.COUNT)
    _checks.require_rows(linear=linear, weights=weights)
    if linear.shape[1] != len(weights):
        raise ValueError(
            "weights has one row per bit of linear, "
            f"not the shapes {weights.shape} and {linear.shape}"
        )
    found: jax.Array = _descend(linear, weights, codes.sign(start).astype(linear.dtype), sweeps)
    return found
