r"""Times one training in two processes beside the same in one process with two devices, as JSON.

    python experiments/benchmarks/processes.py --out experiments/results/bench_processes.json

The two take turns, round after round. A round is a run of the command line that is stopped after a
time (SIGTERM); what counts are the steps between the first and the last report of its progress bar,
so that starting and compiling are no part of it. Both devices are CPU devices of this machine, and
the processes speak over loopback. Sets are drawn as in scale.py.
"""

import argparse
import functools
import itertools
import os
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator

import scale
import turns

# Contender -> devices of each of its processes.
CONTENDERS = {"one process with two devices": [2], "two processes": [1, 1]}
PROGRESS = re.compile(r"(\d+)/\d+ \[")
# Bars report every ten seconds where no terminal shows them.
REPORTS = 3

# What is trained -> method, pairs (0: clip art), and rows a batch.
TRAININGS = {
    "DCMH, clip art (1,683 pairs, 256 features), batches of 128": ("dcmh", 0, 128),
    "CHN, clip art (1,683 pairs, 256 features), batches of 128": ("chn", 0, 128),
    "DCMH, 20,000 pairs of 4,096 features, batches of 128": ("dcmh", 20_000, 128),
    "DCMH, 20,000 pairs of 4,096 features, batches of 512": ("dcmh", 20_000, 512),
    "DCMH, 200,000 pairs of 4,096 features, batches of 128": ("dcmh", 200_000, 128),
}


def options(folder: pathlib.Path, method: str, pairs: int, batch_size: int) -> list[str]:
    """The options of the command line for a training; its set is written if need be."""
    path = folder / str(pairs)
    if pairs and not path.exists():
        scale.write_set(path, pairs)
    return [
        f"--config=configs/{method}.py",
        *([f"--config.data={path}"] if pairs else []),
        f"--config.batch_size={batch_size}",
        "--config.bits=64",
        "--config.validate_every=0",
        "--config.checkpoint_seconds=1000.0",
        f"--config.{method}.epochs=50000",
    ]


def steps_a_second(given: list[str], devices: list[int]) -> float:
    """Trains on so many devices of each process, for some reports of progress of the first."""
    with tempfile.TemporaryDirectory() as scratch:
        running = turns.start_training([*given, f"--workdir={scratch}/run"], devices)
        seen = list(itertools.islice(_reports(running[0]), REPORTS))
        running[0].send_signal(signal.SIGTERM)
        for process in running:
            process.communicate()
        (began, first), (ended, last) = seen[0], seen[-1]
        return (last - first) / (ended - began)


def _reports(process: subprocess.Popen) -> Iterator[tuple[float, int]]:
    """The moments at which the bar moved, and the steps until then."""
    text, before = "", 0
    while piece := os.read(process.stderr.fileno(), 4096).decode(errors="replace"):
        text += piece
        steps = int((PROGRESS.findall(text) or ["0"])[-1])
        if steps > before:
            before = steps
            yield time.perf_counter(), steps
    raise RuntimeError(text)


def main() -> None:
    """Times all cases, prints and writes the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each contender (3)")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON file to write")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, training in TRAININGS.items():
            given = options(pathlib.Path(scratch), *training)
            contenders = {
                contender: functools.partial(steps_a_second, given, devices)
                for contender, devices in CONTENDERS.items()
            }
            rounds = turns.rounds(contenders, arguments.rounds)
            ratios = [one / two for one, two in zip(*rounds.values(), strict=True)]
            found[name] = {
                "time of two processes over one, median of rounds": statistics.median(ratios),
                **{f"steps a second of {contender}": each for contender, each in rounds.items()},
            }
            print(name, ratios, flush=True)
    turns.keep({"trainings": found}, ("jax", "jaxlib"), arguments.out)


if __name__ == "__main__":
    main()
