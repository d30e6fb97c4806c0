"""The command line as a process of its own."""

import os
import socket
import subprocess
import sys


def start(*arguments, cwd, devices=1, program=("-m", "jxhash.main")):
    """Starts `python -m jxhash.main`, or another program, with so many CPU devices."""
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
    )


def run(*arguments, cwd, devices=1):
    """Runs it to its end; returns its exit code, what it printed, and its errors."""
    process = start(*arguments, cwd=cwd, devices=devices)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def free_address():
    """Where a coordinator can listen."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def start_together(*arguments_of_each, cwd):
    """Starts one training in several processes, each with its list of arguments."""
    joined = (f"--coordinator={free_address()}", f"--processes={len(arguments_of_each)}")
    return [
        start(*arguments, *joined, f"--process={number}", cwd=cwd)
        for number, arguments in enumerate(arguments_of_each)
    ]


def number_of_checkpoint(workdir):
    """The number of the newest checkpoint in a run's folder; 0 where there is none."""
    folder = workdir / "checkpoints"
    if not folder.exists():
        return 0
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)
