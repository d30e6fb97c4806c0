"""What an objective sees: networks to run, and the rows of a batch; and what it finds.

Both speak of the rows of all devices, so that an objective is written as on one.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from jxhash import parallel
from jxhash.methods.contract import Batch, HashState

PAIRS = "pairs"


class Network(Protocol):
    """A Flax module, or what is used as one."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Key and inputs -> variables."""

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Variables and inputs -> outputs."""


class Inputs(NamedTuple):
    """A network and what it reads, where that is not the modality of its own name.

    Attributes:
      network: its `__call__(*inputs, row_keys=None)` gets keys while dropout is on; one that keeps
        statistics over a batch has an argument `where` besides, False for padding.
      reads: for each input the name of an array of the pairs, or the width of a vector that an
        objective passes.
    """

    network: Network
    reads: tuple[str | int, ...]


Networks = Mapping[str, Network | Inputs]


def network_of(networks: Networks, name: str) -> Network:
    """A network by name."""
    found = networks[name]
    return found.network if isinstance(found, Inputs) else found


def reads_of(networks: Networks, name: str) -> tuple[str | int, ...]:
    """What a network reads, see `Inputs`."""
    found = networks[name]
    return found.reads if isinstance(found, Inputs) else (name,)


def _takes_where(network: Network) -> bool:
    if not isinstance(network, nn.Module):
        return False
    return "where" in inspect.signature(network.__call__).parameters


class Terms(NamedTuple):
    """What an objective finds.

    Attributes:
      loss: what is descended; a scalar.
      shown: further scalars, kept with the metrics.
      keep: name of a buffer -> its rows of this batch, [B, ...]; padding is dropped.
      codes: the same for codes.
      whole: name of a buffer that has no rows, such as codebooks -> all of it.
      pass_on: values for the next update on the same batch of an interleaved stage.
    """

    loss: jax.Array | None = None
    shown: Mapping[str, jax.Array | float] = {}
    keep: Mapping[str, jax.Array] = {}
    codes: Mapping[str, jax.Array] = {}
    whole: Mapping[str, jax.Array] = {}
    pass_on: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Seen:
    """The rows that an objective sees; of all devices, but for `full`.

    Attributes:
      index: int32 [B], their place in the training set; the number of rows marks padding.
      where: bool [B], False for padding.
      state: as it was before the update; nothing of it is differentiated.
      corpus: the whole arrays that the update names.
      passed: what the update before passed on.
      key: for random draws, the same on every device; `jax.random.fold_in` a number of its own for
        each, from 2**20 on beside networks, whose numbers lie below.
      sources: the rows of the other sources, see `__getitem__`.
      given_labels: the `labels`; None where the data has none or the update does not read them.
    """

    index: jax.Array
    where: jax.Array
    state: HashState
    corpus: Mapping[str, jax.Array]
    passed: Mapping[str, Any]
    key: jax.Array
    sources: Mapping[str, "Seen"]
    given_labels: jax.Array | None

    def __getitem__(self, source: str) -> "Seen":
        """The rows of another source, such as "query"."""
        return self.sources[source]

    @property
    def labels(self) -> jax.Array:
        """Their labels, multi-hot [B, C].

        Raises:
          ValueError: there are none.
        """
        return _labels(self.given_labels)

    @property
    def all_labels(self) -> jax.Array:
        """The labels of all training rows, multi-hot [N, C]; raises as `labels` does."""
        return _labels(self.corpus.get("labels"))

    @property
    def pairs(self) -> jax.Array:
        """Which pairs of two rows hold no padding, bool [B, B]."""
        return self.where[:, None] & self.where[None, :]

    @property
    def count(self) -> jax.Array:
        """The number of rows that are no padding, float32."""
        return jnp.sum(self.where, dtype=jnp.float32)

    @property
    def buffers(self) -> Mapping[str, jax.Array]:
        """The buffers of all training rows."""
        return self.state.buffers

    @property
    def codes(self) -> Mapping[str, jax.Array]:
        """The codes of all training rows."""
        return self.state.codes

    def take(self, array: jax.Array) -> jax.Array:
        """These rows of an array of all training rows; padding reads the last row."""
        return jnp.take(array, self.index, axis=0, mode="clip")

    def mean(self, values: jax.Array) -> jax.Array:
        """The mean of values [B] over rows that are no padding; 0 without such rows."""
        return jnp.sum(values, where=self.where) / jnp.maximum(self.count, 1)

    def rest(self, buffer: jax.Array, rows: jax.Array) -> jax.Array:
        """The sum of the rows of a buffer [N, K] that are not in this batch, [K].

        Args:
          buffer: of all training rows.
          rows: those of this batch [B, K], which the objective keeps in the buffer.
        """
        # Summed after the write that keeps the rows, which XLA makes once: a buffer that is read
        # before a write is copied first.
        rows = jax.lax.stop_gradient(rows)
        written = write_rows(buffer, self.index, rows)
        return jnp.sum(written, axis=0) - jnp.sum(rows, axis=0, where=self.where[:, None])


def write_rows(whole: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    """An array of all training rows with some replaced; padding lies beyond and is dropped."""
    return whole.at[index].set(rows.astype(whole.dtype), mode="drop")


def _labels(labels: jax.Array | None) -> jax.Array:
    if labels is None:
        raise ValueError(
            "an objective asks for labels; say Needs(labels=True), and name them in `reads`"
        )
    return labels


def seen_by(
    state: HashState, batch: Batch, gather: Callable[[Any], Any] = parallel.all_rows
) -> Seen:
    """The rows of a batch, of all devices or, with another `gather`, of this one."""
    first = jax.random.fold_in(state.key, state.step)
    # Beyond all numbers of networks and streams.
    later = jax.random.fold_in(first, jnp.uint32(2**31) + batch.repeat)
    key = jnp.where(batch.repeat, later, first)

    def rows_of(source: str, sources: Mapping[str, Seen]) -> Seen:
        own, corpus = batch.rows[source], batch.corpus.get(source, {})
        index, where, labels = gather((own["index"], own["where"], own.get("labels")))
        return Seen(index, where, state, corpus, batch.passed, key, sources, labels)

    others = {source: rows_of(source, {}) for source in batch.rows if source != PAIRS}
    return rows_of(PAIRS, others)


class Net:
    """Runs networks by name; their outputs are those of the rows of all devices.

    `net("image")` reads the images of the batch. `net("judge", u)` reads arrays of the rows of all
    devices: each device takes its share of them. Within one update a network keeps its dropout mask
    between calls with the same `stream`. Only the networks that the update trains change their
    batch statistics.
    """

    def __init__(
        self,
        networks: Networks,
        params: Mapping[str, Any],
        model_state: Mapping[str, Any],
        rows: Mapping[str, Mapping[str, Any]],
        trains: Sequence[str] = (),
        key: jax.Array | None = None,
    ) -> None:
        """Prepares the calls; without a key dropout is off and batch statistics stay."""
        self.model_state = dict(model_state)
        self._networks, self._params, self._rows = networks, params, rows
        self._trains, self._key = trains, key

    def __call__(
        self,
        name: str,
        *inputs: jax.Array,
        source: str = PAIRS,
        stream: int = 0,
        train: bool = True,
        where: jax.Array | None = None,
    ) -> Any:
        """The outputs of a network.

        Args:
          name: of the network.
          *inputs: arrays of the rows of all devices, all of one length; none for the arrays of the
            batch that the network reads.
          source: whose rows are read, or given.
          stream: of random draws.
          train: False for no dropout and the running batch statistics.
          where: bool [m], False for rows that batch statistics leave out; by default the padding of
            the source, once for each B of the rows.

        Returns:
          What the network gives, [B, ...] or [m, ...].

        Raises:
          ValueError: statistics are taken over given rows whose padding is not known.
        """
        if not inputs:
            own: Mapping[Any, Any] = self._rows[source]  # a width is none of its names
            found = [own[read] for read in reads_of(self._networks, name)]
            counted = own.get("where") if where is None else parallel.share_of_rows(where)
            outputs = self._apply(name, found, own.get("index"), counted, stream, train)
            return parallel.all_rows(outputs)
        number = len(inputs[0])
        if where is None:
            where = self._padding(name, number, source)
        found, positions, where = parallel.share_of_rows((list(inputs), jnp.arange(number), where))
        outputs = parallel.all_rows(self._apply(name, found, positions, where, stream, train))
        return jax.tree.map(lambda x: x[:number], outputs)

    def inputs(self, name: str, source: str = PAIRS) -> Any:
        """An array of the batch, the rows of all devices."""
        return parallel.all_rows(self._rows[source][name])

    def _number(self, name: str, stream: int) -> int:
        """One of its own for each network and stream."""
        if name in self._trains:
            return self._trains.index(name) + stream * len(self._trains)
        return 2**16 + [*self._networks].index(name) + stream * len(self._networks)

    def _padding(self, name: str, number: int, source: str) -> jax.Array:
        where = parallel.all_rows(self._rows.get(source, {}).get("where", jnp.ones(number, bool)))
        if number % len(where) == 0:
            return jnp.tile(where, number // len(where))
        if self.model_state.get(name):
            raise ValueError(f"say by `where` which of {number} rows count for network {name!r}")
        return jnp.ones(number, bool)

    def _apply(
        self, name: str, inputs: list[Any], index: Any, where: Any, stream: int, train: bool
    ) -> Any:
        network, kept = network_of(self._networks, name), self.model_state.get(name, {})
        variables = {"params": self._params[name], **kept}
        if not train or self._key is None:
            return network.apply(variables, *inputs)
        number = self._number(name, stream)
        arguments = {"where": where} if _takes_where(network) else {}
        keys = row_keys(self._key, index, number)
        if not kept:
            return network.apply(variables, *inputs, keys, **arguments)
        outputs, changed = network.apply(variables, *inputs, keys, **arguments, mutable=list(kept))
        if name in self._trains:
            self.model_state[name] = changed
        return outputs


def row_keys(key: jax.Array, index: jax.Array, number: int = 0) -> jax.Array:
    """One key a row, whatever device the row lies on.

    Args:
      key: of this step.
      index: int32 [n], the rows in the training set.
      number: of its own for each set of draws within one step.

    Returns:
      [n] typed keys.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.fold_in(key, number), index)


Objective = Callable[[Net, Seen], Terms]
