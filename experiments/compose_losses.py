"""Three losses of jxhash in a plain optax loop on the embedded clip art: no config, no engine."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jxhash import codes, data, losses, metrics, similarity

clipart, network = data.load("clipart"), nn.Sequential([nn.Dense(1024), nn.relu, nn.Dense(32)])
pairs = {name: jnp.asarray(array, jnp.float32) for name, array in clipart.training["pairs"].items()}
params = {m: network.init(jax.random.key(0), pairs[m][:1]) for m in ("image", "text")}
optimizer = optax.adamw(optax.cosine_decay_schedule(1e-3, 1500), weight_decay=0.1)


def objective(params, batch):
    u, v = (network.apply(params[m], batch[m]) for m in ("image", "text"))
    S = similarity.share_label(batch["labels"], batch["labels"])
    B = codes.sign(u + v)
    quantization = losses.quantization_loss(u, B) + losses.quantization_loss(v, B)
    balance = losses.bit_balance_loss(u) + losses.bit_balance_loss(v)
    return losses.pairwise_log_likelihood_loss(u, v, S) + 1e-3 * quantization + 1e-6 * balance


@jax.jit
def step(params, state, rows):
    batch = {name: array[rows] for name, array in pairs.items()}
    changes, state = optimizer.update(jax.grad(objective)(params, batch), state, params)
    return optax.apply_updates(params, changes), state


state, draw = optimizer.init(params), np.random.default_rng(0)
for _ in range(1500):
    params, state = step(params, state, draw.choice(len(pairs["labels"]), 128, replace=False))
for one, other, query, found, *_ in clipart.tasks:
    u = codes.sign(network.apply(params[one], jnp.float32(query.inputs[one])))
    v = codes.sign(network.apply(params[other], jnp.float32(found.inputs[other])))
    histogram = metrics.distance_histogram(u, v, query.labels, found.labels)
    print(f"{one} to {other}: MAP {metrics.mean_average_precision(histogram):.3f}")
