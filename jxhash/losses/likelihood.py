"""Negative log-likelihoods of Bernoulli variables: pairs and bits."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, like_first, row_sharded
from jxhash.losses import _pairs, _reduction
from jxhash.losses._pairs import PairLoss
from jxhash.losses._reduction import ReduceFn
from jxhash.similarity import share_label


@jax.custom_jvp
def _negative_log_likelihood(logits: jax.Array, targets: jax.Array) -> jax.Array:
    # softplus(x) - t x as a sum of positive terms: no cancellation, no overflow.
    distance = jnp.where(logits >= 0, (1 - targets) * logits, -targets * logits)
    return jnp.log1p(jnp.exp(-jnp.abs(logits))) + distance


def _residual(logits: jax.Array, targets: jax.Array) -> jax.Array:
    # sigmoid(x) - t from the same exponential as the value, again without cancellation.
    decay = jnp.exp(-jnp.abs(logits))
    positive = logits >= 0
    towards_zero = (1 - targets) * jnp.where(positive, 1, decay)
    towards_one = targets * jnp.where(positive, decay, 1)
    return (towards_zero - towards_one) / (1 + decay)


_negative_log_likelihood.defjvps(
    lambda tangent, _, logits, targets: tangent * _residual(logits, targets),
    lambda tangent, _, logits, targets: -tangent * logits,
)


def _pairwise_block(
    u: jax.Array, v: jax.Array, similarity: jax.Array, scale: ArrayLike, clip: ArrayLike | None
) -> jax.Array:
    # The factor goes to the rows, which are fewer than the products.
    logits = _reduction.products(jnp.multiply(scale, u), v)
    logits = logits if clip is None else jnp.clip(logits, jnp.negative(clip), clip)
    return _negative_log_likelihood(logits, similarity.astype(logits.dtype))


_PAIRWISE = PairLoss(_pairwise_block)


def pairwise_log_likelihood_loss(
    u: ArrayLike,
    v: ArrayLike,
    similarity: ArrayLike,
    *,
    scale: ArrayLike = 0.5,
    clip: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The negative log-likelihood of the similarities given the inner products of the outputs.

    Jiang and Li, Deep Cross-Modal Hashing, CVPR 2017, equation 1 (scale 1/2); the same with a
    factor of 1 in Cao et al., Transitive Hashing Network, AAAI 2017, and, clipped to 15, in Cao et
    al., Collective Deep Quantization, AAAI 2017.

    .. math:: \log(1 + e^{\theta_{ij}}) - S_{ij} \theta_{ij}, \quad
              \theta_{ij} = \mathrm{scale} \, \langle u_i, v_j \rangle

    Args:
      u: [m, K] real-valued outputs.
      v: [n, K] real-valued outputs of the other side.
      similarity: [m, n] in [0, 1], 1 where the pair is similar; any real dtype.
      scale: the factor of the inner products, above 0.
      clip: clips theta to [-clip, clip], outside of which the gradient is 0; None does not clip.
      where: boolean mask, broadcast to [m, n]; False entries are ignored.
      weights: factors of the losses, broadcast to [m, n].
      reduce_fn: reduces the [m, n] losses; None returns them unreduced.

    Returns:
      float32, the [m, n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` or `v` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `similarity` is outside [0, 1].

    >>> u = jnp.array([[1.0, 1.0]])
    >>> v = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    >>> losses = pairwise_log_likelihood_loss(u, v, jnp.array([[1, 0]]), reduce_fn=None)
    >>> [round(float(loss), 4) for loss in losses[0]]
    [0.3133, 0.6931]
    """
    _check_settings(scale, clip)
    u, v = _pairs.check_outputs(u, v)
    pairs = _pairs.check_pairs(u, v, similarity, where, weights, _checks.SIMILAR)
    return _pairs.reduced(_PAIRWISE, pairs, (scale, clip), reduce_fn)


def _check_settings(scale: ArrayLike, clip: ArrayLike | None) -> None:
    _checks.setting("scale", scale, _checks.POSITIVE)
    if clip is not None:
        _checks.setting("clip", clip, _checks.POSITIVE)


@jax.jit
@any_mesh(row_sharded)
def _from_labels(
    u: jax.Array,
    v: jax.Array,
    labels_u: jax.Array,
    labels_v: jax.Array,
    where: jax.Array | None,
    where_v: jax.Array | None,
    scale: ArrayLike,
    clip: ArrayLike | None,
) -> jax.Array:
    settings = _reduction.cast((scale, clip), u.dtype)
    u, labels_u = _reduction.keep_rows(u, where), _reduction.keep_rows(labels_u, where)
    v, labels_v = _reduction.keep_rows(v, where_v), _reduction.keep_rows(labels_v, where_v)
    columns = None if where_v is None else where_v[None, :]
    count = jnp.maximum(_reduction.count(columns, (1, len(v)), u.dtype), 1)

    def means(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        u_rows, labels_rows = rows
        shared = share_label(labels_rows, labels_v)
        losses = _pairwise_block(u_rows, v, shared, *settings)
        return jnp.sum(_reduction.weigh(losses, columns, None), axis=1) / count

    # One row holds its similarities and its products.
    return _pairs.by_rows(means, (u, labels_u), 2 * len(v))


def pairwise_log_likelihood_from_labels_loss(
    u: ArrayLike,
    v: ArrayLike,
    labels_u: ArrayLike,
    labels_v: ArrayLike,
    *,
    scale: ArrayLike = 0.5,
    clip: ArrayLike | None = None,
    where: ArrayLike | None = None,
    where_v: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The pairwise log-likelihood of samples that are similar if they share a label.

    Equals `pairwise_log_likelihood_loss` with `similarity.share_label(labels_u, labels_v)`, but
    never holds all pairs: made for a batch against a whole data set.

    .. math:: \frac1n \sum_j \log(1 + e^{\theta_{ij}}) - S_{ij} \theta_{ij}, \quad
              \theta_{ij} = \mathrm{scale} \, \langle u_i, v_j \rangle, \quad
              S_{ij} = [\langle l_i, l_j \rangle > 0]

    Args:
      u: [m, K] real-valued outputs.
      v: [n, K] real-valued outputs of the other side.
      labels_u: [m, C] multi-hot labels of any real dtype.
      labels_v: [n, C] multi-hot labels.
      scale: the factor of the inner products, above 0.
      clip: clips theta to [-clip, clip], outside of which the gradient is 0; None does not clip.
      where: boolean mask, broadcast to [m]; False entries are ignored.
      where_v: boolean mask, broadcast to [n]; False entries enter no mean.
      weights: factors of the losses, broadcast to [m].
      reduce_fn: reduces the [m] losses, each a mean over the other side; None returns them.

    Returns:
      float32, the [m] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` or `v` is not real-valued, a mask is not boolean.
      ValueError: the shapes do not match, or labels are negative.

    >>> u, v = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    >>> labels_u, labels_v = jnp.array([[1, 0]]), jnp.array([[1, 1], [0, 1]])
    >>> loss = pairwise_log_likelihood_from_labels_loss(u, v, labels_u, labels_v)
    >>> round(float(loss), 4)
    0.5032
    """
    _check_settings(scale, clip)
    u, v = _pairs.check_outputs(u, v)
    labels_u, labels_v = _checks.real("labels_u", labels_u), _checks.real("labels_v", labels_v)
    _checks.require_rows(labels_u=labels_u, labels_v=labels_v)
    _checks.same("width", labels_u=labels_u, labels_v=labels_v)
    _checks.same("length", u=u, labels_u=labels_u)
    _checks.same("length", v=v, labels_v=labels_v)
    where = _checks.mask("where", where, u.shape[:1])
    where_v = _checks.mask("where_v", where_v, v.shape[:1])
    _checks.require_values("labels_u", labels_u, _checks.NOT_NEGATIVE, where)
    _checks.require_values("labels_v", labels_v, _checks.NOT_NEGATIVE, where_v)
    losses = _from_labels(u, v, labels_u, labels_v, where, where_v, scale, clip)
    return _reduction.reduce(losses, where, weights, reduce_fn)


@jax.jit
@any_mesh(like_first)
def _bit_cross_entropy(logits: jax.Array, bits: jax.Array, where: jax.Array | None) -> jax.Array:
    return _negative_log_likelihood(
        _reduction.keep(logits, where), _reduction.keep(bits, where).astype(logits.dtype)
    )


def bit_cross_entropy_loss(
    logits: ArrayLike,
    bits: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The cross-entropy of each bit with its target, which may be soft.

    Chen et al., Dual Deep Neural Networks Cross-Modal Hashing, AAAI 2018: each bit is a binary
    classification.

    .. math:: \log(1 + e^{z_{ik}}) - t_{ik} z_{ik}

    Args:
      logits: [n, K] real-valued outputs.
      bits: [n, K] targets in [0, 1] of any real dtype.
      where: boolean mask, broadcast to [n, K]; False entries are ignored.
      weights: factors of the losses, broadcast to [n, K].
      reduce_fn: reduces the [n, K] losses; None returns them unreduced.

    Returns:
      float32, the [n, K] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `logits` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `bits` is outside [0, 1].

    >>> loss = bit_cross_entropy_loss(jnp.array([[2.0, 0.0]]), jnp.array([[1, 0]]), reduce_fn=None)
    >>> [round(float(bit), 4) for bit in loss[0]]
    [0.1269, 0.6931]
    """
    values = bits
    logits, bits = _checks.outputs("logits", logits), _checks.real("bits", bits)
    _checks.require_rows(logits=logits)
    _checks.same("shape", logits=logits, bits=bits)
    where = _checks.mask("where", where, logits.shape)
    _checks.require_values("bits", values, _checks.BITS, where)
    return _reduction.reduce(_bit_cross_entropy(logits, bits, where), where, weights, reduce_fn)
