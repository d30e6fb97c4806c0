"""Functions for arrays on any mesh, also on one with Explicit axes, the default of `jax.make_mesh`.

On Explicit axes every product, gather and loop over sharded rows must name the sharding of its
result. `any_mesh` makes the axes Auto inside a function, so that its mathematics names none, and
each function says once how its result is laid out: `row_sharded`, `pair_sharded`, `like_first` or
`replicated`.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import jax
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])
Layout = Callable[..., jax.P]


def any_mesh(layout: Layout) -> Callable[[Function], Function]:
    """A decorator that makes Explicit axes Auto inside a function; elsewhere it does nothing.

    Args:
      layout: gives the sharding of the result from the arrays among the arguments.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            leaves, tree = jax.tree.flatten((args, kwargs))
            arrays = {place: leaf for place, leaf in enumerate(leaves) if _is_array(leaf)}
            mesh = _explicit_mesh(arrays.values())
            if mesh is None:
                return function(*args, **kwargs)

            def of_arrays(arrays: dict[int, jax.Array]) -> Any:
                known = [arrays.get(place, leaf) for place, leaf in enumerate(leaves)]
                args, kwargs = jax.tree.unflatten(tree, known)
                return function(*args, **kwargs)

            result = jax.sharding.NamedSharding(mesh, layout(*arrays.values()))
            axes = mesh.explicit_axes
            return jax.sharding.auto_axes(of_arrays, axes=axes, out_sharding=result)(arrays)

        return cast(Function, called)

    return decorate


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray)


def _explicit_mesh(arrays: Iterable[Any]) -> Any:
    """The mesh of the first array on one with Explicit axes, or None."""
    meshes = (jax.typeof(array).sharding.mesh for array in arrays)
    return next((mesh for mesh in meshes if mesh.explicit_axes), None)


def row_sharded(x: jax.Array, *_: jax.Array) -> jax.P:
    """Rows are sharded like those of the first array."""
    return jax.P(*like_first(x)[:1])


def pair_sharded(x: jax.Array, y: jax.Array, *_: jax.Array) -> jax.P:
    """Rows are sharded like those of the first array, columns like the rows of the second."""
    first, second = row_sharded(x), row_sharded(y)
    return first if _axes(first) & _axes(second) else jax.P(*first, *second)


def like_first(x: jax.Array, *_: jax.Array) -> jax.P:
    """Like the first array."""
    spec: jax.P = jax.typeof(x).sharding.spec
    return spec


def aligned(x: jax.Array, like: jax.Array) -> jax.Array:
    """An array that broadcasts to another of its rank, sharded so that the two can be combined."""
    mesh = jax.typeof(like).sharding.mesh
    if not mesh.explicit_axes:
        return x
    lengths = zip(x.shape, like_first(like), strict=True)
    spec = jax.P(*(None if length == 1 else axis for length, axis in lengths))
    resharded: jax.Array = jax.sharding.reshard(x, jax.sharding.NamedSharding(mesh, spec))
    return resharded


def replicated(*_: jax.Array) -> jax.P:
    """A whole copy on every device: statistics and means."""
    return jax.P()


def _axes(spec: jax.P) -> set[str]:
    parts = (part if isinstance(part, tuple) else (part,) for part in spec)
    return {axis for part in parts for axis in part if axis}
