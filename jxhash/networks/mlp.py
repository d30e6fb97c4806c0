"""A multilayer perceptron that ends in a hash layer: the networks for features and word counts."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def drop_rows(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
    """Dropout with a key for each row, so that a row's mask does not depend on its neighbours.

    Args:
      x: [n, width] activations.
      keys: [n] typed keys.
      rate: the share of entries set to zero, in [0, 1); the others are divided by 1 - rate.

    Returns:
      An array like `x`.
    """
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate), 0)


class HashMLP(nn.Module):
    """Hidden layers with ReLU, then a linear hash layer of `bits` outputs.

    Attributes:
      bits: width K of the hash layer.
      hidden: widths of the hidden layers; empty for a linear map.
      dropout: the rate after each hidden layer while keys are given.
      hash_init: standard deviation of the hash layer's first weights and biases; None for Flax's
        default.
    """

    bits: int
    hidden: Sequence[int] = ()
    dropout: float = 0.0
    hash_init: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps [n, width] of any dtype to float32 [n, bits]; dropout is off without keys."""
        x = x.astype(jnp.float32)
        for layer, width in enumerate(self.hidden):
            x = nn.relu(nn.Dense(width)(x))
            if row_keys is not None and self.dropout > 0:
                keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(row_keys, layer)
                x = drop_rows(x, keys, self.dropout)
        if self.hash_init is None:
            return nn.Dense(self.bits)(x)
        normal = nn.initializers.normal(self.hash_init)
        return nn.Dense(self.bits, kernel_init=normal, bias_init=normal)(x)
