"""Encodes inputs in blocks of rows."""

import jax
import numpy as np

from jxhash.errors import UserError
from jxhash.methods.contract import HashState, Method
from jxhash.rows import RowArray

# Rows per block, and bytes per block if rows are as large as pictures.
BLOCK = 2048
BLOCK_BYTES = 2**24


def encode(method: Method, state: HashState, modality: str, inputs: RowArray) -> np.ndarray:
    """Encodes all rows of one modality, float32 [n, K].

    The inputs [n, ...], or a mapping of several views of them, are in memory or read by rows.

    Raises:
      UserError: an output is not finite; its sign would be a code of +1 alone.
    """
    every = jax.tree.leaves(inputs)
    number, num_bytes = len(every[0]), sum(array.nbytes for array in every)
    block = min(BLOCK, max(1, BLOCK_BYTES // max(1, num_bytes // number)), number)
    outputs, compiled = [], jax.jit(method.encode, static_argnums=1)
    for first in range(0, number, block):
        # Blocks of one shape need one compilation.
        index = np.minimum(np.arange(first, first + block), number - 1)
        rows = jax.tree.map(lambda array: array[index], inputs)  # noqa: B023
        outputs.append(np.asarray(compiled(state, modality, rows)))
    encoded = np.concatenate(outputs)[:number]
    bad = np.flatnonzero(~np.isfinite(encoded).all(axis=1))
    if bad.size:
        raise UserError(
            f"the network outputs NaN or infinity for {bad.size} of {number} {modality}s "
            f"(first of row {bad[0]}); scale their features to a few units"
        )
    return encoded
