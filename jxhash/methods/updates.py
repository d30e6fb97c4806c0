"""Updates and methods from objectives: what turns a paper's formulas into the contract.

An objective is written as on one device. It gets `net`, which runs networks, and `batch`, which
holds the rest; both speak of the rows of all devices. `descent` differentiates an objective,
averages the gradients over devices and steps the optimiser; `forward` and `full` compute
without a gradient; `method` puts updates together.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import optax

from jxhash import discrete, parallel
from jxhash.methods.code import Code, signs
from jxhash.methods.contract import (
    Batch,
    Descends,
    Done,
    HashState,
    Method,
    Metrics,
    Sampling,
    Spec,
    Stage,
    Update,
)
from jxhash.methods.objective import (
    PAIRS,
    Inputs,
    Net,
    Networks,
    Objective,
    Seen,
    Terms,
    network_of,
    reads_of,
    seen_by,
    write_rows,
)
from jxhash.methods.settings import Optimizer
from jxhash.networks.picture_hash import PictureHash, slow_network

__all__ = [
    "Inputs",
    "Net",
    "Networks",
    "Seen",
    "Start",
    "Terms",
    "consensus_update",
    "descent",
    "forward",
    "full",
    "method",
]

Optimizers = Mapping[str, optax.GradientTransformation]


class Start(TypedDict, total=False):
    """The first buffers and codes of a state, by name."""

    buffers: dict[str, jax.Array]
    codes: dict[str, jax.Array]


def descent(
    name: str,
    networks: Networks,
    objective: Objective,
    optimizer: Optimizer,
    *,
    trains: Sequence[str] | None = None,
    opt_state: str | None = None,
    sampling: Sampling = "shuffled",
    repeats: int = 1,
    reads: Sequence[str] | None = None,
    corpus: Sequence[str] = (),
) -> Update:
    """An update that takes one step of some networks down the gradient of an objective.

    Args:
      name: of the update.
      networks: all that the objective runs.
      objective: (net, batch) -> terms, as on one device.
      optimizer: of each network that moves. Its learning rate ends with the network's last step in
        all descents with this `opt_state`.
      trains: the networks that move, None for all; every other is constant.
      opt_state: descents with the same name here share their optimisers' states; None for `name`.
      sampling: see `contract.Update`, also for all that follow.
      repeats: runs in a row.
      reads: arrays that are brought to it.
      corpus: arrays that it sees whole.

    Returns:
      The update, for `method`, which makes its optimisers.
    """
    descends = Descends(tuple(networks if trains is None else trains), optimizer, opt_state or name)

    def step(state: HashState, batch: Batch, optimizers: Optimizers | None = None) -> Done:
        seen, own = seen_by(state, batch), {n: state.params[n] for n in descends.networks}

        def loss(own: dict[str, Any]) -> tuple[jax.Array, tuple[Terms, dict[str, Any]]]:
            params = {**state.params, **own}
            net = Net(networks, params, state.model_state, batch.rows, descends.networks, seen.key)
            terms = objective(net, seen)
            if terms.loss is None:
                raise ValueError(f"the objective of update {name!r} gives no loss")
            return terms.loss, (terms, net.model_state)

        gradients, (terms, model_state) = jax.grad(loss, has_aux=True)(own)
        state = _descended(state, parallel.mean(gradients), descends.opt_state, optimizers or {})
        return _done(state.replace(model_state=model_state), seen, terms)

    return Update(
        name,
        "minibatch",
        step,
        sampling,
        repeats,
        None if reads is None else frozenset(reads),
        frozenset(corpus),
        descends,
    )


def forward(
    name: str, networks: Networks, function: Objective, *, sampling: Sampling = "in_order"
) -> Update:
    """An update that runs networks on each batch, and keeps rows of buffers or codes.

    Args:
      name: of the update.
      networks: all that the function runs; dropout is off, nothing moves.
      function: (net, batch) -> terms, as on one device.
      sampling: see `contract.Update`.
    """

    def step(state: HashState, batch: Batch) -> Done:
        seen = seen_by(state, batch)
        net = Net(networks, state.params, state.model_state, batch.rows)
        return _done(state, seen, function(net, seen))

    return Update(name, "minibatch", step, sampling)


def full(name: str, function: Callable[[Seen], Terms]) -> Update:
    """An update over all training rows; every device works on its share of them.

    Args:
      name: of the update.
      function: this device's rows -> terms, of which `shown` are means over these rows.
    """

    def step(state: HashState, batch: Batch) -> Done:
        seen = seen_by(state, batch, gather=lambda tree: tree)
        return _done(state, seen, function(seen), gather=parallel.all_rows)

    return Update(name, "full", step)


def consensus_update(modalities: Sequence[str]) -> Update:
    """The codes "pairs", shared by all modalities, become the signs of the outputs' sum.

    Args:
      modalities: whose buffers are summed.
    """

    def vote(rows: Seen) -> Terms:
        previous = rows.take(rows.codes[PAIRS])
        outputs = (rows.take(rows.buffers[modality]) for modality in modalities)
        B = discrete.consensus(*outputs, previous=previous)
        flipped = rows.mean(jnp.mean(previous != B, axis=1))
        return Terms(shown={"flipped bits": flipped}, codes={PAIRS: B})

    return full("codes", vote)


def method(
    networks: Networks,
    stages: Sequence[Stage],
    spec: Spec,
    *,
    squash: Callable[[jax.Array], jax.Array] = lambda outputs: outputs,
    encode: Callable[[Net, str], jax.Array] | None = None,
    start: Start | Callable[[jax.Array], Start] | None = None,
    learned: str | Callable[[HashState, str], jax.Array] | None = None,
    code: Code | None = None,
) -> Method:
    """A method from its networks and updates.

    Args:
      networks: all of them, in the order in which they draw their first parameters.
      stages: of updates and descents.
      spec: of the data.
      squash: what outputs pass after the networks "image" and "text".
      encode: (net, modality) -> outputs, where these are not those of such a network, squashed.
      start: the first "buffers" and "codes", or key -> these; none by default.
      learned: the name of the codes of the training rows; or (state, modality) -> entries.
      code: the alphabet; by default signs.
    """
    optimizers = _optimizers(networks, stages, spec)

    def init(key: jax.Array) -> HashState:
        networks_key, *own_keys, training_key = jax.random.split(key, 2 + callable(start))
        params, model_state = _first_variables(networks_key, networks, spec)
        opt_state = {
            name: {network: each.init(params[network]) for network, each in by_network.items()}
            for name, by_network in optimizers.items()
        }
        own = start(*own_keys) if callable(start) else start or Start()
        step = jnp.zeros((), jnp.int32)
        return HashState(step, params, opt_state, training_key, model_state, **own)

    def encoded(state: HashState, modality: str, inputs: Any) -> jax.Array:
        net = Net(networks, state.params, state.model_state, {PAIRS: {modality: inputs}})
        return encode(net, modality) if encode else squash(net(modality))

    if isinstance(learned, str):
        codes = learned
        learned = lambda state, modality: state.codes[codes]  # noqa: E731
    bound = tuple(
        stage._replace(updates=tuple(_bound(update, optimizers) for update in stage.updates))
        for stage in stages
    )
    return Method(init, bound, encoded, code or signs(), learned)


def _done(
    state: HashState, seen: Seen, terms: Terms, gather: Callable[[Any], Any] = lambda tree: tree
) -> Done:
    index, keep, codes = gather((seen.index, dict(terms.keep), dict(terms.codes)))
    state = state.replace(
        buffers={**state.buffers, **_written(state.buffers, keep, index), **terms.whole},
        codes=state.codes | _written(state.codes, codes, index),
    )
    shown = {**({} if terms.loss is None else {"loss": terms.loss}), **terms.shown}
    metrics: Metrics = {name: (value * seen.count, seen.count) for name, value in shown.items()}
    return Done(state, metrics, terms.pass_on)


def _written(
    whole: Mapping[str, jax.Array], rows: Mapping[str, jax.Array], index: jax.Array
) -> dict[str, jax.Array]:
    return {name: write_rows(whole[name], index, new) for name, new in rows.items()}


def _first_variables(
    key: jax.Array, networks: Networks, spec: Spec
) -> tuple[dict[str, Any], dict[str, Any]]:
    params, model_state = {}, {}
    for name, own_key in zip(networks, jax.random.split(key, len(networks)), strict=True):
        inputs = [_zeros(read, spec) for read in reads_of(networks, name)]
        variables = dict(network_of(networks, name).init(own_key, *inputs))
        params[name] = variables.pop("params")
        if variables:
            model_state[name] = variables
    return params, model_state


def _zeros(read: str | int, spec: Spec) -> Any:
    if isinstance(read, int):
        return jnp.zeros((1, read))
    described = spec.inputs[PAIRS].get(read)
    if described is None:
        raise ValueError(
            f"the pairs have no array {read!r} for a network of this name; say what it reads, as "
            "Inputs(network, (width,))"
        )
    is_leaf = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda x: jnp.zeros((1, *x[0]), x[1]), described, is_leaf=is_leaf)


def _optimizers(networks: Networks, stages: Sequence[Stage], spec: Spec) -> dict[str, Optimizers]:
    """opt_state -> network -> its optimiser, whose rate ends with the network's last step."""
    steps: dict[tuple[str, str], int] = {}
    described: dict[str, Optimizer] = {}
    every = [(stage.epochs, update) for stage in stages for update in stage.updates]
    for epochs, update in every:
        if update.descends is None:
            continue
        moved, optimizer, opt_state = update.descends
        if described.setdefault(opt_state, optimizer) != optimizer:
            raise ValueError(f"descents that share {opt_state!r} have different optimisers")
        for network in moved:
            taken = epochs * spec.steps_per_epoch * update.repeats
            steps[opt_state, network] = steps.get((opt_state, network), 0) + taken
    optimizers: dict[str, dict[str, optax.GradientTransformation]] = {}
    for (opt_state, network), total in steps.items():
        optimizer, found = described[opt_state].over(total), network_of(networks, network)
        if isinstance(found, PictureHash):
            optimizer = slow_network(optimizer, found.pretrained_rate)
        optimizers.setdefault(opt_state, {})[network] = optimizer
    return dict(optimizers)


def _bound(update: Update, optimizers: Mapping[str, Optimizers]) -> Update:
    if update.descends is None:
        return update
    step: Callable[..., Done] = update.step  # of a descent, which takes optimisers besides
    own = optimizers[update.descends.opt_state]
    return update._replace(step=functools.partial(step, optimizers=own))


def _descended(
    state: HashState, gradients: Mapping[str, Any], opt_state: str, optimizers: Optimizers
) -> HashState:
    """The state after one step of each network's optimiser."""
    params, opt_states = dict(state.params), dict(state.opt_state[opt_state])
    for network, gradient in gradients.items():
        changes, opt_states[network] = optimizers[network].update(
            gradient, opt_states[network], params[network]
        )
        params[network] = optax.apply_updates(params[network], changes)
    return state.replace(params=params, opt_state=state.opt_state | {opt_state: opt_states})
