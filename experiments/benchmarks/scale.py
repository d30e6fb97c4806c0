r"""Times steps and measures the memory of trainings of 2,000 to 200,000 pairs, as JSON.

    python experiments/benchmarks/scale.py --out experiments/results/bench_scale.json

Sets are drawn and written into a scratch folder (1.9 GB at the most): 4,096 features as float16,
1,000 words and 21 labels a pair, as NUS-WIDE has them; the figures do not depend on what they hold.
For one method of each kind a training at 64 bits is begun on each, in a process of its own, and
stopped after a time, its checkpoint saved; updates on the host end first, or are given up after
five minutes. Seconds a step are the median over the calls after those that compile; an update over
all rows is timed whole. Memory is the peak of the process from its first import to its end, the
pages of mapped files that it touched included, and beside it that without those pages at the end.
Evaluation is not part of it.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import turns

SIZES = (2_000, 20_000, 200_000)
FEATURES, WORDS, LABELS, BITS = 4096, 1000, 21, 64
BLOCK, QUERIES = 10_000, 100
# Of a measurement; an update on the host is not stopped within.
LIMIT = 300.0
# Held by an update that is timed as a whole.
WHOLE = threading.Lock()

# Kinds of methods -> the config of one, and what is changed in it.
KINDS = {
    "joint (CHN)": ("chn", {}),
    "alternating, with buffers (DCMH)": ("dcmh", {}),
    "codebooks, fitted over all rows (CDQ)": ("cdq", {}),
    "staged, codes by one draw of column sampling (DDCMH)": (
        "ddcmh",
        {"ddcmh.cosdish_restarts": 1},
    ),
    "closed form, on the host (LCMH)": ("lcmh", {}),
}


def write_set(folder: pathlib.Path, rows: int) -> None:
    """Draws a set block by block; clustered, so that closed forms have something to find."""
    folder.mkdir()
    kinds = {
        "images": (FEATURES, np.float16),
        "tags": (WORDS, np.uint8),
        "labels": (LABELS, np.uint8),
    }
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows, width))
        for name, (width, dtype) in kinds.items()
    }
    split = {"query": QUERIES, "validation": 0, "train": rows - QUERIES}
    named = {"image": "images.npy", "text": "tags.npy", "labels": "labels.npy"}
    (folder / "dataset.json").write_text(json.dumps({**named, "split": split}))
    generator = np.random.default_rng(0)
    centres = generator.random((LABELS, FEATURES), np.float32)
    topics = generator.random((LABELS, WORDS), np.float32) ** 8 / 4
    for first in range(0, rows, BLOCK):
        here = slice(first, min(rows, first + BLOCK))
        count = here.stop - first
        labels = generator.random((count, LABELS), np.float32) < 0.1
        labels[np.arange(count), generator.integers(0, LABELS, count)] = True
        share = labels / labels.sum(axis=1, keepdims=True)
        noise = generator.random((count, FEATURES), np.float32)
        arrays["images"][here] = share.astype(np.float32) @ centres + noise
        likely = share.astype(np.float32) @ topics
        arrays["tags"][here] = generator.random((count, WORDS), np.float32) < likely
        arrays["labels"][here] = labels


class Clock:
    """Takes the place of the engine's bar: notes when calls of each update end."""

    calls: ClassVar[dict] = collections.defaultdict(list)

    def __init__(self, *_: object) -> None:
        self._last = time.perf_counter()

    def advance(self, steps: int, update: str, _: object) -> None:
        """A call of some steps has ended."""
        now = time.perf_counter()
        self.calls[update].append((steps, now - self._last))
        self._last = now

    def clear(self) -> None:
        """Nothing is shown."""

    close = clear


def timed_whole(name: str, function: Callable) -> Callable:
    """The function, each of whose calls is noted as one step."""
    import jax

    def call(*arguments: object) -> object:
        started = time.perf_counter()
        with WHOLE:
            result = jax.block_until_ready(function(*arguments))
        Clock.calls[name].append((1, time.perf_counter() - started))
        return result

    return call


def seconds_a_step(calls: list[tuple[int, float]]) -> float:
    """The median over calls, without the first ones, which compile, where there are more."""
    steady = calls[2:] or calls[1:] or calls
    return statistics.median(seconds / steps for steps, seconds in steady)


def measure(kind: str, path: str, seconds: float) -> dict:
    """Trains for some time."""
    from jxhash import configuration, data, methods
    from jxhash.errors import Preempted
    from jxhash.training import calls, engine, schedule

    name, changes = KINDS[kind]
    shared = {"seed": 0, "data": path, "bits": BITS, "validate_every": 0, "checkpoint_seconds": 1e6}
    config = configuration.load(f"configs/{name}.py:clipart")
    config.update_from_flattened_dict({**shared, **changes})
    started = time.perf_counter()
    dataset = data.load(path)
    opened = time.perf_counter() - started
    run = configuration.read_run(config)
    method = methods.get(config.method).build(
        config, schedule.make_spec(dataset.training, run.batch_size)
    )
    method = method._replace(stages=tuple(map(with_clock, method.stages)))
    engine.Bar = Clock
    full_call = calls.full_call
    calls.full_call = lambda update, rows: timed_whole(update.name, full_call(update, rows))
    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    with tempfile.TemporaryDirectory() as workdir, contextlib.suppress(Preempted):
        engine.train(method, dataset.training, run, pathlib.Path(workdir))
    return {
        "training rows": len(dataset.training["pairs"]["labels"]),
        "batch size": run.batch_size,
        "seconds to open": round(opened, 3),
        "seconds a step": {
            update: float(f"{seconds_a_step(noted):.4g}") for update, noted in Clock.calls.items()
        },
        "steps": {update: sum(s for s, _ in noted) for update, noted in Clock.calls.items()},
        "peak MB": round(turns.memory("VmHWM") / 1e6),
        "MB at the end without mapped files": round(turns.memory("RssAnon") / 1e6),
    }


def stop() -> None:
    """Ends the training; after the update on the host, if one is at work, which is to be timed."""
    with WHOLE:
        os.kill(os.getpid(), signal.SIGTERM)


def with_clock(stage: object) -> object:
    """A stage whose updates on the host are timed."""
    updates = tuple(
        update._replace(step=timed_whole(update.name, update.step))
        if update.kind == "host"
        else update
        for update in stage.updates
    )
    return stage._replace(updates=updates)


def in_own_process(*arguments: str) -> dict:
    """What a measurement found; that it did not end, where it takes too long."""
    try:
        return turns.in_own_process(*arguments, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"seconds a step": {}, "not ended after seconds": LIMIT}


def measured(folder: pathlib.Path, seconds: float) -> Iterator[tuple[str, int, dict]]:
    """Every kind of method at every size, each in a process of its own."""
    for rows in SIZES:
        path = folder / str(rows)
        write_set(path, rows)
        for kind in KINDS:
            found = in_own_process("--measure", kind, str(path), str(seconds))
            print(kind, rows, found, flush=True)
            yield kind, rows, found


def main() -> None:
    """Runs everything, or one measurement for the process that asked for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, help="the JSON file to write")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training (60)")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, path, seconds = arguments.measure
        turns.say(measure(kind, path, float(seconds)))
        return
    results = {kind: {} for kind in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, rows, found in measured(pathlib.Path(scratch), arguments.seconds):
            results[kind][str(rows)] = found
    found = {
        "pairs": f"{FEATURES} features float16, {WORDS} words, {LABELS} labels; {BITS} bits",
        "methods": results,
    }
    turns.keep(found, ("jax", "numpy"), arguments.out)


if __name__ == "__main__":
    main()
