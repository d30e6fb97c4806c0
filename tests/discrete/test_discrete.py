"""The discrete steps against brute force over all codes, and against plain loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jxhash import discrete, losses, parallel, similarity
from jxhash.discrete.column_sampling import _balanced_bits

few = settings(deadline=None, max_examples=4, derandomize=True, database=None)
seeds = st.integers(0, 10**6)


def every_code(rows, bits):
    for flat in itertools.product((-1, 1), repeat=rows * bits):
        yield np.reshape(flat, (rows, bits))


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def codes(rng, *shape):
    return 2 * rng.integers(0, 2, shape) - 1


# Consensus


@few
@given(seed=seeds)
def test_consensus_is_nearest_to_all_outputs(seed):
    rng = np.random.default_rng(seed)
    outputs = [normal(rng, 3, 2) for _ in range(3)]

    def cost(b):
        return sum(((b - u) ** 2).sum() for u in outputs)

    found = discrete.consensus(*outputs)
    assert found.dtype == jnp.int8
    assert cost(found) <= min(map(cost, every_code(3, 2))) + 1e-5


def test_consensus_at_ties():
    f = np.array([[1.0, -1.0, 2.0]], np.float32)
    assert discrete.consensus(f, -f).tolist() == [[1, 1, 1]]
    previous = np.array([[-1, 1, -1]])
    assert discrete.consensus(f, -f, previous=previous).tolist() == previous.tolist()
    assert discrete.consensus(f, previous=-f).tolist() == [[1, -1, 1]]


def test_consensus_refuses_what_does_not_match():
    with pytest.raises(ValueError, match="one modality"):
        discrete.consensus()
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(1, 3\)"):
        discrete.consensus(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="previous"):
        discrete.consensus(np.ones((2, 3)), previous=np.ones(3))


# The trace step


def trace_cost(b, h, similarity, f, eta):
    return -np.sum(similarity * (b @ h.T)) + eta * np.sum((b - f) ** 2)


@few
@given(seed=seeds, eta=st.sampled_from([0.0, 0.3, 2.0]))
def test_trace_step_is_the_best_of_all_codes(seed, eta):
    rng = np.random.default_rng(seed)
    f, h, similarity = normal(rng, 3, 2), codes(rng, 4, 2), codes(rng, 3, 4)

    def cost(b):
        return trace_cost(b, h, similarity, f, eta)

    found = discrete.trace_step(f, h, similarity, eta=eta)
    assert cost(found) <= min(map(cost, every_code(3, 2))) + 1e-5


def test_taking_turns_never_increases_the_trace_objective():
    rng = np.random.default_rng(0)
    f, g = normal(rng, 6, 8), normal(rng, 6, 8)
    similarity = codes(rng, 6, 6)
    b, h = np.sign(f).astype(int), np.sign(g).astype(int)

    def cost():
        return trace_cost(b, h, similarity, f, 0.7) + 0.7 * np.sum((h - g) ** 2)

    costs = [cost()]
    for _ in range(4):
        b = discrete.trace_step(f, h, similarity, eta=0.7, previous=b)
        costs.append(cost())
        h = discrete.trace_step(g, b, similarity.T, eta=0.7, previous=h)
        costs.append(cost())
    assert (np.diff(costs) <= 1e-4).all()
    assert costs[-1] < costs[0]


@pytest.mark.filterwarnings("ignore:similarity")
def test_trace_step_by_hand_and_at_ties():
    f, h, s = np.array([[-1.0]], np.float32), np.array([[1]], np.int8), np.array([[1]])
    assert discrete.trace_step(f, h, s, eta=0.3).tolist() == [[1]]
    assert discrete.trace_step(f, h, s, eta=0.6).tolist() == [[-1]]
    assert discrete.trace_step(f, h, s, eta=0.5, previous=h).tolist() == [[1]]
    assert discrete.trace_step(f, h, s, eta=0.5, previous=-h).tolist() == [[-1]]
    assert discrete.trace_step(f, h, s, eta=0.5).tolist() == [[1]]
    many = np.ones((1, 300), np.int8)
    assert discrete.trace_step(f, many.T, many, eta=140.0).tolist() == [[1]]


def test_trace_step_follows_the_order_of_the_samples():
    rng = np.random.default_rng(1)
    f, h, similarity = normal(rng, 5, 4), codes(rng, 7, 4), codes(rng, 5, 7)
    order, other = rng.permutation(5), rng.permutation(7)
    found = discrete.trace_step(f, h, similarity, eta=0.4)
    moved = discrete.trace_step(f[order], h[other], similarity[order][:, other], eta=0.4)
    np.testing.assert_array_equal(found[order], moved)
    with pytest.raises(ValueError, match=r"similarity .*transpose"):
        discrete.trace_step(f, h, similarity.T, eta=0.4)
    with pytest.raises(ValueError, match="width"):
        discrete.trace_step(f, h[:, :2], similarity, eta=0.4)


# Reconstruction


def reconstructed(labels, bits):
    weights = labels @ labels.T
    totals = weights.sum(axis=1, keepdims=True)
    return np.where(totals > 0, weights @ bits / np.where(totals > 0, totals, 1), bits)


def test_reconstruction_by_hand():
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    bits = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0]])
    expected = [[1 / 3, 1 / 3], [1 / 3, 1 / 3], [1 / 2, 1], [2 / 5, 3 / 5], [1, 0]]
    np.testing.assert_allclose(discrete.reconstruct(labels, bits), expected, rtol=1e-6)
    np.testing.assert_allclose(discrete.reconstruct(3 * labels, bits), expected, rtol=1e-6)
    left = np.array([True, True, True, False, True])
    got = discrete.reconstruct(labels, bits, where=left)
    np.testing.assert_allclose(got[left], reconstructed(labels[left], bits[left]), rtol=1e-6)
    np.testing.assert_array_equal(got[3], bits[3])


@few
@given(seed=seeds)
def test_reconstruction_is_the_dense_form(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((8, 3)) < 0.4).astype(np.float32)
    bits = rng.integers(0, 2, (8, 4))
    found = np.asarray(discrete.reconstruct(labels, bits))
    np.testing.assert_allclose(found, reconstructed(labels, bits), rtol=1e-5, atol=1e-7)
    assert ((found >= 0) & (found <= 1)).all()
    # A weighted mean is where the weighted squares are least.
    weights = labels @ labels.T

    def cost(r):
        return np.sum(weights * ((r[:, None] - bits[None]) ** 2).sum(axis=2))

    for step in (0.01, -0.01):
        assert cost(found) <= cost(found + step * rng.normal(size=found.shape)) + 1e-6


# Coordinate descent


@few
@given(seed=seeds)
def test_coordinate_descent_never_increases_its_objective(seed):
    rng = np.random.default_rng(seed)
    linear, weights, start = normal(rng, 3, 4), normal(rng, 4, 2), codes(rng, 3, 4)

    def cost(b):
        return np.sum((b @ weights) ** 2) - 2 * np.sum(b * linear)

    def lowest(b):
        return min(cost(np.where(np.arange(4)[None] == k, s, b)) for k in range(4) for s in (-1, 1))

    found, costs = start, [cost(start)]
    for _ in range(4):
        found = discrete.cyclic_coordinate_descent(linear, weights, previous=found)
        costs.append(cost(found))
    assert (np.diff(costs) <= 1e-4).all()
    assert costs[-1] >= min(map(cost, every_code(3, 4))) - 1e-4
    assert costs[-1] <= lowest(np.asarray(found)) + 1e-4
    at_once = discrete.cyclic_coordinate_descent(linear, weights, previous=start, sweeps=4)
    np.testing.assert_array_equal(at_once, found)


def test_coordinate_descent_without_coupling_and_at_ties():
    linear = np.array([[2.0, -3.0, 0.0]], np.float32)
    previous = np.array([[-1, 1, -1]], np.int8)
    orthogonal = np.eye(3, dtype=np.float32)
    found = discrete.cyclic_coordinate_descent(linear, orthogonal, previous=previous)
    assert found.dtype == jnp.int8
    assert found.tolist() == [[1, -1, -1]]
    with pytest.raises(ValueError, match="weights"):
        discrete.cyclic_coordinate_descent(linear, orthogonal[:2], previous=previous)


# Composite quantization


def quantization_error(points, assignments, codebooks):
    return np.sum((points - np.asarray(discrete.decode(assignments, codebooks))) ** 2)


@few
@given(seed=seeds)
def test_quantization_never_gets_worse(seed):
    rng = np.random.default_rng(seed)
    points = normal(rng, 40, 6)
    found = jnp.asarray(rng.integers(0, 4, (40, 3)))
    codebooks = normal(rng, 3, 4, 6)
    errors = [quantization_error(points, found, codebooks)]
    for step in range(4):
        key = jax.random.key(step)
        found = discrete.icm(points, codebooks, key=key, previous=found)
        errors.append(quantization_error(points, found, codebooks))
        codebooks = discrete.fit_codebooks(points, found, 4, ridge=1e-4)
        errors.append(quantization_error(points, found, codebooks))
    assert found.dtype == jnp.int32
    assert (np.diff(errors) <= 1e-3).all()
    assert errors[-1] < 0.5 * errors[0]


def test_icm_is_the_loop_of_the_paper():
    rng = np.random.default_rng(2)
    points, codebooks = normal(rng, 10, 4), normal(rng, 3, 5, 4)
    found = discrete.icm(points, codebooks, sweeps=2)
    for point, words in zip(points, np.asarray(found), strict=True):
        chosen = [None] * 3
        for book in [0, 1, 2, 0, 1, 2]:
            rest = sum(
                (codebooks[m, chosen[m]] for m in range(3) if m != book and chosen[m] is not None),
                np.zeros(4),
            )
            chosen[book] = np.argmin(((point - rest - codebooks[book]) ** 2).sum(axis=1))
        assert list(words) == chosen


def test_icm_of_one_codebook_is_the_nearest_centre():
    rng = np.random.default_rng(3)
    points, codebooks = normal(rng, 9, 3), normal(rng, 1, 4, 3)
    nearest = ((points[:, None] - codebooks[0][None]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(discrete.icm(points, codebooks)[:, 0], nearest)
    same = np.zeros((1, 4, 3), np.float32)
    previous = np.full((9, 1), 2)
    np.testing.assert_array_equal(discrete.icm(points, same, previous=previous), previous)


def test_planted_codewords_are_recovered():
    rng = np.random.default_rng(4)
    codebooks = np.zeros((2, 3, 4), np.float32)
    codebooks[0, :, :2], codebooks[1, :, 2:] = 9 * normal(rng, 3, 2), 9 * normal(rng, 3, 2)
    planted = rng.integers(0, 3, (20, 2))
    points = discrete.decode(planted, codebooks)
    np.testing.assert_array_equal(discrete.icm(points, codebooks), planted)
    fitted = discrete.fit_codebooks(points, planted, 3, ridge=1e-5)
    assert quantization_error(np.asarray(points), planted, fitted) < 1e-4


def test_codebooks_are_the_ridge_solution():
    rng = np.random.default_rng(5)
    points, words = normal(rng, 30, 4), rng.integers(0, 3, (30, 2))
    one_hot = np.concatenate([np.eye(3)[words[:, 0]], np.eye(3)[words[:, 1]]], axis=1)
    expected = np.linalg.solve(
        one_hot.T @ one_hot + 0.1 * np.eye(6), one_hot.T @ points.astype(np.float64)
    )
    found = discrete.fit_codebooks(points, words, 3, ridge=0.1)
    np.testing.assert_allclose(found.reshape(6, 4), expected, atol=1e-4)
    where = np.arange(30) < 20
    left = discrete.fit_codebooks(points[:20], words[:20], 3)
    points[20:] = np.nan
    got = discrete.fit_codebooks(points, words, 3, where=where)
    np.testing.assert_allclose(got, left, atol=1e-3)


def exact_codebooks(points, words, size, ridge):
    """The normal equations of the codebooks in float64, and their solution."""
    slots = words + size * np.arange(words.shape[1])
    counts, sums = np.zeros((slots.max() + 1,) * 2), np.zeros((slots.max() + 1, points.shape[1]))
    for first in slots.T:
        np.add.at(sums, first, points.astype(np.float64))
        for second in slots.T:
            np.add.at(counts, (first, second), 1.0)
    counts += ridge * np.eye(len(counts))
    return counts, np.linalg.solve(counts, sums)


@pytest.mark.parametrize("kind", ["skewed", "rare", "confounded"])
def test_codebooks_are_exact_for_many_points_far_from_zero(kind):
    rng = np.random.default_rng(13)
    points = np.tanh(normal(rng, 100_000, 8)) + np.float32(1)
    words = rng.choice(8, (100_000, 3), p=[0.86, *[0.02] * 7])
    if kind == "rare":
        words[words == 7] = 6
        words[[5, 6, 7], [0, 1, 2]] = 7
    if kind == "confounded":
        words[:, 1] = words[:, 0]
    counts, expected = exact_codebooks(points, words, 8, 1e-3)
    found = np.asarray(discrete.fit_codebooks(points, words, 8), np.float64).reshape(24, 8)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # By how much the objective is above its minimum, which is some 10^5 here.
    excess = np.sum((found - expected) * (counts @ (found - expected)))
    assert excess < 1e-6


def test_a_codeword_without_points_is_zero():
    points = np.array([[1.0, 2.0], [3.0, 2.0]], np.float32)
    found = discrete.fit_codebooks(points, np.array([[0], [0]]), 3, ridge=1e-3)
    np.testing.assert_allclose(found[0, 0], [4 / 2.001, 4 / 2.001], rtol=1e-5)
    assert (np.asarray(found[0, 1:]) == 0).all()


def test_inner_products_from_tables():
    rng = np.random.default_rng(6)
    queries, points = normal(rng, 3, 6), normal(rng, 8, 6)
    codebooks = normal(rng, 2, 4, 6)
    words = discrete.icm(points, codebooks)
    found = discrete.quantized_inner_products(queries, words, codebooks)
    decoded = np.asarray(discrete.decode(words, codebooks))
    np.testing.assert_allclose(found, queries @ decoded.T, rtol=1e-4, atol=1e-5)
    bound = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(points - decoded, axis=1)
    assert (np.abs(queries @ points.T - found) <= bound + 1e-4).all()


def test_first_codebooks_cover_their_own_dimensions():
    rng = np.random.default_rng(7)
    points = normal(rng, 30, 9)
    found = np.asarray(discrete.product_codebooks(jax.random.key(0), points, 3, 4))
    for book in range(3):
        outside = np.ones(9, bool)
        outside[3 * book : 3 * book + 3] = False
        assert (found[book][:, outside] == 0).all()
        assert (found[book][:, ~outside] != 0).all()
    with pytest.raises(ValueError, match="num_codebooks=2"):
        discrete.product_codebooks(jax.random.key(0), points, 2, 4)


def test_codebooks_refuse_what_does_not_match():
    points, codebooks = np.ones((5, 4), np.float32), np.ones((2, 3, 4), np.float32)
    words = np.zeros((5, 2), np.int32)
    with pytest.raises(ValueError, match="codebooks"):
        discrete.icm(points, codebooks[..., :3])
    with pytest.raises(TypeError, match="assignments"):
        discrete.fit_codebooks(points, words.astype(np.float32), 3)
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        discrete.fit_codebooks(points, words[:4], 3)
    with pytest.raises(ValueError, match="assignments"):
        discrete.decode(words[:, :1], codebooks)


# k-means and anchors


@few
@given(seed=seeds)
def test_kmeans_never_gets_worse(seed):
    points = normal(np.random.default_rng(seed), 30, 3)

    def cost(centres):
        return ((points[:, None] - np.asarray(centres)[None]) ** 2).sum(axis=2).min(axis=1).sum()

    costs = [
        cost(discrete.kmeans(jax.random.key(seed), points, 4, steps=steps)) for steps in range(4)
    ]
    assert (np.diff(costs) <= 1e-4).all()


def test_kmeans_finds_clusters_and_survives_too_few_points():
    rng = np.random.default_rng(8)
    centres = np.array([[0, 0], [20, 0], [0, 20]], np.float32)
    points = np.repeat(centres, 10, axis=0) + 0.1 * normal(rng, 30, 2)
    found = np.asarray(discrete.kmeans(jax.random.key(0), points, 3))
    means = points.reshape(3, 10, 2).mean(axis=1)
    np.testing.assert_allclose(sorted(found.tolist()), sorted(means.tolist()), atol=1e-4)
    where = np.arange(30) < 20
    points[20:] = np.nan
    found = np.asarray(discrete.kmeans(jax.random.key(0), points, 2, where=where))
    np.testing.assert_allclose(sorted(found.tolist()), sorted(means[:2].tolist()), atol=1e-4)
    twice = discrete.kmeans(jax.random.key(0), np.ones((4, 2), np.float32), 3)
    np.testing.assert_array_equal(twice, np.ones((3, 2)))
    with pytest.raises(ValueError, match="num_clusters"):
        discrete.kmeans(jax.random.key(0), points, 0)


def test_affinities_of_anchors():
    rng = np.random.default_rng(9)
    points, anchors = normal(rng, 6, 3), normal(rng, 4, 3)
    squared = ((points[:, None].astype(np.float64) - anchors[None]) ** 2).sum(axis=2)
    weights = np.exp(-squared / 0.7)
    found = discrete.anchor_affinities(points, anchors, bandwidth=0.7)
    np.testing.assert_allclose(found, weights / weights.sum(axis=1, keepdims=True), rtol=1e-4)
    sharp = discrete.anchor_affinities(anchors, anchors, bandwidth=1e-6)
    np.testing.assert_allclose(sharp, np.eye(4), atol=1e-6)
    flat = discrete.anchor_affinities(points, anchors, bandwidth=1e9)
    np.testing.assert_allclose(flat, np.full((6, 4), 0.25), rtol=1e-6)
    two = np.asarray(discrete.anchor_affinities(points, anchors, bandwidth=0.7, nearest=2))
    assert ((two > 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(two.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(two.argmax(axis=1), squared.argmin(axis=1))
    bandwidth = discrete.anchor_bandwidth(points, anchors)
    assert bandwidth == pytest.approx(np.median(squared), rel=1e-5)
    where = np.arange(6) % 3 > 0
    points[~where] = np.nan
    bandwidth = discrete.anchor_bandwidth(points, anchors, where=where)
    assert bandwidth == pytest.approx(np.median(squared[where]), rel=1e-5)
    for nearest in (0, 5):
        with pytest.raises(ValueError, match="nearest"):
            discrete.anchor_affinities(points, anchors, bandwidth=1.0, nearest=nearest)


# Column sampling


@few
@given(seed=seeds)
def test_clustering_gives_the_best_of_its_candidates(seed):
    rng = np.random.default_rng(seed)
    size = 5
    quadratic = rng.normal(size=(size, size))
    quadratic = quadratic + quadratic.T
    np.fill_diagonal(quadratic, 0)
    linear = rng.normal(size=size)

    def cost(b):
        return b @ quadratic @ b + linear @ b

    found = _balanced_bits(quadratic, linear)
    ones = round((size + 1) / 2) - 1
    assert (found > 0).sum() == ones
    balanced = sorted(cost(b[0]) for b in every_code(1, size) if (b > 0).sum() == ones)
    assert balanced[0] - 1e-9 <= cost(found) <= balanced[len(balanced) // 2]

    # The candidates by the clustering as it is written: points with given inner products.
    whole = np.block(
        [
            [4 * quadratic, ((2 * linear - 4 * quadratic.sum(axis=1)) / 2)[:, None]],
            [((2 * linear - 4 * quadratic.sum(axis=1)) / 2)[None], np.zeros((1, 1))],
        ]
    )
    whole /= np.abs(whole).max()
    points = np.linalg.cholesky(1e4 * np.eye(size + 1) - whole).astype(np.float64)
    best = None
    for centre in points:
        near = np.argsort(((points[:size] - centre) ** 2).sum(axis=1), kind="stable")[:ones]
        members = [*near, size]
        spread = ((points[members] - points[members].mean(axis=0)) ** 2).sum()
        if best is None or spread < best[0] - 1e-9:
            best = (spread, near)
    expected = -np.ones(size)
    expected[best[1]] = 1
    assert cost(found) == pytest.approx(cost(expected), abs=1e-6)


@pytest.mark.parametrize("reweight", ["-r", "+r", "-1"])
def test_column_sampling_tells_classes_apart(reweight):
    labels = np.repeat(np.eye(4), 30, axis=0)
    found = discrete.cosdish(jax.random.key(1), labels, 12, reweight=reweight)
    assert found.dtype == np.int8
    assert set(np.unique(found)) == {-1, 1}
    agreement = found.astype(int) @ found.T
    similar = labels @ labels.T > 0
    assert agreement[similar].mean() > agreement[~similar].mean() + 8
    again = discrete.cosdish(jax.random.key(1), labels, 12, reweight=reweight)
    np.testing.assert_array_equal(found, again)


def column_sampling(key, labels, bits, reweight, rounds, alternations):
    """The published procedure, one sample and one bit at a time."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    n = len(labels)
    b = rng.choice([-1.0, 1.0], size=(n, bits))
    for _ in range(rounds):
        omega = rng.choice(n, bits, replace=False)
        gamma = [i for i in range(n) if i not in omega]
        similar = np.array([[float(labels[i] @ labels[j] > 0) for j in omega] for i in range(n)])
        ratio = similar.sum() / (1 - similar).sum()
        s = np.where(similar > 0, 1, {"-r": -ratio, "+r": ratio, "-1": -1.0}[reweight])
        for _ in range(alternations):
            new = b.copy()
            for k in range(bits):
                rest_omega, rest_gamma = bits * s[omega], bits * s[gamma]
                for m in range(k):
                    rest_omega = rest_omega - np.outer(new[omega, m], new[omega, m])
                    rest_gamma = rest_gamma - np.outer(b[gamma, m], new[omega, m])
                quadratic = -2 * rest_omega
                np.fill_diagonal(quadratic, 0)
                new[omega, k] = _balanced_bits(quadratic, -2 * rest_gamma.T @ b[gamma][:, k])
            for i in gamma:
                for k in range(bits):
                    pull = sum(s[i, c] * new[j, k] for c, j in enumerate(omega))
                    if abs(pull) >= 1e-5:
                        new[i, k] = np.sign(pull)
            b = new
    return b


@pytest.mark.parametrize("reweight", ["-r", "+r", "-1"])
def test_column_sampling_is_the_published_procedure(reweight):
    rng = np.random.default_rng(12)
    labels = (rng.random((40, 4)) < 0.3).astype(np.float32)
    for rounds, alternations in ((1, 1), (2, 3)):
        found = discrete.cosdish(
            jax.random.key(2),
            labels,
            6,
            reweight=reweight,
            rounds=rounds,
            alternations=alternations,
        )
        expected = column_sampling(jax.random.key(2), labels, 6, reweight, rounds, alternations)
        np.testing.assert_array_equal(found, expected)


def test_restarts_keep_the_codes_nearest_to_the_similarity():
    labels = np.repeat(np.eye(8), 12, axis=0)
    similarity = np.where(labels @ labels.T > 0, 1.0, -1 / 7)

    def error(**arguments):
        B = discrete.cosdish(jax.random.key(4), labels, 16, **arguments).astype(float)
        return np.square(16 * similarity - B @ B.T).mean()

    errors = [error(restarts=number) for number in range(1, 9)]
    assert errors[0] == error()
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_two_classes_are_recovered_from_two_bits():
    labels = np.repeat(np.eye(2), 100, axis=0)
    found = discrete.cosdish(jax.random.key(3), labels, 2).astype(int)
    recovered = np.sign(found @ found.T) == np.where(labels @ labels.T > 0, 1, -1)
    assert recovered.mean() > 0.95


def test_column_sampling_without_dissimilar_pairs():
    found = discrete.cosdish(jax.random.key(0), np.ones((12, 1)), 4, columns=6, rounds=2)
    assert set(np.unique(found)) == {-1, 1}


def test_column_sampling_refuses_what_it_cannot_do():
    labels = np.eye(4)
    with pytest.raises(ValueError, match="reweight"):
        discrete.cosdish(jax.random.key(0), labels, 2, reweight="r")
    with pytest.raises(ValueError, match="4 samples"):
        discrete.cosdish(jax.random.key(0), labels, 4)
    with pytest.raises(ValueError, match="labels"):
        discrete.cosdish(jax.random.key(0), labels[0], 2)


# What a caller can get wrong

F, H, SIMILARITY = np.ones((2, 3)), np.ones((4, 3)), -np.ones((2, 4))
LABELS, BITS = np.array([[1, 0], [0, 1]]), np.array([[1, 0], [0, 1]])
POINTS, BOOKS, WORDS = np.ones((2, 4)), np.ones((2, 3, 4)), np.zeros((2, 2), int)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: discrete.consensus(F[:0]), "outputs"),
        (lambda: discrete.trace_step(F[:0], H, SIMILARITY[:0], eta=1), "outputs"),
        (
            lambda: discrete.trace_step(F, H, SIMILARITY, eta=np.ones((4, 1, 1))),
            r"eta .*\(4, 1, 1\)",
        ),
        (lambda: discrete.trace_step(F, H, SIMILARITY, eta=-1.0), "eta"),
        (lambda: discrete.reconstruct(LABELS[:0], BITS[:0]), "empty"),
        (lambda: discrete.reconstruct(LABELS, 2 * BITS - 1), r"bits .*\(2, 2\).*-1"),
        (lambda: discrete.reconstruct(2 * LABELS - 1, BITS), r"labels .*\(2, 2\).*-1"),
        (lambda: discrete.cosdish(KEY, 2 * np.eye(6) - 1, 2), r"labels .*\(6, 6\).*-1"),
        (lambda: discrete.cosdish(KEY, np.eye(6), 2, rounds=0), "rounds"),
        (lambda: discrete.cosdish(KEY, np.eye(6), 2, alternations=0), "alternations"),
        (lambda: discrete.cosdish(KEY, np.eye(6), 2, restarts=0), "restarts"),
        (lambda: discrete.cyclic_coordinate_descent(F[:0], BITS, previous=F[:0]), "linear"),
        (lambda: discrete.cyclic_coordinate_descent(F, F.T, previous=F, sweeps=-1), "sweeps"),
        (lambda: discrete.icm(POINTS[:0], BOOKS), "points"),
        (lambda: discrete.icm(POINTS, BOOKS, sweeps=0), "sweeps"),
        (
            lambda: discrete.icm(POINTS, BOOKS, previous=WORDS + 3),
            r"previous .*\(2, 2\).*0 to 2.*3",
        ),
        (lambda: discrete.fit_codebooks(POINTS[:0], WORDS[:0], 3), "empty"),
        (lambda: discrete.fit_codebooks(POINTS, WORDS - 1, 3), r"assignments .*0 to 2.*-1"),
        (lambda: discrete.fit_codebooks(POINTS, WORDS + 3, 3), r"assignments .*0 to 2.*3"),
        (lambda: discrete.fit_codebooks(POINTS, WORDS, 3, ridge=0.0), "ridge"),
        (lambda: discrete.fit_codebooks(POINTS, WORDS, 3, ridge=np.ones(3)), r"ridge .*\(3,\)"),
        (lambda: discrete.decode(np.array([[99, -1]]), BOOKS), "assignments .*0 to 2.*99"),
        (lambda: discrete.quantized_inner_products(POINTS, WORDS - 1, BOOKS), "assignments"),
        (lambda: discrete.product_codebooks(KEY, POINTS, 0, 2), "num_codebooks"),
        (lambda: discrete.kmeans(KEY, POINTS, 0), "num_clusters"),
        (lambda: discrete.kmeans(KEY, POINTS, 2, steps=-1), "steps"),
        (lambda: discrete.anchor_bandwidth(POINTS[:0], POINTS), "points"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS[:0], bandwidth=1.0), "anchors"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=0.0), "bandwidth"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=np.ones(2)), r"\(2,\)"),
        (lambda: discrete.anchor_affinities(POINTS, POINTS, bandwidth=jnp.ones(2)), r"\(2,\)"),
        (lambda: similarity.share_label(2 * LABELS - 1, LABELS), r"labels_a .*\(2, 2\).*-1"),
        (lambda: similarity.signed(LABELS, 2 * LABELS - 1), r"labels_b .*\(2, 2\).*-1"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_the_shape_of_a_setting_is_known_while_tracing():
    with pytest.raises(ValueError, match=r"eta .*\(5,\)"):
        jax.jit(lambda eta: discrete.trace_step(F, H, SIMILARITY, eta=eta))(np.ones(5))
    with pytest.raises(TypeError, match="eta"):
        discrete.trace_step(F, H, SIMILARITY, eta="much")


def test_a_row_that_does_not_count_may_hold_anything():
    where = np.array([True, False])
    discrete.reconstruct(LABELS - 9 * ~where[:, None], BITS + 7 * ~where[:, None], where=where)
    discrete.fit_codebooks(POINTS, WORDS + 99 * ~where[:, None], 3, where=where)


def test_a_similarity_without_dissimilar_pairs_gets_a_warning(recwarn):
    with pytest.warns(UserWarning, match=r"similarity .*\(2, 4\)"):
        discrete.trace_step(F, H, -SIMILARITY, eta=1)
    with pytest.warns(UserWarning, match=r"similarity .*\(2, 4\)"):
        losses.trace_loss(F, H, -SIMILARITY)
    discrete.trace_step(F, H, SIMILARITY, eta=1)
    losses.trace_loss(F, H, SIMILARITY)
    jax.jit(losses.trace_loss)(F, H, -SIMILARITY)
    assert not recwarn.list


@pytest.mark.parametrize("scale", [0.3, 0.7])
def test_means_of_ones_are_not_rounded_above_one(scale):
    labels = np.float32(scale) * (np.random.default_rng(2).random((200, 5)) < 0.4)
    assert discrete.reconstruct(labels, np.ones((200, 8))).max() == 1


# On two devices, and under jit


def on_two_devices(function, *arrays):
    sharded = [np.reshape(a, (2, len(a) // 2, *a.shape[1:])) for a in arrays]
    mapped = parallel.pmapped(function, in_axes=(0,) * len(arrays))
    return mapped(*sharded)


def test_rows_of_two_devices_give_the_same():
    rng = np.random.default_rng(10)
    f, g = normal(rng, 8, 4), normal(rng, 8, 4)
    labels = (rng.random((8, 3)) < 0.5).astype(np.float32)
    bits = rng.integers(0, 2, (8, 4))
    where = np.arange(8) != 3
    h, similarity = codes(rng, 8, 4), codes(rng, 8, 8)
    words = rng.integers(0, 3, (8, 2))
    codebooks = normal(rng, 2, 3, 4)
    key = jax.random.key(0)
    steps = {
        "consensus": (discrete.consensus, f, g),
        "trace": (lambda f, s: discrete.trace_step(f, h, s, eta=0.3), f, similarity),
        "reconstruct": (lambda a, b, w: discrete.reconstruct(a, b, where=w), labels, bits, where),
        "descent": (
            lambda f, b: discrete.cyclic_coordinate_descent(f, codebooks[0].T, previous=b),
            f,
            h,
        ),
        "icm": (lambda f: discrete.icm(f, codebooks, key=key, sweeps=2), f),
    }
    for name, (step, *arrays) in steps.items():
        found = on_two_devices(lambda *a, step=step: parallel.all_rows(step(*a)), *arrays)
        expected = step(*arrays)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(jax.jit(step)(*arrays), expected, rtol=1e-5, atol=1e-6)
    totals = {
        "codebooks": (lambda f, w: discrete.fit_codebooks(f, w, 3, ridge=0.1), f, words),
        "kmeans": (lambda f, w: discrete.kmeans(key, f, 2, where=w), f, where),
        "bandwidth": (lambda f, w: discrete.anchor_bandwidth(f, f[:2] * 0 + 1, where=w), f, where),
        "product": (lambda f, w: discrete.product_codebooks(key, f, 2, 2, where=w), f, where),
    }
    for name, (step, *arrays) in totals.items():
        found, expected = on_two_devices(step, *arrays), step(*arrays)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_step_that_was_traced_alone_still_adds_up_over_devices():
    rng = np.random.default_rng(11)
    labels = (rng.random((8, 3)) < 0.5).astype(np.float32)
    bits = rng.integers(0, 2, (8, 4)).astype(np.float32)
    # The shape that each device sees below.
    discrete.reconstruct(labels[:4], bits[:4])
    found = on_two_devices(lambda a, b: parallel.all_rows(discrete.reconstruct(a, b)), labels, bits)
    np.testing.assert_allclose(found, reconstructed(labels, bits), rtol=1e-5)
