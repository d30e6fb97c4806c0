"""CMHH: its step against plain loops, and batches in which all pairs are of one kind."""

import dataclasses

import jax
import numpy as np
import pytest
import small
from by_hand import (
    MODALITIES,
    assert_moved,
    assert_terms,
    build,
    cosine_and_slope,
    joint_step,
    linear,
)


def test_step_is_the_gradient_of_the_focal_loss():
    data, beta, gamma, chosen = small.dataset(), 0.2, 2.0, [2, 5, 7, 11]
    method = build("cmhh", data, beta=beta, focusing=gamma, quantization_weight=0.3)
    params, moved, metrics = joint_step(method, data, chosen)

    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = z = [np.tanh(linear(params[m], pairs[m])) for m in MODALITIES]
    labels, slopes, L, Q = pairs["labels"].astype(int), [0 * u, 0 * v], 0.0, 0.0
    similar = (labels @ labels.T > 0).astype(int)
    assert 0 < similar.sum() < 16
    for i in range(4):
        for j in range(4):
            cosine, by_u = cosine_and_slope(u[i], v[j])
            by_v = cosine_and_slope(v[j], u[i])[1]
            d = 16 / 2 * (1 - cosine)
            p = np.exp(-beta * d)
            if similar[i, j]:
                weight = 16 / similar.sum()
                loss = (1 - p) ** gamma * beta * d
                slope = beta * (1 - p) ** gamma + gamma * beta**2 * d * p * (1 - p) ** (gamma - 1)
            else:
                weight = 1
                loss = -(p**gamma) * np.log(1 - p)
                slope = beta * p**gamma * (gamma * np.log(1 - p) - p / (1 - p))
            L += weight * loss / 16
            slopes[0][i] -= weight * slope * 16 / 2 * by_u / 16
            slopes[1][j] -= weight * slope * 16 / 2 * by_v / 16
    for outputs, slope in zip(z, slopes, strict=True):
        for i in range(4):
            cosine, by_magnitude = cosine_and_slope(np.abs(outputs[i]), np.ones(16))
            Q += 16 / 2 * (1 - cosine) / 4
            slope[i] -= 0.3 * 16 / 2 * np.sign(outputs[i]) * by_magnitude / 4
    assert_terms(metrics, {"focal": L, "quantization": Q, "loss": L + 0.3 * Q})
    for modality, outputs, slope in zip(MODALITIES, z, slopes, strict=True):
        assert_moved(moved[modality], pairs[modality], slope * (1 - outputs**2))


@pytest.mark.parametrize("label", [1, 0])  # without a label a row is similar to none
def test_batches_without_similar_or_without_dissimilar_pairs(label):
    data = small.dataset()
    pairs = {**data.training["pairs"], "labels": np.full((101, 1), label, np.uint8)}
    data = dataclasses.replace(data, training={"pairs": pairs})
    _, moved, metrics = joint_step(build("cmhh", data), data, range(8), padding=0)
    assert np.isfinite(metrics["loss"][0])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(moved))
