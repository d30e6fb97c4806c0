"""DVSH: its step against plain loops, what its networks see, and the texts of IAPR TC-12."""

import os
import pathlib

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import oracles_sequences
import pytest
import small

from jxhash.data.dataset import Dataset, both_directions
from jxhash.errors import UserError
from jxhash.inputs import text

DATA_DIR = os.environ.get("JXHASH_DATA_DIR")


def objective(data, chosen, params):
    """(loss, terms) of the paper, pair by pair and word by word."""
    pairs = data.training["pairs"]
    labels, K = pairs["labels"].astype(int), 16
    h, L_x, L_y, Q = [], 0.0, 0.0, 0.0
    for i in chosen:
        x, tokens = pairs["image"][i], pairs["text"][i][pairs["text"][i] > 0]
        h_t = np.tanh(oracles_sequences.fusion(params["fusion"], x, tokens))
        v_t = np.tanh(oracles_sequences.sentence_lstm(params["text"], tokens))
        u = np.tanh(oracles_sequences.perceptron(params["image"], x))
        h.append(sum(h_t) / len(tokens))
        L_x += sum((u[k] - h[-1][k]) ** 2 for k in range(K)) / (2 * len(chosen))
        for v_now, h_now in zip(v_t, h_t, strict=True):
            L_y += sum((v_now - h_now) ** 2) / len(tokens) / (2 * len(chosen))
        Q += sum(max(0, 0.5 - abs(bit)) for bit in h[-1]) / len(chosen)
    L = 0.0
    for i, a in zip(chosen, h, strict=True):
        for j, b in zip(chosen, h, strict=True):
            s = 1 if labels[i] @ labels[j] > 0 else -1
            weight, cosine = (3 if s > 0 else 1), by_hand.cosine_and_slope(a, b)[0]
            L += weight * max(0, 0.5 - s * cosine) / len(chosen) ** 2
    terms = {"similarity": L, "quantization": Q, "image": L_x, "text": L_y}
    return L + 0.3 * Q + 0.7 * (L_x + L_y), terms


def build(data):
    return small.build(small.config("dvsh"), data)[0]


def test_step_is_the_gradient_of_its_objective():
    data, chosen = small.sentences_dataset(), [3, 8, 21, 5]
    made = by_hand.config("dvsh", quantization_weight=0.3, hashing_weight=0.7)
    method, _ = small.build(made, data)
    params, moved, metrics = by_hand.joint_step(method, data, chosen)
    value, terms = objective(data, chosen, params)
    by_hand.assert_terms(metrics, {"loss": value, **terms})
    by_hand.assert_descends(lambda p: objective(data, chosen, p)[0], params, moved, abs(value))


def test_searches_without_the_fusion_network():
    data = small.sentences_dataset()
    method = build(data)
    state = jax.jit(method.init)(jax.random.key(1))
    for network in ("fusion", "image", "text"):
        other = jax.tree.map(lambda p: p + 0.5, state.params[network])
        moved = state.replace(params=state.params | {network: other})
        for modality in by_hand.MODALITIES:
            inputs = data.tasks[0].query.inputs[modality]
            one, two = (method.encode(s, modality, inputs) for s in (state, moved))
            assert bool(jnp.any(one != two)) is (modality == network)


def test_leaves_out_pairs_without_words():
    data = small.sentences_dataset()
    method = build(data)
    state = jax.jit(method.init)(jax.random.key(1))
    batch = by_hand.batch_of(data, [3, 8, 21, 5])
    rows = dict(batch.rows["pairs"])
    rows["text"] = rows["text"].at[1].set(0)
    rows["where"] = rows["where"].at[2].set(False)
    other = {**rows, "image": rows["image"].at[jnp.array([1, 2])].add(1.0)}
    step = jax.jit(method.stages[0].updates[0].step)
    one, two = (step(state, batch._replace(rows={"pairs": r})).state for r in (rows, other))
    assert all(by_hand.are_equal(one.params, two.params))


def test_wants_sentences():
    with pytest.raises(UserError, match=r"texts as sentences of token numbers.*clipart-sentences"):
        build(small.dataset())


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with IAPR TC-12")
def test_learns_at_the_size_of_iapr_tc12():
    """Its 19,996 descriptions and labels are real; picture features are drawn, for want of any."""
    path = pathlib.Path(DATA_DIR) / "iapr_tc12" / "text_labels.npz"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    with np.load(path, allow_pickle=False) as arrays:
        descriptions, labels = arrays["docs"].tolist(), arrays["labels"]
    assert len(descriptions) == 19_996
    vocabulary = text.build_vocabulary(descriptions, 5)
    tokens = text.token_numbers(descriptions, vocabulary)
    assert len(vocabulary) > 1000
    assert tokens.max() == len(vocabulary)
    assert np.mean(np.all(tokens > 0, axis=1)) > 0.5
    image = np.random.default_rng(0).normal(size=(len(tokens), 16)).astype(np.float32)
    pairs = {"image": image, "text": tokens, "labels": labels}
    some = small.items({name: array[:10] for name, array in pairs.items()})
    loaded = Dataset(
        {"name": "iapr"},
        {"pairs": pairs},
        both_directions(some, some),
        vocabulary_size=len(vocabulary),
    )
    method = build(loaded)
    before = jax.jit(method.init)(jax.random.key(0))
    batch = by_hand.batch_of(loaded, range(100, 164))
    after, _, metrics = by_hand.take(method.stages[0].updates[0], before, batch)
    assert np.isfinite(metrics["loss"][0])
    for network in ("fusion", "text"):
        words, moved = (
            s.params[network]["WordLSTM_0"]["Embed_0"]["embedding"] for s in (before, after)
        )
        assert words.shape == (len(vocabulary) + 1, 16)
        assert jnp.any(words != moved)
