"""Updates compiled into calls over all devices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jxhash import parallel
from jxhash.methods.contract import Batch, HashState, Metrics, Update
from jxhash.training import divergence
from jxhash.training.batches import DRAWS, Resident, Streamed, with_index


def minibatch_call(
    updates: tuple[Update, ...], rows: Mapping[str, int], placement: Resident | Streamed
) -> Callable[..., Any]:
    """Compiles many minibatch steps of updates that share their batches into one call.

    Args:
      updates: run one after another on each batch.
      rows: the number of training rows of each source.
      placement: says how a step reads its rows.

    Returns:
      (state, constants, plan, first, end, arrays, corpus) -> (state, history): takes the steps
      from `first` to before `end` of the plan. State and constants are apart, since the memory of
      the state is reused. The history has (sum, count) of every metric at these steps, and zeros
      at all others; beside the metrics of the updates it has `divergence.GRADIENTS`.
    """

    def call(
        state: HashState,
        constants: dict[str, Any],
        plan: Any,
        first: jax.Array,
        end: jax.Array,
        arrays: Any,
        corpus: Any,
    ) -> tuple[HashState, Any]:
        def one_step(number: jax.Array, state: HashState) -> tuple[HashState, Metrics]:
            batch_rows, drawn = {}, {name: of_step[number] for name, of_step in plan.items()}
            for source, index in ((source, drawn[source]) for source in rows):
                values = placement.read(arrays[source], index, number - first, drawn.get(DRAWS))
                batch_rows[source] = with_index(values, index, rows[source])
            whole = state.replace(constants=constants)
            state, metrics = _run(updates, whole, Batch(batch_rows, corpus))
            metrics[divergence.GRADIENTS] = divergence.gradients_metric(state)
            return state.replace(step=state.step + 1), metrics

        def body(number: jax.Array, carry: tuple[HashState, Any]) -> tuple[HashState, Any]:
            state, metrics = one_step(number, carry[0])
            return state, jax.tree.map(lambda all, one: all.at[number].set(one), carry[1], metrics)

        steps = len(next(iter(plan.values())))
        metrics = jax.eval_shape(one_step, first, state)[1]
        history = jax.tree.map(lambda metric: jnp.zeros((steps,), jnp.float32), metrics)
        if placement.steps_per_call == 1:
            state, history = body(first, (state, history))
        else:
            # Where the loop stops is a number, not a shape: one compilation serves every length.
            state, history = jax.lax.fori_loop(first, end, body, (state, history))
        return state, parallel.total(history)

    in_axes = (None, None, 1, None, None, placement.arrays_axis, None)
    return parallel.pmapped(call, in_axes=in_axes, donate=(0,))


def full_call(update: Update, rows: Mapping[str, int]) -> Callable[..., Any]:
    """Compiles an update over all training rows into one call.

    Args:
      update: of kind "full".
      rows: the number of training rows of each source.

    Returns:
      (state, constants, plan, corpus) -> (state, metrics).
    """

    def call(
        state: HashState, constants: dict[str, Any], plan: Any, corpus: Any
    ) -> tuple[HashState, Metrics]:
        batch_rows = {
            source: with_index(Resident.read(corpus[source], index, 0), index, rows[source])
            for source, index in plan.items()
        }
        whole = state.replace(constants=constants)
        state, metrics = _run((update,), whole, Batch(batch_rows, corpus))
        return state, parallel.total(metrics)

    return parallel.pmapped(call, in_axes=(None, None, 0, None), donate=(0,))


def _run(updates: tuple[Update, ...], state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
    """The updates one after another on a batch; their metrics are those of this device's rows."""
    metrics: Metrics = {}
    for update in updates:
        for repeat in range(update.repeats):
            state, own, passed = update.step(state, batch._replace(repeat=repeat))
        batch = batch._replace(passed={**batch.passed, **passed})
        # Beside others, an update's metrics carry its name.
        prefix = f"{update.name} " if len(updates) > 1 else ""
        metrics |= {f"{prefix}{name}": values for name, values in own.items()}
    metrics = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), metrics)
    return state.replace(constants={}), metrics
