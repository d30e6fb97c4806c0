"""Discrete cyclic coordinate descent: codes of a quadratic problem, one bit after the other."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks, codes


@jax.jit
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

    return jax.lax.fori_loop(0, sweeps * num_bits, update, previous).astype(jnp.int8)


def cyclic_coordinate_descent(
    linear: ArrayLike, weights: ArrayLike, *, previous: ArrayLike, sweeps: int = 1
) -> jax.Array:
    r"""Codes that map linearly to targets, improved one bit at a time for all samples together.

    Shen et al., Supervised Discrete Hashing, CVPR 2015, the step for B. Each update is the exact
    minimiser over one bit, so from `previous` on the following never increases:

    .. math:: \lVert B W \rVert^2 - 2 \langle B, Q \rangle

    which for Q = Y W^T + nu F is the squared distance of B W to targets Y plus nu times that of B
    to outputs F, up to a constant.

    Args:
      linear: [n, K], Q above.
      weights: [K, C], W above.
      previous: [n, K] codes to start from, which a bit also keeps at a tie.
      sweeps: how often to go over all bits.

    Returns:
      int8 codes [n, K] in {-1, +1}.

    Raises:
      ValueError: the shapes do not match, or `sweeps` is no number of sweeps.

    >>> previous = jnp.array([[1, 1]])
    >>> cyclic_coordinate_descent(
    ...     jnp.array([[1.0, -1.0]]), jnp.array([[1.0], [2.0]]), previous=previous
    ... ).tolist()
    [[-1, 1]]
    """
    linear, weights = _checks.real("linear", linear), _checks.real("weights", weights)
    start = _checks.real("previous", previous)
    _checks.same_shape(linear=linear, previous=start)
    _checks.setting("sweeps", sweeps, _checks.COUNT)
    _checks.require_rows(linear=linear, weights=weights)
    if linear.shape[1] != len(weights):
        raise ValueError(
            "weights has a row for each bit of linear, "
            f"not the shapes {weights.shape} and {linear.shape}"
        )
    return _descend(linear, weights, codes.sign(start).astype(linear.dtype), sweeps)
