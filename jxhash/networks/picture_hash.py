"""A picture network with weights and a hash layer upon it, to be trained together from pixels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jxhash.networks.picture_encoder import Encoder


def shift_and_flip(pixels: jax.Array, keys: jax.Array, augment_pixels: int) -> jax.Array:
    """Shifts each picture by up to `augment_pixels` and mirrors it with probability 1/2.

    Args:
      pixels: [n, height, width, 3].
      keys: [n] typed keys: what happens to a picture does not depend on its neighbours.
      augment_pixels: the largest shift, up, down, left or right; the border is repeated.

    Returns:
      An array like `pixels`.
    """
    border = (augment_pixels, augment_pixels)
    padded = jnp.pad(pixels, ((0, 0), border, border, (0, 0)), mode="edge")

    def one(picture: jax.Array, key: jax.Array) -> jax.Array:
        shift_key, flip_key = jax.random.split(key)
        down, right = jax.random.randint(shift_key, (2,), 0, 2 * augment_pixels + 1)
        moved = jax.lax.dynamic_slice(picture, (down, right, 0), pixels.shape[1:])
        return jnp.where(jax.random.bernoulli(flip_key), moved[:, ::-1], moved)

    return jax.vmap(one)(padded, keys)


def slow_network(
    optimizer: optax.GradientTransformation, pretrained_rate: float
) -> optax.GradientTransformation:
    """Scales an optimiser's steps of the pretrained networks in some `PictureHash` by a factor."""

    def of_network(params: Any) -> Any:
        return jax.tree.map_with_path(lambda path, _: path[0].key == "network", params)

    return optax.chain(optimizer, optax.masked(optax.scale(pretrained_rate), of_network))


class PictureHash(NamedTuple):
    """Used as a Flax module is: `init` and `apply`.

    Attributes:
      encoder: the network; its parameters are where training starts, statistics of its batch
        normalisation and average images stay as they are.
      bits: width K of the hash layer, which is linear.
      hash_init: standard deviation of its first weights and biases.
      augment_pixels: by which pictures are moved while keys are given, see `shift_and_flip`.
      pretrained_rate: of an optimiser's steps, the share that the encoder's parameters take.
    """

    encoder: Encoder
    bits: int
    hash_init: float
    augment_pixels: int
    pretrained_rate: float

    def init(self, key: jax.Array, pixels: jax.Array) -> dict[str, Any]:
        """The first variables; `pixels` are not read."""
        del pixels
        kernel_key, bias_key = jax.random.split(key)
        kernel = jax.random.normal(kernel_key, (self.encoder.width, self.bits))
        bias = jax.random.normal(bias_key, (self.bits,))
        hash_layer = {"kernel": self.hash_init * kernel, "bias": self.hash_init * bias}
        return {"params": {"network": self.encoder.variables["params"], "hash": hash_layer}}

    def apply(
        self, variables: dict[str, Any], pixels: jax.Array, row_keys: jax.Array | None = None
    ) -> jax.Array:
        """Maps uint8 [n, size, size, 3] to float32 [n, bits]; with keys, of augmented pictures."""
        if row_keys is not None:
            pixels = shift_and_flip(pixels, row_keys, self.augment_pixels)
        params = variables["params"]
        features = self.encoder.apply(
            {**self.encoder.variables, "params": params["network"]}, pixels
        )
        outputs: jax.Array = features @ params["hash"]["kernel"] + params["hash"]["bias"][None]
        return outputs
