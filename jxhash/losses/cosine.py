"""Losses on the angles between outputs, which do not change with their lengths."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash.losses import _pairs, _reduction
from jxhash.losses._pairs import PairLoss
from jxhash.losses._reduction import ReduceFn

_SMALLEST_DISTANCE = 1e-6


def _like_codes(x: jax.Array) -> jax.Array:
    """Rows scaled to the length of a code, sqrt(K), which leaves codes exactly as they are."""
    return x * jnp.sqrt(x.shape[1] / _squared_norms(x))[:, None]


def _squared_norms(x: jax.Array) -> jax.Array:
    """Those of rows, whose squares must be finite; 1 for zero rows, whose cosines are 0."""
    squared = jnp.sum(jnp.square(x), axis=1)
    return jnp.where(squared > 0, squared, 1)


def _both_like_codes(u: jax.Array, v: jax.Array, *_: ArrayLike) -> tuple[jax.Array, jax.Array]:
    return _like_codes(u), _like_codes(v)


def _margin_block(
    u: jax.Array, v: jax.Array, similarity: jax.Array, margin: ArrayLike, power: ArrayLike
) -> jax.Array:
    cosines = _reduction.products(u, v) / u.shape[1]
    shortfall = jax.nn.relu(margin - similarity.astype(cosines.dtype) * cosines)
    return shortfall * jnp.where(power == 2, shortfall, 1)


_MARGIN = PairLoss(_both_like_codes, _margin_block)
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
    r"""How much the cosine of each pair falls short of a margin on its side of zero.

    Cao et al., Correlation Hashing Network, BMVC 2017 (power 2); Cao et al., Deep Visual-Semantic
    Hashing, KDD 2016 (power 1).

    .. math:: \max(0, \mathrm{margin} - S_{ij} \cos(u_i, v_j))^{\mathrm{power}}

    Args:
      u: [m, K] real-valued outputs; the cosine with a zero row is 0.
      v: [n, K] real-valued outputs of the other side.
      similarity: [m, n] in {-1, +1}, any real dtype.
      margin: the cosine that is enough, above 0 and at most 1.
      power: 1 or 2.
      where: boolean, broadcast to [m, n]; what is False does not count.
      weights: broadcast to [m, n], multiplied with the loss.
      reduce_fn: reduces the [m, n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [m, n] losses, in float32.

    Raises:
      TypeError: `u` or `v` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, `similarity` is not in {-1, +1}, or `margin` or `power`
        is out of its range.

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
def _cosine_quantization(u: jax.Array, margin: ArrayLike, where: jax.Array | None) -> jax.Array:
    u = _reduction.keep_rows(u, where)
    total = jnp.sum(_reduction.magnitude(u), axis=1)
    return jax.nn.relu(margin - total / jnp.sqrt(u.shape[1] * _squared_norms(u)))


def cosine_quantization_loss(
    u: ArrayLike,
    *,
    margin: ArrayLike,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: ReduceFn | None = jnp.mean,
) -> jax.Array:
    r"""How much the cosine between an output and its code falls short of a margin.

    Cao et al., Correlation Hashing Network, BMVC 2017, the quantization term. The cosine is at
    least 1 / sqrt(K), so a smaller margin does nothing. With a margin of 1, K / 2 times this is
    the quantization term of Cao et al., Cross-Modal Hamming Hashing, ECCV 2018.

    .. math:: \max\Bigl(0, \mathrm{margin} -
              \frac{\sum_k |u_{ik}|}{\sqrt{K} \, \lVert u_i \rVert}\Bigr)

    Args:
      u: [n, K] real-valued outputs; the cosine of a zero row is 0.
      margin: the cosine that is enough, above 0 and at most 1.
      where: boolean, broadcast to [n]; what is False does not count.
      weights: broadcast to [n], multiplied with the loss.
      reduce_fn: reduces the [n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [n] losses, in float32.

    Raises:
      TypeError: `u` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, or `margin` is out of its range.

    >>> round(float(cosine_quantization_loss(jnp.array([[1.0, 0.0]]), margin=1.0)), 4)
    0.2929
    """
    _checks.setting("margin", margin, _checks.COSINE)
    u = _checks.outputs("u", u)
    _checks.require_rows(u=u)
    where = _checks.mask("where", where, u.shape[:1])
    return _reduction.reduce(_cosine_quantization(u, margin, where), where, weights, reduce_fn)


def _odds(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The probability p = e^-x, 1 - p and log(1 - p), with all digits at either end."""
    p, rest = jnp.exp(-x), -jnp.expm1(-x)
    # What rounding took from 1 - p, the quotient gives back to its logarithm.
    rounded = 1 - rest
    exact = rounded > 0
    log_rest = jnp.where(exact, jnp.log(rest) * p / jnp.where(exact, rounded, 1), -p)
    return p, rest, log_rest


def _focus(x: jax.Array, log_rest: jax.Array, focusing: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(1 - p)^focusing and p^focusing, from the logarithms: a power would take them again."""
    return jnp.exp(focusing * log_rest), jnp.exp(-focusing * x)


@jax.custom_jvp
def _focal(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    _, _, log_rest = _odds(x)
    of_similar, of_dissimilar = _focus(x, log_rest, focusing)
    return similarity * of_similar * x - (1 - similarity) * of_dissimilar * log_rest


def _focal_slope(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    p, rest, log_rest = _odds(x)
    odds = p / rest
    of_similar, of_dissimilar = _focus(x, log_rest, focusing)
    slope_of_similar = of_similar * (1 + focusing * x * odds)
    slope_of_dissimilar = of_dissimilar * (focusing * log_rest - odds)
    return similarity * slope_of_similar + (1 - similarity) * slope_of_dissimilar


def _focal_by_similarity(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    _, _, log_rest = _odds(x)
    of_similar, of_dissimilar = _focus(x, log_rest, focusing)
    return of_similar * x + of_dissimilar * log_rest


def _focal_by_focusing(x: jax.Array, similarity: jax.Array, focusing: jax.Array) -> jax.Array:
    _, _, log_rest = _odds(x)
    of_similar, of_dissimilar = _focus(x, log_rest, focusing)
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


_FOCAL = PairLoss(_both_like_codes, _focal_block)


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
    r"""The focal loss of similarity as a probability that decays with the Hamming distance.

    Cao et al., Cross-Modal Hamming Hashing, ECCV 2018. Pairs that are already close count little,
    so the gradient goes to similar pairs outside of the radius that a lookup searches. The weights
    of the two classes go into `weights`: see `balanced_weights`.

    Distances of codes are exact. Those of other outputs are resolved to some K 2^-23 in float32, so
    the loss of a dissimilar pair, which grows like -log(d), is exact to a hundredth at d = 0.001
    for 64 bits, and below d = 0.00001 is only known to be as large as there.

    .. math:: -S_{ij} (1 - p_{ij})^\gamma \log p_{ij}
              - (1 - S_{ij}) \, p_{ij}^\gamma \log(1 - p_{ij}), \quad
              p_{ij} = e^{-\beta d_{ij}}, \quad
              d_{ij} = \max\bigl(\tfrac K2 (1 - \cos(u_i, v_j)), 10^{-6}\bigr)

    Args:
      u: [m, K] real-valued outputs; the cosine with a zero row is 0.
      v: [n, K] real-valued outputs of the other side.
      similarity: [m, n] in [0, 1], 1 where the pair is similar; any real dtype.
      beta: how fast the probability decays, above 0: it halves every log(2) / beta bits.
      focusing: the exponent gamma, not negative; 0 gives the cross-entropy.
      where: boolean, broadcast to [m, n]; what is False does not count.
      weights: broadcast to [m, n], multiplied with the loss.
      reduce_fn: reduces the [m, n] losses; None leaves them.

    Returns:
      What `reduce_fn` makes of the [m, n] losses, in float32.

    Raises:
      TypeError: `u` or `v` is not real-valued, `where` is not boolean.
      ValueError: the shapes do not match, `similarity` leaves [0, 1], or `beta` or `focusing` is
        out of its range.

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
def _balanced_weights(similarity: jax.Array, where: jax.Array | None) -> jax.Array:
    similar = similarity > 0
    counted = jnp.ones((1, 1), bool) if where is None else where
    num_similar = jnp.sum(similar & counted)
    num_pairs = jnp.sum(jnp.broadcast_to(counted, similar.shape))
    return jnp.where(similar, num_pairs / jnp.maximum(num_similar, 1), 1.0)


def balanced_weights(similarity: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    r"""Weights that make up for the rarity of similar pairs.

    Cao et al., Cross-Modal Hamming Hashing, ECCV 2018: the number of pairs over the number of
    similar pairs for a similar pair, 1 for another.

    Args:
      similarity: [m, n] of any real dtype, above 0 where the pair is similar.
      where: boolean, broadcast to [m, n]; what is False is not counted.

    Returns:
      float32 [m, n], finite also where nothing is similar.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: `similarity` is empty, or `where` does not broadcast to it.

    >>> balanced_weights(jnp.array([[1, 0, 0]])).tolist()
    [[3.0, 1.0, 1.0]]
    """
    matrix = _checks.real("similarity", similarity)
    _checks.require_rows(similarity=matrix)
    return _balanced_weights(matrix, _checks.mask("where", where, matrix.shape))
