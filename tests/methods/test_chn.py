"""CHN: its step against plain loops, and where it rests."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import small
from by_hand import (
    MODALITIES,
    assert_moved,
    assert_terms,
    batch_of,
    build,
    cosine_and_slope,
    joint_step,
    linear,
)


def test_step_is_the_gradient_of_both_hinges():
    data, margin, chosen = small.dataset(), 0.95, [2, 5, 7, 11]
    method = build("chn", data, margin=margin, similar_weight=3.0, quantization_weight=0.3)
    params, moved, metrics = joint_step(method, data, chosen)

    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = z = [np.tanh(linear(params[m], pairs[m])) for m in MODALITIES]
    labels, slopes, L, Q = pairs["labels"].astype(int), [0 * u, 0 * v], 0.0, 0.0
    for i in range(4):
        for j in range(4):
            s = 1 if labels[i] @ labels[j] > 0 else -1
            cosine, by_u = cosine_and_slope(u[i], v[j])
            by_v = cosine_and_slope(v[j], u[i])[1]
            missing, share = max(0, margin - s * cosine), (3 if s > 0 else 1) / 16
            L += share * missing**2
            slopes[0][i] -= share * 2 * s * missing * by_u
            slopes[1][j] -= share * 2 * s * missing * by_v
    for outputs, slope in zip(z, slopes, strict=True):
        for i in range(4):
            cosine, by_magnitude = cosine_and_slope(np.abs(outputs[i]), np.ones(16))
            Q += max(0, margin - cosine) / 4
            slope[i] -= 0.3 * (cosine < margin) * np.sign(outputs[i]) * by_magnitude / 4
    assert min(L, Q) > 0
    assert_terms(metrics, {"correlation": L, "quantization": Q, "loss": L + 0.3 * Q})
    for modality, outputs, slope in zip(MODALITIES, z, slopes, strict=True):
        assert_moved(moved[modality], pairs[modality], slope * (1 - outputs**2))


def test_rests_where_all_pairs_are_beyond_the_margin():
    """Two classes on opposite sides: the hinges ask no more, though the cosines could be larger."""
    data = small.dataset()
    classes = data.training["pairs"]["labels"][:, 0]  # with label 0, or without
    labels = np.stack([classes, 1 - classes], axis=1)
    sides = np.float32(2 * labels[:, :1]) - 1
    pairs = {"image": np.repeat(sides, 12, 1), "text": np.repeat(sides, 20, 1), "labels": labels}
    data = dataclasses.replace(data, training={"pairs": pairs})
    method = build("chn", data, margin=0.8, quantization_weight=0.3)
    state = method.init(jax.random.key(1))
    code = np.where(np.arange(16) % 3, 0.05, -0.04)
    params = {
        modality: {"Dense_0": {"kernel": np.tile(code, (width, 1)), "bias": 0 * code}}
        for modality, width in (("image", 12), ("text", 20))
    }
    state = state.replace(params=jax.tree.map(jnp.float32, params))
    after, metrics, _ = method.stages[0].updates[0].step(state, batch_of(data, range(8)))
    assert metrics["loss"][0] == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, after.params)
