"""Networks for sequences: words of a sentence, regions of a picture.

A sequence is an array [n, T, ...] whose rows end in padding: token 0 among words, rows of zeros
among regions. What stands there changes no output.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jxhash.networks.mlp import HashMLP, drop, part_keys


def is_word(tokens: jax.Array) -> jax.Array:
    """Marks the words among token numbers [n, T]: boolean [n, T]."""
    return tokens > 0


def masked_mean(steps: jax.Array, where: jax.Array) -> jax.Array:
    """The mean over the steps that count.

    Args:
      steps: [n, T, width].
      where: boolean [n, T].

    Returns:
      [n, width]; zeros for a sequence in which no step counts.
    """
    total = jnp.sum(steps, axis=1, where=where[:, :, None])
    return total / jnp.maximum(jnp.sum(where, axis=1), 1)[:, None]


def _windows(steps: jax.Array, size: int) -> jax.Array:
    """At each step it and its neighbours, side by side: [n, T, d] to [n, T, size * d].

    A matrix product of these is a convolution.
    """
    before = (size - 1) // 2
    padded = jnp.pad(steps, ((0, 0), (before, size - 1 - before), (0, 0)))
    length = steps.shape[1]
    return jnp.concatenate([padded[:, n : n + length] for n in range(size)], axis=2)


def _lstm(width: int) -> Any:
    """A long short-term memory layer; its outputs at padding mean nothing."""
    return nn.RNN(nn.OptimizedLSTMCell(width))


class WordLSTM(nn.Module):
    """An LSTM layer over the words of a sentence.

    The embedding and the layer's input matrix together are a linear map of one-hot words.

    Attributes:
      vocabulary_size: number of words V; tokens go from 1 to V, 0 is padding.
      embedding: numbers a word is turned into.
      width: outputs of the layer.
      dropout: the rate of embedded words and of outputs while keys are given.
    """

    vocabulary_size: int
    embedding: int
    width: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps int [n, T] to float32 [n, T, width]; the outputs at padding mean nothing."""
        words = nn.Embed(self.vocabulary_size + 1, self.embedding)(tokens)
        words = drop(words, part_keys(row_keys, 0), self.dropout)
        outputs = _lstm(self.width)(words)
        return drop(outputs, part_keys(row_keys, 1), self.dropout)


class SentenceHashLSTM(nn.Module):
    """A `WordLSTM` with a linear hash layer of `bits` outputs at every step."""

    bits: int
    vocabulary_size: int
    embedding: int
    width: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps int [n, T] to float32 [n, T, bits]."""
        words = WordLSTM(self.vocabulary_size, self.embedding, self.width, self.dropout)
        return nn.Dense(self.bits)(words(tokens, row_keys))


class FusionLSTM(nn.Module):
    """Two LSTM layers over words; between them the picture is added at every step.

    Attributes:
      bits: width K of both layers and of the mapped picture.
      image_hidden, image_dropout: of the layers that map the picture, see `HashMLP`.
      vocabulary_size, embedding, text_dropout: of the first layer, see `WordLSTM`.
    """

    bits: int
    vocabulary_size: int
    embedding: int
    image_hidden: Sequence[int] = ()
    image_dropout: float = 0.0
    text_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, image: jax.Array, tokens: jax.Array, row_keys: jax.Array | None = None
    ) -> jax.Array:
        """Maps [n, width] and int [n, T] to float32 [n, T, bits] in (-1, 1)."""
        layers = HashMLP(self.bits, self.image_hidden, self.image_dropout)
        picture = layers(image, part_keys(row_keys, 0))
        layer = WordLSTM(self.vocabulary_size, self.embedding, self.bits, self.text_dropout)
        words = layer(tokens, part_keys(row_keys, 1))
        outputs: jax.Array = _lstm(self.bits)(picture[:, None, :] + words)
        return outputs


class RegionHashLSTM(nn.Module):
    """A bidirectional LSTM over regions, the mean of its outputs, and dense layers.

    Attributes:
      bits: width K of the last dense layer.
      width: outputs of the LSTM in each direction.
      hidden: widths of the dense layers before the last.
      dropout: the rate of the mean, and after each hidden dense layer, while keys are given.
    """

    bits: int
    width: int
    hidden: Sequence[int] = ()
    dropout: float = 0.0

    @nn.compact
    def __call__(self, regions: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps [n, T, width] of any float dtype to float32 [n, bits]."""
        regions, where = regions.astype(jnp.float32), jnp.any(regions != 0, axis=-1)
        both: Any = nn.Bidirectional(_lstm(self.width), _lstm(self.width))
        steps = both(regions, seq_lengths=jnp.sum(where, axis=1))
        mean = nn.relu(masked_mean(steps, where))
        mean = drop(mean, part_keys(row_keys, 0), self.dropout)
        return HashMLP(self.bits, self.hidden, self.dropout)(mean, part_keys(row_keys, 1))


class SentenceHashConvolutions(nn.Module):
    """Crops of a sentence, each through convolutions of its own, and dense layers.

    Attributes:
      bits: width K of the last dense layer.
      vocabulary_size, embedding: see `WordLSTM`.
      crops: for each crop its first step and its number of steps.
      kernels: the numbers of words that the convolutions see at once.
      filters: outputs of each convolution, of which the maximum over the crop's words is taken.
      hidden: widths of the dense layers before the last.
      dropout: the rate of the joined maxima, and after each hidden dense layer, while keys are
        given.
    """

    bits: int
    vocabulary_size: int
    embedding: int
    crops: Sequence[tuple[int, int]]
    kernels: Sequence[int]
    filters: int
    hidden: Sequence[int] = ()
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, row_keys: jax.Array | None = None) -> jax.Array:
        """Maps int [n, T] to float32 [n, bits]."""
        where = is_word(tokens)[:, :, None]
        words = jnp.where(where, nn.Embed(self.vocabulary_size + 1, self.embedding)(tokens), 0)
        maxima = []
        for first, steps in self.crops:
            crop, counts = words[:, first : first + steps], where[:, first : first + steps]
            for kernel in self.kernels:
                found = nn.relu(nn.Dense(self.filters)(_windows(crop, kernel)))
                # No output is negative, so zeros at padding never are the largest.
                maxima.append(jnp.max(jnp.where(counts, found, 0), axis=1))
        joined = drop(jnp.concatenate(maxima, axis=1), part_keys(row_keys, 0), self.dropout)
        return HashMLP(self.bits, self.hidden, self.dropout)(joined, part_keys(row_keys, 1))
