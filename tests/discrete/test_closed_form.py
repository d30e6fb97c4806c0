"""Steps in closed form against brute force over all codes, and against dense forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_arrays import assert_rows_agree, codes, every_code, few, normal, on_two_devices, seeds

from jxhash import discrete, parallel

F, H, SIMILARITY = np.ones((2, 3)), np.ones((4, 3)), -np.ones((2, 4))
LABELS, BITS = np.array([[1, 0], [0, 1]]), np.array([[1, 0], [0, 1]])


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


def test_a_similarity_without_dissimilar_pairs_gets_a_warning(recwarn):
    with pytest.warns(UserWarning, match=r"similarity .*\(2, 4\)"):
        discrete.trace_step(F, H, -SIMILARITY, eta=1)
    discrete.trace_step(F, H, SIMILARITY, eta=1)
    assert not recwarn.list


def test_the_shape_of_a_setting_is_known_while_tracing():
    with pytest.raises(ValueError, match=r"eta .*\(5,\)"):
        jax.jit(lambda eta: discrete.trace_step(F, H, SIMILARITY, eta=eta))(np.ones(5))
    with pytest.raises(TypeError, match="eta"):
        discrete.trace_step(F, H, SIMILARITY, eta="much")


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


def test_a_row_that_does_not_count_may_hold_anything():
    where = np.array([True, False])
    discrete.reconstruct(LABELS - 9 * ~where[:, None], BITS + 7 * ~where[:, None], where=where)


@pytest.mark.parametrize("scale", [0.3, 0.7])
def test_means_of_ones_are_not_rounded_above_one(scale):
    labels = np.float32(scale) * (np.random.default_rng(2).random((200, 5)) < 0.4)
    assert discrete.reconstruct(labels, np.ones((200, 8))).max() == 1


def test_a_step_that_was_traced_alone_still_adds_up_over_devices():
    rng = np.random.default_rng(11)
    labels = (rng.random((8, 3)) < 0.5).astype(np.float32)
    bits = rng.integers(0, 2, (8, 4)).astype(np.float32)
    # The shape that each device sees below.
    discrete.reconstruct(labels[:4], bits[:4])
    found = on_two_devices(lambda a, b: parallel.all_rows(discrete.reconstruct(a, b)), labels, bits)
    np.testing.assert_allclose(found, reconstructed(labels, bits), rtol=1e-5)


# All of them


def test_rows_of_two_devices_give_the_same():
    rng = np.random.default_rng(10)
    f, g = normal(rng, 8, 4), normal(rng, 8, 4)
    labels = (rng.random((8, 3)) < 0.5).astype(np.float32)
    bits = rng.integers(0, 2, (8, 4))
    where = np.arange(8) != 3
    h, similarity = codes(rng, 8, 4), codes(rng, 8, 8)
    assert_rows_agree(discrete.consensus, f, g)
    assert_rows_agree(lambda f, s: discrete.trace_step(f, h, s, eta=0.3), f, similarity)
    assert_rows_agree(lambda a, b, w: discrete.reconstruct(a, b, where=w), labels, bits, where)


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
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
