"""The engine: runs the stages of any method; a stopped training resumes exactly.

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
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from jxhash import parallel, processes, signals
from jxhash.atomic_files import writing
from jxhash.configuration import Run
from jxhash.errors import Preempted
from jxhash.methods.contract import Done, HashState, Method
from jxhash.training import batches, calls, divergence, host
from jxhash.training.checkpoint import Checkpoints, without_echoes
from jxhash.training.progress import Bar, MetricsFile
from jxhash.training.schedule import Phase, Place, Schedule, name_of

SECONDS_PER_CALL = 0.5

Validate = Callable[[HashState], Mapping[str, float]]
History = dict[str, np.ndarray]


def train(
    method: Method,
    training: batches.Sources,
    run: Run,
    workdir: pathlib.Path,
    validate: Validate | None = None,
) -> HashState:
    """Trains a method to its end; resumes from the newest checkpoint if there is one.

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
        if processes.is_first():
            closing.enter_context(without_echoes())
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
        self._first = processes.is_first()
        self._rows = {source: batches.num_rows(arrays) for source, arrays in training.items()}
        self._schedule = Schedule(method.stages, self._rows, run.batch_size)
        self._placement = batches.place(training, run.resident_gigabytes * 2**30, run.batch_size)
        self._labels = parallel.replicate(batches.labels_of(training))
        for update in (update for stage in method.stages for update in stage.updates):
            self._placement.whole(update.corpus - {"labels"})
        # Below any MAP.
        self._best, self._best_score = "", -1.0
        self._calls: dict[Phase, Callable[..., Any]] = {}
        self._steps_at_once: dict[Phase, int] = {}

    def train(self, stop: threading.Event) -> HashState:
        self._stop = stop
        state, start, history, lines = self._start()
        if self._first:
            self._keep_metrics(start, lines)
        places = list(self._schedule.places())
        steps = sum(map(self._schedule.num_steps, places))
        done = sum(self._schedule.num_steps(place) for place in places if place[:3] < start[:3])
        with contextlib.closing(Bar(steps, done + start.step, self._first)) as self._bar:
            for place in places:
                if place[:3] < start[:3]:
                    continue
                if place[:3] > start[:3]:
                    start, history = place, {}
                state = self._run_phase(state, start, history)
        self._wait_for_checkpoints()
        return self._selected(state)

    def _wait_for_checkpoints(self) -> None:
        if self._checkpoints:
            self._checkpoints.wait()

    def _start(self) -> tuple[HashState, Place, History, int]:
        """Where the training stands, and how many lines its record has there."""
        key = jax.random.key(self._run.seed)
        like = jax.eval_shape(self._method.init, key)
        state = None

        def restore() -> dict[str, Any] | None:
            nonlocal state
            state, record = (self._checkpoints and self._checkpoints.restore(like)) or (None, None)
            return record

        record = processes.value_from_first(restore)
        if record is None:
            return parallel.replicate(jax.jit(self._method.init)(key)), Place(), {}, 0
        done = Done(state) if state else None
        state = host.shared_by_all(done, like)
        self._best = record.get("best", self._best)
        self._best_score = record.get("best_score", self._best_score)
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

    def _run_phase(self, state: HashState, place: Place, history: History) -> HashState:
        phase = self._schedule.phase(place)
        if phase is None:
            self._measure(state, place)
            return state
        run = {"minibatch": self._minibatches, "full": self._full, "host": self._host}
        state, history = run[phase[0].kind](state, place, history, phase)
        steps = self._schedule.num_steps(place)
        divergence.require_finite_state(state, self._schedule.where(place, steps))
        self._record(place, name_of(phase), _means(history))
        self._offer_to_save(state, place._replace(phase=place.phase + 1, step=0), {})
        return state

    def _minibatches(
        self, state: HashState, place: Place, history: History, phase: Phase
    ) -> tuple[HashState, History]:
        seed = (self._run.seed, *place[:3])
        size, sampling = self._run.batch_size, phase[0].sampling
        plan = batches.epoch_plan(self._training, size, sampling, seed)
        if phase not in self._calls:
            self._calls[phase] = calls.minibatch_call(phase, self._rows, self._placement)
        steps = self._schedule.num_steps(place)
        while place.step < steps:
            end = min(steps, place.step + self._next_steps(phase))
            state, new = self._timed_call(state, place.step, end, plan, phase)
            where = self._schedule.where(place, place.step + 1)
            divergence.require_finite_metrics(new, history, where)
            del new[divergence.GRADIENTS]
            history = {
                name: np.concatenate([history.get(name, new[name][:0]), new[name]]) for name in new
            }
            place = place._replace(step=end)
            if end < steps:
                self._offer_to_save(state, place, history)
        return state, history

    def _timed_call(
        self, state: HashState, first: int, end: int, plan: Any, phase: Phase
    ) -> tuple[HashState, History]:
        arrays = self._placement.arrays(plan, first, _reads(phase))
        started = time.monotonic()
        steps = np.int32(first), np.int32(end)
        state, metrics = self._called(phase, state, plan, *steps, arrays)
        new = {name: np.stack(m, axis=1)[first:end] for name, m in jax.device_get(metrics).items()}
        seconds_per_step = (time.monotonic() - started) / (end - first)
        fitting = max(1, int(SECONDS_PER_CALL / seconds_per_step))
        # The first call also compiles, so its time says little: grow by steps of four.
        self._steps_at_once[phase] = max(2, min(4 * (end - first), fitting))
        self._bar.advance(end - first, name_of(phase), _newest_loss(_means(new)))
        return state, new

    def _called(self, phase: Phase, state: HashState, *arguments: Any) -> tuple[HashState, Any]:
        constants, corpus = state.constants, self._corpus(phase)
        bare = state.replace(constants={})
        state, metrics = self._calls[phase](bare, constants, *arguments, corpus)
        return state.replace(constants=constants), metrics

    def _corpus(self, phase: Phase) -> dict[str, dict[str, Any]]:
        """What the updates see of all rows: labels, and arrays that they name."""
        names = frozenset().union(*(update.corpus for update in phase)) - {"labels"}
        pairs = {**self._labels[batches.PAIRS], **self._placement.whole(names)}
        return {**self._labels, batches.PAIRS: pairs}

    def _next_steps(self, phase: Phase) -> int:
        return self._placement.steps_per_call or self._steps_at_once.get(phase, 1)

    def _full(
        self, state: HashState, place: Place, history: History, phase: Phase
    ) -> tuple[HashState, History]:
        del history
        if phase not in self._calls:
            self._calls[phase] = calls.full_call(phase[0], self._rows)
        state, metrics = self._called(phase, state, batches.all_rows_plan(self._training))
        return state, self._one_step_history(metrics, place)

    def _host(
        self, state: HashState, place: Place, history: History, phase: Phase
    ) -> tuple[HashState, History]:
        del history
        done: Done | None = None

        def is_stopped() -> bool:
            nonlocal done
            on_host = jax.device_get(state)
            batch = host.every_row(self._training)
            done = host.unless_stopped(lambda: phase[0].step(on_host, batch), self._stop)
            if done is None:
                # Before the others are told, which waits for the computation under way.
                self._save(state, place, {})
            return done is None

        self._leave_if(processes.value_from_first(is_stopped))
        state = parallel.replicate(host.shared_by_all(done, state))
        metrics = processes.value_from_first(lambda: _plain(done.metrics) if done else {})
        return state, self._one_step_history(metrics, place)

    def _one_step_history(self, metrics: Any, place: Place) -> History:
        history = {name: np.asarray([m], float) for name, m in jax.device_get(metrics).items()}
        divergence.require_finite_metrics(history, {}, self._schedule.where(place, 1))
        return history

    def _measure(self, state: HashState, place: Place) -> None:
        every, epochs = self._run.validate_every, self._schedule.stage(place).epochs
        at_end = place.epoch + 1 == epochs
        wanted = every and (at_end or (place.epoch + 1) % every == 0)
        if wanted and self._validate and self._first:
            self._bar.clear()
            found = self._validate(state)
            self._record(place, "validation", found)
            self._keep_if_best(state, found)
        if at_end:
            self._save(state, Place(place.stage + 1), {})
            self._leave_if(processes.any_process(self._stop.is_set()))

    def _keep_if_best(self, state: HashState, found: Mapping[str, float]) -> None:
        if self._run.select == "last" or not self._checkpoints:
            return
        score = sum(found.values()) / len(found)
        if score > self._best_score:
            self._best, self._best_score = self._checkpoints.save_best(state), score

    def _selected(self, state: HashState) -> HashState:
        """The state that is evaluated."""
        if self._run.select == "last":
            return state
        best = self._checkpoints.read_best(self._best, state) if self._checkpoints else state
        selected: HashState = parallel.replicate(host.shared_by_all(Done(best), state))
        return selected

    def _record(self, place: Place, update: str, means: Mapping[str, float]) -> None:
        if not self._first:
            return
        stage = self._schedule.stage(place).name
        where = {"place": place[:3], "stage": stage, "epoch": place.epoch + 1, "update": update}
        self._metrics.append({**where, **means})

    def _offer_to_save(self, state: HashState, place: Place, history: History) -> None:
        asked = processes.any_process(self._stop.is_set())
        if asked or (self._checkpoints and self._checkpoints.due()):
            if place.step:
                divergence.require_finite_state(state, self._schedule.where(place, place.step))
            self._save(state, place, history)
        self._leave_if(asked)

    def _leave_if(self, asked: bool) -> None:
        if asked:
            # None leaves before the first has saved: it would be taken for dead.
            processes.value_from_first(self._wait_for_checkpoints)
            raise Preempted("stopped and saved; the same command resumes from here")

    def _save(self, state: HashState, place: Place, history: History) -> None:
        if not self._checkpoints:
            return
        self._metrics.secure()
        record = {
            "place": place,
            "history": {name: h.tolist() for name, h in history.items()},
            "lines": self._metrics.lines,
            "best": self._best,
            "best_score": self._best_score,
        }
        self._checkpoints.save(state, record)


def _plain(metrics: Any) -> dict[str, list[float]]:
    return {name: np.asarray(m, float).tolist() for name, m in metrics.items()}


def _reads(phase: Phase) -> frozenset[str] | None:
    """The names of the arrays that some of the updates read; None for all."""
    names = [update.reads for update in phase]
    return None if None in names else frozenset().union(*(name for name in names if name))


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
