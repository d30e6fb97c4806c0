"""What the benchmarks share: turns, quiet rounds, memory, processes and records; for Linux.

Contenders take turns, a round each, so that all see the same machine: within one process
(`rounds`), or each in a process of its own that waits while the others work (`take_turns`; there,
`Gate` is the other side).
"""

import importlib.metadata
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# Until idle threads of the contender before have stopped waiting actively.
PAUSE = 0.2
# Cores that other work may hold in a round that counts, and for how long the machine is watched.
QUIET, WATCHED = 0.15, 1.0


# In one process.


def rounds(contenders: Mapping[str, Callable[[], T]], number: int) -> dict[str, list[T]]:
    """What each contender returns, round after round."""
    found = {name: [] for name in contenders}
    for _ in range(number):
        for name, turn in contenders.items():
            time.sleep(PAUSE)
            found[name].append(turn())
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """The seconds and the CPU seconds, of all threads, of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def memory(field: str) -> int:
    """Bytes that this process holds: "VmHWM" at its peak, "VmRSS" now, "RssAnon" without files."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


def forget_peak() -> None:
    """Lets the peak of the memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


# In processes that take turns.


def say(values: Mapping[str, Any]) -> None:
    """Tells the parent process something."""
    print(json.dumps(values), flush=True)


class Gate:
    """Stands between two rounds: reports the one that ends, waits for leave to begin the next."""

    def __init__(self) -> None:
        self._waited, self._before = 0.0, memory("VmHWM")
        self._start()

    def _start(self) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()

    def now(self) -> float:
        """A clock that stands still between two rounds."""
        return time.monotonic() - self._waited

    def __call__(self, loss: float) -> None:
        """Ends a round whose last epoch had this mean loss."""
        ended, cpu = time.monotonic(), time.process_time() - self._cpu
        held = {"before": self._before / 2**20, "peak": memory("VmHWM") / 2**20}
        say({"seconds": ended - self._began, "cpu": cpu, "loss": loss, **held})
        if not sys.stdin.readline():
            raise SystemExit("the parent process is gone")
        self._start()
        self._waited += self._began - ended


class Rival:
    """Another process of this script; its stderr, progress bars included, goes to a file."""

    def __init__(self, flags: Iterable[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with open(log, "a") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, sys.argv[0], *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | environment,
                text=True,
            )

    def hear(self) -> dict:
        """The next thing that the process says."""
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            tail = "".join(self._log.read_text().splitlines(keepends=True)[-20:])
            raise SystemExit(f"a rival ended early, with exit code {code}:\n{tail}")
        return json.loads(line)

    def go_on(self) -> None:
        """Lets the process begin its next round."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> dict:
        """Lets the process end; the last thing that it says."""
        self.go_on()
        said = self.hear()
        self._process.wait()
        return said


def take_turns(
    starts: Mapping[str, Callable[[], Rival]], number: int, patience: float
) -> tuple[dict, dict]:
    """Runs processes that take turns.

    Args:
      starts: name -> what starts the process.
      number: rounds of each, after a first that warms up.
      patience: seconds to wait before a round while other work keeps the machine busy.

    Returns:
      What each says of its rounds, and what each says at its end.
    """
    rivals, said = {}, {}
    for name, start in starts.items():
        rivals[name] = start()
        said[name] = [rivals[name].hear()]
    for done in range(number):
        for name, rival in rivals.items():
            wait_for_quiet(patience)
            busy = busy_seconds()
            rival.go_on()
            heard = rival.hear()
            others = max(0.0, busy_seconds() - busy - heard["cpu"]) / heard["seconds"]
            said[name].append(heard | {"others": others})
            text = f"{name}: {heard['seconds']:.2f} s, other work held {others:.2f} cores"
            print(f"round {done + 1} of {number}, {text}", file=sys.stderr)
    return said, {name: rival.end() for name, rival in rivals.items()}


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started."""
    first = Path("/proc/stat").read_text().split("\n")[0]
    user, nice, system, _, _, *rest = map(int, first.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float) -> None:
    """Waits until other work leaves the machine alone for a moment, at most so many seconds."""
    began = time.monotonic()
    while True:
        busy = busy_seconds()
        time.sleep(WATCHED)
        if busy_seconds() - busy < QUIET * WATCHED or time.monotonic() - began > patience:
            return


def quiet_rounds(said: Mapping[str, Sequence[dict]]) -> list[int]:
    """The rounds that other work left alone, if there are some; else all. The first warms up."""
    every = range(1, min(map(len, said.values())))
    quiet = [n for n in every if all(values[n]["others"] < QUIET for values in said.values())]
    return quiet if len(quiet) >= 3 else list(every)


# In processes of their own, one after the other.


def in_own_process(*arguments: str, timeout: float | None = None) -> dict:
    """Runs this script with other arguments; the JSON of the last line that it prints."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout)
    return json.loads(done.stdout.splitlines()[-1])


def start_training(flags: Iterable[str], devices: Sequence[int]) -> list[subprocess.Popen]:
    """Starts a run of the command line; its processes, which speak over loopback.

    Args:
      flags: of `jxhash.main`.
      devices: for each process, how many CPU devices it has.
    """
    command = [sys.executable, "-m", "jxhash.main", *flags]
    if len(devices) > 1:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command += [f"--coordinator=localhost:{port}", f"--processes={len(devices)}"]
    return [
        subprocess.Popen(
            [*command, *([f"--process={number}"] if len(devices) > 1 else [])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
            },
        )
        for number, count in enumerate(devices)
    ]


# What a figure is kept with.


def installed(package: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine() -> dict:
    """What the figures are measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load average at the end": os.getloadavg(),
    }


def keep(found: Mapping[str, Any], packages: Iterable[str], out: Path | None) -> None:
    """Prints a record as JSON, and writes it where a file is named.

    Args:
      found: JSON values.
      packages: whose versions the record tells.
      out: the file; None for none.
    """
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "versions": {name: installed(name) for name in packages},
        **found,
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
