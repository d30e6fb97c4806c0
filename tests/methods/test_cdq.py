"""CDQ: its step, codebooks and ranking against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from by_hand import (
    MODALITIES,
    assert_moved,
    assert_terms,
    batch_of,
    build,
    linear,
    sigmoid,
    take,
    updates_of,
    whole_batch,
)

from jxhash.errors import UserError


def state_of(method, key, data):
    """A state whose codebooks are noise and whose assignments are of nothing."""
    state = method.init(jax.random.key(key))
    generator = np.random.default_rng(key)
    rows = len(data.training["pairs"]["labels"])
    M, W, _ = state.buffers["codebooks"].shape
    words = generator.integers(W, size=(2, rows, M)).astype(np.uint8)
    return state.replace(codes={"image": jnp.asarray(words[0]), "text": jnp.asarray(words[1])})


def test_step_is_the_gradient_of_the_objective():
    data, chosen = small.dataset(), [2, 5, 7, 11]
    method = build("cdq", data, width=8, scale=8.0, quantization_weight=0.2)
    before, update = state_of(method, 1, data), method.stages[2].updates[3]
    _, moved, metrics = take(update, before, batch_of(data, chosen, padding=1))

    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    u, v = z = [np.tanh(linear(before.params[m], pairs[m])) for m in MODALITIES]
    C = np.float64(before.buffers["codebooks"])
    labels, L, Q, cut = pairs["labels"].astype(int), 0.0, 0.0, 0
    slopes = [np.zeros_like(u), np.zeros_like(v)]
    for i in range(4):
        for j in range(4):
            product, similar = 8.0 * u[i] @ v[j], float(labels[i] @ labels[j] > 0)
            a = np.clip(product, -15, 15)
            L += (np.log1p(np.exp(a)) - similar * a) / 16
            if a == product:
                slopes[0][i] += 8.0 * (sigmoid(a) - similar) * v[j] / 16
                slopes[1][j] += 8.0 * (sigmoid(a) - similar) * u[i] / 16
            else:
                cut += 1
        for modality, outputs, slope in zip(MODALITIES, z, slopes, strict=True):
            words = before.codes[modality][chosen[i]]
            error = outputs[i] - sum(C[m, word] for m, word in enumerate(words))
            Q += error @ error / 4
            slope[i] += 0.2 * 2 * error / 4
    assert 0 < cut < 16
    for modality, outputs, slope in zip(MODALITIES, z, slopes, strict=True):
        assert_moved(moved[modality], pairs[modality], slope * (1 - outputs**2))
    assert_terms(metrics, {"likelihood": L, "quantization": Q, "loss": L + 0.2 * Q})


def test_assigns_and_fits_all_rows_of_both_modalities():
    data = small.dataset()
    method = build("cdq", data, width=8, codewords=4, bits=4)
    state, batch, updates = state_of(method, 2, data), whole_batch(data), updates_of(method)
    errors = {}
    for name in ("outputs", "first codebooks", "assignments", "codebooks"):
        state, metrics, _ = updates[name].step(state, batch)
        if metrics:
            total, count = metrics["quantization"]
            errors[name] = float(total / count)
        if name == "first codebooks":
            # Each codebook begins on dimensions of its own.
            assert np.all(np.asarray(state.buffers["codebooks"])[0, :, 4:] == 0)
            assert np.all(np.asarray(state.buffers["codebooks"])[1, :, :4] == 0)
            first = np.float64(state.buffers["codebooks"])
    X, H, error = [], [], 0.0
    for modality in MODALITIES:
        outputs = np.tanh(linear(state.params[modality], data.training["pairs"][modality]))
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


def test_with_one_codebook_keeps_the_nearest_codeword():
    data = small.dataset()
    method = build("cdq", data, width=8, codewords=16, bits=4)
    state = state_of(method, 3, data)
    C = np.float64(state.buffers["codebooks"])[0]
    outputs = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    entries = np.asarray(method.code.entries(state.buffers, outputs))
    assert entries.shape == (9, 1)
    for row, entry in zip(outputs, entries, strict=True):
        assert entry[0] == np.argmin([np.sum((row - word) ** 2) for word in C])


def test_ranks_by_inner_products_with_sums_of_codewords():
    data = small.dataset()
    method = build("cdq", data, width=8)
    state = state_of(method, 3, data)
    queries = np.asarray(method.encode(state, "image", data.tasks[0].query.inputs["image"]))
    items = method.encode(state, "text", data.tasks[0].database.inputs["text"])
    entries = np.asarray(method.code.entries(state.buffers, items))
    distances = np.asarray(method.code.distances(state.buffers, queries, entries))
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
def test_refuses_codebooks_that_do_not_fit(changes, named):
    with pytest.raises(UserError, match=named):
        small.build(small.config("cdq", **changes), small.dataset())
