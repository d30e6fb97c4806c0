"""Steps of a method by hand, and the plain float64 pieces that their values are compared with."""

import jax
import jax.numpy as jnp
import numpy as np
import small

from jxhash.methods.contract import Batch
from jxhash.training import batches

MODALITIES = ("image", "text")
PLAIN_SGD = {
    "name": "sgd",
    "learning_rate": 1.0,
    "final_learning_rate": 1.0,
    "decay": "linear",
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def config(name, **changes):
    """A config without dropout, in which a step moves parameters by minus their gradient."""
    made = small.config(name, **dict.fromkeys(small.CASES[name].dropout, 0.0), **changes)
    for key in made[name]:
        if key.endswith("optimizer"):
            made[name][key] = PLAIN_SGD
    return made


def linear_config(name, **changes):
    """The same with linear networks."""
    made = config(name, **changes)
    networks = made[name].get("layers", made[name])
    for modality in MODALITIES:
        networks[modality].hidden = ()
    return made


def build(name, data, **changes):
    """A method with linear networks."""
    return small.build(linear_config(name, **changes), data)[0]


def updates_of(method):
    """The updates of a method by name, the last of each name."""
    return {update.name: update for stage in method.stages for update in stage.updates}


def batch_of(data, chosen, padding=0):
    """The rows of these numbers of every source, and rows of padding after them."""
    rows = {}
    for source, arrays in data.training.items():
        number = batches.num_rows(arrays)
        index = jnp.array([*chosen] + padding * [number])
        taken = batches.Resident.read(jax.tree.map(jnp.asarray, arrays), index, 0)
        rows[source] = batches.with_index(taken, index, number)
    return Batch(rows, jax.tree.map(jnp.asarray, batches.labels_of(data.training)))


def whole_batch(data):
    """All rows of the pairs and one of padding."""
    return batch_of(data, range(len(data.training["pairs"]["image"])), padding=1)


def host_batch(data):
    """The training arrays, as a host update sees them."""
    rows = {source: dict(arrays) for source, arrays in data.training.items()}
    return Batch(rows, batches.labels_of(data.training))


def take(update, before, batch):
    """One step: (state after it, how far the parameters moved down the slope, metrics)."""
    after, metrics, _ = jax.jit(update.step)(before, batch)
    moved = jax.tree.map(lambda a, b: np.asarray(a - b), before.params, after.params)
    return after, moved, metrics


def joint_step(method, data, chosen, padding=1):
    """The first step of a method's only update: (parameters before it, moved, metrics)."""
    before = method.init(jax.random.key(1))
    _, moved, metrics = take(method.stages[0].updates[0], before, batch_of(data, chosen, padding))
    return before.params, moved, metrics


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(params, x):
    """The outputs of a linear network."""
    dense = params["Dense_0"]
    return np.float64(x) @ np.float64(dense["kernel"]) + np.float64(dense["bias"])


def cosine_and_slope(u, v):
    """cos(u, v) and its derivative by u."""
    lengths = np.sqrt(u @ u), np.sqrt(v @ v)
    cosine = u @ v / (lengths[0] * lengths[1])
    return cosine, (v / lengths[1] - cosine * u / lengths[0]) / lengths[0]


def assert_moved(moved, inputs, slopes):
    """A linear network moved by the slopes of the loss at its outputs."""
    dense = moved["Dense_0"]
    np.testing.assert_allclose(dense["kernel"], np.float64(inputs).T @ slopes, atol=1e-5)
    np.testing.assert_allclose(dense["bias"], slopes.sum(axis=0), atol=1e-5)


def assert_terms(metrics, expected, rtol=1e-4):
    """The named means are those expected."""
    for name, value in expected.items():
        total, count = metrics[name]
        np.testing.assert_allclose(total / count, value, rtol=rtol, err_msg=name)


def are_equal(one, other):
    """For each leaf of two trees, whether all of it is equal."""
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), one, other)
    return jax.tree.leaves(same)


def directional(objective, params, direction, step=1e-6):
    """The derivative of a float64 objective of parameters along a direction."""
    ends = [
        objective(
            jax.tree.map(lambda p, d, s=sign: np.float64(p) + s * step * d, params, direction)
        )
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def assert_descends(objective, params, moved, scale):
    """Parameters moved down the gradient of an objective, seen in random directions."""
    generator = np.random.default_rng(8)
    for _ in range(4):
        direction = jax.tree.map(lambda p: generator.normal(size=p.shape), params)
        along = jax.tree.map(lambda m, d: np.sum(np.float64(m) * d), moved, direction)
        np.testing.assert_allclose(
            sum(jax.tree.leaves(along)),
            directional(objective, params, direction),
            rtol=1e-3,
            atol=scale * 1e-4,
        )
