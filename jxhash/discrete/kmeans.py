"""k-means clustering, and the affinities of points to its centres, the anchors."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks, parallel
from jxhash._sharding import any_mesh, replicated, row_sharded


def _squared_distances(points: jax.Array, centres: jax.Array) -> jax.Array:
    # Centred, since the rounding errors of the expansion grow with the norms.
    origin = jnp.mean(centres, axis=0, keepdims=True)
    points, centres = points - origin, centres - origin
    norms = jnp.sum(jnp.square(points), axis=1)[:, None], jnp.sum(jnp.square(centres), axis=1)
    products = jnp.matmul(points, centres.T, precision="highest")
    return jnp.maximum(norms[0] + norms[1][None, :] - 2 * products, 0)


def _spread_seeds(key: jax.Array, points: jax.Array, where: jax.Array, number: int) -> jax.Array:
    """The seeds of k-means++, drawn by the squared distance to the nearest earlier seed."""
    # In the dtype of the points, so that 64-bit types do not change what is drawn.
    every = jnp.where(where, 0.0, -jnp.inf).astype(points.dtype)

    def add(step: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        seeds, nearest = state
        weights = jnp.where(where, nearest, 0)
        # With fewer distinct points than seeds, points repeat.
        logits = jnp.where(jnp.any(weights > 0), jnp.log(weights), every)
        seed = points[jax.random.categorical(jax.random.fold_in(key, step), logits)]
        distances = jnp.sum(jnp.square(points - seed[None, :]), axis=1)
        return seeds.at[step].set(seed), jnp.minimum(nearest, distances)

    first = points[jax.random.categorical(jax.random.fold_in(key, 0), every)]
    nearest = jnp.sum(jnp.square(points - first[None, :]), axis=1)
    seeds = jnp.broadcast_to(first[None, :], (number, points.shape[1]))
    found: jax.Array = jax.lax.fori_loop(1, number, add, (seeds, nearest))[0]
    return found


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
    r"""The centres of clusters, by Lloyd's algorithm from k-means++ seeds.

    Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007. No iteration
    increases

    .. math:: \sum_i \min_j \lVert x_i - m_j \rVert^2

    Inside `parallel.pmapped` it reads the points of all devices.

    Args:
      key: draws the seeds; the same on every device.
      points: [n, d] real numbers.
      num_clusters: k; centres repeat if there are fewer distinct points.
      steps: the number of iterations; 0 returns the seeds.
      where: boolean [n] mask of rows; False rows are ignored.

    Returns:
      float32 [k, d]; the centre of an empty cluster does not move.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: there are no points, `num_clusters` is below 1, or `steps` is negative.

    >>> points = jnp.array([[0.0], [1.0], [10.0], [11.0]])
    >>> sorted(kmeans(jax.random.key(0), points, 2).ravel().tolist())
    [0.5, 10.5]
    """
    points = _checks.real("points", points)
    _checks.require_rows(points=points)
    _checks.setting("num_clusters", num_clusters, _checks.COUNT)
    _checks.setting("steps", steps, _checks.WHOLE)
    where = _checks.row_mask("where", where, points)
    found: jax.Array = _kmeans(
        key, jnp.where(where[:, None], points, 0), where, num_clusters, steps
    )
    return found


@functools.partial(jax.jit, static_argnames="num_clusters")
@any_mesh(replicated)
def _kmeans(
    key: jax.Array, points: jax.Array, where: jax.Array, num_clusters: int, steps: ArrayLike
) -> jax.Array:
    every_point, every_mask = parallel.all_rows((points, where))
    seeds = _spread_seeds(key, every_point, every_mask, num_clusters)
    found: jax.Array = jax.lax.fori_loop(
        0, steps, lambda _, centres: _move(points, centres, where), seeds
    )
    return found


def anchor_bandwidth(
    points: ArrayLike, anchors: ArrayLike, *, where: ArrayLike | None = None
) -> jax.Array:
    """The median squared distance between points and anchors, a scale for `anchor_affinities`.

    Inside `parallel.pmapped` it reads the points of all devices.

    Args:
      points: [n, d] real numbers.
      anchors: [k, d] centres; the same on every device.
      where: boolean [n] mask of rows; False rows are ignored.

    Returns:
      float32 scalar.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: the widths differ, or there are no points or anchors.

    >>> float(anchor_bandwidth(jnp.array([[0.0], [2.0]]), jnp.array([[0.0]])))
    2.0
    """
    points, anchors = _check_anchors(points, anchors)
    found: jax.Array = _bandwidth(points, anchors, _checks.row_mask("where", where, points))
    return found


@jax.jit
@any_mesh(replicated)
def _bandwidth(points: jax.Array, anchors: jax.Array, where: jax.Array) -> jax.Array:
    distances = _squared_distances(jnp.where(where[:, None], points, 0), anchors)
    # Masked rows go last.
    distances = jnp.where(where[:, None], distances, jnp.inf)
    ordered = jnp.sort(parallel.all_rows(distances).ravel())
    count = parallel.total(jnp.sum(where)) * len(anchors)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _check_anchors(points: ArrayLike, anchors: ArrayLike) -> tuple[jax.Array, jax.Array]:
    points, anchors = _checks.real("points", points), _checks.real("anchors", anchors)
    _checks.require_rows(points=points, anchors=anchors)
    _checks.same("width", points=points, anchors=anchors)
    points, anchors = _checks.one_dtype(points, anchors)
    return points, anchors


@functools.partial(jax.jit, static_argnames="nearest")
@any_mesh(row_sharded)
def _affinities(
    points: jax.Array, anchors: jax.Array, bandwidth: ArrayLike, nearest: int | None
) -> jax.Array:
    logits = -_squared_distances(points, anchors) / jnp.asarray(bandwidth, points.dtype)
    if nearest is not None:
        kept, columns = jax.lax.top_k(logits, nearest)
        rows = jnp.arange(len(points))[:, None]
        logits = jnp.full_like(logits, -jnp.inf).at[rows, columns].set(kept)
    return jax.nn.softmax(logits, axis=1)


def anchor_affinities(
    points: ArrayLike, anchors: ArrayLike, *, bandwidth: ArrayLike, nearest: int | None = None
) -> jax.Array:
    r"""The soft assignments of points to anchors, which decay with the squared distance.

    Zhu et al., Linear Cross-Modal Hashing for Efficient Multimedia Search, ACM MM 2013: a
    representation of n points by their nearest anchors, in time linear in n.

    .. math:: P_{ij} = \frac{e^{-\lVert x_i - m_j \rVert^2 / \sigma}}
              {\sum_l e^{-\lVert x_i - m_l \rVert^2 / \sigma}}

    Args:
      points: [n, d] real numbers.
      anchors: [k, d] centres.
      bandwidth: sigma, above 0, for instance `anchor_bandwidth` of the training points.
      nearest: the number of nearest anchors with an affinity above 0; None for all.

    Returns:
      float32 [n, k]; rows sum to 1.

    Raises:
      ValueError: the widths differ, `bandwidth` is not positive, or `nearest` is out of range.

    >>> anchors = jnp.array([[0.0], [1.0]])
    >>> anchor_affinities(jnp.array([[0.5]]), anchors, bandwidth=1.0).tolist()
    [[0.5, 0.5]]
    """
    points, anchors = _check_anchors(points, anchors)
    _checks.setting("bandwidth", bandwidth, _checks.POSITIVE)
    if nearest is not None and not 1 <= nearest <= len(anchors):
        raise ValueError(f"nearest={nearest} is not between 1 and the {len(anchors)} anchors")
    found: jax.Array = _affinities(points, anchors, bandwidth, nearest)
    return found
