"""The command line, as a user meets it: real processes."""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest
from commands import number_of_checkpoint, run, start

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("main")

SMALL = [
    "--config=configs/dcmh.py",
    "--config.dcmh.epochs=10",
    "--config.dcmh.image.dropout=0.0",
    "--config.dcmh.text.dropout=0.0",
    "--config.dcmh.image.hidden=(256,)",
    "--config.dcmh.text.hidden=(256,)",
    "--config.bits=16",
    "--config.validate_every=4",
    "--config.checkpoint_seconds=0.0",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run from start to end, in an empty folder: the config is found in the package."""
    folder = tmp_path_factory.mktemp("finished")
    code, out, err = run(*SMALL, cwd=folder)
    assert code == 0, err
    (workdir,) = (folder / "runs").iterdir()
    return folder, workdir, out


def test_a_run_prints_a_table_and_leaves_its_files(finished):
    _, workdir, out = finished
    assert workdir.name.startswith("dcmh-clipart-16-s0-")
    assert max(map(len, out.splitlines())) <= 80 or str(workdir) in out
    for words in ("image to text", "text to image", "random ranking", "untrained networks", "MAP"):
        assert words in out
    names = {path.name for path in workdir.iterdir()}
    assert names >= {
        "config.json",
        "card.json",
        "metrics.jsonl",
        "checkpoints",
        "codes.npz",
        "report.json",
        "report.html",
    }


def test_the_page_stands_alone(finished):
    _, workdir, _ = finished
    page = (workdir / "report.html").read_text()
    assert page.count("<svg") == 4
    assert page.count("data:image/webp;base64,") > 50
    assert 'class="right"' in page
    assert 'class="wrong"' in page
    # Nothing is loaded from elsewhere; the names of XML standards are no addresses to load.
    assert "<script" not in page
    assert 'src="http' not in page
    assert "<link" not in page


def test_a_finished_run_prints_its_report_again(finished):
    folder, workdir, out = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    code, again, _ = run(*SMALL, cwd=folder)
    assert code == 0
    assert again == out
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_killed_at_any_moment_it_ends_with_the_same_bits(finished, tmp_path):
    _, whole, _ = finished
    workdir = tmp_path / "run"
    generator = random.Random(5)
    kills = 0
    while not (workdir / "report.json").exists():
        process = start(*SMALL, f"--workdir={workdir}", cwd=tmp_path)
        if kills < 4 and wait_for_checkpoint(process, workdir, kills):
            time.sleep(generator.uniform(0.0, 0.6))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), err
    assert kills > 1
    for name in ("codes.npz", "report.json", "report.html", "metrics.jsonl"):
        assert (workdir / name).read_bytes() == (whole / name).read_bytes(), name


def test_two_devices_end_where_one_does(finished, tmp_path):
    _, alone, _ = finished
    code, _, err = run(*SMALL, f"--workdir={tmp_path / 'run'}", cwd=tmp_path, devices=2)
    assert code == 0, err
    one, two = (
        json.loads((folder / "report.json").read_text())["results"]
        for folder in (alone, tmp_path / "run")
    )
    for task, by_protocol in one.items():
        other = two[task]["encoded"]["map"]
        assert by_protocol["encoded"]["map"] == pytest.approx(other, abs=0.01)


def test_stopped_on_four_devices_it_goes_on_on_one_with_less_memory(finished, tmp_path):
    _, alone, _ = finished
    workdir = tmp_path / "run"
    process = start(*SMALL, f"--workdir={workdir}", cwd=tmp_path, devices=4)
    wait_for_checkpoint(process, workdir, 1)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    practical = ["--config.resident_gigabytes=0.0", "--config.checkpoint_seconds=5.0"]
    code, _, err = run(*SMALL, *practical, f"--workdir={workdir}", cwd=tmp_path)
    assert code == 0, err
    one, changed = (
        json.loads((folder / "report.json").read_text())["results"] for folder in (alone, workdir)
    )
    for task, by_protocol in one.items():
        other = changed[task]["encoded"]["map"]
        assert by_protocol["encoded"]["map"] == pytest.approx(other, abs=0.01)


def wait_for_checkpoint(process, workdir, kills):
    """Waits until the process has saved once more than before; False where it ended first."""
    newest = number_of_checkpoint(workdir)
    while process.poll() is None:
        begun = kills == 0 and (workdir / "config.json").exists()
        if begun or number_of_checkpoint(workdir) > newest:
            return True
        time.sleep(0.02)
    return False


def test_sigterm_saves_and_says_so(tmp_path):
    workdir = tmp_path / "run"
    long = [*SMALL, "--config.dcmh.epochs=5000", "--config.checkpoint_seconds=1000.0"]
    process = start(*long, f"--workdir={workdir}", cwd=tmp_path)
    while process.poll() is None and not (workdir / "metrics.jsonl").exists():
        time.sleep(0.05)
    time.sleep(2)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "resumes from here" in err
    assert number_of_checkpoint(workdir) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config=configs/nix.py"], ["configs/nix.py", "dcmh.py", "thn.py"]),
        ([], ["--config=configs/thn.py"]),
        (["--config=configs/dcmh.py", "--config.dcmh.epocs=3"], ["'epocs'", "'epochs'"]),
        (["--config=configs/dcmh.py", "--config.bits=0"], ["bits", "positive"]),
        (["--config=configs/dcmh.py", "--config.bits=many"], ["bits", "many"]),
        (["--config=configs/dcmh.py:nix"], ["nix", "clipart"]),
        (["--config=configs/dcmh.py:wikipedia", "--data_dir=."], ["raw_features.mat", "missing"]),
        (["--config=configs/thn.py", "--config.data=clipart"], ["query", "pairs"]),
        (["--config=configs/dcmh.py", "--config.dcmh.image.hidden=(0,)"], ["hidden"]),
        (["--config=configs/dcmh.py", "--config.dcmh.image.dropout=1.0"], ["dropout"]),
        (["--nix"], ["nix"]),
        (["stray"], ["stray"]),
    ],
)
def test_mistakes_get_one_line(arguments, says, tmp_path):
    code, out, err = run(*arguments, cwd=tmp_path)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    for words in says:
        assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_run_is_left_alone(finished):
    folder, workdir, _ = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    code, _, err = run(*SMALL, "--config.seed=3", f"--workdir={workdir}", cwd=folder)
    assert code == 2
    assert "seed: 3 here, 0 there" in err
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    stranger = pathlib.Path(folder) / "stranger"
    stranger.mkdir()
    (stranger / "thesis.tex").write_text("years of work")
    code, _, err = run(*SMALL, f"--workdir={stranger}", cwd=folder)
    assert code == 2
    assert "another --workdir" in err
    assert [path.name for path in stranger.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("report.json", '{"tru', "report.json is damaged"),
        ("config.json", '{"tru', "config.json is damaged"),
        ("card.json", '{"sha256": "another"}', "other data"),
        ("metrics.jsonl", "garbage\n", "line 1, is damaged"),
        ("version.txt", "0.1.0\n", "a run of jxhash '0.1.0', and this is"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(finished, tmp_path, name, content, says):
    _, workdir, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / name).write_text(content)
    if name == "metrics.jsonl":
        (copy / "report.json").unlink()
    code, _, err = run(*SMALL, f"--workdir={copy}", cwd=tmp_path)
    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert (copy / name).read_text() == content


def test_a_damaged_checkpoint_is_passed_over_and_named(finished, tmp_path):
    _, workdir, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / "report.json").unlink()
    newest = max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = [path for path in (newest / "state").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, _, err = run(*SMALL, f"--workdir={copy}", cwd=tmp_path)
    assert code == 0, err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if "damaged" in line]
    for words in (str(copy), f"damaged-{newest.name}", "goes on from checkpoint"):
        assert words in line
    for name in ("codes.npz", "report.json", "report.html", "metrics.jsonl"):
        assert (copy / name).read_bytes() == (workdir / name).read_bytes(), name


def test_a_disk_without_room_gets_one_line(finished, tmp_path):
    _, whole, _ = finished
    size = sum(path.stat().st_size for path in (whole / "checkpoints").rglob("*"))
    disk = tmp_path / "disk"
    disk.mkdir()
    # Room for one checkpoint and a part of the next.
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(0.75 * size)}", "none", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        code, _, err = run(*SMALL, f"--workdir={disk / 'run'}", cwd=tmp_path)
        assert code == 2, err
        (line,) = [line for line in err.splitlines() if line.startswith("jxhash:")]
        for words in (str(disk / "run"), "No space left on device", "make room"):
            assert words in line
        assert "Traceback" not in err
        assert number_of_checkpoint(disk / "run") > 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_sigterm_outside_of_the_training_has_its_code(tmp_path):
    process = start(*SMALL, f"--workdir={tmp_path / 'run'}", cwd=tmp_path)
    # The process handles the signal before it works with its folder.
    while process.poll() is None and not (tmp_path / "run").exists():
        time.sleep(0.005)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "resumes from here" in err


@pytest.mark.parametrize(
    "when",
    [
        # What is raised in a callback of the garbage collector is dropped; JAX has one.
        "gc.callbacks.append(lambda *_: terminate()); gc.collect()",
        # After the last look at the event.
        "with signals.stop_event(): terminate()",
        # A second one, while the first is not heard yet.
        "with signals.stop_event(): [threading.Timer(n, terminate).start() for n in (1, 2)];"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)",
        # In compiled code, which for a minute does not come back to Python.
        "threading.Timer(1, terminate).start(); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)",
    ],
    ids=["garbage", "late", "twice", "compiled"],
)
def test_sigterm_is_never_lost(tmp_path, when):
    program = (
        "import gc, hashlib, os, signal, threading, time\n"
        "from jxhash import signals\n"
        "terminate = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"signals.leave_at_sigterm()\n{when}\ntime.sleep(30)"
    )
    process = start(cwd=tmp_path, program=("-c", program))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert "resumes from here" in err


def test_sigterm_while_an_update_works_on_the_host(tmp_path):
    """What is given up may be in compiled code when the process ends."""
    arguments = ["--config=configs/lcmh.py", f"--workdir={tmp_path / 'run'}"]
    process = start(*arguments, cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "run" / "checkpoints").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert err.endswith("jxhash: stopped and saved; the same command resumes from here\n")
    assert number_of_checkpoint(tmp_path / "run") == 1


def test_a_folder_in_use_is_left_alone(finished, tmp_path):
    from jxhash.atomic_files import locked
    from jxhash.errors import UserError

    with (
        locked(tmp_path / "run"),
        pytest.raises(UserError, match="another process"),
        locked(tmp_path / "run"),
    ):
        pass
    (tmp_path / "file").write_text("")
    code, _, err = run(*SMALL, f"--workdir={tmp_path / 'file'}", cwd=tmp_path)
    assert code == 2
    assert "no folder" in err


def test_help_helps(tmp_path):
    code, out, _ = run("--help", cwd=tmp_path)
    assert code == 1  # as absl leaves after its help
    for words in ("--config", "--workdir", "--data_dir", "configs/thn.py"):
        assert words in out
