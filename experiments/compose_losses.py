"""Three losses of the library in a plain optax loop: no config, no engine, no method.

    python experiments/compose_losses.py

Trains two small networks on the embedded clip art and prints the MAP of both directions.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jxhash import codes, data, losses, metrics, similarity


def mean_average_precisions(bits: int = 32, steps: int = 1500, batch_size: int = 128) -> dict:
    """Trains and measures; returns task name -> MAP."""
    dataset = data.load("clipart")
    pairs = dataset.training["pairs"]
    network = nn.Sequential([nn.Dense(1024), nn.relu, nn.Dense(bits)])
    params = {
        m: network.init(jax.random.key(i), pairs[m][:1] * 1.0)
        for i, m in enumerate(("image", "text"))
    }
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-3, steps), weight_decay=0.1)

    def objective(params: dict, image: jax.Array, text: jax.Array, labels: jax.Array) -> jax.Array:
        u, v = network.apply(params["image"], image), network.apply(params["text"], text)
        S = similarity.share_label(labels, labels)
        B = codes.sign(u + v)
        to_codes = losses.quantization_loss(u, B) + losses.quantization_loss(v, B)
        balance = losses.bit_balance_loss(u) + losses.bit_balance_loss(v)
        return losses.pairwise_log_likelihood_loss(u, v, S) + 1e-3 * to_codes + 1e-6 * balance

    @jax.jit
    def step(params: dict, state: optax.OptState, rows: dict) -> tuple:
        gradients = jax.grad(objective)(params, rows["image"], rows["text"], rows["labels"])
        changes, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, changes), state

    state, generator = optimizer.init(params), np.random.default_rng(0)
    for _ in range(steps):
        rows = generator.choice(len(pairs["labels"]), batch_size, replace=False)
        batch = {name: jnp.asarray(array[rows], jnp.float32) for name, array in pairs.items()}
        params, state = step(params, state, batch)

    found = {}
    for task in dataset.tasks:
        query, database = (
            codes.sign(network.apply(params[m], jnp.asarray(items.inputs[m], jnp.float32)))
            for m, items in (
                (task.query_modality, task.query),
                (task.database_modality, task.database),
            )
        )
        histogram = metrics.distance_histogram(
            query, database, task.query.labels, task.database.labels
        )
        found[task.name] = metrics.mean_average_precision(histogram)
    return found


if __name__ == "__main__":
    for task, value in mean_average_precisions().items():
        print(f"{task}: MAP {value:.3f}")
