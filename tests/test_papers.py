"""Each method against its paper: one step of the update, from plain float64 loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import small

from jxhash.methods.base import Batch
from jxhash.training import batches

PLAIN_SGD = {
    "name": "sgd",
    "learning_rate": 1.0,
    "final_learning_rate": 1.0,
    "decay": "linear",
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def batch_of(data, index):
    """A batch with the same row numbers in every source; out of range is padding."""
    rows = {}
    for source, arrays in data.training.items():
        arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
        number = batches.num_rows(arrays)
        picked = jnp.where(index < 30, index, number)
        rows[source] = batches.with_index(batches.Resident.read(arrays, picked, 0), picked, number)
    corpus = jax.tree.map(jnp.asarray, batches.labels_of(data.training))
    return Batch(rows, corpus)


def build(name, data, **changes):
    made = small.config(
        name, image_hidden=(), text_hidden=(), image_dropout=0.0, text_dropout=0.0,
        optimizer=PLAIN_SGD, **changes,
    )  # fmt: skip
    return small.build(made, data)[0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(params, x):
    dense = params["params"]["Dense_0"]
    return np.float64(x) @ np.float64(dense["kernel"]) + np.float64(dense["bias"])


def test_dcmh_step_is_the_gradient_of_equation_2():
    data = small.dataset()
    method = build("dcmh", data, quantization_weight=0.7, balance_weight=0.3)
    before = method.init(jax.random.key(1))
    index = jnp.array([3, 8, 21, 99])  # the last is padding
    after, metrics = jax.jit(method.stages[0].updates[0].step)(before, batch_of(data, index))

    pairs, chosen = data.training["pairs"], np.array([3, 8, 21])
    x = pairs["image"][chosen].astype(np.float64)
    labels = pairs["labels"].astype(int)
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
    gradient /= len(chosen) * len(G)

    moved = jax.tree.map(lambda a, b: np.asarray(a - b), before.params, after.params)
    dense = moved["image"]["params"]["Dense_0"]
    np.testing.assert_allclose(dense["kernel"], x.T @ gradient, atol=1e-5)
    np.testing.assert_allclose(dense["bias"], gradient.sum(axis=0), atol=1e-5)
    assert not np.any(moved["text"]["params"]["Dense_0"]["kernel"])
    # Outputs from before the step are written, those of other rows stay.
    np.testing.assert_allclose(after.buffers["image"], F, atol=1e-5)
    total, count = metrics["loss"]
    np.testing.assert_allclose(total / count, value / (len(chosen) * len(G)), rtol=1e-5)


def test_dcmh_codes_are_the_nearest_of_all_codes():
    data = small.dataset()
    method = build("dcmh", data)
    state = method.init(jax.random.key(2))
    after, _ = method.stages[0].updates[2].step(state, batch_of(data, jnp.arange(30)))
    F, G = (np.float64(state.buffers[m]) for m in ("image", "text"))
    for i in range(30):
        for bit in range(16):
            costs = {b: (b - F[i, bit]) ** 2 + (b - G[i, bit]) ** 2 for b in (-1, 1)}
            assert after.codes["pairs"][i, bit] == min(costs, key=costs.get)


def mmd(a, b, gamma):
    def kernel(p, q):
        return np.mean([[np.exp(-gamma * np.sum((x - y) ** 2)) for y in q] for x in p])

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def median_gamma(a, b):
    pooled = np.concatenate([a, b])
    distances = [np.sum((x - y) ** 2) for i, x in enumerate(pooled) for y in pooled[:i]]
    return 1 / np.median(distances)


def test_thn_loss_is_the_objective_of_the_paper():
    data = small.dataset()
    method = build("thn", data, quantization_weight=0.01, mmd_weight=0.5)
    state = method.init(jax.random.key(1))
    index = jnp.array([2, 5, 7, 11, 99])
    _, metrics = method.stages[0].updates[0].step(state, batch_of(data, index))

    chosen, params = np.array([2, 5, 7, 11]), state.params["networks"]
    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    z = {m: np.tanh(linear(params[m], pairs[m])) for m in ("image", "text")}
    query = np.tanh(linear(params["image"], data.training["query"]["image"][chosen]))
    database = np.tanh(linear(params["text"], data.training["database"]["text"][chosen]))
    labels, L, Q = pairs["labels"].astype(int), 0.0, 0.0
    for i in range(4):
        for j in range(4):
            product = z["image"][i] @ z["text"][j]
            L += np.log1p(np.exp(product)) - float(labels[i] @ labels[j] > 0) * product
            Q += -np.log(np.abs(z["image"][i])).sum() - np.log(np.abs(z["text"][j])).sum()
    D = mmd(query, z["image"], median_gamma(query, z["image"]))
    D += mmd(database, z["text"], median_gamma(database, z["text"]))
    expected = {"likelihood": L / 16, "quantization": Q / 16, "mmd": D}
    expected["loss"] = L / 16 + 0.01 * Q / 16 + 0.5 * D
    for name, value in expected.items():
        total, count = metrics[name]
        np.testing.assert_allclose(total / count, value, rtol=1e-4, err_msg=name)


def test_thn_without_mmd_does_not_learn_from_the_domains():
    data = small.dataset()
    batch = batch_of(data, jnp.arange(8))
    other = dict(batch.rows)
    other["query"] = {**other["query"], "image": -other["query"]["image"]}
    other["database"] = {**other["database"], "text": 1 - other["database"]["text"]}
    for weight, alike in ((0.0, True), (0.5, False)):
        method = build("thn", data, mmd_weight=weight)
        state = method.init(jax.random.key(1))
        step = method.stages[0].updates[0].step
        one, two = (step(state, Batch(rows, batch.corpus))[0] for rows in (batch.rows, other))
        same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one.params, two.params)
        assert all(jax.tree.leaves(same)) is alike


def joint_step(method, data, index):
    """One step of plain gradient descent: (parameters before, how far they moved, metrics)."""
    before = method.init(jax.random.key(1))
    after, metrics = jax.jit(method.stages[0].updates[0].step)(before, batch_of(data, index))
    params, new = before.params["networks"], after.params["networks"]
    moved = jax.tree.map(lambda a, b: np.asarray(a - b), params, new)
    return params, moved, metrics


def cosine_and_slope(u, v):
    """cos(u, v) and its derivative by u."""
    lengths = np.sqrt(u @ u), np.sqrt(v @ v)
    cosine = u @ v / (lengths[0] * lengths[1])
    return cosine, (v / lengths[1] - cosine * u / lengths[0]) / lengths[0]


def assert_step(moved, inputs, outputs, slopes):
    """A linear network before tanh moves by the slopes of the loss at the outputs."""
    before_tanh = slopes * (1 - outputs**2)
    dense = moved["params"]["Dense_0"]
    np.testing.assert_allclose(dense["kernel"], np.float64(inputs).T @ before_tanh, atol=1e-5)
    np.testing.assert_allclose(dense["bias"], before_tanh.sum(axis=0), atol=1e-5)


def assert_terms(metrics, expected):
    for name, value in expected.items():
        total, count = metrics[name]
        np.testing.assert_allclose(total / count, value, rtol=1e-4, err_msg=name)


def test_chn_step_is_the_gradient_of_both_hinges():
    data, margin = small.dataset(), 0.95
    method = build("chn", data, margin=margin, similar_weight=3.0, quantization_weight=0.3)
    params, moved, metrics = joint_step(method, data, jnp.array([2, 5, 7, 11, 99]))

    chosen = np.array([2, 5, 7, 11])  # the last is padding
    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = z = [np.tanh(linear(params[m], pairs[m])) for m in ("image", "text")]
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
    for modality, outputs, slope in zip(("image", "text"), z, slopes, strict=True):
        assert_step(moved[modality], pairs[modality], outputs, slope)


def test_chn_rests_where_all_pairs_are_beyond_the_margin():
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
    networks = {
        modality: {"params": {"Dense_0": {"kernel": np.tile(code, (width, 1)), "bias": 0 * code}}}
        for modality, width in (("image", 12), ("text", 20))
    }
    state = state.replace(params={"networks": jax.tree.map(jnp.float32, networks)})
    after, metrics = method.stages[0].updates[0].step(state, batch_of(data, jnp.arange(8)))
    assert metrics["loss"][0] == 0
    for one, other in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(after.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_cmhh_step_is_the_gradient_of_the_focal_loss():
    data, beta, gamma = small.dataset(), 0.2, 2.0
    method = build("cmhh", data, beta=beta, focusing=gamma, quantization_weight=0.3)
    params, moved, metrics = joint_step(method, data, jnp.array([2, 5, 7, 11, 99]))

    chosen = np.array([2, 5, 7, 11])
    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = z = [np.tanh(linear(params[m], pairs[m])) for m in ("image", "text")]
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
    for modality, outputs, slope in zip(("image", "text"), z, slopes, strict=True):
        assert_step(moved[modality], pairs[modality], outputs, slope)


def test_cmhh_batches_without_similar_or_without_dissimilar_pairs():
    data = small.dataset()
    method = build("cmhh", data)
    for same in (True, False):
        labels = np.full((101, 1), same, np.uint8)  # without a label a row is similar to none
        pairs = {**data.training["pairs"], "labels": labels}
        changed = dataclasses.replace(data, training={"pairs": pairs})
        _, moved, metrics = joint_step(method, changed, jnp.arange(8))
        assert np.isfinite(metrics["loss"][0])
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(moved))


def test_prdh_step_is_the_gradient_of_all_terms():
    data = small.dataset()
    weights = {
        "intra_weight": 0.6,
        "decorrelation_weight": 0.4,
        "quantization_weight": 0.7,
        "balance_weight": 0.3,
    }
    method = build("prdh", data, **weights)
    before = method.init(jax.random.key(1))
    index = jnp.array([3, 8, 21, 99])  # the last is padding
    after, metrics = jax.jit(method.stages[0].updates[1].step)(before, batch_of(data, index))

    pairs, chosen = data.training["pairs"], np.array([3, 8, 21])
    y = pairs["text"][chosen].astype(np.float64)
    labels = pairs["labels"].astype(int)
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

    moved = jax.tree.map(lambda a, b: np.asarray(a - b), before.params, after.params)
    dense = moved["text"]["params"]["Dense_0"]
    np.testing.assert_allclose(dense["kernel"], y.T @ slopes, atol=1e-5)
    np.testing.assert_allclose(dense["bias"], slopes.sum(axis=0), atol=1e-5)
    assert not np.any(moved["image"]["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(after.buffers["text"], new, atol=1e-5)
    assert_terms(metrics, {"loss": value / (3 * 101) + 0.4 * J4, "decorrelation": J4})


def test_prdh_without_its_own_terms_is_dcmh():
    data, states = small.dataset(), []
    shared = {"quantization_weight": 0.7, "balance_weight": 0.7}
    own = {"intra_weight": 0.0, "decorrelation_weight": 0.0}
    for name, changes in (("dcmh", shared), ("prdh", shared | own)):
        method = build(name, data, **changes)
        state = method.init(jax.random.key(4))
        for update in method.stages[0].updates:
            state, _ = jax.jit(update.step)(state, batch_of(data, jnp.arange(9)))
        states.append((state.params, state.buffers, state.codes))
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(one, other)
