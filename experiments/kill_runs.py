r"""Kills trainings at random moments and compares where they end, as JSON.

    python experiments/kill_runs.py --out experiments/results/kill_runs.json

A short run on clip art is trained to its end, for one method of each kind (TVDB needs the extra
`regions`). The same run is then killed (SIGKILL) again and again, each time at a moment drawn
from the seed, started by the same command, and at its end compared with the first: all files of
the two must be the same bytes. Runs save as often as they can, so that many kills fall into a
save; `inside saves` counts those at which an unfinished checkpoint lay on the disk.

Exits with 1 unless every run ended with the same files.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from benchmarks import turns

FILES = ("codes.npz", "queries.npz", "report.json", "report.html", "metrics.jsonl")
SHARED = ("--config.bits=16", "--config.checkpoint_seconds=0.0")

# Kinds of methods -> the config of one, made short.
KINDS = {
    "joint (CHN)": ("chn.py", "--config.chn.epochs=15"),
    "joint, several sources (THN)": ("thn.py", "--config.thn.epochs=8"),
    "alternating, with buffers (DCMH)": ("dcmh.py", "--config.dcmh.epochs=15"),
    "staged, with host updates (DDCMH)": (
        "ddcmh.py",
        "--config.ddcmh.image_epochs=15",
        "--config.ddcmh.text_epochs=15",
        "--config.ddcmh.cosdish_restarts=4",
    ),
    "codebooks, fitted on the host (CDQ)": (
        "cdq.py",
        "--config.cdq.first_epochs=2",
        "--config.cdq.epochs=4",
    ),
    "closed form, all on the host (LCMH)": ("lcmh.py",),
    "interleaved, sequences (TVDB)": ("tvdb.py", "--config.tvdb.epochs=2"),
}


class Tally(NamedTuple):
    """What was seen of one method."""

    kills: int
    inside_saves: int
    before_a_checkpoint: int
    in_evaluation: int
    runs: int
    identical: int


def start(kind: str, workdir: pathlib.Path) -> subprocess.Popen:
    """Starts a run, or goes on with it."""
    config, *settings = KINDS[kind]
    flags = [f"--config=configs/{config}", *SHARED, *settings, f"--workdir={workdir}"]
    (process,) = turns.start_training(flags, [1])
    return process


def finish(process: subprocess.Popen) -> None:
    """Waits for a run, which must end well."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}: {errors}")


def seconds_of_training(kind: str, workdir: pathlib.Path) -> float:
    """Lets a run go to its end; the seconds from its first file on."""
    process = start(kind, workdir)
    began = begun_at(process, workdir)
    finish(process)
    return time.monotonic() - began


def begun_at(process: subprocess.Popen, workdir: pathlib.Path) -> float:
    """Waits until the run has locked its folder, and thus begun; that moment."""
    lock, started = workdir / ".lock", time.time()
    while process.poll() is None and not (lock.exists() and lock.stat().st_mtime >= started):
        time.sleep(0.01)
    return time.monotonic()


def kill_until_done(
    kind: str, workdir: pathlib.Path, whole: float, wanted: int, generator: random.Random
) -> tuple[int, int, int, int]:
    """Kills a run up to `wanted` times, and lets it end; kills, and at which moments they fell."""
    kills = inside_saves = before = in_evaluation = 0
    while not (workdir / "report.json").exists():
        process = start(kind, workdir)
        if kills == wanted:
            finish(process)
            continue
        begun_at(process, workdir)
        time.sleep(generator.uniform(0.0, 0.6 * whole))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == 0:
            continue
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"a run ended with {process.returncode}: {errors}")
        kills += 1
        names = [path.name for path in (workdir / "checkpoints").glob("*")]
        inside_saves += any("tmp" in name for name in names)
        before += not any(name.isdigit() for name in names)
        in_evaluation += (workdir / "codes.npz").exists()
    return kills, inside_saves, before, in_evaluation


def differing(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """The files of two runs that are not the same bytes."""
    return [name for name in FILES if (one / name).read_bytes() != (other / name).read_bytes()]


def measure(kind: str, wanted: int, generator: random.Random) -> Tally:
    """Kills the runs of one method until there were enough kills."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        seconds_of_training(kind, folder / "warm")  # compiles what the following find compiled
        whole = seconds_of_training(kind, folder / "whole")
        seen, runs, identical = [0, 0, 0, 0], 0, 0
        while seen[0] < wanted:
            workdir = folder / str(runs)
            found = kill_until_done(kind, workdir, whole, wanted - seen[0], generator)
            seen = [a + b for a, b in zip(seen, found, strict=True)]
            different = differing(folder / "whole", workdir)
            print(f"{kind}: run {runs + 1}, {seen[0]} kills, differing: {different}", flush=True)
            runs, identical = runs + 1, identical + (not different)
        return Tally(*seen, runs, identical)


def main() -> int:
    """Kills the runs of all methods, prints and writes the record; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="where the JSON goes")
    parser.add_argument("--kills", type=int, default=60, help="in all, at least")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    each = -(-arguments.kills // len(KINDS))
    with tempfile.TemporaryDirectory() as compiled:
        os.environ |= {
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        tallies = {kind: measure(kind, each, generator) for kind in KINDS}
    total = Tally(*map(sum, zip(*tallies.values(), strict=True)))
    found = {
        "methods": {kind: tally._asdict() for kind, tally in tallies.items()},
        "total": total._asdict(),
    }
    turns.keep(found, ("jax", "orbax-checkpoint"), arguments.out)
    return int(total.identical < total.runs)


if __name__ == "__main__":
    sys.exit(main())
