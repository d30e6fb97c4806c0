"""Checks that losses, gradients and state stay finite; suggests a fix."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jxhash.errors import UserError
from jxhash.methods.contract import HashState

# The name of a metric that is NaN at a step whose gradients are not finite.
GRADIENTS = "gradients"

# A loss this many times as large as it usually was grew before it failed.
_GROWN = 10

_IS_WHOLE = (
    "look for features that are constant, repeated or of very different scales, or raise the "
    "method's regularisation"
)
_GREW = "the loss grew before: lower the learning rate"
_AT_ONCE = (
    "look at the scale of the features, and for a logarithm or a root of values that are not "
    "positive"
)
_GRADIENT = (
    "look for rows of zeros among the features, where a norm or a root has no derivative, or lower "
    "the learning rate"
)
_OTHERWISE = "lower the learning rate, look for outliers among the features"


class TrainingDivergedError(UserError):
    """A loss, a gradient or the state is no longer finite."""


class Where(NamedTuple):
    """The place of some steps, for the user: counted from 1.

    Attributes:
      update: or updates that share their batches, by name.
      stage: by name.
      epoch: of the stage.
      batch: the first of the steps; None for an update that takes all rows at once.
    """

    update: str
    stage: str
    epoch: int
    batch: int | None

    def __str__(self) -> str:
        batch = f", batch {self.batch}" if self.batch else ""
        return f"update {self.update!r}, stage {self.stage!r}, epoch {self.epoch}{batch}"


def gradients_metric(state: HashState) -> tuple[jax.Array, jax.Array]:
    """(NaN, 1) where an entry of a vector among the parameters is not finite, else (0, 1).

    A gradient that is not finite at a layer's outputs reaches its vector of biases in the same
    step, however many rows are well: so the large matrices need no look at each step.
    """
    vectors = [leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim <= 1]
    finite = [jnp.all(jnp.isfinite(vector)) for vector in vectors]
    well = functools.reduce(jnp.logical_and, finite, jnp.array(True))
    return jnp.where(well, jnp.float32(0), jnp.float32(jnp.nan)), jnp.float32(1)


def require_finite_metrics(
    new: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray], first: Where
) -> None:
    """Raises a TrainingDivergedError unless all metrics of some steps are finite.

    Args:
      new: name -> [steps, 2], (sum, count) of each step.
      before: the same of the steps before these, as far as known.
      first: of the steps.
    """
    bad = {name: np.flatnonzero(~np.isfinite(values[:, 0])) for name, values in new.items()}
    steps = {name: int(found[0]) for name, found in bad.items() if found.size}
    if not steps:
        return
    # The first to fail; a loss and its gradients fail together, and the loss is listed before.
    name = min(steps, key=lambda name: steps[name])
    step = steps[name]
    what = "a gradient" if name == GRADIENTS else f"the metric {name!r}"
    seen = np.concatenate([before.get(name, new[name][:0]), new[name][:step]])
    where = first._replace(batch=first.batch and first.batch + step)
    raise _diverged(what, new[name][step, 0], where, _mend(name, seen, where))


def _mend(name: str, seen: np.ndarray, where: Where) -> str:
    if where.batch is None:
        return _IS_WHOLE
    if name == GRADIENTS:
        return _GRADIENT
    if not len(seen):
        return _AT_ONCE if where.epoch == 1 else _OTHERWISE
    sizes = np.abs(seen[:, 0] / np.maximum(seen[:, 1], 1))
    return _GREW if sizes[-1] > _GROWN * np.median(sizes) else _OTHERWISE


def require_finite_state(state: HashState, after: Where) -> None:
    """Raises a TrainingDivergedError unless all a state holds is finite.

    Args:
      state: whole on every device.
      after: the last step that it has seen.
    """
    parts = {
        name: getattr(state, name) for name in ("params", "opt_state", "model_state", "buffers")
    }
    # This device's copy alone: not all processes need to look at the same moment.
    inexact = [
        (jax.tree_util.keystr(path, simple=True, separator=" "), leaf.addressable_data(0))
        for path, leaf in jax.tree_util.tree_leaves_with_path(parts)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    if not inexact or bool(_all_finite([leaf for _, leaf in inexact])):
        return
    name, leaf = next((n, leaf) for n, leaf in inexact if not np.isfinite(leaf).all())
    value = np.asarray(leaf)[~np.isfinite(leaf)][0]
    fix = _IS_WHOLE if after.batch is None else _OTHERWISE
    raise _diverged(f"the state ({name})", value, after, fix, at="by")


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]))


def _diverged(
    what: str, value: float, where: Where, fix: str, at: str = "in"
) -> TrainingDivergedError:
    became = "NaN" if np.isnan(value) else "infinite"
    return TrainingDivergedError(
        f"{what} turned {became} {at} {where}; {fix}; earlier checkpoints are kept, and a "
        "changed config starts in a new --workdir"
    )
