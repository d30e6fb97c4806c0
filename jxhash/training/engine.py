"""The engine: runs the stages of any method, and loses nothing when it is stopped.

Each update of a method is compiled into one call over all devices that takes as many steps as fit
into about half a second. Where a call ends changes no number: the state counts the steps, rows are
drawn from the seed and the place in the training, and every step's metrics are kept by themselves.
So a run that is stopped anywhere and started again ends with the same bits.
"""

import contextlib
import math
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from jxhash import parallel, signals
from jxhash.atomic_files import writing
from jxhash.configuration import Run
from jxhash.errors import Preempted
from jxhash.methods.base import Batch, HashState, Method, Spec, Stage, Update
from jxhash.training import batches, calls, divergence
from jxhash.training.checkpoint import Checkpoints
from jxhash.training.progress import Bar, MetricsFile

SECONDS_PER_CALL = 0.5

Validate = Callable[[HashState], Mapping[str, float]]
History = dict[str, np.ndarray]


class Place(NamedTuple):
    """The place in a training: all before it is done, nothing from it on.

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
    return Spec(
        num_train=batches.num_rows(pairs),
        num_labels=pairs["labels"].shape[1] if "labels" in pairs else 0,
        inputs={
            source: {name: (array.shape[1:], array.dtype) for name, array in arrays.items()}
            for source, arrays in training.items()
        },
        steps_per_epoch=batches.num_steps(batches.num_rows(pairs), batch_size),
        vocabulary_size=vocabulary_size,
    )


def phases_of(stage: Stage) -> list[tuple[Update, ...]]:
    """The phases of each epoch of a stage, in order: updates that share their batches.

    Raises:
      ValueError: an interleaved stage holds an update that sees no batches, or repeats one.
    """
    if not stage.interleaved:
        return [(update,) for update in stage.updates for _ in range(update.repeats)]
    if any(update.kind != "minibatch" or update.repeats != 1 for update in stage.updates):
        raise ValueError(f"stage {stage.name!r}: only plain minibatch updates can be interleaved")
    return [stage.updates]


def train(
    method: Method,
    training: batches.Sources,
    run: Run,
    workdir: pathlib.Path,
    validate: Validate | None = None,
) -> HashState:
    """Trains a method to its end, going on from the newest checkpoint where there is one.

    Args:
      method: what to train.
      training: for each source its named arrays, on the host, rows first.
      run: batch size, seed, and how often to validate and save.
      workdir: where checkpoints and metrics.jsonl go.
      validate: measures a state on the validation split, every `run.validate_every` epochs of a
        stage and at its end.

    Returns:
      The trained state, on every device.

    Raises:
      divergence.TrainingDivergedError: a loss, a gradient or the state is NaN or infinite;
        what was saved stays.
      Preempted: SIGTERM or Ctrl-C came; the state is saved.
      UserError: the folder cannot be written, or holds checkpoints of another training.
    """
    with contextlib.ExitStack() as closing:
        stop = closing.enter_context(signals.stop_event())
        closing.enter_context(writing(workdir))
        checkpoints = None
        if parallel.is_first():
            checkpoints = Checkpoints(workdir / "checkpoints", run.checkpoint_seconds)
            closing.enter_context(contextlib.closing(checkpoints))
        trainer = _Trainer(method, training, run, checkpoints, MetricsFile(workdir), validate)
        return trainer.train(stop)


class _Trainer:
    """One training: the arrays on the devices, the compiled calls, the record."""

    def __init__(
        self,
        method: Method,
        training: batches.Sources,
        run: Run,
        checkpoints: Checkpoints | None,
        metrics: MetricsFile,
        validate: Validate | None,
    ) -> None:
        self._method, self._training, self._run = method, training, run
        self._checkpoints, self._metrics, self._validate = checkpoints, metrics, validate
        # All processes train; the first alone validates, saves and tells.
        self._first = parallel.is_first()
        self._phases = [phases_of(stage) for stage in method.stages]
        self._rows = {source: batches.num_rows(arrays) for source, arrays in training.items()}
        self._placement = batches.place(training, run.resident_gigabytes * 2**30, run.batch_size)
        self._corpus = parallel.replicate(batches.labels_of(training))
        self._calls: dict[tuple[Update, ...], Callable] = {}
        self._steps_at_once: dict[tuple[Update, ...], int] = {}

    def train(self, stop: threading.Event) -> HashState:
        self._stop = stop
        state, start, history, lines = self._start()
        if self._first:
            self._keep_metrics(start, lines)
        places = list(self._places())
        steps = sum(self._num_steps(place) for place in places)
        done = sum(self._num_steps(place) for place in places if place[:3] < start[:3])
        with contextlib.closing(Bar(steps, done + start.step, self._first)) as self._bar:
            for place in places:
                if place[:3] < start[:3]:
                    continue
                if place[:3] > start[:3]:
                    start, history = place, {}
                state = self._run_phase(state, start, history)
        if self._first:
            self._checkpoints.wait()
        return state

    def _start(self) -> tuple[HashState, Place, History, int]:
        """Where the training stands, and how many lines its record has there."""
        key = jax.random.key(self._run.seed)
        like = jax.eval_shape(self._method.init, key)
        state = None

        def restore() -> dict[str, Any] | None:
            nonlocal state
            state, record = self._checkpoints.restore(like) or (None, None)
            return record

        record = parallel.value_from_first(restore)
        if record is None:
            return parallel.replicate(jax.jit(self._method.init)(key)), Place(), {}, 0
        state = parallel.from_first(lambda: state, like)
        history = {name: np.asarray(values) for name, values in record["history"].items()}
        return parallel.replicate(state), Place(*record["place"]), history, record.get("lines", 0)

    def _keep_metrics(self, start: Place, lines: int) -> None:
        self._metrics.keep(lambda line: tuple(line["place"]) < start[:3])
        lost = lines - self._metrics.lines
        if lost > 0:
            logging.warning(
                "lost lines of metrics.jsonl: %d; the report's curves will lack them, all else is "
                "whole",
                lost,
            )

    def _places(self) -> Iterator[Place]:
        for stage, phases in enumerate(self._phases):
            for epoch in range(self._method.stages[stage].epochs):
                for phase in range(len(phases) + 1):
                    yield Place(stage, epoch, phase)

    def _num_steps(self, place: Place) -> int:
        phases = self._phases[place.stage]
        if place.phase == len(phases) or phases[place.phase][0].kind != "minibatch":
            return 0
        return batches.num_steps(self._rows[batches.PAIRS], self._run.batch_size)

    def _run_phase(self, state: HashState, place: Place, history: History) -> HashState:
        phases = self._phases[place.stage]
        if place.phase == len(phases):
            self._measure(state, place)
            return state
        updates = phases[place.phase]
        run = {"minibatch": self._minibatches, "full": self._full, "host": self._host}
        state, history = run[updates[0].kind](state, place, history, updates)
        divergence.require_finite_state(state, self._where(place, self._num_steps(place)))
        self._record(place, _name(updates), _means(history))
        self._offer_to_save(state, place._replace(phase=place.phase + 1, step=0), {})
        return state

    def _minibatches(
        self, state: HashState, place: Place, history: History, updates: tuple[Update, ...]
    ) -> tuple[HashState, History]:
        seed = (self._run.seed, *place[:3])
        size, sampling = self._run.batch_size, updates[0].sampling
        plan = batches.epoch_plan(self._training, size, sampling, seed)
        if updates not in self._calls:
            self._calls[updates] = calls.minibatch_call(updates, self._rows, self._placement)
        steps = self._num_steps(place)
        while place.step < steps:
            end = min(steps, place.step + self._next_steps(updates))
            state, new = self._timed_call(state, place.step, end, plan, updates)
            divergence.require_finite_metrics(new, history, self._where(place, place.step + 1))
            del new[divergence.GRADIENTS]
            history = {
                name: np.concatenate([history.get(name, new[name][:0]), new[name]]) for name in new
            }
            place = place._replace(step=end)
            if end < steps:
                self._offer_to_save(state, place, history)
        return state, history

    def _timed_call(
        self, state: HashState, first: int, end: int, plan: Any, updates: tuple[Update, ...]
    ) -> tuple[HashState, History]:
        arrays = self._placement.arrays(plan, first, _reads(updates))
        started = time.monotonic()
        state, metrics = self._calls[updates](
            state, plan, np.int32(first), np.int32(end), arrays, self._corpus
        )
        new = {name: np.stack(m, axis=1)[first:end] for name, m in jax.device_get(metrics).items()}
        seconds_per_step = (time.monotonic() - started) / (end - first)
        fitting = max(1, int(SECONDS_PER_CALL / seconds_per_step))
        # The first call also compiles, so its time says little: grow by steps of four.
        self._steps_at_once[updates] = max(2, min(4 * (end - first), fitting))
        self._bar.advance(end - first, _name(updates), _newest_loss(_means(new)))
        return state, new

    def _next_steps(self, updates: tuple[Update, ...]) -> int:
        return self._placement.steps_per_call or self._steps_at_once.get(updates, 1)

    def _full(
        self, state: HashState, place: Place, history: History, updates: tuple[Update, ...]
    ) -> tuple[HashState, History]:
        del history
        if updates not in self._calls:
            self._calls[updates] = calls.full_call(updates[0], self._rows)
        plan = batches.all_rows_plan(self._training)
        state, metrics = self._calls[updates](state, plan, self._corpus)
        return state, self._one_step_history(metrics, place)

    def _host(
        self, state: HashState, place: Place, history: History, updates: tuple[Update, ...]
    ) -> tuple[HashState, History]:
        del history
        made = None

        def stopped() -> bool:
            nonlocal made
            made = self._unless_stopped(
                lambda: updates[0].step(jax.device_get(state), self._every_row())
            )
            if made is None:
                # Before the others are told, which has to wait for what is being computed.
                self._save(state, place, {})
            return made is None

        self._leave_if(parallel.value_from_first(stopped))
        new, metrics = made or (state, None)
        state = parallel.replicate(parallel.from_first(lambda: new, state))
        metrics = parallel.value_from_first(lambda: _plain(metrics))
        return state, self._one_step_history(metrics, place)

    def _unless_stopped(self, work: Callable[[], Any]) -> Any:
        """What the work gives; None where the run is asked to stop before: the work is left alone.

        It may take minutes in one compiled call, and no signal would be heard there.
        """
        found: futures.Future[Any] = futures.Future()

        def make() -> None:
            try:
                found.set_result(work())
            except BaseException as error:
                found.set_exception(error)

        # No daemon: Python would abort it in compiled code when the process ends.
        threading.Thread(target=make, name="host update").start()
        while not self._stop.is_set():
            if futures.wait([found], timeout=SECONDS_PER_CALL).done:
                return found.result()
        return None

    def _every_row(self) -> Batch:
        rows = {
            source: batches.with_index(arrays, np.arange(self._rows[source]), self._rows[source])
            for source, arrays in batches.in_memory(self._training).items()
        }
        return Batch(rows, batches.labels_of(self._training))

    def _one_step_history(self, metrics: Any, place: Place) -> History:
        history = {name: np.asarray([m], float) for name, m in jax.device_get(metrics).items()}
        divergence.require_finite_metrics(history, {}, self._where(place, 1))
        return history

    def _measure(self, state: HashState, place: Place) -> None:
        every, epochs = self._run.validate_every, self._method.stages[place.stage].epochs
        at_end = place.epoch + 1 == epochs
        wanted = every and (at_end or (place.epoch + 1) % every == 0)
        if wanted and self._validate and self._first:
            self._bar.clear()
            self._record(place, "validation", self._validate(state))
        if at_end:
            self._save(state, Place(place.stage + 1), {})
            self._leave_if(parallel.any_process(self._stop.is_set()))

    def _record(self, place: Place, update: str, means: Mapping[str, float]) -> None:
        if not self._first:
            return
        stage = self._method.stages[place.stage].name
        where = {"place": place[:3], "stage": stage, "epoch": place.epoch + 1, "update": update}
        self._metrics.append({**where, **means})

    def _offer_to_save(self, state: HashState, place: Place, history: History) -> None:
        asked = parallel.any_process(self._stop.is_set())
        if asked or (self._first and self._checkpoints.due()):
            if place.step:
                divergence.require_finite_state(state, self._where(place, place.step))
            self._save(state, place, history)
        self._leave_if(asked)

    def _leave_if(self, asked: bool) -> None:
        if asked:
            # None leaves before the first has saved: it would be taken for dead.
            parallel.value_from_first(lambda: self._checkpoints.wait())
            raise Preempted("stopped and saved; the same command goes on from here")

    def _save(self, state: HashState, place: Place, history: History) -> None:
        if not self._first:
            return
        self._metrics.secure()
        record = {
            "place": place,
            "history": {name: h.tolist() for name, h in history.items()},
            "lines": self._metrics.lines,
        }
        self._checkpoints.save(state, record)

    def _where(self, place: Place, batch: int) -> divergence.Where:
        updates, stage = self._phases[place.stage][place.phase], self._method.stages[place.stage]
        of_batches = updates[0].kind == "minibatch"
        name, epoch = _name(updates), place.epoch + 1
        return divergence.Where(name, stage.name, epoch, batch if of_batches else None)


def _plain(metrics: Any) -> dict[str, list[float]]:
    return {name: np.asarray(m, float).tolist() for name, m in metrics.items()}


def _name(updates: tuple[Update, ...]) -> str:
    return "+".join(update.name for update in updates)


def _reads(updates: tuple[Update, ...]) -> frozenset[str] | None:
    """The names of the arrays that some of the updates read; None for all."""
    names = [update.reads for update in updates]
    return None if None in names else frozenset().union(*names)


def _means(history: History) -> dict[str, float]:
    means = {}
    for name, values in history.items():
        total, count = values.sum(axis=0, dtype=np.float64)
        means[name] = float(total / count) if count else math.nan
    return means


def _newest_loss(means: Mapping[str, float]) -> float | None:
    """The loss; where updates share their batches, and each has one, that of the last."""
    found = [value for name, value in means.items() if name.split()[-1] == "loss"]
    return found[-1] if found else None
