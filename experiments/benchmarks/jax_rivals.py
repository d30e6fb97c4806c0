"""The rivals in JAX: the library's engine, a bare scan of its step, and the engine that saves."""

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dcmh_work as work
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from turns import Gate

from jxhash import methods
from jxhash.configuration import read_run, run_config
from jxhash.methods.contract import Batch, HashState
from jxhash.training import batches, engine
from jxhash.training.progress import FILE, read_metrics
from jxhash.training.schedule import make_spec


def dcmh(training: dict, epochs: int, checkpoint_seconds: float, validate_every: int = 0) -> tuple:
    """The library's DCMH and the settings of a run, for the sizes above."""
    optimizer = {
        "name": "sgd",
        "learning_rate": work.LEARNING_RATE,
        "final_learning_rate": work.LEARNING_RATE,
        "decay": "linear",
        "momentum": 0.0,
        "weight_decay": 0.0,
    }
    settings = {
        "epochs": epochs,
        "image": {
            **_mlp("image"),
            "name": "mlp",
            "weights": "",
            "augment_pixels": 0,
            "pretrained_rate": 1.0,
        },
        "text": _mlp("text"),
        "quantization_weight": work.QUANTIZATION,
        "balance_weight": work.BALANCE,
        "optimizer": optimizer,
    }
    config = run_config(
        method="dcmh",
        data="drawn",
        bits=work.BITS,
        batch_size=work.BATCH,
        seed=work.SEED,
        validate_every=validate_every,
        checkpoint_seconds=checkpoint_seconds,
        dcmh=ConfigDict(settings),
    )
    run = read_run(config)
    method = methods.get("dcmh").build(config, make_spec(training, work.BATCH))
    return method, run


def _mlp(modality: str) -> dict[str, Any]:
    return {"hidden": (work.HIDDEN[modality],), "dropout": 0.0, "hash_init": 0.01}


def only(method: Any, phase: str) -> Any:
    """The method with nothing but one of its updates."""
    stage = method.stages[0]
    chosen = tuple(update for update in stage.updates if update.name == phase)
    return method._replace(stages=(stage._replace(updates=chosen),))


def run_engine(task: argparse.Namespace) -> None:
    """The library as a user runs it; the gate stands where a run measures its validation split."""
    workdir = task.folder / f"engine-{task.phase}"
    workdir.mkdir()
    training = {"pairs": work.draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), work.NEVER, task.epochs)
    gate = Gate()

    def validate(state: Any) -> dict[str, float]:
        gate(last_loss(workdir))
        return {}

    engine.train(only(method, task.phase), training, run, workdir, validate)


def last_loss(workdir: Path) -> float:
    """The newest mean loss in a run's record."""
    return [line for line in read_metrics(workdir / FILE) if "loss" in line][-1]["loss"]


def run_scan(task: argparse.Namespace) -> None:
    """The same step in a bare scan, the training arrays on the device."""
    training = {"pairs": work.draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), work.NEVER)
    (update,) = only(method, task.phase).stages[0].updates
    gate = Gate()
    arrays, corpus = jax.device_put((training["pairs"], batches.labels_of(training)))

    def epoch(state: HashState, plan: Any, arrays: Any, corpus: Any) -> tuple:
        def step(state: HashState, index: Any) -> tuple:
            rows = {name: jnp.take(a, index, axis=0, mode="clip") for name, a in arrays.items()}
            rows |= {"index": index, "where": index < task.rows}
            state, metrics, _ = update.step(state, Batch({"pairs": rows}, corpus))
            return state.replace(step=state.step + 1), metrics

        return jax.lax.scan(step, state, plan)

    epoch = jax.jit(epoch, donate_argnums=0)
    plans = plan_of(training, update.sampling)
    state = jax.jit(method.init)(jax.random.key(run.seed))
    write_start(task, state, plans)
    for round_number in range(task.rounds + 1):
        for number in range(task.epochs):
            plan = plans(round_number * task.epochs + number)
            state, metrics = epoch(state, plan, arrays, corpus)
            total, count = (np.sum(m) for m in jax.device_get(metrics["loss"]))
        gate(float(total / count))


def plan_of(training: dict, sampling: str) -> Callable[[int], np.ndarray]:
    """What gives the rows of each step of an epoch, as the engine draws them."""

    def plan(epoch: int) -> np.ndarray:
        seed = (work.SEED, 0, epoch, 0)
        return batches.epoch_plan(training, work.BATCH, sampling, seed)["pairs"][:, 0]

    return plan


def write_start(task: argparse.Namespace, state: Any, plans: Callable[[int], np.ndarray]) -> None:
    """Keeps the first weights and the first batches, for a rival that cannot draw them itself."""
    start = {f"buffer {name}": values for name, values in state.buffers.items()}
    for modality, parameters in state.params.items():
        for layer, values in parameters.items():
            start |= {f"{modality} {layer} {name}": value for name, value in values.items()}
    plan = np.stack([plans(epoch) for epoch in range(task.epochs)])
    np.savez(work.start_file(task), plan=plan, codes=state.codes["pairs"], **start)


def run_saving(task: argparse.Namespace) -> dict:
    """A whole training, with notes of when each call and each save began and ended."""
    workdir = task.folder / f"saving-{task.seconds:g}"
    workdir.mkdir()
    training = {"pairs": work.draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), task.seconds, task.epochs)
    gate = Gate()
    notes = Notes(gate, task.seconds, workdir / "checkpoints")

    def validate(state: Any) -> dict[str, float]:
        notes.wait()
        gate(last_loss(workdir))
        return {}

    engine.train(method, training, run, workdir, validate)
    newest = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    return {**notes.taken, "ended": gate.now(), "checkpoint": size / 2**20}


class Notes:
    """Makes the engine note when calls end, and when saves begin, let go, and are on the disk."""

    def __init__(self, gate: Gate, seconds: float, folder: Path) -> None:
        self.taken = {"began": gate.now(), "calls": [], "saves": [], "written": []}
        self.wait: Callable[[], None] = lambda: None
        self._gate, self._folder = gate, folder
        notes = self

        class Bar(engine.Bar):
            def advance(self, steps: int, update: str, loss: float | None) -> None:
                super().advance(steps, update, loss)
                notes.taken["calls"].append((gate.now(), update, steps))

        class Checkpoints(engine.Checkpoints):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self._last = gate.now()
                notes.wait = self.wait

            def due(self) -> bool:
                return gate.now() - self._last >= seconds

            def save(self, *arguments: Any) -> None:
                began = gate.now()
                super().save(*arguments)
                self._last = gate.now()
                notes.save(began, self._last)

        engine.Bar, engine.Checkpoints = Bar, Checkpoints

    def save(self, began: float, let_go: float) -> None:
        """Notes a save; a thread waits for its end."""
        self.taken["saves"].append((began, let_go))
        checkpoint = self._folder / str(len(self.taken["saves"]))
        threading.Thread(target=self._wait_for, args=(checkpoint,), daemon=True).start()

    def _wait_for(self, checkpoint: Path) -> None:
        # A checkpoint gets its name when it is complete.
        while not checkpoint.exists():
            time.sleep(0.02)
        self.taken["written"].append(self._gate.now())
