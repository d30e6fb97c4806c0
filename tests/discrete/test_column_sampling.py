"""COSDISH against brute force, and against the published procedure one bit at a time."""

import jax
import numpy as np
import pytest
from hypothesis import given
from random_arrays import every_code, few, seeds

from jxhash import discrete
from jxhash.discrete.column_sampling import _balanced_bits


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


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (
            lambda: discrete.cosdish(jax.random.key(0), 2 * np.eye(6) - 1, 2),
            r"labels .*\(6, 6\).*-1",
        ),
        (lambda: discrete.cosdish(jax.random.key(0), np.eye(6), 2, rounds=0), "rounds"),
        (lambda: discrete.cosdish(jax.random.key(0), np.eye(6), 2, alternations=0), "alternations"),
        (lambda: discrete.cosdish(jax.random.key(0), np.eye(6), 2, restarts=0), "restarts"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
