"""Times training beside a bare scan and a PyTorch loop, and what saving costs.

    pip install 'jxhash[bench]'
    python experiments/bench_training.py --output=experiments/results/bench_training.json

The work is DCMH's image phase and its text phase on drawn data of the field's sizes: a network
with one hidden layer, batches of 128 rows, plain SGD, the loss of each batch against all training
rows of the other modality, outputs written into the buffer of all rows.

Rivals: `engine`, the library's own method driven by `jxhash.training.engine.train` as in a user's
run; `scan`, the same `update.step` in a bare `lax.scan` over an epoch; `torch`, the same
mathematics in PyTorch. Each runs in a process of its own, so that its peak memory is its own, with
the same number of threads and the same setting for huge pages. They take turns, a round each, while
the others wait; the first round, which compiles and warms up, is not counted, nor are rounds in
which other work held a part of the machine, as long as three are left. A round is timed from its
first batch to the end of its last: for the engine this includes drawing the order of the rows,
bringing the metrics to the host, checking and keeping them, metrics.jsonl and the progress bar. All
start from the same weights and see the same batches in the first round, and must then agree on the
loss.

Saving: two trainings of both phases in turn take turns of about the time between two checkpoints;
one saves, the other does not. A write under way is waited for before the turn goes over, and no
clock runs while a training waits for its turn. Beside the difference of the two, the one that saves
notes what its saves cost: the time in which the engine waits, and how much slower than usual its
calls are while a checkpoint is written in the background.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGE, TEXT, LABELS = 4096, 1386, 24
HIDDEN = {"image": 4096, "text": 8192}
BITS, BATCH, SEED = 64, 128, 0
LEARNING_RATE, QUANTIZATION, BALANCE = 0.001, 1.0, 1.0
PHASES = {"image": "text", "text": "image"}
RIVALS = ("engine", "scan", "torch")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TUNABLES = "glibc.malloc.hugetlb=1"
NEVER = 1e9
INSTALL = "pip install 'jxhash[bench]'  (from a checkout: pip install '.[bench]')"
STATISTICS = Path("/proc/stat")
# Until idle threads of the rival before have stopped waiting actively.
PAUSE = 1.0
# Cores that other work may hold in a round that counts.
QUIET = 0.15


def draw_data(rows: int) -> dict[str, np.ndarray]:
    """Features, bags of words and labels of so many rows: always the same."""
    rng = np.random.default_rng(SEED)
    labels = rng.random((rows, LABELS)) < 0.08
    labels[np.arange(rows), rng.integers(LABELS, size=rows)] = True
    return {
        "image": rng.standard_normal((rows, IMAGE), np.float32),
        "text": (rng.random((rows, TEXT), np.float32) < 0.02).astype(np.uint8),
        "labels": labels.astype(np.uint8),
    }


def steps_of(rows: int) -> int:
    """The steps of an epoch."""
    return -(-rows // BATCH)


def peak_megabytes() -> float:
    """The largest memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def say(**values: Any) -> None:
    """Tells the parent process something."""
    print(json.dumps(values), flush=True)


# The rivals, each in a process of its own.


class Gate:
    """Stands between two rounds: reports the one that ends, waits for leave to begin the next."""

    def __init__(self) -> None:
        self._waited, self._before = 0.0, peak_megabytes()
        self._start()

    def _start(self) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()

    def now(self) -> float:
        """A clock that stands still between two rounds."""
        return time.monotonic() - self._waited

    def __call__(self, loss: float) -> None:
        """Ends a round whose last epoch had this mean loss."""
        ended, cpu = time.monotonic(), time.process_time() - self._cpu
        memory = {"before": self._before, "peak": peak_megabytes()}
        say(seconds=ended - self._began, cpu=cpu, loss=loss, **memory)
        if not sys.stdin.readline():
            raise SystemExit("the parent process is gone")
        self._start()
        self._waited += self._began - ended


def dcmh(training: dict, epochs: int, checkpoint_seconds: float, validate_every: int = 0) -> tuple:
    """The library's DCMH and the settings of a run, for the sizes above."""
    from ml_collections import ConfigDict

    from jxhash import methods
    from jxhash.configuration import read_run, run_config
    from jxhash.training import engine

    optimizer = {
        "name": "sgd",
        "learning_rate": LEARNING_RATE,
        "final_learning_rate": LEARNING_RATE,
        "decay": "linear",
        "momentum": 0.0,
        "weight_decay": 0.0,
    }
    settings = {
        "epochs": epochs,
        "image_network": "mlp",
        "image_weights": "",
        "image_reach": 0,
        "image_pace": 1.0,
        "image_hidden": (HIDDEN["image"],),
        "text_hidden": (HIDDEN["text"],),
        "image_dropout": 0.0,
        "text_dropout": 0.0,
        "hash_init": 0.01,
        "quantization_weight": QUANTIZATION,
        "balance_weight": BALANCE,
        "optimizer": optimizer,
    }
    config = run_config(
        method="dcmh",
        data="drawn",
        bits=BITS,
        batch_size=BATCH,
        seed=SEED,
        validate_every=validate_every,
        checkpoint_seconds=checkpoint_seconds,
        dcmh=ConfigDict(settings),
    )
    run = read_run(config)
    method = methods.get("dcmh").build(config, engine.make_spec(training, BATCH))
    return method, run


def only(method: Any, phase: str) -> Any:
    """The method with nothing but one of its updates."""
    stage = method.stages[0]
    chosen = tuple(update for update in stage.updates if update.name == phase)
    return method._replace(stages=(stage._replace(updates=chosen),))


def run_engine(task: argparse.Namespace) -> None:
    """The library as a user runs it; the gate stands where a run measures its validation split."""
    from jxhash.training import engine

    workdir = task.folder / f"engine-{task.phase}"
    workdir.mkdir()
    training = {"pairs": draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), NEVER, task.epochs)
    gate = Gate()

    def validate(state: Any) -> dict[str, float]:
        gate(last_loss(workdir))
        return {}

    engine.train(only(method, task.phase), training, run, workdir, validate)


def last_loss(workdir: Path) -> float:
    """The newest mean loss in a run's record."""
    from jxhash.training.progress import FILE, read_metrics

    return [line for line in read_metrics(workdir / FILE) if "loss" in line][-1]["loss"]


def run_scan(task: argparse.Namespace) -> None:
    """The same step in a bare scan, the training arrays on the device."""
    import jax
    import jax.numpy as jnp

    from jxhash.methods.base import Batch, HashState
    from jxhash.training import batches

    training = {"pairs": draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), NEVER)
    (update,) = only(method, task.phase).stages[0].updates
    gate = Gate()
    arrays, corpus = jax.device_put((training["pairs"], batches.labels_of(training)))

    def epoch(state: HashState, plan: Any, arrays: Any, corpus: Any) -> tuple:
        def step(state: HashState, index: Any) -> tuple:
            rows = {name: jnp.take(a, index, axis=0, mode="clip") for name, a in arrays.items()}
            rows |= {"index": index, "where": index < task.rows}
            state, metrics = update.step(state, Batch({"pairs": rows}, corpus))
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
    from jxhash.training import batches

    def plan(epoch: int) -> np.ndarray:
        return batches.epoch_plan(training, BATCH, sampling, (SEED, 0, epoch, 0))["pairs"][:, 0]

    return plan


def write_start(task: argparse.Namespace, state: Any, plans: Callable[[int], np.ndarray]) -> None:
    """Keeps the first weights and the first batches, for a rival that cannot draw them itself."""
    start = {f"buffer {name}": values for name, values in state.buffers.items()}
    for modality, parameters in state.params.items():
        for layer, values in parameters["params"].items():
            start |= {f"{modality} {layer} {name}": value for name, value in values.items()}
    plan = np.stack([plans(epoch) for epoch in range(task.epochs)])
    np.savez(start_file(task), plan=plan, codes=state.codes["pairs"], **start)


def start_file(task: argparse.Namespace) -> Path:
    """Where the first weights of a phase are kept."""
    return task.folder / f"start-{task.phase}.npz"


def run_torch(task: argparse.Namespace) -> None:
    """The same mathematics in PyTorch, written with care."""
    import torch

    torch.set_num_threads(task.threads)
    arrays = {name: torch.from_numpy(array) for name, array in draw_data(task.rows).items()}
    gate = Gate()
    with np.load(start_file(task)) as start:
        step = torch_step(task.phase, arrays, start)
        first_plan = torch.from_numpy(start["plan"]).long()
    rng = np.random.default_rng(SEED)
    for round_number in range(task.rounds + 1):
        for epoch in range(task.epochs):
            if round_number == 0:
                order = first_plan[epoch].flatten()[: task.rows]
            else:
                order = torch.from_numpy(rng.permutation(task.rows))
            total = torch.zeros(())
            for index in order.split(BATCH):
                total += step(index)
        gate(float(total) / task.rows / task.rows)


def torch_step(phase: str, arrays: dict, start: Any) -> Callable:
    """One step of a phase in PyTorch: row numbers -> the batch's loss, undivided.

    What the step does to be quick: the similarity is made of the batch alone, rows are written into
    the buffer in place, gradients are dropped rather than set to zero, the optimiser goes through
    each weight once, and no number is asked for. Both networks are held, as a training holds them.
    """
    import torch
    from torch.nn.functional import softplus

    networks = {modality: torch_network(modality, start) for modality in PHASES}
    buffers = {modality: torch.tensor(start[f"buffer {modality}"]) for modality in PHASES}
    codes, labels = torch.tensor(start["codes"]), arrays["labels"].float()
    inputs, network = arrays[phase], networks[phase]
    own, other = buffers[phase], buffers[PHASES[phase]]
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, fused=True)

    def step(index: torch.Tensor) -> torch.Tensor:
        similarity = (labels[index] @ labels.T > 0).float()
        outside = own.sum(dim=0) - own[index].sum(dim=0)
        f = network(inputs[index].float())
        theta = (0.5 * f) @ other.T
        likelihood = softplus(theta).sum() - torch.dot(similarity.flatten(), theta.flatten())
        quantization = (f - codes[index]).square().sum()
        balance = (outside + f.sum(dim=0)).square().sum()
        loss = likelihood + QUANTIZATION * quantization + BALANCE * balance
        (loss / (len(index) * len(own))).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        own[index] = f.detach()
        return loss.detach()

    return step


def torch_network(modality: str, start: Any) -> Any:
    """A hidden layer with ReLU and a hash layer, with given weights."""
    import torch

    layers = []
    for number in range(2):
        kernel, bias = (start[f"{modality} Dense_{number} {name}"] for name in ("kernel", "bias"))
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
        layer.bias.data = torch.from_numpy(bias)
        layers.append(layer)
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])


# What saving costs.


def run_saving(task: argparse.Namespace) -> dict:
    """A whole training, with notes of when each call and each save began and ended."""
    from jxhash.training import engine

    workdir = task.folder / f"saving-{task.seconds:g}"
    workdir.mkdir()
    training = {"pairs": draw_data(task.rows)}
    method, run = dcmh(training, task.epochs * (task.rounds + 1), task.seconds, task.epochs)
    gate = Gate()
    notes = Notes(engine, gate, task.seconds, workdir / "checkpoints")

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

    def __init__(self, engine: Any, gate: Gate, seconds: float, folder: Path) -> None:
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


def cost_of_saving(notes: dict) -> dict[str, float]:
    """What the saves of one training cost, by its own notes.

    The engine waits while a save copies the state; calls during the background write that follows
    are slower than others of the same update. The save at the end is counted as a whole.
    """
    written = [*notes["written"], *[notes["ended"]] * len(notes["saves"])]
    saves = [(*save, end) for save, end in zip(notes["saves"], written, strict=False)]
    last_call = notes["calls"][-1][0]
    during = [save for save in saves if save[0] < last_call]
    disturbed, undisturbed = split_calls(notes["calls"], during)
    usual = {
        update: sum(s for _, s in calls) / sum(n for n, _ in calls)
        for update, calls in undisturbed.items()
    }
    slower = sum(
        seconds - steps * usual[update]
        for update, calls in disturbed.items()
        for steps, seconds in calls
    )
    return {
        "seconds in all": notes["ended"] - notes["began"],
        "saves before the last": len(during),
        "seconds the engine waited": sum(end - begin for begin, end, _ in during),
        "seconds that calls were slower during background writes": slower,
        "seconds of a background write": statistics.mean(end - begin for _, begin, end in saves),
        "seconds of the last save, waited for": notes["ended"] - last_call,
    }


def split_calls(calls: list, saves: list) -> tuple[dict, dict]:
    """(steps, seconds) of each update's calls that overlap a write, and of those that do not.

    The calls of the first epoch are left out: they compile, and grow to their length.
    """
    disturbed, undisturbed = {}, {}
    names = [name for _, name, _ in calls]
    first = names.index(names[0], names.index(names[-1]))
    for (before, *_), (end, update, steps) in zip(calls[first:], calls[first + 1 :], strict=False):
        begin = max([before, *(let_go for _, let_go, _ in saves if before < let_go < end)])
        overlaps = any(begin < done and end > let_go for _, let_go, done in saves)
        chosen = disturbed if overlaps else undisturbed
        chosen.setdefault(update, []).append((steps, end - begin))
    return disturbed, undisturbed


# The parent process.


CHILDREN = {"engine": run_engine, "scan": run_scan, "torch": run_torch, "saving": run_saving}


def child(arguments: argparse.Namespace, folder: Path, **options: Any) -> subprocess.Popen:
    """Starts a process of this script; its stderr, progress bars too, goes to a file."""
    options |= {"rows": arguments.rows, "threads": arguments.threads, "folder": folder}
    flags = [f"--{name}={value}" for name, value in options.items()]
    environment = os.environ | {
        "GLIBC_TUNABLES": TUNABLES,
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": str(arguments.threads),
    }
    with open(folder / "stderr.txt", "a") as stderr:
        return subprocess.Popen(
            [sys.executable, __file__, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            text=True,
        )


def hear(process: subprocess.Popen, folder: Path) -> dict:
    """The next thing that a process says."""
    line = process.stdout.readline()
    if not line:
        process.wait()
        tail = "".join((folder / "stderr.txt").read_text().splitlines(keepends=True)[-20:])
        raise SystemExit(f"a rival ended early, with exit code {process.returncode}:\n{tail}")
    return json.loads(line)


def take_turns(
    arguments: argparse.Namespace, folder: Path, rivals: dict[str, dict], rounds: int
) -> tuple[dict, dict]:
    """Runs processes that take turns.

    Args:
      arguments: of the command line.
      folder: for what the processes leave.
      rivals: for each its options.
      rounds: for each, after a first that warms up.

    Returns:
      What each says of its rounds, and what each says at its end.
    """
    processes, said = {}, {}
    for name, options in rivals.items():
        processes[name] = child(arguments, folder, rounds=rounds, **options)
        said[name] = [hear(processes[name], folder)]
    for number in range(rounds):
        for name, process in processes.items():
            wait_for_quiet(arguments.patience)
            busy = busy_seconds()
            give_leave(process)
            heard = hear(process, folder)
            others = max(0.0, busy_seconds() - busy - heard["cpu"]) / heard["seconds"]
            said[name].append(heard | {"others": others})
            text = f"{name}: {heard['seconds']:.2f} s, other work held {others:.2f} cores"
            print(f"round {number + 1} of {rounds}, {text}", file=sys.stderr)
    ends = {}
    for name, process in processes.items():
        give_leave(process)
        ends[name] = hear(process, folder)
        process.wait()
    return said, ends


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started; 0 where it does not say."""
    if not STATISTICS.exists():
        return 0.0
    user, nice, system, _, _, *rest = map(int, STATISTICS.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float) -> None:
    """Waits until other work leaves the machine alone for a moment, at most so many seconds."""
    began = time.monotonic()
    while True:
        busy = busy_seconds()
        time.sleep(PAUSE)
        if busy_seconds() - busy < QUIET * PAUSE or time.monotonic() - began > patience:
            return


def quiet_rounds(said: dict[str, list[dict]]) -> list[int]:
    """The rounds that other work left alone, if there are some; else all. The first warms up."""
    rounds = range(1, min(map(len, said.values())))
    quiet = [n for n in rounds if all(values[n]["others"] < QUIET for values in said.values())]
    return quiet if len(quiet) >= 3 else list(rounds)


def give_leave(process: subprocess.Popen) -> None:
    """Lets a process go on."""
    process.stdin.write("\n")
    process.stdin.flush()


def compare(arguments: argparse.Namespace, phase: str, folder: Path) -> dict:
    """Times one phase."""
    steps = steps_of(arguments.rows)
    epochs = max(1, round(arguments.steps / steps))
    rivals = {rival: {"child": rival, "phase": phase, "epochs": epochs} for rival in RIVALS}
    print(f"{phase} phase", file=sys.stderr)
    said, ends = take_turns(arguments, folder, rivals, arguments.rounds)
    losses = {rival: values[0]["loss"] for rival, values in said.items()}
    if not max(losses.values()) < 1.001 * min(losses.values()):
        raise SystemExit(f"{phase}: the rivals do not compute the same: losses {losses}")
    chosen = quiet_rounds(said)
    found = {rival: figures(values, steps * epochs, chosen) for rival, values in said.items()}
    found["engine"]["peak MB with the save at the end"] = ends["engine"]["peak"]
    each = {rival: found[rival]["each round that counts"] for rival in RIVALS}
    return {
        "steps a round": steps * epochs,
        "rounds that count": chosen,
        "loss after the first round": losses,
        **found,
        "torch / engine": ratio(each["torch"], each["engine"]),
        "engine / scan": ratio(each["engine"], each["scan"]),
    }


def figures(said: list[dict], steps: int, chosen: list[int]) -> dict:
    """The figures of one rival, from the rounds that count."""
    wall, cpu = ([1000 * one[clock] / steps for one in said] for clock in ("seconds", "cpu"))
    return {
        "ms a step": statistics.median(wall[number] for number in chosen),
        "CPU ms a step": statistics.median(cpu[number] for number in chosen),
        "seconds of the warm-up": said[0]["seconds"],
        "peak MB": said[-1]["peak"],
        "of it libraries and the training arrays, MB": said[-1]["before"],
        "each round that counts": [wall[number] for number in chosen],
        "all rounds": wall[1:],
        "cores that other work held": [one["others"] for one in said[1:]],
    }


def ratio(one: list[float], other: list[float]) -> dict:
    """How two rivals compare: their medians, and each round by itself."""
    each = [a / b for a, b in zip(one, other, strict=True)]
    return {
        "of medians": statistics.median(one) / statistics.median(other),
        "least": min(each),
        "most": max(each),
    }


def compare_saving(arguments: argparse.Namespace, epoch: float, folder: Path) -> dict:
    """Trains with and without saving, where an epoch takes about so many seconds."""
    every = arguments.save_every
    epochs = max(1, round(every / epoch))
    rounds = max(2, round(60 * arguments.minutes / (epochs * epoch)))
    print("both phases, with and without saving", file=sys.stderr)
    options = {"child": "saving", "epochs": epochs}
    rivals = {name: {**options, "seconds": s} for name, s in (("saving", every), ("not", NEVER))}
    said, ends = take_turns(arguments, folder, rivals, rounds)
    chosen = quiet_rounds(said)
    seconds, cpu, others = (
        {name: [values[number][what] for number in chosen] for name, values in said.items()}
        for what in ("seconds", "cpu", "others")
    )
    notes = cost_of_saving(ends["saving"])
    at_end = notes["seconds of the last save, waited for"]
    # The last save belongs to the whole training, of which these turns are a part.
    more = sum(seconds["saving"]) - sum(seconds["not"]) + at_end * len(chosen) / rounds
    costs = notes["seconds the engine waited"] + at_end
    costs += notes["seconds that calls were slower during background writes"]
    return {
        "epochs": epochs * rounds,
        "seconds between checkpoints": every,
        "checkpoint MB": ends["saving"]["checkpoint"],
        "peak MB": {name: values["peak"] for name, values in ends.items()},
        "turns that count": chosen,
        "seconds a turn": seconds,
        "CPU seconds a turn": cpu,
        "cores that other work held": others,
        "share by the difference of the two": more / sum(seconds["not"]),
        "share by the notes of the one": costs / (notes["seconds in all"] - costs),
        "notes": notes,
    }


def machine(arguments: argparse.Namespace) -> dict:
    """What the figures were measured on."""
    cpu = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "GLIBC_TUNABLES": TUNABLES,
        str(HUGE_PAGES): HUGE_PAGES.read_text().strip() if HUGE_PAGES.exists() else None,
        "load average": os.getloadavg(),
    }


def show(record: dict) -> None:
    """Prints the figures as a table."""
    print(f"{'':8}{'rival':9}{'ms/step':>9}{'least':>9}{'most':>9}{'CPU ms':>9}{'peak MB':>9}")
    for phase in PHASES:
        for rival in RIVALS:
            found = record[phase][rival]
            each = found["each round that counts"]
            numbers = (found["ms a step"], min(each), max(each), found["CPU ms a step"])
            columns = "".join(f"{number:9.1f}" for number in numbers)
            print(f"{phase:8}{rival:9}{columns}{found['peak MB']:9.0f}")
        for name in ("torch / engine", "engine / scan"):
            found = record[phase][name]
            span = f"rounds {found['least']:.2f} to {found['most']:.2f}"
            print(f"{phase:8}{name}: {found['of medians']:.3f} ({span})")
    saving = record.get("saving")
    if saving:
        every = saving["seconds between checkpoints"]
        print(f"saving {saving['checkpoint MB']:.0f} MB every {every:g} s:", end=" ")
        print(f"{100 * saving['share by the difference of the two']:.1f} % of the time", end=" ")
        print(f"(by its own notes {100 * saving['share by the notes of the one']:.1f} %)")


def limit_threads(threads: int) -> None:
    """Leaves this process so many cores, where the system can: XLA counts them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--rows", type=int, default=10_000, help="training rows (10000)")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each rival (9)")
    parser.add_argument(
        "--steps", type=int, default=79, help="steps a round, made whole epochs (79, one epoch)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        help="length of each of the two trainings that say what saving costs; 0: none (5)",
    )
    parser.add_argument(
        "--save-every", type=float, default=30.0, help="seconds between two checkpoints (30)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        help="seconds to wait before a round while other work keeps the machine busy (60)",
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of every rival (2)")
    for name, kind in (("child", str), ("phase", str), ("epochs", int), ("seconds", float)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures, prints and writes."""
    arguments = parse()
    if arguments.child:
        limit_threads(arguments.threads)
        found = CHILDREN[arguments.child](arguments) or {}
        say(**found, peak=peak_megabytes())
        return
    for package in ("jxhash", "torch"):
        if importlib.util.find_spec(package) is None:
            raise SystemExit(f"{package} is not installed; bring it with: {INSTALL}")
    record = {"command": shlex.join(["python", *sys.argv]), "machine": machine(arguments)}
    with tempfile.TemporaryDirectory() as folder:
        for phase in PHASES:
            record[phase] = compare(arguments, phase, Path(folder))
        if arguments.minutes:
            epoch = sum(record[phase]["engine"]["ms a step"] for phase in PHASES)
            epoch *= steps_of(arguments.rows) / 1000
            record["saving"] = compare_saving(arguments, epoch, Path(folder))
    record["machine"]["load average at the end"] = os.getloadavg()
    show(record)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
