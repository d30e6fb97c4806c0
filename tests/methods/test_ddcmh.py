"""DDCMH: first codes, steps and reconstruction against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from by_hand import (
    assert_moved,
    assert_terms,
    batch_of,
    host_batch,
    linear,
    linear_config,
    sigmoid,
    take,
    updates_of,
    whole_batch,
)

from jxhash import codes, discrete, methods
from jxhash.configuration import read_settings
from jxhash.errors import UserError
from jxhash.methods import ddcmh
from jxhash.training import schedule


def build(data, **arguments):
    made = linear_config("ddcmh")
    settings, spec = (
        read_settings(made.ddcmh, ddcmh.Settings),
        schedule.make_spec(data.training, 16),
    )
    return ddcmh.build(settings, made.bits, spec, **arguments)


def targets_of(data):
    """Codes of -1 and +1, and soft targets."""
    generator = np.random.default_rng(5)
    shape = (len(data.training["pairs"]["labels"]), 16)
    return generator.choice([-1, 1], shape).astype(np.int8), generator.random(shape)


@pytest.mark.parametrize("network", ["image", "text"])
def test_step_is_the_gradient_of_the_cross_entropy(network):
    data, chosen = small.dataset(), [3, 8, 21]
    method = build(data)
    taught, soft = targets_of(data)
    before = method.init(jax.random.key(1)).replace(
        codes={"initial": taught, "image": -taught}, buffers={"reconstructed": soft}
    )
    batch = batch_of(data, chosen, padding=1)
    _, moved, metrics = take(updates_of(method)[network], before, batch)

    x = data.training["pairs"][network][chosen]
    t = {"image": (taught[chosen] + 1) / 2, "text": soft[chosen]}[network]
    z, value = linear(before.params[network], x), 0.0
    for i in range(3):
        for k in range(16):
            p = sigmoid(z[i, k])
            value -= t[i, k] * np.log(p) + (1 - t[i, k]) * np.log(1 - p)
    assert_moved(moved[network], x, (sigmoid(z) - t) / (3 * 16))
    assert_terms(metrics, {"loss": value / (3 * 16)}, rtol=1e-5)


def test_first_codes_may_come_from_any_hash_of_texts():
    data, seen = small.dataset(), []

    def by_first_words(key, texts, labels, num_bits):
        seen.append((np.asarray(texts), np.asarray(labels), num_bits))
        return np.where(np.asarray(texts)[:, :num_bits] > 0, 1, -1)

    method = build(data, initial_codes=by_first_words)
    state = method.init(jax.random.key(0))
    after = updates_of(method)["hash texts"].step(state, host_batch(data)).state
    np.testing.assert_array_equal(seen[0][0], data.training["pairs"]["text"])
    np.testing.assert_array_equal(seen[0][1], data.training["pairs"]["labels"])
    assert seen[0][2] == 16
    expected = 2 * (data.training["pairs"]["text"][:, :16] > 0).astype(int) - 1
    np.testing.assert_array_equal(after.codes["initial"], expected)
    bits = build(data, initial_codes=lambda *_: np.zeros((101, 16)))
    with pytest.raises(UserError, match="-1 and \\+1"):
        updates_of(bits)["hash texts"].step(state, host_batch(data))


def test_a_share_of_the_first_codes_is_told_from_the_texts():
    data = small.dataset()
    method = build(data)  # a quarter of 16 bits, the best of two draws
    state = method.init(jax.random.key(0))
    after = updates_of(method)["hash texts"].step(state, host_batch(data)).state
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
            small.config("ddcmh", reencoded_share=1.5), schedule.make_spec(data.training, 16)
        )


def test_an_output_of_zero_is_the_bit_zero_for_queries_and_items():
    data = small.dataset()
    method = build(data)
    state = method.init(jax.random.key(0))
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    outputs = method.encode(state, "image", data.training["pairs"]["image"])
    assert np.all(codes.sign(outputs) == -1)
    assert np.all(method.code.entries(state.buffers, outputs) == -1)


def test_says_that_rows_are_too_few_for_cosdish():
    with pytest.raises(UserError, match="16 rows are too few"):
        build(small.dataset(16))


def test_reconstruction_is_the_mean_over_shared_labels():
    data = small.dataset()
    data.training["pairs"]["labels"][7] = 0
    method = build(data)
    state, batch = method.init(jax.random.key(4)), whole_batch(data)
    for name in ("hash images", "reconstruct"):
        state = jax.jit(updates_of(method)[name].step)(state, batch).state
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


def test_half_a_bit_is_minus_one():
    method = build(small.dataset())
    state = method.init(jax.random.key(0))
    assert np.all(np.asarray(state.buffers["reconstructed"]) == 0.5)
    assert np.all(np.asarray(method.learned(state, "text")) == -1)


@pytest.mark.parametrize(("network", "other"), [("image", "text"), ("text", "image")])
def test_networks_are_trained_each_alone(network, other):
    """Neither stage reads the other modality, and a batch in another order is the same batch."""
    data = small.dataset()
    method = build(data)
    taught, soft = targets_of(data)
    state = method.init(jax.random.key(1)).replace(
        codes={"initial": taught, "image": taught}, buffers={"reconstructed": soft}
    )
    step = jax.jit(updates_of(method)[network].step)
    batch = batch_of(data, range(8))
    pairs = batch.rows["pairs"]
    changed = {**pairs, other: 1 - pairs[other]}
    turned = {name: array[::-1] for name, array in pairs.items()}
    one, two, three = (
        step(state, batch._replace(rows={**batch.rows, "pairs": rows})).state.params
        for rows in (pairs, changed, turned)
    )
    for a, b, c in zip(*map(jax.tree.leaves, (one, two, three)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-6)
