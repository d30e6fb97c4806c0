"""PRDH: its step against plain loops, and what it shares with DCMH."""

import jax
import numpy as np
import small
from by_hand import assert_moved, assert_terms, batch_of, build, linear, sigmoid, take, updates_of


def test_step_is_the_gradient_of_all_terms():
    data = small.dataset()
    weights = {
        "intra_weight": 0.6,
        "decorrelation_weight": 0.4,
        "quantization_weight": 0.7,
        "balance_weight": 0.3,
    }
    method = build("prdh", data, **weights)
    before, chosen = method.init(jax.random.key(1)), np.array([3, 8, 21])
    batch = batch_of(data, chosen, padding=1)
    after, moved, metrics = take(updates_of(method)["text"], before, batch)

    pairs = data.training["pairs"]
    y, labels = pairs["text"][chosen], pairs["labels"].astype(int)
    v = linear(before.params["text"], y)
    stored = {m: np.float64(before.buffers[m]) for m in ("image", "text")}
    new = stored["text"].copy()
    new[chosen] = v
    B = np.float64(before.codes["pairs"])[chosen]
    slopes, value = np.zeros_like(v), 0.3 * np.sum(new.sum(axis=0) ** 2)
    for i, row in enumerate(chosen):
        for weight, others in ((1.0, stored["image"]), (0.6, stored["text"])):
            for j, other in enumerate(others):
                omega = 0.5 * v[i] @ other
                similar = float(labels[row] @ labels[j] > 0)
                slopes[i] += weight * 0.5 * (sigmoid(omega) - similar) * other
                value += weight * (np.log1p(np.exp(omega)) - similar * omega)
        slopes[i] += 2 * 0.7 * (v[i] - B[i]) + 2 * 0.3 * new.sum(axis=0)
        value += 0.7 * np.sum((v[i] - B[i]) ** 2)
    slopes /= 3 * 101
    centred, J4 = v - v.mean(axis=0), 0.0
    for a in range(16):
        for b in range(16):
            if a != b:
                covariance = np.mean(centred[:, a] * centred[:, b])
                J4 += covariance**2 / 2
                slopes[:, a] += 0.4 * 2 / 3 * covariance * centred[:, b]

    assert_moved(moved["text"], y, slopes)
    assert not np.any(moved["image"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(after.buffers["text"], new, atol=1e-5)
    assert_terms(metrics, {"loss": value / (3 * 101) + 0.4 * J4, "decorrelation": J4})


def test_without_its_own_terms_it_is_dcmh():
    data, states = small.dataset(), []
    shared = {"quantization_weight": 0.7, "balance_weight": 0.7}
    own = {"intra_weight": 0.0, "decorrelation_weight": 0.0}
    for name, changes in (("dcmh", shared), ("prdh", shared | own)):
        method = build(name, data, **changes)
        state = method.init(jax.random.key(4))
        for update in method.stages[0].updates:
            state = jax.jit(update.step)(state, batch_of(data, range(9))).state
        states.append((state.params, state.buffers, state.codes))
    jax.tree.map(np.testing.assert_array_equal, *states)
