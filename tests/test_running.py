"""A run from Python: what it returns, what it leaves alone, and what it refuses."""

import json
import logging
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from absl import logging as absl_logging

import jxhash
from jxhash import configuration, data, metrics
from jxhash.errors import UserError

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("running")


def config(**changes):
    """A DCMH that is trained in seconds."""
    made = configuration.load("configs/dcmh.py")
    small = {"dcmh.epochs": 10, "dcmh.image.hidden": (256,), "dcmh.text.hidden": (256,)}
    without_dropout = {"dcmh.image.dropout": 0.0, "dcmh.text.dropout": 0.0}
    made.update_from_flattened_dict({"bits": 16, **small, **without_dropout, **changes})
    return made


def surroundings():
    """What a program that calls `jxhash.run` has set, and may want to keep."""
    logger = absl_logging.get_absl_logger()
    return {
        "handlers": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
        "levels": [absl_logging.get_verbosity(), logging.getLogger().level],
        "filters": [list(logger.filters), list(logging.getLogger("asyncio").filters)],
        "hooks": [sys.excepthook, sys.unraisablehook],
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run, its report, and what the run changed around it: before and after."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    before = surroundings()
    report = jxhash.run(config(), str(workdir))
    return workdir, report, (before, surroundings())


def test_the_report_is_that_of_its_file(finished):
    workdir, report, _ = finished
    assert report == json.loads((workdir / "report.json").read_text())


def test_run_again_it_returns_the_same_report_and_writes_nothing(finished):
    workdir, report, _ = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    assert jxhash.run(config(), workdir) == report
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_signal_handlers_and_logging_are_as_before(finished):
    _, _, (before, after) = finished
    assert after == before


def test_the_report_names_its_protocol(finished):
    workdir, report, _ = finished
    assert report["protocol"]["data"]["name"] == "clipart"
    assert len(report["protocol"]["data"]["sha256"]) == 64
    assert report["config"] == json.loads((workdir / "config.json").read_text())
    for by_protocol in report["results"].values():
        assert set(by_protocol) == {"encoded", "learned", "untrained networks", "random ranking"}
        assert by_protocol["encoded"]["map"] > 1.2 * by_protocol["random ranking"]["map"]


def test_codes_give_the_report_again(finished):
    workdir, report, _ = finished
    with np.load(workdir / "codes.npz") as arrays:
        for task in data.load("clipart").tasks:
            name = task.name.replace(" ", "_")
            histogram = metrics.distance_histogram(
                arrays[f"{name}_query"],
                arrays[f"{name}_database_encoded"],
                task.query.labels,
                task.database.labels,
                num_bits=int(arrays["num_bits"]),
            )
            measured = metrics.mean_average_precision(histogram)
            assert measured == pytest.approx(report["results"][task.name]["encoded"]["map"])


@pytest.mark.parametrize("version", ["0.1.0", "0.3.0", None])
def test_a_run_of_another_version_is_refused(finished, tmp_path, version):
    workdir, _, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    file = copy / "version.txt"
    assert file.read_text() == f"{jxhash.__version__}\n"
    file.write_text(version) if version else file.unlink()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    with pytest.raises(UserError, match="holds a run of jxhash") as refused:
        jxhash.run(config(), copy)
    # A run without its version is one of the first.
    for words in (version or "0.1.0", jxhash.__version__, "--workdir", "install that version"):
        assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_another_config_is_refused(finished):
    with pytest.raises(UserError, match="seed: 3 here, 0 there"):
        jxhash.run(config(seed=3), finished[0])


@pytest.mark.parametrize("leftover", [".lock", "version.txt", ".config.json.123"])
def test_a_folder_of_a_run_killed_at_once_is_taken(tmp_path, leftover):
    from jxhash import running

    (tmp_path / leftover).write_text(jxhash.__version__)
    running._require_own(tmp_path, config())


@pytest.mark.parametrize("imported", ["import jxhash", "import jxhash.running", "jxhash.run"])
def test_importing_defines_no_flags(imported, tmp_path):
    program = f"import jxhash; {imported}\nfrom absl import flags\nprint('config' in flags.FLAGS)"
    assert printed(program, tmp_path) == "False"


def test_importing_the_package_imports_nothing_else(tmp_path):
    program = (
        "import sys, jxhash; print([n for n in sys.modules if n.startswith(('jax', 'jxhash.'))])"
    )
    assert printed(program, tmp_path) == "[]"


def printed(program, folder):
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_public_names_are_resolved_and_listed():
    for name in jxhash.__all__:
        assert getattr(jxhash, name) is not None
    assert {*jxhash.__all__, "__version__"} <= set(dir(jxhash))
    with pytest.raises(AttributeError, match="no attribute 'nix'"):
        jxhash.nix  # noqa: B018
