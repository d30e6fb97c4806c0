"""THN: its objective against plain loops, and what the unpaired collections teach."""

import jax
import numpy as np
import pytest
import small
from by_hand import MODALITIES, are_equal, assert_terms, batch_of, build, joint_step, linear


def mmd(a, b):
    """With a kernel whose width is the median squared distance of all points."""
    pooled = np.concatenate([a, b])
    distances = [np.sum((x - y) ** 2) for i, x in enumerate(pooled) for y in pooled[:i]]
    gamma = 1 / np.median(distances)

    def kernel(p, q):
        return np.mean([[np.exp(-gamma * np.sum((x - y) ** 2)) for y in q] for x in p])

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def test_loss_is_the_objective_of_the_paper():
    data, chosen = small.dataset(), [2, 5, 7, 11]
    method = build(
        "thn",
        data,
        quantization_weight=0.01,
        mmd_weight=0.5,
        similar_weight=3.0,
        balance_weight=0.2,
    )
    params, _, metrics = joint_step(method, data, chosen)

    pairs = {name: array[chosen] for name, array in data.training["pairs"].items()}
    z = {m: np.tanh(linear(params[m], pairs[m])) for m in MODALITIES}
    query = np.tanh(linear(params["image"], data.training["query"]["image"][chosen]))
    database = np.tanh(linear(params["text"], data.training["database"]["text"][chosen]))
    labels, L, Q = pairs["labels"].astype(int), 0.0, 0.0
    for i in range(4):
        for j in range(4):
            product = z["image"][i] @ z["text"][j]
            shares = float(labels[i] @ labels[j] > 0)
            L += (3 if shares else 1) * (np.log1p(np.exp(product)) - shares * product)
            Q += -np.log(np.abs(z["image"][i])).sum() - np.log(np.abs(z["text"][j])).sum()
    D = mmd(query, z["image"]) + mmd(database, z["text"])
    E = sum(np.sum(np.mean(z[m], axis=0) ** 2) for m in MODALITIES)
    expected = {"likelihood": L / 16, "quantization": Q / 16, "mmd": D, "balance": E}
    expected["loss"] = L / 16 + 0.01 * Q / 16 + 0.5 * D + 0.2 * E
    assert_terms(metrics, expected)


@pytest.mark.parametrize(("weight", "alike"), [(0.0, True), (0.5, False)])
def test_without_mmd_nothing_is_learnt_from_the_unpaired_collections(weight, alike):
    data = small.dataset()
    batch = batch_of(data, range(8))
    other = dict(batch.rows)
    other["query"] = {**other["query"], "image": -other["query"]["image"]}
    other["database"] = {**other["database"], "text": 1 - other["database"]["text"]}
    method = build("thn", data, mmd_weight=weight)
    state, step = method.init(jax.random.key(1)), method.stages[0].updates[0].step
    one, two = (step(state, batch._replace(rows=rows)).state for rows in (batch.rows, other))
    assert all(are_equal(one.params, two.params)) is alike
