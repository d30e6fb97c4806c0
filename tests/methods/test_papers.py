"""Each method against its paper: one step of the update, from plain float64 loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles_sequences
import pytest
import scipy.linalg
import small

from jxhash import codes, discrete, methods
from jxhash.errors import UserError
from jxhash.methods.base import Batch
from jxhash.training import batches, engine

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


def build_ddcmh(data, **arguments):
    made = small.config(
        "ddcmh", image_hidden=(), text_hidden=(), image_input_dropout=0.0, image_dropout=0.0,
        text_dropout=0.0, image_optimizer=PLAIN_SGD, text_optimizer=PLAIN_SGD,
    )  # fmt: skip
    spec = engine.make_spec(data.training, 16)
    return methods.get("ddcmh").build(made, spec, **arguments)


def updates_of(method):
    return {update.name: update for stage in method.stages for update in stage.updates}


def whole_batch(data):
    """All rows and one of padding, as a minibatch or a host update sees them."""
    number = len(data.training["pairs"]["labels"])
    index = jnp.arange(number + 1)
    rows = batches.Resident.read(data.training["pairs"], index, 0)
    return Batch(
        {"pairs": batches.with_index(rows, index, number)}, batches.labels_of(data.training)
    )


def ddcmh_targets(data):
    """Codes of -1 and +1, and soft targets."""
    generator = np.random.default_rng(5)
    shape = (len(data.training["pairs"]["labels"]), 16)
    return generator.choice([-1, 1], shape).astype(np.int8), generator.random(shape)


@pytest.mark.parametrize("network", ["image", "text"])
def test_ddcmh_step_is_the_gradient_of_the_cross_entropy(network):
    data = small.dataset()
    method = build_ddcmh(data)
    taught, soft = ddcmh_targets(data)
    before = method.init(jax.random.key(1)).replace(
        codes={"initial": taught, "image": -taught}, buffers={"reconstructed": soft}
    )
    batch = batch_of(data, jnp.array([3, 8, 21, 99]))  # the last is padding
    after, metrics = jax.jit(updates_of(method)[network].step)(before, batch)

    chosen = [3, 8, 21]
    x = data.training["pairs"][network][chosen].astype(np.float64)
    t = {"image": (taught[chosen] + 1) / 2, "text": soft[chosen]}[network]
    z, value = linear(before.params[network], x), 0.0
    for i in range(3):
        for k in range(16):
            p = sigmoid(z[i, k])
            value -= t[i, k] * np.log(p) + (1 - t[i, k]) * np.log(1 - p)
    gradient = (sigmoid(z) - t) / (3 * 16)
    moved = jax.tree.map(lambda a, b: np.asarray(a - b), before.params, after.params)
    dense = moved[network]["params"]["Dense_0"]
    np.testing.assert_allclose(dense["kernel"], x.T @ gradient, atol=1e-5)
    np.testing.assert_allclose(dense["bias"], gradient.sum(axis=0), atol=1e-5)
    total, count = metrics["loss"]
    np.testing.assert_allclose(total / count, value / (3 * 16), rtol=1e-5)


def test_ddcmh_first_codes_may_come_from_any_hash_of_texts():
    data, seen = small.dataset(), []

    def by_first_words(key, texts, labels, num_bits):
        seen.append((np.asarray(texts), np.asarray(labels), num_bits))
        return np.where(np.asarray(texts)[:, :num_bits] > 0, 1, -1)

    method = build_ddcmh(data, initial_codes=by_first_words)
    state = method.init(jax.random.key(0))
    after, _ = updates_of(method)["hash texts"].step(state, host_batch(data))
    np.testing.assert_array_equal(seen[0][0], data.training["pairs"]["text"])
    np.testing.assert_array_equal(seen[0][1], data.training["pairs"]["labels"])
    assert seen[0][2] == 16
    expected = 2 * (data.training["pairs"]["text"][:, :16] > 0).astype(int) - 1
    np.testing.assert_array_equal(after.codes["initial"], expected)
    bits = build_ddcmh(data, initial_codes=lambda *_: np.zeros((101, 16)))
    with pytest.raises(UserError, match="-1 and \\+1"):
        updates_of(bits)["hash texts"].step(state, host_batch(data))


def test_ddcmh_a_share_of_the_first_codes_is_told_from_the_texts():
    data = small.dataset()
    method = build_ddcmh(data)  # a quarter of 16 bits, the best of two draws
    state = method.init(jax.random.key(0))
    after, _ = updates_of(method)["hash texts"].step(state, host_batch(data))
    pairs = data.training["pairs"]
    key = jax.random.fold_in(state.key, state.step)
    B = discrete.cosdish(key, pairs["labels"], 16, restarts=2)
    X = pairs["text"].astype(np.float64)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    # A ridge regression is least squares with rows of the identity below.
    weights = np.linalg.lstsq(
        np.vstack([X, np.eye(X.shape[1])]),
        np.vstack([B[:, :4], np.zeros((X.shape[1], 4))]),
        rcond=None,
    )[0]
    np.testing.assert_array_equal(after.codes["initial"][:, :4], np.where(X @ weights > 0, 1, -1))
    np.testing.assert_array_equal(after.codes["initial"][:, 4:], B[:, 4:])
    with pytest.raises(UserError, match="reencoded_share"):
        methods.get("ddcmh").build(
            small.config("ddcmh", reencoded_share=1.5), engine.make_spec(data.training, 16)
        )


def test_ddcmh_an_output_of_zero_is_the_bit_zero_for_queries_and_items():
    data = small.dataset()
    method = build_ddcmh(data)
    state = method.init(jax.random.key(0))
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    outputs = method.encode(state, "image", data.training["pairs"]["image"])
    assert np.all(codes.sign(outputs) == -1)
    assert np.all(method.index(state, "image", outputs) == -1)


def test_ddcmh_says_that_rows_are_too_few_for_cosdish():
    with pytest.raises(UserError, match="16 rows are too few"):
        build_ddcmh(small.dataset(16))


def host_batch(data):
    rows = {source: dict(arrays) for source, arrays in data.training.items()}
    return Batch(rows, batches.labels_of(data.training))


def test_ddcmh_reconstruction_is_the_mean_over_shared_labels():
    data = small.dataset()
    data.training["pairs"]["labels"][7] = 0
    method = build_ddcmh(data)
    state, batch = method.init(jax.random.key(4)), whole_batch(data)
    for name in ("hash images", "reconstruct"):
        state, _ = jax.jit(updates_of(method)[name].step)(state, batch)
    labels = data.training["pairs"]["labels"].astype(int)
    z = linear(state.params["image"], data.training["pairs"]["image"])
    bits = (z > 0).astype(float)
    np.testing.assert_array_equal(state.codes["image"], 2 * bits - 1)
    for i, own in enumerate(labels):
        shared = [own @ other for other in labels]
        mean = sum(s * b for s, b in zip(shared, bits, strict=True)) / max(sum(shared), 1)
        expected = mean if sum(shared) else bits[i]
        np.testing.assert_allclose(state.buffers["reconstructed"][i], expected, atol=1e-6)
        clear = np.abs(expected - 0.5) > 1e-6
        for modality in ("image", "text"):
            learned = np.asarray(method.learned(state, modality))[i]
            np.testing.assert_array_equal(learned[clear], np.where(expected > 0.5, 1, -1)[clear])


def test_ddcmh_half_a_bit_is_minus_one():
    data = small.dataset()
    method = build_ddcmh(data)
    state = method.init(jax.random.key(0))
    assert np.all(np.asarray(state.buffers["reconstructed"]) == 0.5)
    assert np.all(np.asarray(method.learned(state, "text")) == -1)


@pytest.mark.parametrize(("network", "other"), [("image", "text"), ("text", "image")])
def test_ddcmh_networks_are_trained_each_alone(network, other):
    """Neither stage reads the other modality, and a batch in another order is the same batch."""
    data = small.dataset()
    method = build_ddcmh(data)
    taught, soft = ddcmh_targets(data)
    state = method.init(jax.random.key(1)).replace(
        codes={"initial": taught, "image": taught}, buffers={"reconstructed": soft}
    )
    step = jax.jit(updates_of(method)[network].step)
    batch = batch_of(data, jnp.arange(8))
    pairs = batch.rows["pairs"]
    changed = {**pairs, other: 1 - pairs[other]}
    turned = {name: array[::-1] for name, array in pairs.items()}
    one, two, three = (
        step(state, Batch({**batch.rows, "pairs": rows}, batch.corpus))[0].params
        for rows in (pairs, changed, turned)
    )
    for a, b, c in zip(*map(jax.tree.leaves, (one, two, three)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-6)


def fitted_lcmh(data, **changes):
    """LCMH after its three host updates, and the loss of the last."""
    changes = {"anchors": 25, "bandwidth": 0.5, **changes}
    method = small.build(small.config("lcmh", **changes), data)[0]
    state = method.init(jax.random.key(0))
    for update in updates_of(method).values():
        state, metrics = update.step(state, host_batch(data))
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


def test_lcmh_maps_are_the_canonical_directions():
    data = small.dataset()
    method, state, loss = fitted_lcmh(data, bits=8, regularization=0.01)
    pairs, k = data.training["pairs"], 25
    A = {m: centred_memberships(state.params[m], pairs[m]) for m in ("image", "text")}
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
def test_lcmh_other_constraints_hold_and_are_made_the_best_of(constraint):
    data = small.dataset()
    _, state, _ = fitted_lcmh(data, bits=8, constraint=constraint)
    W1, W2 = (np.float64(state.params[m]["map"]) for m in ("image", "text"))
    A1, A2 = (
        centred_memberships(state.params[m], data.training["pairs"][m]) for m in ("image", "text")
    )
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


def test_lcmh_the_same_features_get_the_same_codes():
    data = small.dataset()
    data.training["pairs"]["text"] = data.training["pairs"]["image"]
    method, state, _ = fitted_lcmh(data)
    state = state.replace(params=dict.fromkeys(("image", "text"), state.params["image"]))
    state, _ = updates_of(method)["maps"].step(state, host_batch(data))
    x = data.tasks[0].query.inputs["image"]
    one, other = (method.encode(state, modality, x) for modality in ("image", "text"))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_lcmh_order_of_rows_and_of_anchors_does_not_matter():
    data = small.dataset()
    method, state, loss = fitted_lcmh(data)
    order = np.random.default_rng(1).permutation(25)
    fitted = state.params["text"]
    moved = {**fitted, **{name: fitted[name][order] for name in ("anchors", "mean")}}
    moved = state.replace(params={**state.params, "text": moved})
    pairs = {name: array[::-1] for name, array in data.training["pairs"].items()}
    again, same = updates_of(method)["maps"].step(moved, Batch({"pairs": pairs}, {}))
    np.testing.assert_allclose(same["loss"][0] / same["loss"][1], loss, rtol=1e-3)
    x = data.tasks[0].query.inputs["text"]
    one, other = (np.asarray(method.encode(s, "text", x)) for s in (state, again))
    turned = np.sign(np.sum(one * other, axis=0))
    np.testing.assert_allclose(one, other * turned, atol=2e-2)


def test_lcmh_finds_nothing_in_common_where_pairs_are_shuffled():
    data = small.dataset()
    _, _, loss = fitted_lcmh(data, bits=4)
    data.training["pairs"]["text"] = data.training["pairs"]["text"][::-1]
    _, _, shuffled = fitted_lcmh(data, bits=4)
    assert shuffled > 2 * loss


def test_lcmh_takes_no_notice_of_labels():
    data, bare = small.dataset(), small.dataset(labelled=False)
    one, other = (jax.tree.leaves(fitted_lcmh(d)[1].params) for d in (data, bare))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lcmh_needs_more_anchors_than_bits():
    for anchors in (16, 102):
        with pytest.raises(UserError, match="anchors"):
            small.build(small.config("lcmh", anchors=anchors), small.dataset())


def cdq_state(method, key, data):
    """A state whose codebooks are noise and whose assignments are of nothing."""
    state = method.init(jax.random.key(key))
    generator = np.random.default_rng(key)
    rows = len(data.training["pairs"]["labels"])
    M, W, _ = state.buffers["codebooks"].shape
    words = generator.integers(W, size=(2, rows, M)).astype(np.uint8)
    return state.replace(codes={"image": jnp.asarray(words[0]), "text": jnp.asarray(words[1])})


def test_cdq_step_is_the_gradient_of_the_objective():
    data = small.dataset()
    method = build("cdq", data, width=8, scale=8.0, quantization_weight=0.2)
    before = cdq_state(method, 1, data)
    step = method.stages[2].updates[3].step
    index = jnp.array([2, 5, 7, 11, 99])  # the last is padding
    after, metrics = jax.jit(step)(before, batch_of(data, index))

    chosen, params = [2, 5, 7, 11], before.params["networks"]
    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = (np.tanh(linear(params[m], pairs[m])) for m in ("image", "text"))
    C = np.float64(before.buffers["codebooks"])
    labels, L, Q, cut = pairs["labels"].astype(int), 0.0, 0.0, 0
    gradient_u, gradient_v = np.zeros_like(u), np.zeros_like(v)
    for i in range(4):
        for j in range(4):
            product, similar = 8.0 * u[i] @ v[j], float(labels[i] @ labels[j] > 0)
            a = np.clip(product, -15, 15)
            L += (np.log1p(np.exp(a)) - similar * a) / 16
            if a == product:
                gradient_u[i] += 8.0 * (sigmoid(a) - similar) * v[j] / 16
                gradient_v[j] += 8.0 * (sigmoid(a) - similar) * u[i] / 16
            else:
                cut += 1
        for outputs, gradient, modality in ((u, gradient_u, "image"), (v, gradient_v, "text")):
            words = before.codes[modality][chosen[i]]
            error = outputs[i] - sum(C[m, word] for m, word in enumerate(words))
            Q += error @ error / 4
            gradient[i] += 0.2 * 2 * error / 4
    assert 0 < cut < 16
    moved = jax.tree.map(lambda a, b: np.asarray(a - b), params, after.params["networks"])
    for modality, outputs, gradient in (("image", u, gradient_u), ("text", v, gradient_v)):
        expected = np.float64(pairs[modality]).T @ (gradient * (1 - outputs**2))
        np.testing.assert_allclose(
            moved[modality]["params"]["Dense_0"]["kernel"], expected, atol=1e-4
        )
    for name, value in {"likelihood": L, "quantization": Q, "loss": L + 0.2 * Q}.items():
        total, count = metrics[name]
        np.testing.assert_allclose(total / count, value, rtol=1e-4, err_msg=name)


def test_cdq_assigns_and_fits_all_rows_of_both_modalities():
    data = small.dataset()
    method = build("cdq", data, width=8, codewords=4, bits=4)
    state, batch, updates = cdq_state(method, 2, data), whole_batch(data), updates_of(method)
    errors = {}
    for name in ("outputs", "first codebooks", "assignments", "codebooks"):
        state, metrics = updates[name].step(state, batch)
        if metrics:
            total, count = metrics["quantization"]
            errors[name] = float(total / count)
        if name == "first codebooks":
            # Each codebook begins on dimensions of its own.
            assert np.all(np.asarray(state.buffers["codebooks"])[0, :, 4:] == 0)
            assert np.all(np.asarray(state.buffers["codebooks"])[1, :, :4] == 0)
            first = np.float64(state.buffers["codebooks"])
    X, H, error = [], [], 0.0
    for modality in ("image", "text"):
        params = state.params["networks"][modality]
        outputs = np.tanh(linear(params, data.training["pairs"][modality]))
        np.testing.assert_allclose(state.buffers[modality], outputs, atol=1e-5)
        words = np.asarray(method.learned(state, modality))
        assert words.dtype == np.uint8
        for row, (point, chosen) in enumerate(zip(outputs, words, strict=True)):
            X.append(point)
            H.append(np.eye(4)[chosen].ravel())
            # Codebooks that share no dimension are searched exactly by one sweep.
            costs = {
                (a, b): np.sum((point - first[0, a] - first[1, b]) ** 2)
                for a in range(4)
                for b in range(4)
            }
            assert costs[tuple(chosen)] <= min(costs.values()) + 1e-5, (modality, row)
            error += costs[tuple(chosen)] / 101
    X, H = np.array(X), np.array(H)
    np.testing.assert_allclose(errors["assignments"], error, rtol=1e-4)
    C = np.linalg.solve(H.T @ H + 1e-3 * np.eye(8), H.T @ X)
    found = np.asarray(state.buffers["codebooks"]).reshape(8, 8)
    # A constant moved from one codebook to the other changes no sum, and only rounding fixes it.
    np.testing.assert_allclose(H @ found, H @ C, atol=1e-4)
    assert errors["codebooks"] < errors["assignments"]


def test_cdq_with_one_codebook_keeps_the_nearest_codeword():
    data = small.dataset()
    method = build("cdq", data, width=8, codewords=16, bits=4)
    state = cdq_state(method, 3, data)
    C = np.float64(state.buffers["codebooks"])[0]
    outputs = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    entries = np.asarray(method.index(state, "text", outputs))
    assert entries.shape == (9, 1)
    for row, entry in zip(outputs, entries, strict=True):
        assert entry[0] == np.argmin([np.sum((row - word) ** 2) for word in C])


def test_cdq_ranks_by_inner_products_with_sums_of_codewords():
    data = small.dataset()
    method = build("cdq", data, width=8)
    state = cdq_state(method, 3, data)
    queries = np.asarray(method.encode(state, "image", data.tasks[0].query.inputs["image"]))
    items = method.encode(state, "text", data.tasks[0].database.inputs["text"])
    entries = np.asarray(method.index(state, "text", items))
    distances = np.asarray(method.distances(state, queries, entries))
    C = np.float64(state.buffers["codebooks"])
    for q, query in enumerate(queries):
        for n, entry in enumerate(entries):
            quantized = sum(C[m, word] for m, word in enumerate(entry))
            np.testing.assert_allclose(distances[q, n], -(query @ quantized), atol=1e-4)
            # The paper's bound on what quantization does to an inner product.
            error = abs(float(query @ items[n]) + distances[q, n])
            bound = np.linalg.norm(query) * np.linalg.norm(items[n] - quantized)
            assert error <= bound + 1e-4


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"codewords": 48}, "codewords"), ({"codewords": 8}, "bits"), ({"width": 30}, "width")],
)
def test_cdq_refuses_codebooks_that_do_not_fit(changes, named):
    with pytest.raises(UserError, match=named):
        small.build(small.config("cdq", **changes), small.dataset())


def directional(objective, params, direction, step=1e-6):
    """The derivative of a float64 objective of parameters along a direction."""
    ends = [
        objective(
            jax.tree.map(lambda p, d, s=sign: np.float64(p) + s * step * d, params, direction)
        )
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def assert_descends(objective, before, after, scale):
    """A step of plain SGD went along minus the gradient, seen in random directions."""
    moved = jax.tree.map(lambda a, b: np.float64(a) - np.float64(b), after, before)
    generator = np.random.default_rng(8)
    for _ in range(4):
        direction = jax.tree.map(lambda p: generator.normal(size=p.shape), before)
        along = jax.tree.map(lambda m, d: np.sum(m * d), moved, direction)
        found = -sum(jax.tree.leaves(along))
        np.testing.assert_allclose(
            found, directional(objective, before, direction), rtol=1e-3, atol=scale * 1e-4
        )


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def dvsh_objective(data, chosen, params):
    """(loss, terms) of the sheet, pair by pair and word by word."""
    pairs = data.training["pairs"]
    labels, K = pairs["labels"].astype(int), 16
    h, L_x, L_y, Q = [], 0.0, 0.0, 0.0
    for i in chosen:
        x, tokens = pairs["image"][i], pairs["text"][i][pairs["text"][i] > 0]
        h_t = np.tanh(oracles_sequences.fusion(params["fusion"]["params"], x, tokens))
        v_t = np.tanh(oracles_sequences.sentence_lstm(params["text"]["params"], tokens))
        u = np.tanh(oracles_sequences.perceptron(params["image"]["params"], x))
        h.append(sum(h_t) / len(tokens))
        L_x += sum((u[k] - h[-1][k]) ** 2 for k in range(K)) / (2 * len(chosen))
        for v_now, h_now in zip(v_t, h_t, strict=True):
            L_y += sum((v_now - h_now) ** 2) / len(tokens) / (2 * len(chosen))
        Q += sum(max(0, 0.5 - abs(bit)) for bit in h[-1]) / len(chosen)
    L = 0.0
    for i, a in zip(chosen, h, strict=True):
        for j, b in zip(chosen, h, strict=True):
            s = 1 if labels[i] @ labels[j] > 0 else -1
            weight = 3 if s > 0 else 1
            L += weight * max(0, 0.5 - s * cosine(a, b)) / len(chosen) ** 2
    terms = {"similarity": L, "quantization": Q, "image": L_x, "text": L_y}
    return L + 0.3 * Q + 0.7 * (L_x + L_y), terms


def test_dvsh_step_is_the_gradient_of_its_objective():
    data = small.sentences_dataset()
    made = small.config(
        "dvsh", image_dropout=0.0, text_dropout=0.0, quantization_weight=0.3, hashing_weight=0.7,
        optimizer=PLAIN_SGD,
    )  # fmt: skip
    method, _ = small.build(made, data)
    before = jax.jit(method.init)(jax.random.key(1))
    index = jnp.array([3, 8, 21, 5, 99])
    after, metrics = jax.jit(method.stages[0].updates[0].step)(before, batch_of(data, index))
    params = before.params["networks"]
    chosen = [3, 8, 21, 5]
    value, terms = dvsh_objective(data, chosen, params)
    for name, expected in {"loss": value, **terms}.items():
        total, count = metrics[name]
        np.testing.assert_allclose(total / count, expected, rtol=1e-4, err_msg=name)
    assert_descends(
        lambda p: dvsh_objective(data, chosen, p)[0], params, after.params["networks"], abs(value)
    )


def test_dvsh_searches_without_the_fusion_network():
    data = small.sentences_dataset()
    method, _ = small.build(small.config("dvsh"), data)
    state = jax.jit(method.init)(jax.random.key(1))
    networks = state.params["networks"]
    for network, changed in (("fusion", ()), ("image", ("image",)), ("text", ("text",))):
        other = jax.tree.map(lambda p: p + 0.5, networks[network])
        moved = state.replace(params={"networks": networks | {network: other}})
        for modality in ("image", "text"):
            inputs = data.tasks[0].query.inputs[modality]
            one, two = (method.encode(s, modality, inputs) for s in (state, moved))
            assert bool(jnp.any(one != two)) is (modality in changed)


def test_dvsh_leaves_out_pairs_without_words():
    data = small.sentences_dataset()
    method, _ = small.build(small.config("dvsh"), data)
    state = jax.jit(method.init)(jax.random.key(1))
    batch = batch_of(data, jnp.array([3, 8, 21, 5]))
    rows = dict(batch.rows["pairs"])
    rows["text"] = rows["text"].at[1].set(0)
    rows["where"] = rows["where"].at[2].set(False)
    other = {**rows, "image": rows["image"].at[jnp.array([1, 2])].add(1.0)}
    step = jax.jit(method.stages[0].updates[0].step)
    one, two = (step(state, Batch({"pairs": r}, batch.corpus))[0].params for r in (rows, other))
    same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one, two)
    assert all(jax.tree.leaves(same))


def tvdb_outputs(data, chosen, params):
    """(F, G) in float64."""
    pairs, F, G = data.training["pairs"], [], []
    for i in chosen:
        regions = pairs["image"][i][np.any(pairs["image"][i] != 0, axis=1)]
        tokens = pairs["text"][i][pairs["text"][i] > 0]
        F.append(oracles_sequences.region_lstm(params["image"]["params"], regions))
        G.append(
            oracles_sequences.sentence_convolutions(
                params["text"]["params"], tokens, ((0, 10), (1, 9), (4, 8)), (1, 3)
            )
        )
    return np.array(F), np.array(G)


def test_tvdb_step_is_that_of_the_paper():
    """The codes from turns over single entries, then one step of each network towards them."""
    data = small.regions_dataset()
    eta, rounds, K = 0.2, 2, 16
    made = small.config(
        "tvdb", image_dropout=0.0, text_dropout=0.0, output_weight=eta, rounds=rounds,
        optimizer=PLAIN_SGD,
    )  # fmt: skip
    method, _ = small.build(made, data)
    before = jax.jit(method.init)(jax.random.key(1))
    chosen = [3, 8, 21, 5, 11]
    batch = batch_of(data, jnp.array([*chosen, 99]))
    update_codes, *network_updates = method.stages[0].updates
    coded, metrics = jax.jit(update_codes.step)(before, batch)

    labels = data.training["pairs"]["labels"].astype(int)
    S = np.array([[float(labels[i] @ labels[j] > 0) for j in chosen] for i in chosen])
    S = S / np.sqrt(np.outer(S.sum(axis=1), S.sum(axis=1)))
    S -= S.mean()
    F, G = tvdb_outputs(data, chosen, before.params)
    B, H = (np.float64(before.codes[name])[chosen] for name in ("image", "text"))

    def value(B, H):
        agreement = sum(S[i, j] * B[i] @ H[j] for i in range(5) for j in range(5))
        return -agreement + eta * (np.sum((B - F) ** 2) + np.sum((H - G) ** 2))

    for _ in range(rounds):
        for own in (B, H):
            for i in range(5):
                for k in range(K):
                    costs = {}
                    for own[i, k] in (-1.0, 1.0):
                        costs[own[i, k]] = value(B, H)
                    own[i, k] = min(costs, key=costs.get)
    np.testing.assert_array_equal(coded.codes["image"][jnp.array(chosen)], B)
    np.testing.assert_array_equal(coded.codes["text"][jnp.array(chosen)], H)
    untouched = np.setdiff1d(np.arange(101), chosen)
    np.testing.assert_array_equal(coded.codes["image"][untouched], before.codes["image"][untouched])
    total, count = metrics["loss"]
    np.testing.assert_allclose(total / count, value(B, H) / 5, rtol=1e-4)
    assert method.learned(coded, "image") is coded.codes["image"]
    assert method.learned(coded, "text") is coded.codes["text"]

    for update, own, number in zip(network_updates, (B, H), (0, 1), strict=True):
        after, metrics = jax.jit(update.step)(coded, batch)
        other = "text" if update.name == "image" else "image"

        def objective(params, own=own, number=number, name=update.name):
            outputs = tvdb_outputs(data, chosen, before.params | {name: params})[number]
            return eta * np.sum((own - outputs) ** 2) / 5

        total, count = metrics["loss"]
        params = before.params[update.name]
        np.testing.assert_allclose(total / count, objective(params), rtol=1e-4)
        assert_descends(objective, params, after.params[update.name], objective(params))
        same = jax.tree.map(
            lambda a, b: bool(jnp.all(a == b)), after.params[other], before.params[other]
        )
        assert all(jax.tree.leaves(same))


def test_tvdb_wants_sequences():
    with pytest.raises(UserError, match=r"\[regions, width\].*clipart-regions"):
        small.build(small.config("tvdb"), small.sentences_dataset())
    for name in ("dvsh", "tvdb"):
        with pytest.raises(UserError, match=r"no token numbers.*clipart-sentences"):
            small.build(small.config(name), small.dataset())
