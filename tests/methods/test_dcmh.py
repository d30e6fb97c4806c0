"""DCMH: its steps against plain loops."""

import jax
import numpy as np
import small
from by_hand import assert_moved, assert_terms, batch_of, build, linear, sigmoid, take, updates_of


def test_step_is_the_gradient_of_equation_2():
    data = small.dataset()
    method = build("dcmh", data, quantization_weight=0.7, balance_weight=0.3)
    before, chosen = method.init(jax.random.key(1)), np.array([3, 8, 21])
    batch = batch_of(data, chosen, padding=1)
    after, moved, metrics = take(updates_of(method)["image"], before, batch)

    pairs = data.training["pairs"]
    x, labels = pairs["image"][chosen], pairs["labels"].astype(int)
    f, G = linear(before.params["image"], x), np.float64(before.buffers["text"])
    F = np.float64(before.buffers["image"])
    F[chosen] = f
    B = np.float64(before.codes["pairs"])[chosen]
    gradient, value = np.zeros_like(f), 0.3 * np.sum(F.sum(axis=0) ** 2)
    for i, row in enumerate(chosen):
        for j in range(len(G)):
            theta = 0.5 * f[i] @ G[j]
            similar = float(labels[row] @ labels[j] > 0)
            gradient[i] += 0.5 * (sigmoid(theta) - similar) * G[j]
            value += np.log1p(np.exp(theta)) - similar * theta
        gradient[i] += 2 * 0.7 * (f[i] - B[i]) + 2 * 0.3 * F.sum(axis=0)
        value += 0.7 * np.sum((f[i] - B[i]) ** 2)
    share = len(chosen) * len(G)

    assert_moved(moved["image"], x, gradient / share)
    assert not np.any(moved["text"]["Dense_0"]["kernel"])
    # Outputs from before the step are written, those of other rows stay.
    np.testing.assert_allclose(after.buffers["image"], F, atol=1e-5)
    assert_terms(metrics, {"loss": value / share}, rtol=1e-5)


def test_codes_are_the_nearest_of_all_codes():
    data = small.dataset()
    method = build("dcmh", data)
    state = method.init(jax.random.key(2))
    after = updates_of(method)["codes"].step(state, batch_of(data, range(30))).state
    F, G = (np.float64(state.buffers[m]) for m in ("image", "text"))
    for i in range(30):
        for bit in range(16):
            costs = {b: (b - F[i, bit]) ** 2 + (b - G[i, bit]) ** 2 for b in (-1, 1)}
            assert after.codes["pairs"][i, bit] == min(costs, key=costs.get)
