"""A picture network with weights and a hash layer upon it, to be trained together from pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jxhash.networks.encoder import Encoder


def shift_and_flip(pixels: jax.Array, keys: jax.Array, reach: int) -> jax.Array:
    """Moves each picture by up to `reach` pixels and mirrors every other one.

    Args:
      pixels: [n, height, width, 3].
      keys: [n] typed keys: what happens to a picture does not depend on its neighbours.
      reach: pixels up, down, left and right; the border is repeated where a picture moves away.

    Returns:
      An array like `pixels`.
    """
    padded = jnp.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")

    def one(picture: jax.Array, key: jax.Array) -> jax.Array:
        shift_key, flip_key = jax.random.split(key)
        down, right = jax.random.randint(shift_key, (2,), 0, 2 * reach + 1)
        moved = jax.lax.dynamic_slice(picture, (down, right, 0), pixels.shape[1:])
        return jnp.where(jax.random.bernoulli(flip_key), moved[:, ::-1], moved)

    return jax.vmap(one)(padded, keys)


def slow_network(
    optimizer: optax.GradientTransformation, share: float
) -> optax.GradientTransformation:
    """Lets pretrained networks learn more slowly than the hash layers upon them.

    Args:
      optimizer: of parameters of which some may be those of a `PictureHash`.
      share: of the optimiser's steps that the parameters of its network take.

    Returns:
      An optimiser of the same parameters.
    """

    def of_network(params: Any) -> Any:
        return jax.tree.map_with_path(lambda path, _: path[0].key == "network", params)

    return optax.chain(optimizer, optax.masked(optax.scale(share), of_network))


class PictureHash(NamedTuple):
    """Used as a Flax module is: `init` and `apply`.

    Attributes:
      encoder: the network; its parameters are where training starts, statistics of its batch
        normalisation and average images stay as they are.
      bits: width K of the hash layer, which is linear.
      hash_init: standard deviation of its first weights and biases.
      reach: pixels by which pictures are moved while keys are given, see `shift_and_flip`.
    """

    encoder: Encoder
    bits: int
    hash_init: float
    reach: int

    def init(self, key: jax.Array, pixels: jax.Array) -> dict[str, Any]:
        """The first parameters; `pixels` are not looked at."""
        del pixels
        kernel_key, bias_key = jax.random.split(key)
        kernel = jax.random.normal(kernel_key, (self.encoder.width, self.bits))
        bias = jax.random.normal(bias_key, (self.bits,))
        hash_layer = {"kernel": self.hash_init * kernel, "bias": self.hash_init * bias}
        return {"network": self.encoder.variables["params"], "hash": hash_layer}

    def apply(
        self, params: dict[str, Any], pixels: jax.Array, row_keys: jax.Array | None = None
    ) -> jax.Array:
        """Maps uint8 [n, size, size, 3] to float32 [n, bits]; with keys, of augmented pictures."""
        if row_keys is not None:
            pixels = shift_and_flip(pixels, row_keys, self.reach)
        variables = {**self.encoder.variables, "params": params["network"]}
        features = self.encoder.apply(variables, pixels)
        return features @ params["hash"]["kernel"] + params["hash"]["bias"][None]
