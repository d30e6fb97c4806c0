"""Alphabets of codes: what a database keeps of an item, and how far a query is from it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jxhash import codes, discrete

# Named arrays that a code needs besides outputs, such as codebooks: the buffers of a state.
Buffers = Mapping[str, Any]


class Code(NamedTuple):
    """An alphabet.

    Attributes:
      name: what the distance is, in words, for the report.
      entries: (buffers, outputs [n, K] of numpy or JAX) -> database entries [n, width].
      distances: (buffers, query outputs [q, K], entries [n, width]) -> [q, n]; smaller is nearer.
      levels: width of the entries -> how many distinct distances there are, which are then the
        Hamming distances of entries in {-1, +1}; None: distances are real, and ranked in blocks.
    """

    name: str
    entries: Callable[[Buffers, codes.Array], codes.Array]
    distances: Callable[[Buffers, jax.Array, jax.Array], jax.Array]
    levels: Callable[[int], int] | None


def _sign_entries(buffers: Buffers, outputs: codes.Array) -> codes.Array:
    del buffers
    return codes.sign(outputs)


def _hamming_distances(buffers: Buffers, outputs: jax.Array, entries: jax.Array) -> jax.Array:
    del buffers
    return jnp.asarray(codes.hamming_distance(codes.sign(outputs), entries))


@functools.cache
def signs() -> Code:
    """The usual alphabet: signs of outputs, int8 [n, K], and their Hamming distances."""
    return Code(
        "Hamming distance between signs",
        _sign_entries,
        _hamming_distances,
        levels=lambda width: width + 1,
    )


def codewords(codebooks: str, *, sweeps: int) -> Code:
    """Numbers of codewords, uint8 [n, M], one from each of M codebooks; inner products.

    Args:
      codebooks: the name of a buffer [M, W, R], W at most 256.
      sweeps: of the iterated conditional modes that choose the codewords of an item.
    """

    def entries(buffers: Buffers, outputs: codes.Array) -> jax.Array:
        return discrete.icm(outputs, buffers[codebooks], sweeps=sweeps).astype(jnp.uint8)

    def distances(buffers: Buffers, outputs: jax.Array, entries: jax.Array) -> jax.Array:
        return -discrete.quantized_inner_products(outputs, entries, buffers[codebooks])

    return Code(
        "minus the inner product of a query's output with the sum of an item's codewords",
        entries,
        distances,
        levels=None,
    )
