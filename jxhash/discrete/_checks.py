"""The checks that discrete steps share."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def matrix(name: str, x: ArrayLike) -> jax.Array:
    """Checks a matrix with a row a sample and gives it in at least float32."""
    array = jnp.asarray(x)
    if array.ndim != 2:
        raise ValueError(f"{name} has a row a sample, not the shape {array.shape}")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} holds real numbers, not {array.dtype}")
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32) if floating else jnp.float32)


def same_shape(**arrays: ArrayLike) -> None:
    """Refuses two arrays of different shapes, which would broadcast silently."""
    (first, a), (second, b) = arrays.items()
    if np.shape(a) != np.shape(b):
        raise ValueError(f"{first} and {second} have one shape, not {np.shape(a)}, {np.shape(b)}")


def counted(where: ArrayLike | None, rows: int) -> jax.Array:
    """Checks a mask over samples; without one all count."""
    if where is None:
        return jnp.ones(rows, bool)
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(f"where is boolean, not {where.dtype}; compare it with zero first")
    if where.shape != (rows,):
        raise ValueError(f"where has one value a sample, {(rows,)}, not the shape {where.shape}")
    return where
