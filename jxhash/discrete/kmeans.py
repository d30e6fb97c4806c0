"""Anchors: k-means, and points described by how near they are to each centre."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks, parallel


def _squared_distances(points: jax.Array, centres: jax.Array) -> jax.Array:
    # About a common origin, since the errors of the expansion grow with the norms.
    origin = jnp.mean(centres, axis=0, keepdims=True)
    points, centres = points - origin, centres - origin
    norms = jnp.sum(jnp.square(points), axis=1)[:, None], jnp.sum(jnp.square(centres), axis=1)
    products = jnp.matmul(points, centres.T, precision="highest")
    return jnp.maximum(norms[0] + norms[1][None, :] - 2 * products, 0)


def _spread_seeds(key: jax.Array, points: jax.Array, where: jax.Array, number: int) -> jax.Array:
    """The seeds of k-means++: each drawn with its squared distance to the seeds before."""
    every = jnp.where(where, 0.0, -jnp.inf)

    def add(step: jax.Array, state: tuple) -> tuple[jax.Array, jax.Array]:
        seeds, nearest = state
        weights = jnp.where(where, nearest, 0)
        # Fewer distinct points than seeds: the rest repeat points.
        logits = jnp.where(jnp.any(weights > 0), jnp.log(weights), every)
        seed = points[jax.random.categorical(jax.random.fold_in(key, step), logits)]
        distances = jnp.sum(jnp.square(points - seed[None, :]), axis=1)
        return seeds.at[step].set(seed), jnp.minimum(nearest, distances)

    first = points[jax.random.categorical(jax.random.fold_in(key, 0), every)]
    nearest = jnp.sum(jnp.square(points - first[None, :]), axis=1)
    seeds = jnp.broadcast_to(first[None, :], (number, points.shape[1]))
    return jax.lax.fori_loop(1, number, add, (seeds, nearest))[0]


def _move(points: jax.Array, centres: jax.Array, where: jax.Array) -> jax.Array:
    owners = jnp.argmin(_squared_distances(points, centres), axis=1)
    sums = jnp.zeros_like(centres).at[owners].add(points)
    counts = jnp.zeros(len(centres), points.dtype).at[owners].add(where.astype(points.dtype))
    sums, counts = parallel.total((sums, counts))
    means = sums / jnp.maximum(counts, 1)[:, None]
    return jnp.where(counts[:, None] > 0, means, centres)


def kmeans(
    key: jax.Array,
    points: ArrayLike,
    num_clusters: int,
    *,
    steps: int = 20,
    where: ArrayLike | None = None,
) -> jax.Array:
    r"""The centres of clusters, by Lloyd's steps from seeds that are drawn far apart.

    Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007, for the
    seeds. No step increases

    .. math:: \sum_i \min_j \lVert x_i - m_j \rVert^2

    Inside `parallel.pmapped` the points of all devices take part.

    Args:
      key: draws the seeds; the same on every device.
      points: [n, d] real numbers.
      num_clusters: k; with fewer distinct points than that, centres repeat.
      steps: how often the centres move.
      where: boolean [n]; a row that is False takes no part.

    Returns:
      float32 [k, d]; a centre that owns no point stays where it was.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: there are no points, no clusters, or fewer than no steps.

    >>> points = jnp.array([[0.0], [1.0], [10.0], [11.0]])
    >>> sorted(kmeans(jax.random.key(0), points, 2).ravel().tolist())
    [0.5, 10.5]
    """
    points = _checks.real("points", points)
    _checks.require_rows(points=points)
    _checks.setting("num_clusters", num_clusters, _checks.COUNT)
    _checks.setting("steps", steps, _checks.WHOLE)
    where = _checks.row_mask("where", where, points)
    return _kmeans(key, jnp.where(where[:, None], points, 0), where, num_clusters, steps)


@functools.partial(jax.jit, static_argnames="num_clusters")
def _kmeans(
    key: jax.Array, points: jax.Array, where: jax.Array, num_clusters: int, steps: ArrayLike
) -> jax.Array:
    every_point, every_mask = parallel.all_rows((points, where))
    seeds = _spread_seeds(key, every_point, every_mask, num_clusters)
    return jax.lax.fori_loop(0, steps, lambda _, centres: _move(points, centres, where), seeds)


def anchor_bandwidth(
    points: ArrayLike, anchors: ArrayLike, *, where: ArrayLike | None = None
) -> jax.Array:
    """The median squared distance between points and anchors, a scale for `anchor_affinities`.

    Inside `parallel.pmapped` the points of all devices take part.

    Args:
      points: [n, d] real numbers.
      anchors: [k, d] centres; the same on every device.
      where: boolean [n]; a row that is False takes no part.

    Returns:
      A scalar in float32.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: the widths differ, or there are no points or anchors.

    >>> float(anchor_bandwidth(jnp.array([[0.0], [2.0]]), jnp.array([[0.0]])))
    2.0
    """
    points, anchors = _check_anchors(points, anchors)
    where = _checks.row_mask("where", where, points)
    distances = _squared_distances(jnp.where(where[:, None], points, 0), anchors)
    # What takes no part goes last.
    distances = jnp.where(where[:, None], distances, jnp.inf)
    ordered = jnp.sort(parallel.all_rows(distances).ravel())
    count = parallel.total(jnp.sum(where)) * len(anchors)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _check_anchors(points: ArrayLike, anchors: ArrayLike) -> tuple[jax.Array, jax.Array]:
    points, anchors = _checks.real("points", points), _checks.real("anchors", anchors)
    _checks.require_rows(points=points, anchors=anchors)
    _checks.same_width(points=points, anchors=anchors)
    return points, anchors


@functools.partial(jax.jit, static_argnames="nearest")
def _affinities(
    points: jax.Array, anchors: jax.Array, bandwidth: ArrayLike, nearest: int | None
) -> jax.Array:
    logits = -_squared_distances(points, anchors) / bandwidth
    if nearest is not None:
        kept, columns = jax.lax.top_k(logits, nearest)
        rows = jnp.arange(len(points))[:, None]
        logits = jnp.full_like(logits, -jnp.inf).at[rows, columns].set(kept)
    return jax.nn.softmax(logits, axis=1)


def anchor_affinities(
    points: ArrayLike, anchors: ArrayLike, *, bandwidth: ArrayLike, nearest: int | None = None
) -> jax.Array:
    r"""Points as their memberships in clusters, which decay with the distance to the centres.

    Zhu et al., Linear Cross-Modal Hashing for Efficient Multimedia Search, ACM MM 2013: points
    with the same near anchors are alike, in time linear in their number.

    .. math:: P_{ij} = \frac{e^{-\lVert x_i - m_j \rVert^2 / \sigma}}
              {\sum_l e^{-\lVert x_i - m_l \rVert^2 / \sigma}}

    Args:
      points: [n, d] real numbers.
      anchors: [k, d] centres.
      bandwidth: sigma, above 0, for instance `anchor_bandwidth` of the training points.
      nearest: how many of the nearest anchors count for a point; None for all.

    Returns:
      float32 [n, k]; rows sum to 1.

    Raises:
      ValueError: the widths differ, `bandwidth` is not positive, or `nearest` is not a number of
        anchors.

    >>> anchors = jnp.array([[0.0], [1.0]])
    >>> anchor_affinities(jnp.array([[0.5]]), anchors, bandwidth=1.0).tolist()
    [[0.5, 0.5]]
    """
    points, anchors = _check_anchors(points, anchors)
    _checks.setting("bandwidth", bandwidth, _checks.POSITIVE)
    if nearest is not None and not 1 <= nearest <= len(anchors):
        raise ValueError(f"nearest={nearest} is not between 1 and the {len(anchors)} anchors")
    return _affinities(points, anchors, bandwidth, nearest)
