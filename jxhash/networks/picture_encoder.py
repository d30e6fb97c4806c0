"""A picture network with its weights, as a feature extractor."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jxhash.errors import UserError
from jxhash.networks.picture_files import Picture


class Encoder(NamedTuple):
    """A network, its weights, and what brings a picture to its input.

    Attributes:
      fit: a picture -> uint8 [size, size, 3], RGB; for threads that read pictures.
      apply: (variables, such pictures [n, size, size, 3]) -> float32 [n, width]; compiled.
      variables: what `apply` needs besides the pictures.
      width: the number of features.
      size: height and width of the pictures that it takes; None for any.
      described: preprocessing and layer, for a card.
    """

    fit: Callable[[Picture], np.ndarray]
    apply: Callable[[Any, jax.Array], jax.Array]
    variables: Any
    width: int
    size: int | None
    described: str

    def require(self, shape: tuple[int, ...]) -> None:
        """Raises a UserError unless pictures of this shape, [size, size, 3], can be taken."""
        if self.size is not None and tuple(shape) != (self.size, self.size, 3):
            raise UserError(
                f"the network takes pictures of {self.size} x {self.size} pixels, not {shape}; "
                "choose data of this size"
            )


def encode(encoder: Encoder, pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """The features of uint8 [n, size, size, 3], float32 [n, width].

    Pictures are padded to `batch_size`, at least n, so that the network is compiled once.
    """
    padding = ((0, batch_size - len(pixels)), (0, 0), (0, 0), (0, 0))
    padded = jnp.asarray(np.pad(pixels, padding))
    return np.asarray(encoder.apply(encoder.variables, padded))[: len(pixels)]
