"""What the methods' settings are made of: ranges, optimisers, networks."""

import pathlib
from typing import Literal

import flax.linen as nn
import optax

from jxhash.configuration import NotNegative, Positive, Range, Rate, Share, settings
from jxhash.errors import UserError
from jxhash.methods import needs
from jxhash.methods.contract import Spec
from jxhash.networks import pretrained
from jxhash.networks.mlp import HashMLP
from jxhash.networks.picture_hash import PictureHash

__all__ = [
    "MLP",
    "ImageNetwork",
    "MLPs",
    "NotNegative",
    "Optimizer",
    "Positive",
    "Range",
    "Rate",
    "Share",
    "settings",
]


@settings
class Optimizer:
    """An optimiser whose learning rate falls from the first step to the last."""

    name: Literal["sgd", "adam"]
    #: at the first step
    learning_rate: Positive[float]
    #: at the last step
    final_learning_rate: Positive[float]
    #: how the rate falls: in a straight line, or in one of its logarithm
    decay: Literal["linear", "geometric"]
    #: of sgd; 0 for none
    momentum: NotNegative[float]
    #: times the weights, added to their gradients
    weight_decay: NotNegative[float]
    #: of adam: how slowly its mean of gradients changes
    b1: Rate = 0.9

    def over(self, steps: int) -> optax.GradientTransformation:
        """The optimiser whose learning rate reaches its end after `steps` steps."""
        rate = self._schedule(max(steps, 1))
        decay = optax.add_decayed_weights(self.weight_decay)
        if self.name == "adam":
            return optax.chain(decay, optax.adam(rate, b1=self.b1))
        return optax.chain(decay, optax.sgd(rate, momentum=self.momentum or None))

    def _schedule(self, steps: int) -> optax.Schedule:
        if self.decay == "linear":
            return optax.linear_schedule(self.learning_rate, self.final_learning_rate, steps)
        ratio = self.final_learning_rate / self.learning_rate
        return optax.exponential_decay(self.learning_rate, steps, ratio)


@settings
class MLP:
    """A multilayer perceptron over features."""

    #: widths of the hidden layers
    hidden: tuple[Positive[int], ...]
    #: the rate after each hidden layer
    dropout: Rate
    #: the rate of the features
    input_dropout: Rate = 0.0
    #: standard deviation of the hash layer's first weights and biases; None for Flax's default
    hash_init: Positive[float] | None = None

    def network(self, bits: int) -> HashMLP:
        """The network with a hash layer of `bits` outputs."""
        return HashMLP(bits, self.hidden, self.dropout, self.hash_init, self.input_dropout)


@settings
class MLPs:
    """A multilayer perceptron for each modality."""

    image: MLP
    text: MLP

    def networks(self, bits: int) -> dict[str, nn.Module]:
        """The networks of both modalities, by name."""
        return {"image": self.image.network(bits), "text": self.text.network(bits)}


@settings
class ImageNetwork:
    """A multilayer perceptron over features, or a pretrained network trained from pixels."""

    #: "mlp", which reads features, or a pretrained network, which reads pictures
    name: Literal["mlp", "lite0", "alexnet", "cnn-f"]
    #: widths of the hidden layers of the "mlp"
    hidden: tuple[Positive[int], ...]
    #: the rate after each hidden layer of the "mlp"
    dropout: Rate
    #: standard deviation of the hash layer's first weights and biases
    hash_init: Positive[float]
    #: the file of a pretrained network's first weights; "" where an installed package has them
    weights: str
    #: pixels by which pictures are moved in training
    augment_pixels: NotNegative[int]
    #: of the optimiser's steps, the share that pretrained parameters take
    pretrained_rate: Share

    def network(self, bits: int, spec: Spec) -> HashMLP | PictureHash:
        """The network with a hash layer of `bits` outputs.

        Raises:
          UserError: the images are not what it reads, or its weights cannot be read.
        """
        shape, dtype = spec.inputs["pairs"]["image"]
        if needs.form_of(spec, "image") != ("features" if self.name == "mlp" else "pixels"):
            raise UserError(
                f"config key 'image.name' is {self.name!r}, and the images are {dtype} {shape}; "
                f"'mlp' reads features, {', '.join(pretrained.NAMES)} read uint8 pictures"
            )
        if self.name == "mlp":
            return HashMLP(bits, self.hidden, self.dropout, self.hash_init)
        encoder = pretrained.load(self.name, pathlib.Path(self.weights) if self.weights else None)
        encoder.require(shape)
        return PictureHash(encoder, bits, self.hash_init, self.augment_pixels, self.pretrained_rate)
