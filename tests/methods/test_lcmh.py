"""LCMH: its maps against eigenvalue problems in float64, and what its codes depend on."""

import jax
import numpy as np
import pytest
import scipy.linalg
import small
from by_hand import MODALITIES, host_batch, updates_of

from jxhash import codes
from jxhash.errors import UserError
from jxhash.methods.contract import Batch


def fitted_on(data, **changes):
    """LCMH after its three host updates, and the loss of the last."""
    changes = {"anchors": 25, "bandwidth": 0.5, **changes}
    method = small.build(small.config("lcmh", **changes), data)[0]
    state = method.init(jax.random.key(0))
    for update in updates_of(method).values():
        state, metrics, _ = update.step(state, host_batch(data))
    total, count = metrics["loss"]
    return method, state, total / count


def centred_memberships(fitted, x):
    anchors, x = np.float64(fitted["anchors"]), np.float64(x)
    P = np.zeros((len(x), len(anchors)))
    for i, row in enumerate(x):
        for j, anchor in enumerate(anchors):
            P[i, j] = np.exp(-np.sum((row - anchor) ** 2) / float(fitted["bandwidth"]))
        P[i] /= P[i].sum()
    return P - P.mean(axis=0)


def test_maps_are_the_canonical_directions():
    data = small.dataset()
    method, state, loss = fitted_on(data, bits=8, regularization=0.01)
    pairs, k = data.training["pairs"], 25
    A = {m: centred_memberships(state.params[m], pairs[m]) for m in MODALITIES}
    within = scipy.linalg.block_diag(*(A[m].T @ A[m] / 101 for m in A))
    for side in (slice(k), slice(k, None)):
        eps = 0.01 * np.trace(within[side, side]) / k
        within[side, side] += eps * np.eye(k)
    between = np.zeros((2 * k, 2 * k))
    between[:k, k:] = A["image"].T @ A["text"] / 101
    between[k:, :k] = between[:k, k:].T
    correlations, vectors = scipy.linalg.eigh(between, within)
    W = np.sqrt(2) * vectors[:, ::-1][:, :8]
    expected = {"image": A["image"] @ W[:k], "text": A["text"] @ W[k:]}
    value = 0.0
    for modality, Y in expected.items():
        outputs = np.asarray(method.encode(state, modality, pairs[modality]))
        Y -= np.median(Y, axis=0)
        turned = np.sign(np.sum(Y * outputs, axis=0))
        np.testing.assert_allclose(outputs, Y * turned, atol=2e-3)
        # Some texts are the same, and so may be those at a median.
        assert modality == "text" or np.all(np.abs(codes.sign(outputs).sum(axis=0)) <= 1)
    for i in range(101):
        value += np.sum((A["image"][i] @ W[:k] - A["text"][i] @ W[k:]) ** 2)
    np.testing.assert_allclose(loss, value / 101, rtol=1e-3)
    assert 0 < correlations[-8] < 1


@pytest.mark.parametrize("constraint", ["pls", "stacked"])
def test_other_constraints_hold_and_are_made_the_best_of(constraint):
    data = small.dataset()
    _, state, _ = fitted_on(data, bits=8, constraint=constraint)
    W1, W2 = (np.float64(state.params[m]["map"]) for m in MODALITIES)
    A1, A2 = (centred_memberships(state.params[m], data.training["pairs"][m]) for m in MODALITIES)
    apart = np.sum((A1 @ W1 - A2 @ W2) ** 2)
    if constraint == "pls":
        for W in (W1, W2):
            np.testing.assert_allclose(W.T @ W, np.eye(8), atol=1e-5)
        best = np.linalg.svd(A1.T @ A2, compute_uv=False)[:8].sum()
        np.testing.assert_allclose(np.trace(W1.T @ A1.T @ A2 @ W2), best, rtol=1e-4)
    else:
        np.testing.assert_allclose(W1.T @ W1 + W2.T @ W2, np.eye(8), atol=1e-5)
        Z = -np.hstack([A1, -A2]).T @ np.hstack([A1, -A2])
        values = np.linalg.eigvalsh(Z)
        constant = np.kron(np.eye(2), np.ones((25, 1))) / 5
        np.testing.assert_allclose(Z @ constant, 0, atol=1e-9)
        # A bit of a constant vector would be the same for every item.
        np.testing.assert_allclose(constant.T @ np.vstack([W1, W2]), 0, atol=1e-5)
        np.testing.assert_allclose(values[-2:], 0, atol=1e-9)
        np.testing.assert_allclose(apart, -values[-10:-2].sum(), rtol=1e-3)


def test_the_same_features_get_the_same_codes():
    data = small.dataset()
    data.training["pairs"]["text"] = data.training["pairs"]["image"]
    method, state, _ = fitted_on(data)
    state = state.replace(params=dict.fromkeys(MODALITIES, state.params["image"]))
    state = updates_of(method)["maps"].step(state, host_batch(data)).state
    x = data.tasks[0].query.inputs["image"]
    one, other = (method.encode(state, modality, x) for modality in MODALITIES)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_order_of_rows_and_of_anchors_does_not_matter():
    data = small.dataset()
    method, state, loss = fitted_on(data)
    order = np.random.default_rng(1).permutation(25)
    fitted = state.params["text"]
    moved = {**fitted, **{name: fitted[name][order] for name in ("anchors", "mean")}}
    moved = state.replace(params={**state.params, "text": moved})
    pairs = {name: array[::-1] for name, array in data.training["pairs"].items()}
    again, same, _ = updates_of(method)["maps"].step(moved, Batch({"pairs": pairs}, {}))
    np.testing.assert_allclose(same["loss"][0] / same["loss"][1], loss, rtol=1e-3)
    x = data.tasks[0].query.inputs["text"]
    one, other = (np.asarray(method.encode(s, "text", x)) for s in (state, again))
    turned = np.sign(np.sum(one * other, axis=0))
    np.testing.assert_allclose(one, other * turned, atol=2e-2)


def test_finds_nothing_in_common_where_pairs_are_shuffled():
    data = small.dataset()
    _, _, loss = fitted_on(data, bits=4)
    data.training["pairs"]["text"] = data.training["pairs"]["text"][::-1]
    _, _, shuffled = fitted_on(data, bits=4)
    assert shuffled > 2 * loss


def test_takes_no_notice_of_labels():
    data, bare = small.dataset(), small.dataset(labelled=False)
    one, other = (jax.tree.leaves(fitted_on(d)[1].params) for d in (data, bare))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_needs_more_anchors_than_bits():
    for anchors in (16, 102):
        with pytest.raises(UserError, match="anchors"):
            small.build(small.config("lcmh", anchors=anchors), small.dataset())
