r"""Times one training in two processes beside the same in one process with two devices, as JSON.

    python experiments/bench_processes.py --out experiments/results/bench_processes.json

The two take turns, round after round. A round is a run of the command line; what counts is the
time between the third line of metrics.jsonl (everything is compiled then) and the last, so that
starting, compiling and the final evaluation are no part of it. Both devices are CPU devices of this
machine, and the processes speak over loopback.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bench_scale

ROWS = 20_000
FLAG = "--xla_force_host_platform_device_count"


def cases(folder: pathlib.Path) -> dict[str, list[str]]:
    """What is trained -> the options of the command line."""
    shared = ["--config.validate_every=0", "--config.checkpoint_seconds=1000.0"]
    bench_scale.write_set(folder / "set", ROWS)
    large = [f"--config.data={folder / 'set'}", *shared, "--config.dcmh.epochs=2"]
    return {
        "DCMH, clip art (1,683 pairs), batches of 128": [
            "--config=configs/dcmh.py",
            "--config.dcmh.epochs=40",
            *shared,
        ],
        f"DCMH, {ROWS:,} pairs of 4,096 features, batches of 128": [
            "--config=configs/dcmh.py",
            *large,
        ],
        f"DCMH, {ROWS:,} pairs of 4,096 features, batches of 512": [
            "--config=configs/dcmh.py",
            "--config.batch_size=512",
            *large,
        ],
    }


def one_process(options: list[str]) -> list[list[str]]:
    """The command of one process with two devices."""
    return [[*options]]


def two_processes(options: list[str]) -> list[list[str]]:
    """The commands of two processes with a device each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    joined = [*options, f"--coordinator=localhost:{port}", "--processes=2"]
    return [[*joined, f"--process={number}"] for number in range(2)]


def seconds_of(commands: list[list[str]]) -> float:
    """Runs the commands side by side; from the third line of the record to the last, in s."""
    with tempfile.TemporaryDirectory() as scratch:
        devices = 2 // len(commands)
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{FLAG}={devices}"}
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "jxhash.main", *command, f"--workdir={scratch}/run"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for command in commands
        ]
        seen = _times_of_growth(pathlib.Path(scratch) / "run" / "metrics.jsonl", running[0])
        for process in running:
            _, errors = process.communicate()
            if process.returncode:
                raise RuntimeError(errors)
        return seen[-1] - seen[2]


def _times_of_growth(path: pathlib.Path, process: subprocess.Popen) -> list[float]:
    seen, size = [], 0
    while process.poll() is None:
        new = path.stat().st_size if path.exists() else 0
        if new > size:
            seen.append(time.perf_counter())
            size = new
        time.sleep(0.005)
    return seen


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
        for name, options in cases(pathlib.Path(scratch)).items():
            rounds = [
                (seconds_of(one_process(options)), seconds_of(two_processes(options)))
                for _ in range(arguments.rounds)
            ]
            ratios = [two / one for one, two in rounds]
            found[name] = {
                "two processes over one, median of rounds": statistics.median(ratios),
                "seconds of one process with two devices": [one for one, _ in rounds],
                "seconds of two processes": [two for _, two in rounds],
            }
            print(name, ratios, flush=True)
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")},
        "trainings": found,
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
