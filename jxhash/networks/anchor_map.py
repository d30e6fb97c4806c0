"""A linear map of memberships in clusters, whose parameters are found in closed form."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from jxhash import discrete

Fitted = Mapping[str, jax.Array]


def flat(x: jax.Array) -> jax.Array:
    """Rows as float32 vectors, [n, width]."""
    return jnp.asarray(x, jnp.float32).reshape(len(x), -1)


def memberships(fitted: Fitted, x: jax.Array) -> jax.Array:
    """How near each row is to each anchor, [n, k]; rows sum to 1.

    Args:
      fitted: brings "anchors" [k, width] and "bandwidth".
      x: [n, ...].
    """
    return discrete.anchor_affinities(flat(x), fitted["anchors"], bandwidth=fitted["bandwidth"])


def projections(fitted: Fitted, x: jax.Array) -> jax.Array:
    """The mapped memberships, [n, bits].

    Args:
      fitted: brings "mean" [k], of memberships, and "map" [k, bits] besides.
      x: [n, ...].
    """
    centred = memberships(fitted, x) - fitted["mean"][None, :]
    return jnp.matmul(centred, fitted["map"], precision="highest")


class AnchorMap(nn.Module):
    """Mapped memberships less a threshold a bit; nothing is fitted at first.

    Attributes:
      anchors: k, the number of clusters.
      bits: width K of the outputs.
    """

    anchors: int
    bits: int

    @nn.compact
    def __call__(self, x: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps [n, ...] of any dtype to float32 [n, bits]."""
        del row_keys
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        k, width = self.anchors, flat(x).shape[1]
        fitted = {
            "anchors": self.param("anchors", zeros, (k, width)),
            "bandwidth": self.param("bandwidth", ones, ()),
            "mean": self.param("mean", zeros, (k,)),
            "map": self.param("map", zeros, (k, self.bits)),
        }
        threshold = self.param("threshold", zeros, (self.bits,))
        return projections(fitted, x) - threshold[None, :]
