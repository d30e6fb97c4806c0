"""Composite quantization: points approximated by sums of one codeword per codebook."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jxhash import _checks, parallel
from jxhash._sharding import any_mesh, pair_sharded, replicated, row_sharded
from jxhash.discrete.kmeans import kmeans

# The number of points whose distances to one codebook are held at a time.
_BLOCK = 4096


def _check_codebooks(codebooks: ArrayLike, width: int) -> jax.Array:
    codebooks = jnp.asarray(codebooks)
    if codebooks.ndim != 3 or codebooks.shape[2] != width:
        raise ValueError(
            f"codebooks has the shape [codebooks, codewords, {width}], not {codebooks.shape}"
        )
    return _checks.at_least_float32(codebooks)


def _check_choices(
    name: str,
    assignments: ArrayLike,
    num_codewords: int,
    num_codebooks: int | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Checks that each row names one codeword of each codebook."""
    array = jnp.asarray(assignments)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} are integer indices of codewords, not {array.dtype}")
    if array.ndim != 2 or num_codebooks not in (None, array.shape[1]):
        raise ValueError(
            f"{name} has one column per codebook ({num_codebooks or 'any number'}), "
            f"not the shape {array.shape}"
        )
    indices = _checks.Alphabet(
        lambda words: (words >= 0) & (words < num_codewords), f"from 0 to {num_codewords - 1}"
    )
    _checks.require_values(name, array, indices, where)
    return array.astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="sweeps")
@any_mesh(row_sharded)
def _icm(
    points: jax.Array, codebooks: jax.Array, key: jax.Array | None, sweeps: int, previous: jax.Array
) -> jax.Array:
    num_codebooks = len(codebooks)
    books = jnp.arange(num_codebooks, dtype=jnp.int32)
    order = jnp.tile(books[None, :], (sweeps, 1))
    if key is not None:
        order = jax.random.permutation(key, order, axis=1, independent=True)
    norms = jnp.sum(jnp.square(codebooks), axis=2)

    def codeword(book: jax.Array, word: jax.Array) -> jax.Array:
        return jnp.where(word < 0, 0, codebooks[book, word])

    def assign(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        point, words = row
        chosen = jax.vmap(codeword)(books, words)

        def update(
            state: tuple[jax.Array, jax.Array], book: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            residual, words = state
            old = words[book]
            residual = residual + codeword(book, old)
            products = jnp.matmul(codebooks[book], residual, precision="highest")
            costs = norms[book] - 2 * products
            best = jnp.argmin(costs).astype(jnp.int32)
            better = (old < 0) | (costs[best] < costs[old])
            word = jnp.where(better, best, old)
            return (residual - codeword(book, word), words.at[book].set(word)), None

        start = (point - jnp.sum(chosen, axis=0), words)
        return jax.lax.scan(update, start, order.reshape(-1))[0][1]

    found: jax.Array = jax.lax.map(assign, (points, previous), batch_size=min(_BLOCK, len(points)))
    return found


def icm(
    points: ArrayLike,
    codebooks: ArrayLike,
    *,
    key: jax.Array | None = None,
    sweeps: int = 1,
    previous: ArrayLike | None = None,
) -> jax.Array:
    r"""Assigns points to codewords by iterated conditional modes.

    Updates one codebook at a time, given the choices in the others. Cao et al., Collective Deep
    Quantization, AAAI 2017. Starting from `previous`, no update increases

    .. math:: \sum_i \Bigl\lVert x_i - \sum_m C_{m, b_{im}} \Bigr\rVert^2

    Args:
      points: [n, R] real-valued outputs.
      codebooks: [M, W, R], M codebooks of W codewords each.
      key: draws a new order of the codebooks for each sweep; None goes from first to last.
      sweeps: the number of passes over all codebooks.
      previous: [n, M] assignments to start from, kept at a tie. With None, as in the published
        code, a codebook contributes 0 until its first update, and ties go to the first codeword.

    Returns:
      int32 [n, M], the index of the codeword in each codebook.

    Raises:
      TypeError: `previous` is not an integer array.
      ValueError: the shapes do not match, `previous` is out of range, or `sweeps` is below 1.

    >>> codebooks = jnp.array([[[0.0], [10.0]], [[0.0], [1.0]]])
    >>> icm(jnp.array([[11.2], [0.4]]), codebooks).tolist()
    [[1, 1], [0, 0]]
    """
    points = _checks.real("points", points)
    codebooks = _check_codebooks(codebooks, points.shape[1])
    _checks.require_rows(points=points, codebooks=codebooks)
    points, codebooks = _checks.one_dtype(points, codebooks)
    _checks.setting("sweeps", sweeps, _checks.COUNT)
    if previous is None:
        start = jnp.full((len(points), len(codebooks)), -1, jnp.int32)
    else:
        start = _check_choices("previous", previous, codebooks.shape[1], len(codebooks))
        _checks.same("length", points=points, previous=start)
    found: jax.Array = _icm(points, codebooks, key, sweeps, start)
    return found


def fit_codebooks(
    points: ArrayLike,
    assignments: ArrayLike,
    num_codewords: int,
    *,
    ridge: ArrayLike = 1e-3,
    where: ArrayLike | None = None,
) -> jax.Array:
    r"""The codebooks that fit points best, given their assignments: ridge regression.

    Cao et al., Collective Deep Quantization, AAAI 2017. With H the one-hot assignments, it
    minimises over all codebooks

    .. math:: \lVert X - H C \rVert^2 + \mathrm{ridge} \, \lVert C \rVert^2

    The ridge makes the solution unique: moving a constant from one codebook to another changes no
    point. Inside `parallel.pmapped` it reads the points of all devices.

    Args:
      points: [n, R] real-valued outputs.
      assignments: [n, M] indices of codewords, any integer dtype.
      num_codewords: W, the number of codewords per codebook.
      ridge: the weight of the penalty, above 0.
      where: boolean [n] mask of rows; False rows are ignored.

    Returns:
      float32 [M, W, R]; a codeword that no point uses is 0.

    Raises:
      TypeError: `assignments` are not integers, `where` is not boolean.
      ValueError: the shapes do not match, `assignments` are out of range, or `ridge` is not
        positive.

    >>> points = jnp.array([[1.0], [3.0], [8.0]])
    >>> fit_codebooks(points, jnp.array([[0], [0], [1]]), 2, ridge=1e-6).round(3).tolist()
    [[[2.0], [8.0]]]
    """
    points = _checks.real("points", points)
    _checks.setting("num_codewords", num_codewords, _checks.COUNT)
    _checks.setting("ridge", ridge, _checks.POSITIVE)
    where = _checks.row_mask("where", where, points)
    _checks.same("length", points=points, assignments=jnp.asarray(assignments))
    assignments = _check_choices("assignments", assignments, num_codewords, where=where)
    _checks.require_rows(points=points, assignments=assignments)
    found: jax.Array = _fit_codebooks(points, assignments, num_codewords, ridge, where)
    return found


@functools.partial(jax.jit, static_argnames="num_codewords")
@any_mesh(replicated)
def _fit_codebooks(
    points: jax.Array,
    assignments: jax.Array,
    num_codewords: int,
    ridge: ArrayLike,
    where: jax.Array,
) -> jax.Array:
    num_codebooks = assignments.shape[1]
    size = num_codebooks * num_codewords
    slots = assignments + num_codewords * jnp.arange(num_codebooks, dtype=jnp.int32)[None, :]
    ones = jnp.broadcast_to(where[:, None, None], (*slots.shape, num_codebooks))
    together = jnp.zeros((size, size), points.dtype)
    together = together.at[slots[:, :, None], slots[:, None, :]].add(ones.astype(points.dtype))
    together = parallel.total(together)
    ridge = jnp.asarray(ridge, points.dtype)
    solve = _ridge_solver(together, ridge)

    def step(solution: jax.Array) -> jax.Array:
        rest = points - jnp.sum(solution[slots], axis=1)
        shares = jnp.where(where[:, None], rest, 0)[:, None, :]
        sums = (
            jnp.zeros_like(solution)
            .at[slots]
            .add(jnp.broadcast_to(shares, (*slots.shape, points.shape[1])))
        )
        return solution + solve(parallel.total(sums) - ridge * solution)

    # The second step is iterative refinement: it removes the rounding error of the first.
    solution = step(step(jnp.zeros((size, points.shape[1]), points.dtype)))
    used = jnp.diagonal(together) > 0
    return jnp.where(used[:, None], solution, 0).reshape(num_codebooks, num_codewords, -1)


def _ridge_solver(counts: jax.Array, ridge: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Solves (counts + ridge) C = B for B in the range of `counts`, stable for any ridge.

    `counts` has a null space: constants moved between codebooks, and codewords that are only used
    together. There B holds only rounding errors, which a small ridge would amplify.
    """
    size = len(counts)
    scale = jax.lax.rsqrt(jnp.diagonal(counts) + ridge)
    # Scaled, so that a codeword with one point is not numerically zero beside one with a million.
    scaled = (counts + ridge * jnp.eye(size, dtype=counts.dtype)) * scale[:, None] * scale[None, :]
    values, vectors = jnp.linalg.eigh(scaled)
    null = values < size * np.finfo(values.dtype).eps * values[-1]
    inverse = jnp.where(null, 0, 1 / jnp.where(null, 1, values))
    # The ridge solution is orthogonal to the unscaled null space.
    basis = jnp.linalg.qr(jnp.where(null[None, :], scale[:, None] * vectors, 0))[0]
    basis = jnp.where(null[None, :], basis, 0)

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a, b, precision="highest")

    def solve(targets: jax.Array) -> jax.Array:
        along = inverse[:, None] * product(vectors.T, scale[:, None] * targets)
        solution = scale[:, None] * product(vectors, along)
        return solution - product(basis, product(basis.T, solution))

    return solve


def decode(assignments: ArrayLike, codebooks: ArrayLike) -> jax.Array:
    """Decodes assignments: the sums of the chosen codewords.

    Args:
      assignments: [n, M] indices of codewords, any integer dtype.
      codebooks: [M, W, R].

    Returns:
      [n, R].

    Raises:
      TypeError: `assignments` are not integers.
      ValueError: the shapes do not match, or `assignments` are out of range.

    >>> decode(jnp.array([[1, 0]]), jnp.array([[[0.0], [10.0]], [[2.0], [1.0]]])).tolist()
    [[12.0]]
    """
    codebooks = _check_codebooks(codebooks, np.shape(codebooks)[-1])
    assignments = _check_choices("assignments", assignments, codebooks.shape[1], len(codebooks))
    return _decode(assignments, codebooks)


@any_mesh(row_sharded)
def _decode(assignments: jax.Array, codebooks: jax.Array) -> jax.Array:
    books = jnp.arange(len(codebooks))[None, :]
    return jnp.sum(codebooks[books, assignments], axis=1)


def quantized_inner_products(
    queries: ArrayLike, assignments: ArrayLike, codebooks: ArrayLike
) -> jax.Array:
    r"""Inner products of real-valued queries with quantized points, by lookup tables.

    Asymmetric quantizer distance of Cao et al., Collective Deep Quantization, AAAI 2017: M W R
    products per query, then M additions per point. Larger is nearer.

    .. math:: \langle q, \sum_m C_{m, b_m} \rangle = \sum_m \langle q, C_{m, b_m} \rangle

    Args:
      queries: [q, R] real-valued outputs.
      assignments: [n, M] indices of codewords, any integer dtype.
      codebooks: [M, W, R].

    Returns:
      [q, n].

    Raises:
      TypeError: `assignments` are not integers.
      ValueError: the shapes do not match, or `assignments` are out of range.

    >>> codebooks = jnp.array([[[0.0], [10.0]], [[2.0], [1.0]]])
    >>> quantized_inner_products(jnp.array([[0.5]]), jnp.array([[1, 0]]), codebooks).tolist()
    [[6.0]]
    """
    queries = _checks.real("queries", queries)
    codebooks = _check_codebooks(codebooks, queries.shape[1])
    assignments = _check_choices("assignments", assignments, codebooks.shape[1], len(codebooks))
    queries, codebooks = _checks.one_dtype(queries, codebooks)
    return _look_up(queries, assignments, codebooks)


@any_mesh(pair_sharded)
def _look_up(queries: jax.Array, assignments: jax.Array, codebooks: jax.Array) -> jax.Array:
    tables = jnp.einsum("qr,mwr->mqw", queries, codebooks, precision="highest")
    total = jnp.zeros((len(queries), len(assignments)), tables.dtype)
    for book, table in enumerate(tables):
        total = total + table[:, assignments[:, book]]
    return total


def product_codebooks(
    key: jax.Array,
    points: ArrayLike,
    num_codebooks: int,
    num_codewords: int,
    *,
    steps: int = 20,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Initial codebooks by product quantization: k-means on disjoint blocks of dimensions.

    The initialisation of Cao et al., Collective Deep Quantization, AAAI 2017; each codebook is 0
    outside of its block. Inside `parallel.pmapped` it reads the points of all devices.

    Args:
      key: draws the seeds of k-means; the same on every device.
      points: [n, R] real-valued outputs.
      num_codebooks: M, which divides R.
      num_codewords: W.
      steps: the number of k-means iterations.
      where: boolean [n] mask of rows; False rows are ignored.

    Returns:
      float32 [M, W, R].

    Raises:
      TypeError: `where` is not boolean.
      ValueError: R is not a multiple of M, or there are no points.

    >>> points = jnp.array([[0.0, 1.0], [5.0, 1.0]])
    >>> product_codebooks(jax.random.key(0), points, 2, 1).tolist()
    [[[2.5, 0.0]], [[0.0, 1.0]]]
    """
    points = _checks.real("points", points)
    _checks.setting("num_codebooks", num_codebooks, _checks.COUNT)
    if points.shape[1] % num_codebooks:
        raise ValueError(
            f"num_codebooks={num_codebooks} does not divide the {points.shape[1]} dimensions "
            "of points"
        )
    part = points.shape[1] // num_codebooks
    books = jnp.zeros((num_codebooks, num_codewords, points.shape[1]), points.dtype)
    for book, subkey in enumerate(jax.random.split(key, num_codebooks)):
        columns = slice(book * part, (book + 1) * part)
        centres = kmeans(subkey, points[:, columns], num_codewords, steps=steps, where=where)
        books = books.at[book, :, columns].set(centres)
    return books
