"""TVDB: its codes and its steps against plain loops, and the data that it wants."""

import dataclasses

import jax
import numpy as np
import oracles_sequences
import pytest
import small
from by_hand import are_equal, assert_descends, assert_terms, batch_of, config, take

from jxhash.errors import UserError


def outputs_of(data, chosen, params):
    """F and G in float64, by modality."""
    pairs, F, G = data.training["pairs"], [], []
    for i in chosen:
        regions = pairs["image"][i][np.any(pairs["image"][i] != 0, axis=1)]
        tokens = pairs["text"][i][pairs["text"][i] > 0]
        F.append(oracles_sequences.region_lstm(params["image"], regions))
        G.append(
            oracles_sequences.sentence_convolutions(
                params["text"], tokens, ((0, 10), (1, 9), (4, 8)), (1, 3)
            )
        )
    return {"image": np.array(F), "text": np.array(G)}


def test_step_is_that_of_the_paper():
    """The codes from turns over single entries, then one step of each network towards them."""
    data, chosen = small.regions_dataset(), [3, 8, 21, 5, 11]
    eta, rounds, K = 2.0, 2, 16
    method, _ = small.build(config("tvdb", output_weight=eta, rounds=rounds), data)
    before = jax.jit(method.init)(jax.random.key(1))
    batch = batch_of(data, chosen, padding=1)
    update_codes, *network_updates = method.stages[0].updates
    coded, _, metrics = take(update_codes, before, batch)

    labels = data.training["pairs"]["labels"].astype(int)
    S = np.array([[float(labels[i] @ labels[j] > 0) for j in chosen] for i in chosen])
    S = S / np.sqrt(np.outer(S.sum(axis=1), S.sum(axis=1)))
    S -= S.mean()
    F, G = outputs_of(data, chosen, before.params).values()
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
    untouched = np.setdiff1d(np.arange(101), chosen)
    for name, own in (("image", B), ("text", H)):
        codes = np.asarray(coded.codes[name])
        np.testing.assert_array_equal(codes[chosen], own)
        np.testing.assert_array_equal(codes[untouched], before.codes[name][untouched])
        assert method.learned(coded, name) is coded.codes[name]
    assert_terms(metrics, {"loss": value(B, H) / 5})

    for update, own, other in zip(network_updates, (B, H), ("text", "image"), strict=True):
        name = update.name
        after, moved, metrics = take(update, coded, batch)

        def objective(params, own=own, name=name):
            outputs = outputs_of(data, chosen, before.params | {name: params})[name]
            return eta * np.sum((own - outputs) ** 2) / 5

        loss = objective(before.params[name])
        assert_terms(metrics, {"loss": loss})
        assert_descends(objective, before.params[name], moved[name], loss)
        assert all(are_equal(after.params[other], before.params[other]))


def test_wants_regions():
    for data in (small.sentences_dataset(), small.dataset()):
        with pytest.raises(UserError, match=r"\[regions, width\].*clipart-regions"):
            small.build(small.config("tvdb"), data)


def test_wants_sentences():
    pairs = small.regions_dataset().training["pairs"]
    words = {"text": small.dataset().training["pairs"]["text"]}
    data = dataclasses.replace(small.dataset(), training={"pairs": pairs | words})
    with pytest.raises(UserError, match=r"texts as sentences of token numbers.*clipart-sentences"):
        small.build(small.config("tvdb"), data)
