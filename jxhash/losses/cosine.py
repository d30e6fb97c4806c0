"""Losses on the cosines between outputs, invariant to their norms."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, like_first, row_sharded
from jxhash.losses import _pairs, _reduction
from jxhash.losses._pairs import PairLoss
from jxhash.losses._reduction import ReduceFn

_SMALLEST_DISTANCE = 1e-6


def _like_codes(x: jax.Array) -> jax.Array:
    """Scales rows to the norm of a code, sqrt(K); codes stay exactly as they are."""
    return x * jnp.sqrt(x.shape[1] / _squared_norms(x))[:, None]


def _squared_norms(x: jax.Array) -> jax.Array:
    """Squared norms of rows, 1 for zero rows (their cosines are 0); the squares must be finite."""
    squared = jnp.sum(jnp.square(x), axis=1)
    return jnp.where(squared > 0, squared, 1)


def _margin_block(
    u: jax.Array, v: jax.Array, similarity: jax.Array, margin: ArrayLike, power: ArrayLike
) -> jax.Array:
    cosines = _reduction.products(u, v) / u.shape[1]
    shortfall = jax.nn.relu(margin - similarity.astype(cosines.dtype) * cosines)
    return shortfall * jnp.where(power == 2, shortfall, 1)


_MARGIN = PairLoss(_margin_block, _like_codes)
_POWER = _checks.Alphabet(lambda p: (p == 1) | (p == 2), "1 or 2")


def cosine_margin_loss(
    u: ArrayLike,
    v: ArrayLike,
    similarity: ArrayLike,
    *,
    margin: ArrayLike,
    power: ArrayLike = 2,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""Hinge loss: how far the signed cosine of each pair is below a margin.

    Cao et al., Correlation Hashing Network, BMVC 2017 (power 2); Cao et al., Deep Visual-Semantic
    Hashing, KDD 2016 (power 1).

    .. math:: \max(0, \mathrm{margin} - S_{ij} \cos(u_i, v_j))^{\mathrm{power}}

    Args:
      u: [m, K] real-valued outputs; the cosine with a zero row is 0.
      v: [n, K] real-valued outputs of the other side.
      similarity: [m, n] in {-1, +1}, any real dtype.
      margin: cosines of at least this have no loss; in (0, 1].
      power: 1 or 2.
      where: boolean mask, broadcast to [m, n]; False entries are ignored.
      weights: factors of the losses, broadcast to [m, n].
      reduce_fn: reduces the [m, n] losses; None returns them unreduced.

    Returns:
      float32, the [m, n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` or `v` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, `similarity` is not in {-1, +1}, or `margin` or `power`
        is out of range.

    >>> u, v = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, -1.0], [2.0, 2.0]])
    >>> cosine_margin_loss(u, v, jnp.array([[1, 1]]), margin=0.5, reduce_fn=None).tolist()
    [[0.25, 0.0]]
    """
    _checks.setting("margin", margin, _checks.COSINE)
    _checks.setting("power", power, _POWER)
    u, v = _pairs.check_outputs(u, v)
    pairs = _pairs.check_pairs(u, v, similarity, where, weights, _checks.SIGNED)
    return _pairs.reduced(_MARGIN, pairs, (margin, power), reduce_fn)


@jax.jit
@any_mesh(row_sharded)
def _cosine_quantization(u: jax.Array, margin: ArrayLike, where: jax.Array | None) -> jax.Array:
    u = _reduction.keep_rows(u, where)
    total = jnp.sum(_reduction.magnitude(u), axis=1)
    return jax.nn.relu(
        jnp.asarray(margin, u.dtype) - total / jnp.sqrt(u.shape[1] * _squared_norms(u))
    )


def cosine_quantization_loss(
    u: ArrayLike,
    *,
    margin: ArrayLike,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""Hinge loss: how far the cosine between an output and its code is below a margin.

    Cao et al., Correlation Hashing Network, BMVC 2017, the quantization term. The cosine is at
    least 1 / sqrt(K), so a smaller margin does nothing. With a margin of 1, K / 2 times this is
    the quantization term of Cao et al., Cross-Modal Hamming Hashing, ECCV 2018.

    .. math:: \max\Bigl(0, \mathrm{margin} -
              \frac{\sum_k |u_{ik}|}{\sqrt{K} \, \lVert u_i \rVert}\Bigr)

    Args:
      u: [n, K] real-valued outputs; the cosine of a zero row is 0.
      margin: cosines of at least this have no loss; in (0, 1].
      where: boolean mask, broadcast to [n]; False entries are ignored.
      weights: factors of the losses, broadcast to [n].
      reduce_fn: reduces the [n] losses; None returns them unreduced.

    Returns:
      float32, the [n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `margin` is out of range.

    >>> round(float(cosine_quantization_loss(jnp.array([[1.0, 0.0]]), margin=1.0)), 4)
    0.2929
    """
    _checks.setting("margin", margin, _checks.COSINE)
    u, where = _reduction.check_samples(u, where)
    return _reduction.reduce(_cosine_quantization(u, margin, where), where, weights, reduce_fn)


def _focus(x: jax.Array, focusing: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log(1 - p), (1 - p)^focusing and p^focusing of the probability p = e^-x."""
    log_rest = jax.nn.log1mexp(x)
    return log_rest, jnp.exp(focusing * log_rest), jnp.exp(-focusing * x)


@jax.custom_jvp
def _focal(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    log_rest, of_similar, of_dissimilar = _focus(x, focusing)
    return similarity * of_similar * x - (1 - similarity) * of_dissimilar * log_rest


def _focal_slope(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    odds = 1 / jnp.expm1(x)
    log_rest, of_similar, of_dissimilar = _focus(x, focusing)
    slope_of_similar = of_similar * (1 + focusing * x * odds)
    slope_of_dissimilar = of_dissimilar * (focusing * log_rest - odds)
    return similarity * slope_of_similar + (1 - similarity) * slope_of_dissimilar


def _focal_by_similarity(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    log_rest, of_similar, of_dissimilar = _focus(x, focusing)
    return of_similar * x + of_dissimilar * log_rest


def _focal_by_focusing(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    log_rest, of_similar, of_dissimilar = _focus(x, focusing)
    return (x * log_rest) * (similarity * of_similar + (1 - similarity) * of_dissimilar)


_focal.defjvps(
    lambda tangent, _, *primals: tangent * _focal_slope(*primals),
    lambda tangent, _, *primals: tangent * _focal_by_similarity(*primals),
    lambda tangent, _, *primals: tangent * _focal_by_focusing(*primals),
)


def _focal_block(
    u: jax.Array, v: jax.Array, similarity: jax.Array, beta: ArrayLike, focusing: ArrayLike
) -> jax.Array:
    products = _reduction.products(u, v)
    distances = jnp.maximum((u.shape[1] - products) / 2, _SMALLEST_DISTANCE)
    x = beta * distances
    return _focal(x, similarity.astype(x.dtype), jnp.asarray(focusing, x.dtype))


_FOCAL = PairLoss(_focal_block, _like_codes)


def hamming_focal_loss(
    u: ArrayLike,
    v: ArrayLike,
    similarity: ArrayLike,
    *,
    beta: ArrayLike,
    focusing: ArrayLike = 2.0,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""The focal loss of a similarity probability that decays with the Hamming distance.

    Cao et al., Cross-Modal Hamming Hashing, ECCV 2018. It down-weights similar pairs that are
    already close, so the gradient comes from those outside the lookup radius. `balanced_weights`
    gives the class weights for `weights`.

    Distances between codes are exact. Between other outputs, float32 resolves them to about
    K 2^-23: for 64 bits the loss of a dissimilar pair, which grows like -log(d), has an error
    of 0.01 at d = 0.001 and is not resolved below d = 0.00001.

    .. math:: -S_{ij} (1 - p_{ij})^\gamma \log p_{ij}
              - (1 - S_{ij}) \, p_{ij}^\gamma \log(1 - p_{ij}), \quad
              p_{ij} = e^{-\beta d_{ij}}, \quad
              d_{ij} = \max\bigl(\tfrac K2 (1 - \cos(u_i, v_j)), 10^{-6}\bigr)

    Args:
      u: [m, K] real-valued outputs; the cosine with a zero row is 0.
      v: [n, K] real-valued outputs of the other side.
      similarity: [m, n] in [0, 1], 1 where the pair is similar; any real dtype.
      beta: the decay rate, above 0; the probability halves every log(2) / beta bits.
      focusing: the exponent gamma, not negative; 0 gives the cross-entropy.
      where: boolean mask, broadcast to [m, n]; False entries are ignored.
      weights: factors of the losses, broadcast to [m, n].
      reduce_fn: reduces the [m, n] losses; None returns them unreduced.

    Returns:
      float32, the [m, n] losses reduced by `reduce_fn`.

    Raises:
      TypeError: `u` or `v` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, `similarity` is outside [0, 1], or `beta` or `focusing`
        is out of range.

    >>> u, v = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, -1.0]])
    >>> round(float(hamming_focal_loss(u, v, jnp.array([[1]]), beta=0.1, focusing=0)), 4)
    0.1
    """
    _checks.setting("beta", beta, _checks.POSITIVE)
    _checks.setting("focusing", focusing, _checks.NOT_NEGATIVE)
    u, v = _pairs.check_outputs(u, v)
    pairs = _pairs.check_pairs(u, v, similarity, where, weights, _checks.SIMILAR)
    return _pairs.reduced(_FOCAL, pairs, (beta, focusing), reduce_fn)


@jax.jit
@any_mesh(like_first)
def _balanced_weights(similarity: jax.Array, where: jax.Array | None) -> jax.Array:
    similar = similarity > 0
    counted = jnp.ones((1, 1), bool) if where is None else where
    num_similar = jnp.sum(similar & counted)
    num_pairs = jnp.sum(jnp.broadcast_to(counted, similar.shape))
    ratio = (num_pairs / jnp.maximum(num_similar, 1)).astype(similarity.dtype)
    return jnp.where(similar, ratio, 1)


def balanced_weights(similarity: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    r"""Weights that balance the few similar pairs against the dissimilar ones.

    Cao et al., Cross-Modal Hamming Hashing, ECCV 2018: the number of pairs over the number of
    similar pairs for similar pairs, 1 for dissimilar ones.

    Args:
      similarity: [m, n] of any real dtype, above 0 where the pair is similar.
      where: boolean mask, broadcast to [m, n]; False entries are not counted.

    Returns:
      float32 [m, n], finite even if no pair is similar.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: `similarity` is empty, or `where` does not broadcast to it.

    >>> balanced_weights(jnp.array([[1, 0, 0]])).tolist()
    [[3.0, 1.0, 1.0]]
    """
    matrix = _checks.real("similarity", similarity)
    _checks.require_rows(similarity=matrix)
    found: jax.Array = _balanced_weights(matrix, _checks.mask("where", where, matrix.shape))
    return found
