"""A multilayer perceptron that ends in a hash layer: the networks for features and word counts."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def drop(x: jax.Array, row_keys: jax.Array | None, rate: float) -> jax.Array:
    """Dropout with a key for each row, so that a row's mask does not depend on its neighbours.

    Args:
      x: [n, ...] activations.
      row_keys: [n] typed keys; without keys nothing is dropped.
      rate: the share of entries set to zero, in [0, 1); the others are divided by 1 - rate.

    Returns:
      An array like `x`.
    """
    if row_keys is None or rate == 0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(row_keys)
    return jnp.where(keep, x / (1 - rate), 0)


def part_keys(row_keys: jax.Array | None, part: int) -> jax.Array | None:
    """Keys for a part of a network that draws by itself; None stays None."""
    if row_keys is None:
        return None
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(row_keys, part)


class HashMLP(nn.Module):
    """Hidden layers with ReLU, then a linear hash layer of `bits` outputs.

    Attributes:
      bits: width K of the hash layer.
      hidden: widths of the hidden layers; empty for a linear map.
      dropout: the rate after each hidden layer while keys are given.
      hash_init: standard deviation of the hash layer's first weights and biases; None for Flax's
        default.
      input_dropout: the rate of the inputs while keys are given.
    """

    bits: int
    hidden: Sequence[int] = ()
    dropout: float = 0.0
    hash_init: float | None = None
    input_dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps [n, width] of any dtype to float32 [n, bits]; dropout is off without keys."""
        inputs_keys = part_keys(row_keys, len(self.hidden))
        x = drop(x.astype(jnp.float32), inputs_keys, self.input_dropout)
        for layer, width in enumerate(self.hidden):
            x = nn.relu(nn.Dense(width)(x))
            x = drop(x, part_keys(row_keys, layer), self.dropout)
        if self.hash_init is None:
            return nn.Dense(self.bits)(x)
        normal = nn.initializers.normal(self.hash_init)
        return nn.Dense(self.bits, kernel_init=normal, bias_init=normal)(x)
