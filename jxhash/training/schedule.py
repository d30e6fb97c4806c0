"""The order of a training: its places, the phases of an epoch, how many steps each takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax

from jxhash.methods.contract import Spec, Stage, Update
from jxhash.training import batches
from jxhash.training.divergence import Where

# Updates that share their batches, or a single one.
Phase = tuple[Update, ...]


class Place(NamedTuple):
    """A place in a training: all before it is done, nothing from it on.

    The phases of an epoch are numbered in their order; the number after the last is validation.
    """

    stage: int = 0
    epoch: int = 0
    phase: int = 0
    step: int = 0


def make_spec(
    training: batches.Sources, batch_size: int, vocabulary_size: int | None = None
) -> Spec:
    """Describes training arrays to a method."""
    pairs = training[batches.PAIRS]
    labels = pairs.get("labels")
    return Spec(
        num_train=batches.num_rows(pairs),
        num_labels=0 if labels is None else labels.shape[1],
        inputs=jax.tree.map(lambda array: (array.shape[1:], array.dtype), dict(training)),
        steps_per_epoch=batches.num_steps(batches.num_rows(pairs), batch_size),
        vocabulary_size=vocabulary_size or 0,
        single_label=labels is not None and bool((labels[:].sum(axis=1) == 1).all()),
    )


def phases_of(stage: Stage) -> list[Phase]:
    """The phases of each epoch of a stage, in order.

    Raises:
      ValueError: an interleaved stage holds an update that sees no batches, updates of one name or
        updates that draw their batches differently.
    """
    if not stage.interleaved:
        each = [(update._replace(repeats=1), update.repeats) for update in stage.updates]
        return [(update,) for update, repeats in each for _ in range(repeats)]
    if any(update.kind != "minibatch" for update in stage.updates):
        raise ValueError(f"stage {stage.name!r}: only minibatch updates can be interleaved")
    if len({update.sampling for update in stage.updates}) > 1:
        raise ValueError(f"stage {stage.name!r}: interleaved updates must sample in the same way")
    if len({update.name for update in stage.updates}) < len(stage.updates):
        raise ValueError(f"stage {stage.name!r}: interleaved updates must differ in name")
    return [stage.updates]


def name_of(phase: Phase) -> str:
    """The names of its updates."""
    return "+".join(update.name for update in phase)


class Schedule:
    """The places of a training, in order."""

    def __init__(self, stages: Sequence[Stage], rows: Mapping[str, int], batch_size: int) -> None:
        """Lays out stages over data with so many rows in each source."""
        self._stages = stages
        self._phases = [phases_of(stage) for stage in stages]
        self._steps = batches.num_steps(rows[batches.PAIRS], batch_size)

    def places(self) -> Iterator[Place]:
        """Every phase and validation of every epoch."""
        for number, (stage, phases) in enumerate(zip(self._stages, self._phases, strict=True)):
            for epoch in range(stage.epochs):
                for phase in range(len(phases) + 1):
                    yield Place(number, epoch, phase)

    def stage(self, place: Place) -> Stage:
        """The stage at a place."""
        return self._stages[place.stage]

    def phase(self, place: Place) -> Phase | None:
        """The updates at a place; None for validation."""
        phases = self._phases[place.stage]
        return phases[place.phase] if place.phase < len(phases) else None

    def num_steps(self, place: Place) -> int:
        """The minibatch steps of the phase at a place."""
        phase = self.phase(place)
        return self._steps if phase and phase[0].kind == "minibatch" else 0

    def where(self, place: Place, batch: int) -> Where:
        """A place in words; `batch` is named where the updates there see batches."""
        phase = self.phase(place) or ()
        named = batch if self.num_steps(place) else None
        return Where(name_of(phase), self.stage(place).name, place.epoch + 1, named)
