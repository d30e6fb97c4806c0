"""Similarity of samples from their labels.

All functions are pure and map [m, C] and [n, C] multi-hot labels to an [m, n] block. Callers pass
one batch against the data set, so that no n x n matrix need ever exist.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks
from jxhash._sharding import any_mesh, pair_sharded


def _checked(labels_a: ArrayLike, labels_b: ArrayLike) -> tuple[jax.Array, jax.Array]:
    labels_a, labels_b = jnp.asarray(labels_a, jnp.float32), jnp.asarray(labels_b, jnp.float32)
    if labels_a.ndim != 2 or labels_b.ndim != 2 or labels_a.shape[1] != labels_b.shape[1]:
        raise ValueError(
            "labels are multi-hot matrices over the same classes, "
            f"not {labels_a.shape} and {labels_b.shape}; make class ids one-hot first"
        )
    return labels_a, labels_b


@any_mesh(pair_sharded)
def _shared_labels(labels_a: jax.Array, labels_b: jax.Array) -> jax.Array:
    return jnp.matmul(labels_a, labels_b.T, precision="highest")


def share_label(labels_a: ArrayLike, labels_b: ArrayLike) -> jax.Array:
    """Marks the pairs that share at least one label: S in {0, 1}.

    Args:
      labels_a: [m, C] multi-hot labels, any real dtype, not negative.
      labels_b: [n, C] multi-hot labels.

    Returns:
      float32 [m, n]; a row without labels is similar to no row.

    Raises:
      ValueError: the labels are not matrices over the same number of classes, or are negative.

    >>> share_label([[1, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]]).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    shared = _shared_labels(*_checked(labels_a, labels_b))
    for name, labels in (("labels_a", labels_a), ("labels_b", labels_b)):
        _checks.require_values(name, labels, _checks.NOT_NEGATIVE)
    return (shared > 0).astype(jnp.float32)


def signed(labels_a: ArrayLike, labels_b: ArrayLike) -> jax.Array:
    """Like `share_label`, but -1 for pairs that share no label: S in {-1, +1}.

    >>> signed([[1, 1, 0]], [[0, 1, 0], [0, 0, 1]]).tolist()
    [[1.0, -1.0]]
    """
    return 2 * share_label(labels_a, labels_b) - 1


def cosine(labels_a: ArrayLike, labels_b: ArrayLike) -> jax.Array:
    """The cosine between label vectors, in [0, 1] for multi-hot labels.

    Args:
      labels_a: [m, C] labels, any real dtype.
      labels_b: [n, C] labels.

    Returns:
      float32 [m, n]; 0 for a row without labels.

    >>> cosine([[1, 0]], [[1, 0], [0, 1], [0, 0]]).tolist()
    [[1.0, 0.0, 0.0]]
    """
    return _cosine(*_checked(labels_a, labels_b))


@any_mesh(pair_sharded)
def _cosine(labels_a: jax.Array, labels_b: jax.Array) -> jax.Array:
    shared = _shared_labels(labels_a, labels_b)
    squared_a = jnp.sum(jnp.square(labels_a), axis=1)
    squared_b = jnp.sum(jnp.square(labels_b), axis=1)
    squared = squared_a[:, None] * squared_b[None, :]
    present = squared > 0
    return jnp.where(present, shared / jnp.sqrt(jnp.where(present, squared, 1)), 0)
