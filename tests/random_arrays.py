"""Random arrays for the tests of losses, discrete steps and metrics; the same on two devices."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np

from jxhash import parallel

few = hypothesis.settings(deadline=None, max_examples=4, derandomize=True, database=None)
seeds = st.integers(0, 10**6)

# (rows of u, rows of v, bits): every property of a loss is compiled for these shapes alone.
WIDE, SQUARE, SINGLE, BLOCKS = (5, 7, 8), (4, 4, 6), (1, 1, 2), (7, 4, 3)


def normal(rng, *shape, size=1.0):
    return (size * rng.normal(size=shape)).astype(np.float32)


def zero_or_one(rng, *shape):
    return rng.integers(0, 2, shape).astype(np.float32)


def codes(rng, *shape):
    return 2 * rng.integers(0, 2, shape) - 1


def every_code(rows, bits):
    for flat in itertools.product((-1, 1), repeat=rows * bits):
        yield np.reshape(flat, (rows, bits))


# The arguments of a loss.


def draw(arguments, seed, shape=WIDE, size=1.0):
    return arguments(np.random.default_rng(seed), shape, size)


def two_sides(rng, shape, size):
    return tuple(normal(rng, rows, shape[2], size=size) for rows in shape[:2])


def similar_pairs(rng, shape, size):
    return *two_sides(rng, shape, size), zero_or_one(rng, *shape[:2])


def signed_pairs(rng, shape, size):
    return *two_sides(rng, shape, size), 2 * zero_or_one(rng, *shape[:2]) - 1


def labelled_pairs(rng, shape, size):
    labels = [(rng.random((rows, 5)) < 0.4).astype(np.float32) for rows in shape[:2]]
    return *two_sides(rng, shape, size), *labels


def one_side(rng, shape, size):
    return (normal(rng, shape[0], shape[2], size=size),)


def with_codes(rng, shape, size):
    return *one_side(rng, shape, size), 2 * zero_or_one(rng, shape[0], shape[2]) - 1


def with_bits(rng, shape, size):
    return *one_side(rng, shape, size), rng.random((shape[0], shape[2])).astype(np.float32)


def exact(arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def gradient(function, arrays, live):
    return jax.jit(jax.grad(function, live))(*arrays)


# Codes and labels to retrieve.


def make_codes(rng, rows, num_bits, dtype=np.int8):
    return rng.choice([-1, 1], (rows, num_bits)).astype(dtype)


def make_labels(rng, rows, num_classes, share=0.3):
    return (rng.random((rows, num_classes)) < share).astype(np.int32)


def make_data(seed, num_queries=7, num_items=50, num_bits=12, num_classes=5):
    rng = np.random.default_rng(seed)
    return (
        make_codes(rng, num_queries, num_bits),
        make_codes(rng, num_items, num_bits),
        make_labels(rng, num_queries, num_classes),
        make_labels(rng, num_items, num_classes),
    )


small_data = st.integers(0, 2**32 - 1).map(
    lambda seed: make_data(
        seed, *np.random.default_rng(seed).integers([1, 1, 1, 1], [6, 40, 70, 7]).tolist()
    )
)


# Two devices, each with half of the rows.


def on_two_devices(function, *arrays):
    sharded = [np.reshape(a, (2, len(a) // 2, *a.shape[1:])) for a in arrays]
    return parallel.pmapped(function, in_axes=(0,) * len(arrays))(*sharded)


def assert_rows_agree(step, *arrays):
    """A step from rows to rows gives the same on two devices and under jit."""
    found = on_two_devices(lambda *a: parallel.all_rows(step(*a)), *arrays)
    expected = step(*arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(step)(*arrays), expected, rtol=1e-5, atol=1e-6)


def assert_totals_agree(step, *arrays):
    """A step that reads the rows of all devices gives the same on two."""
    found, expected = on_two_devices(step, *arrays), jax.jit(step)(*arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
