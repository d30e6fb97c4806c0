"""One training in several processes: real ones, that speak to each other over loopback."""

import json
import pathlib
import signal
import socket
import time

import pytest
from commands import free_address, number_of_checkpoint, run, start, start_together

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("processes")

# An update of every kind: by batches, on all rows, and on the host of the first process.
SMALL = [
    "--config=configs/ddcmh.py",
    "--config.ddcmh.image_epochs=6",
    "--config.ddcmh.text_epochs=6",
    "--config.ddcmh.layers.image.hidden=(64,)",
    "--config.ddcmh.layers.text.hidden=(64,)",
    "--config.ddcmh.cosdish_restarts=2",
    "--config.batch_size=50",
    "--config.bits=8",
    "--config.validate_every=3",
    "--config.checkpoint_seconds=0.0",
]


def ended(process):
    """Its exit code, what it printed (without what Gloo prints of its own), and its errors."""
    out, err = process.communicate(timeout=120)
    lines = [line for line in out.splitlines() if not line.startswith("[Gloo]")]
    return process.returncode, lines, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in two processes, killed once and started again, and what the survivor said."""
    folder = tmp_path_factory.mktemp("two")
    workdir = folder / "run"
    arguments = [*SMALL, f"--workdir={workdir}"]
    first, second = start_together(arguments, arguments, cwd=folder)
    while number_of_checkpoint(workdir) < 2 and first.poll() is None:
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    survivor = ended(first)
    seconds = time.monotonic() - killed_at
    second.communicate()
    again = start_together(arguments, arguments, cwd=folder)
    return workdir, survivor, seconds, list(map(ended, again))


@pytest.mark.parametrize(("processes", "devices"), [(2, 2), (3, 1)])
def test_what_is_exchanged_arrives(processes, devices, tmp_path):
    program, address = (pathlib.Path(__file__).with_name("exchanging.py"),), free_address()
    together = [
        start(address, str(processes), str(number), cwd=tmp_path, devices=devices, program=program)
        for number in range(processes)
    ]
    for code, _, err in map(ended, together):
        assert code == 0, err


def test_the_survivor_of_a_killed_process_ends_with_a_message(finished):
    _, (code, out, err), seconds, _ = finished
    assert code == 75, err
    assert out == []
    assert "another has ended" in err
    assert "start all of them again" in err
    assert "Traceback" not in err
    assert seconds < 60


def test_those_that_lose_the_first_end_in_few_lines(tmp_path):
    arguments = [*SMALL, f"--workdir={tmp_path / 'run'}"]
    first, second = start_together(arguments, arguments, cwd=tmp_path)
    while number_of_checkpoint(tmp_path / "run") < 1 and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    killed_at = time.monotonic()
    code, _, err = ended(second)
    first.communicate()
    # JAX sees it at the same time, and may be the faster to end the process.
    assert code in (75, -signal.SIGABRT), err
    assert "another" in err
    assert len(err.splitlines()) < 15
    assert time.monotonic() - killed_at < 60


def test_started_again_they_end_where_two_devices_of_one_process_do(finished, tmp_path):
    workdir, _, _, ((code, out, err), (other_code, other_out, other_err)) = finished
    assert (code, other_code) == (0, 0), err + other_err
    assert "image to text" in out
    assert other_out == []  # the first alone speaks
    arguments = [*SMALL, f"--workdir={tmp_path / 'run'}"]
    alone_code, _, alone_err = run(*arguments, cwd=tmp_path, devices=2)
    assert alone_code == 0, alone_err
    together, alone = (
        json.loads((folder / "report.json").read_text())["results"]
        for folder in (workdir, tmp_path / "run")
    )
    for task, by_protocol in alone.items():
        for protocol in ("encoded", "learned"):
            other = together[task][protocol]["map"]
            assert by_protocol[protocol]["map"] == pytest.approx(other, abs=0.01)


def test_sigterm_to_one_saves_and_ends_all(tmp_path):
    workdir = tmp_path / "run"
    long = ["--config.ddcmh.image_epochs=5000", "--config.checkpoint_seconds=1000.0"]
    arguments = [*SMALL, *long, f"--workdir={workdir}"]
    both = start_together(arguments, arguments, cwd=tmp_path)
    while both[0].poll() is None and not (workdir / "metrics.jsonl").exists():
        time.sleep(0.05)
    time.sleep(2)
    both[1].terminate()
    for code, _, err in map(ended, both):
        assert code == 143, err
        assert "resumes from here" in err
    assert number_of_checkpoint(workdir) > 0


def test_an_address_in_use_is_named(tmp_path):
    with socket.create_server(("", 0)) as used:
        address = f"localhost:{used.getsockname()[1]}"
        both = [f"--coordinator={address}", "--processes=2", "--process=0"]
        code, _, err = run(*SMALL, *both, cwd=tmp_path)
    assert code == 2
    assert f"{address} cannot be used" in err


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_one_that_waits_for_others_says_so_and_ends_at_signals(tmp_path, number, expected):
    waiting = start(
        *SMALL, f"--coordinator={free_address()}", "--processes=2", "--process=0", cwd=tmp_path
    )
    while "process 0 waits at localhost" not in waiting.stderr.readline():
        assert waiting.poll() is None
    waiting.send_signal(number)
    code, _, _ = ended(waiting)
    assert code == expected


def test_another_config_is_refused_and_leaves_no_folder(tmp_path):
    both = start_together(SMALL, [*SMALL, "--config.seed=1"], cwd=tmp_path)
    # Whoever is slower may be ended by JAX, as one that has lost the other.
    assert any(
        code == 2 and "different configs or data" in err for code, _, err in map(ended, both)
    )
    assert list(tmp_path.iterdir()) == []


def test_what_the_first_refuses_all_refuse(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    arguments = [*SMALL, f"--workdir={tmp_path / 'run'}"]
    for code, _, err in map(ended, start_together(arguments, arguments, cwd=tmp_path)):
        assert code == 2, err
        assert "not empty and holds no run" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--processes=2", "--process=0"], "need --coordinator"),
        (["--coordinator=localhost:1"], "needs --processes and --process"),
        (["--coordinator=localhost", "--processes=2", "--process=0"], "is not host:port"),
        (["--coordinator=localhost:1", "--processes=2", "--process=2"], "none of 0 to 1"),
        (["--coordinator=a.invalid:1", "--processes=2", "--process=1"], "a.invalid:1 cannot be"),
        (["--coordinator=localhost:99999", "--processes=2", "--process=0"], "1 to 65535"),
        (["--coordinator=auto"], "give host:port"),
    ],
)
def test_flags_that_cannot_bring_processes_together(arguments, says, tmp_path):
    code, _, err = run(*SMALL, *arguments, cwd=tmp_path)
    assert code == 2
    assert says in err
