"""Each method against its paper: one step of the update, from plain float64 loops."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_sequences
import pytest
import small

from jxhash.errors import UserError
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
    S = (S - S.sum() / 25) / 5
    F, G = tvdb_outputs(data, chosen, before.params)
    B, H = np.where(F > 0, 1.0, -1.0), np.where(G > 0, 1.0, -1.0)

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
