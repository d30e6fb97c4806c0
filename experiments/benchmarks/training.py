"""Times training beside a bare scan and a PyTorch loop, and what saving costs.

    pip install 'jxhash[bench]'
    python experiments/benchmarks/training.py --out experiments/results/bench_training.json

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
import functools
import importlib
import os
import statistics
import sys
import tempfile
from pathlib import Path

import dcmh_work as work
import saving
import turns

RIVALS = ("engine", "scan", "torch")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TUNABLES = "glibc.malloc.hugetlb=1"
INSTALL = "pip install 'jxhash[bench]'  (from a checkout: pip install '.[bench]')"


def compare(arguments: argparse.Namespace, phase: str, folder: Path) -> dict:
    """Times one phase."""
    steps = work.steps_of(arguments.rows)
    epochs = max(1, round(arguments.steps / steps))
    rivals = {rival: {"child": rival, "phase": phase, "epochs": epochs} for rival in RIVALS}
    print(f"{phase} phase", file=sys.stderr)
    said, ends = take_turns(arguments, folder, rivals, arguments.rounds)
    losses = {rival: values[0]["loss"] for rival, values in said.items()}
    if not max(losses.values()) < 1.001 * min(losses.values()):
        raise SystemExit(f"{phase}: the rivals do not compute the same: losses {losses}")
    chosen = turns.quiet_rounds(said)
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
    rivals = {
        name: {**options, "seconds": s} for name, s in (("saving", every), ("not", work.NEVER))
    }
    said, ends = take_turns(arguments, folder, rivals, rounds)
    chosen = turns.quiet_rounds(said)
    seconds, cpu, others = (
        {name: [values[number][what] for number in chosen] for name, values in said.items()}
        for what in ("seconds", "cpu", "others")
    )
    notes = saving.cost_of_saving(ends["saving"])
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


def take_turns(
    arguments: argparse.Namespace, folder: Path, rivals: dict[str, dict], rounds: int
) -> tuple[dict, dict]:
    """Runs rivals, name -> options, in turns; what they say of their rounds and at their ends."""
    shared = {"rows": arguments.rows, "threads": arguments.threads, "folder": folder}
    environment = {
        "GLIBC_TUNABLES": TUNABLES,
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": str(arguments.threads),
    }
    starts = {}
    for name, options in rivals.items():
        values = shared | {"rounds": rounds} | options
        flags = [f"--{flag}={value}" for flag, value in values.items()]
        starts[name] = functools.partial(turns.Rival, flags, environment, folder / "stderr.txt")
    return turns.take_turns(starts, rounds, arguments.patience)


def run_child(arguments: argparse.Namespace) -> None:
    """Is a rival; each imports its own library alone, after the number of cores is set."""
    limit_threads(arguments.threads)
    module = importlib.import_module("torch_rivals" if arguments.child == "torch" else "jax_rivals")
    found = getattr(module, f"run_{arguments.child}")(arguments) or {}
    turns.say({**found, "peak": turns.memory("VmHWM") / 2**20})


def show(record: dict) -> None:
    """Prints the figures as a table."""
    print(f"{'':8}{'rival':9}{'ms/step':>9}{'least':>9}{'most':>9}{'CPU ms':>9}{'peak MB':>9}")
    for phase in work.PHASES:
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
    if found := record.get("saving"):
        every = found["seconds between checkpoints"]
        print(f"saving {found['checkpoint MB']:.0f} MB every {every:g} s:", end=" ")
        print(f"{100 * found['share by the difference of the two']:.1f} % of the time", end=" ")
        print(f"(by its own notes {100 * found['share by the notes of the one']:.1f} %)")


def limit_threads(threads: int) -> None:
    """Leaves this process so many cores: XLA counts them."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the JSON file to write")
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
        run_child(arguments)
        return
    if not turns.installed("torch"):
        raise SystemExit(f"torch is not installed; bring it with: {INSTALL}")
    record = {
        "threads": arguments.threads,
        "GLIBC_TUNABLES": TUNABLES,
        str(HUGE_PAGES): HUGE_PAGES.read_text().strip() if HUGE_PAGES.exists() else None,
    }
    with tempfile.TemporaryDirectory() as folder:
        for phase in work.PHASES:
            record[phase] = compare(arguments, phase, Path(folder))
        if arguments.minutes:
            epoch = sum(record[phase]["engine"]["ms a step"] for phase in work.PHASES)
            epoch *= work.steps_of(arguments.rows) / 1000
            record["saving"] = compare_saving(arguments, epoch, Path(folder))
    turns.keep(record, PACKAGES, arguments.out)
    show(record)


if __name__ == "__main__":
    main()
