"""Batch normalisation over the rows of all devices, padding left out."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jxhash import parallel


class BatchNorm(nn.Module):
    """Normalises each feature by the mean and variance of a batch, then scales and shifts it.

    Ioffe and Szegedy, ICML 2015. Flax's own layer averages the means of devices, which is wrong
    where they hold different numbers of rows that are no padding.

    Attributes:
      momentum: of the running statistics, which serve where the batch's do not.
      epsilon: added to the variance.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, where: jax.Array | None = None) -> jax.Array:
        """Maps [n, width] to [n, width].

        Args:
          x: activations.
          train: whether to use the statistics of the batch and to update the running ones.
          where: bool [n], False for rows that the statistics leave out.
        """
        width = x.shape[1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, width)
        variance = self.variable("batch_stats", "var", jnp.ones, width)
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        used_mean, used_variance = mean.value, variance.value
        if train:
            counted = jnp.ones((len(x), 1), bool) if where is None else where[:, None]
            count = jnp.maximum(parallel.total(jnp.sum(counted)), 1)
            used_mean = parallel.total(jnp.sum(x, axis=0, where=counted)) / count
            squares = jnp.square(x - used_mean[None, :])
            used_variance = parallel.total(jnp.sum(squares, axis=0, where=counted)) / count
            mean.value += (1 - self.momentum) * (used_mean - mean.value)
            variance.value += (1 - self.momentum) * (used_variance - variance.value)
        slope = scale * jax.lax.rsqrt(used_variance + self.epsilon)
        return (x - used_mean[None, :]) * slope[None, :] + bias[None, :]
