"""Networks for sequences: equal to plain loops, and blind to padding."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_sequences as oracles
import pytest

from jxhash.networks import sequence

CROPS, KERNELS = ((0, 10), (1, 9), (4, 8)), (1, 3, 2)
LENGTHS = (12, 5, 1, 2)


def sentences(seed=0):
    tokens = np.random.default_rng(seed).integers(1, 8, size=(len(LENGTHS), 12)).astype(np.int32)
    for row, length in enumerate(LENGTHS):
        tokens[row, length:] = 0
    return tokens


def regions(seed=0):
    rows = np.random.default_rng(seed).normal(size=(len(LENGTHS), 12, 5)).astype(np.float32)
    for row, length in enumerate(LENGTHS):
        rows[row, length:] = 0
    return rows


IMAGES = np.random.default_rng(3).normal(size=(len(LENGTHS), 6)).astype(np.float32)

# name -> (module, its inputs, the oracle for one row of them, cut to its length)
NETWORKS = {
    "sentence_lstm": (
        sequence.SentenceHashLSTM(4, 7, embedding=3, width=6),
        (sentences(),),
        oracles.sentence_lstm,
    ),
    "fusion": (
        sequence.FusionLSTM(4, 7, embedding=3, image_hidden=(8,)),
        (IMAGES, sentences()),
        oracles.fusion,
    ),
    "region_lstm": (
        sequence.RegionHashLSTM(4, width=6, hidden=(8,)),
        (regions(),),
        oracles.region_lstm,
    ),
    "sentence_convolutions": (
        sequence.SentenceHashConvolutions(4, 7, 3, CROPS, KERNELS, filters=5, hidden=(8,)),
        (sentences(),),
        lambda params, tokens: oracles.sentence_convolutions(params, tokens, CROPS, KERNELS),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_its_loops(name):
    module, inputs, oracle = NETWORKS[name]
    variables = jax.jit(module.init)(jax.random.key(1), *inputs)
    outputs = jax.jit(module.apply)(variables, *inputs)
    for row, length in enumerate(LENGTHS):
        cut = (*(x[row] for x in inputs[:-1]), inputs[-1][row, :length])
        found = outputs[row, :length] if outputs.ndim == 3 else outputs[row]
        np.testing.assert_allclose(found, oracle(variables["params"], *cut), atol=1e-5)


@pytest.mark.parametrize("name", ["region_lstm", "sentence_lstm"])
def test_more_padding_changes_nothing(name):
    module, (given,), _ = NETWORKS[name]
    more = np.pad(given, ((0, 0), (0, 3)) + ((0, 0),) * (given.ndim - 2))
    variables = jax.jit(module.init)(jax.random.key(1), given)
    short, long = (jax.jit(module.apply)(variables, x) for x in (given, more))
    long = long[:, :12] if long.ndim == 3 else long
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_means_count_words_alone():
    steps = jnp.array([[[1.0], [3.0], [99.0]], [[5.0], [6.0], [7.0]]])
    where = jnp.array([[True, True, False], [False, False, False]])
    assert sequence.masked_mean(steps, where).tolist() == [[2.0], [0.0]]


def test_an_empty_sequence_is_finite():
    for module, given in (
        (NETWORKS["region_lstm"][0], np.zeros((1, 3, 5), np.float32)),
        (NETWORKS["sentence_convolutions"][0], np.zeros((1, 12), np.int32)),
    ):
        variables = jax.jit(module.init)(jax.random.key(0), given)
        gradients = jax.jit(jax.grad(lambda v, m=module, x=given: jnp.sum(m.apply(v, x))))(
            variables
        )
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients))
