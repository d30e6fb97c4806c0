"""Composite quantization against loops and exact solutions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from random_arrays import assert_rows_agree, assert_totals_agree, few, normal, seeds

from jxhash import discrete

POINTS, BOOKS, WORDS = np.ones((2, 4)), np.ones((2, 3, 4)), np.zeros((2, 2), int)


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


def test_points_of_two_devices_give_the_same():
    rng = np.random.default_rng(10)
    points, words, codebooks = normal(rng, 8, 4), rng.integers(0, 3, (8, 2)), normal(rng, 2, 3, 4)
    where, key = np.arange(8) != 3, jax.random.key(0)
    assert_rows_agree(lambda f: discrete.icm(f, codebooks, key=key, sweeps=2), points)
    assert_totals_agree(lambda f, w: discrete.fit_codebooks(f, w, 3, ridge=0.1), points, words)
    assert_totals_agree(
        lambda f, w: discrete.product_codebooks(key, f, 2, 2, where=w), points, where
    )


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


@pytest.mark.parametrize(
    ("call", "named"),
    [
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
        (lambda: discrete.product_codebooks(jax.random.key(0), POINTS, 0, 2), "num_codebooks"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_a_row_that_does_not_count_may_hold_anything():
    where = np.array([True, False])
    discrete.fit_codebooks(POINTS, WORDS + 99 * ~where[:, None], 3, where=where)
