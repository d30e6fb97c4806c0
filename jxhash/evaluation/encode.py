"""From inputs to outputs, in blocks."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jxhash.arrays import Rows
from jxhash.errors import UserError
from jxhash.methods.base import HashState, Method

# Rows at a time, and bytes at a time where rows are as large as pictures are.
BLOCK = 2048
BLOCK_BYTES = 2**24


def encode(
    method: Method, state: HashState, modality: str, inputs: np.ndarray | Rows
) -> np.ndarray:
    """Encodes all rows of one modality.

    Args:
      method: brings the networks.
      state: brings their parameters.
      modality: "image" or "text".
      inputs: [n, ...], on the host, in memory or read by rows.

    Returns:
      float32 outputs [n, K].

    Raises:
      UserError: an output is not finite; it would pass for a code of +1 alone.
    """
    fitting = max(1, BLOCK_BYTES // max(1, inputs.nbytes // len(inputs)))
    block = min(BLOCK, fitting, len(inputs))
    outputs = []
    for first in range(0, len(inputs), block):
        rows = inputs[first : first + block]
        # Every block has the same shape, so that one compilation serves all of them.
        padded = np.concatenate([rows, np.repeat(rows[-1:], block - len(rows), axis=0)])
        outputs.append(np.asarray(_compiled(method.encode)(state, modality, padded))[: len(rows)])
    encoded = np.concatenate(outputs)
    bad = np.flatnonzero(~np.isfinite(encoded).all(axis=1))
    if bad.size:
        raise UserError(
            f"the network makes NaN or infinity of {bad.size} of {len(inputs)} {modality}s (first "
            f"of row {bad[0]}); scale their features to a few units"
        )
    return encoded


@functools.lru_cache(maxsize=8)
def _compiled(encode_function: Callable) -> Callable:
    return jax.jit(encode_function, static_argnums=1)
