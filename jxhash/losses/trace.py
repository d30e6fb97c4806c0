"""The trace loss between the codes of two modalities, which `discrete.trace_step` minimises."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, replicated
from jxhash.losses import _pairs, _reduction
from jxhash.losses._reduction import ReduceFn


@jax.jit
@any_mesh(replicated)
def _trace(pairs: _pairs.Pairs) -> jax.Array:
    u, v, similarity, *_ = _pairs.keep_pairs(pairs)
    # Via [m, K], so that the [m, n] products are never held.
    return -jnp.vdot(u, jnp.matmul(similarity.astype(v.dtype), v, precision="highest"))


def trace_loss(
    codes_u: ArrayLike,
    codes_v: ArrayLike,
    similarity: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The negative inner products of all pairs of codes, weighted by similarity.

    Shen et al., Deep Binaries: Encoding Semantic-Rich Cues for Efficient Textual-Visual Cross
    Retrieval, ICCV 2017, first term. Without negative similarities the optimal codes are all
    equal, and a warning says so: use `similarity.signed`, not `similarity.share_label`.

    .. math:: -\sum_{ij} S_{ij} \langle b_i, h_j \rangle

    Args:
      codes_u: [m, K] codes or outputs of any real dtype.
      codes_v: [n, K] codes or outputs of the other side.
      similarity: [m, n], negative where the pair is dissimilar; any real dtype.
      where: boolean mask, broadcast to [m, n]; False entries are ignored.
      weights: a factor of the loss, one number.
      reduce_fn: ignored; the loss is a scalar.

    Returns:
      float32 scalar.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: the shapes do not match.

    >>> codes = jnp.array([[1, 1], [-1, 1]], jnp.int8)
    >>> float(trace_loss(codes, codes, jnp.array([[1, -1], [-1, 1]])))
    -4.0
    """
    u, v = _checks.real("codes_u", codes_u), _checks.real("codes_v", codes_v)
    _checks.require_rows(codes_u=u, codes_v=v)
    _checks.same("width", codes_u=u, codes_v=v)
    u, v = _checks.one_dtype(u, v)
    pairs = _pairs.check_pairs(u, v, similarity, where, None, None)
    _checks.warn_of_agreement(similarity, pairs.where)
    return _reduction.reduce_scalar(_trace(pairs), weights)
