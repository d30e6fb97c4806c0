"""Damage and divergence: what a run does where its files, its disk or its numbers fail."""

import contextlib
import errno
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import atomic_files, parallel
from jxhash.configuration import read_run
from jxhash.errors import Preempted, UserError
from jxhash.evaluation import artifacts
from jxhash.methods import code
from jxhash.methods.contract import Done, HashState, Method, Stage, Update
from jxhash.training import engine
from jxhash.training.checkpoint import Checkpoints
from jxhash.training.divergence import TrainingDivergedError
from jxhash.training.progress import MetricsFile, read_metrics


def descend(state, batch):
    """A step towards outputs of 1."""
    rows = batch.rows["pairs"]

    def objective(layer):
        outputs = rows["image"] @ layer["kernel"] + layer["bias"][None]
        return jnp.sum(rows["where"][:, None] * (outputs - 1) ** 2)

    loss, gradients = jax.value_and_grad(objective)(state.params["image"])
    layer = jax.tree.map(
        lambda x, g: x - 1e-3 * g, state.params["image"], parallel.total(gradients)
    )
    return Done(state.replace(params={"image": layer}), {"loss": (loss, jnp.sum(rows["where"]))})


def linear(step=descend, kind="minibatch", bits=4) -> Method:
    """One linear layer, trained by one update for two epochs of seven batches."""

    def init(key):
        kernel = 0.1 * jax.random.normal(key, (12, bits))
        return HashState(
            step=jnp.zeros((), jnp.int32),
            params={"image": {"kernel": kernel, "bias": jnp.zeros(bits)}},
            opt_state={},
            key=key,
            buffers={"outputs": jnp.zeros((101, bits))},
        )

    def encode(state, modality, inputs):
        raise NotImplementedError

    return Method(init, (Stage("only", 2, (Update("descend", kind, step),)),), encode, code.signs())


def train(workdir, method=None, validate=None, **changes):
    """Trains, and saves whenever it may."""
    run = read_run(small.config("dcmh", checkpoint_seconds=0.0, **changes))
    return engine.train(method or linear(), small.dataset().training, run, workdir, validate)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The state at the end of a training that nothing disturbed."""
    return jax.device_get(train(tmp_path_factory.mktemp("uninterrupted")))


def assert_same(one, other):
    one, other = (
        jax.tree.leaves(jax.device_get(state.replace(key=jax.random.key_data(state.key))))
        for state in (one, other)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# Checkpoints


def state_of(number=0):
    """A first state of which the parameters tell a number."""
    state = jax.device_get(jax.jit(linear().init)(jax.random.key(0)))
    return state.replace(params=jax.tree.map(lambda x: x + np.float32(number), state.params))


def like(method):
    return jax.eval_shape(method.init, jax.random.key(0))


def save(folder, *numbers, place=None):
    """Saves states, one after another, each with its number or the given place."""
    checkpoints = Checkpoints(folder, 30)
    for number in numbers:
        checkpoints.save(state_of(number), place or {"place": number})
    checkpoints.close()


def restore(folder, method=None):
    with contextlib.closing(Checkpoints(folder, 30)) as checkpoints:
        return checkpoints.restore(like(method or linear()))


START = {"place": [0, 0, 0, 0], "history": {}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    save(folder, 1, 2)
    return folder


def contents_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate_all(folder):
    for path in all_files(folder):
        truncate(path)


def flip_the_largest(folder):
    flip(max(all_files(folder), key=lambda path: path.stat().st_size))


def change_a_number_of_the_record(folder):
    """What is still JSON and still has every key."""
    path = folder / "place" / "metadata"
    path.write_text(path.read_text().replace('"place": 2', '"place": 7'))


def another_format(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"PK\x03\x04")


DAMAGES = {
    "truncated": truncate_all,
    "flipped": flip_the_largest,
    "record": change_a_number_of_the_record,
    "no state": lambda folder: shutil.rmtree(folder / "state"),
    "no place": lambda folder: shutil.rmtree(folder / "place"),
    "another format": another_format,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_moved_aside_for_the_one_before(saved, tmp_path, caplog, damage):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    damage(folder / "2")
    bad, good = contents_of(folder / "2"), contents_of(folder / "1")
    checkpoints = Checkpoints(folder, 30)
    state, place = checkpoints.restore(like(linear()))
    assert place == {"place": 1}
    assert_same(state, state_of(1))
    (line,) = warnings(caplog)
    assert "\n" not in line
    for words in (str(folder), "2 (", "damaged-2", "goes on from checkpoint 1"):
        assert words in line
    # Nothing is deleted; a number is not used again; the good one is not pushed out by the bad.
    assert contents_of(folder / "damaged-2") == bad
    checkpoints.save(state_of(3), {"place": 3})
    checkpoints.close()
    assert {path.name for path in folder.iterdir()} == {"1", "3", "damaged-2"}
    assert contents_of(folder / "1") == good
    assert restore(folder)[1] == {"place": 3}


@pytest.mark.parametrize("damage", [truncate, flip])
def test_damage_to_any_file_is_found_or_harmless(saved, tmp_path, damage):
    fallen_back = 0
    names = list(contents_of(saved / "2"))
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        damage(folder / "2" / name)
        state, place = restore(folder)
        assert_same(state, state_of(place["place"]))
        fallen_back += place["place"] == 1
    assert 3 < fallen_back < len(names)


def test_without_a_good_checkpoint_a_training_starts_again(tmp_path, caplog, uninterrupted):
    train(tmp_path)
    folder = tmp_path / "checkpoints"
    names = {path.name for path in folder.iterdir()}
    truncate_all(folder)
    caplog.clear()
    assert_same(train(tmp_path), uninterrupted)
    (line,) = warnings(caplog)
    assert "goes on from the start" in line
    assert {f"damaged-{name}" for name in names} <= {path.name for path in folder.iterdir()}
    lines = [tuple(line["place"]) for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert lines == [(0, 0, 0), (0, 1, 0)]


def test_a_whole_checkpoint_of_another_training_stops_the_run(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    truncate_all(folder / "2")
    before = contents_of(folder)
    with pytest.raises(UserError, match=r"1 is whole, but of another .*\[101, 4\].*\[101, 8\]"):
        restore(folder, linear(bits=8))
    assert contents_of(folder) == before


def test_a_checkpoint_that_may_not_be_read_is_not_taken_for_a_damaged_one(saved):
    # Not below pytest's folder, which is its user's alone.
    with tempfile.TemporaryDirectory() as outer:
        folder = pathlib.Path(outer) / "checkpoints"
        shutil.copytree(saved, folder)
        before = os.geteuid()
        if before == 0:
            for path in (folder.parent, folder, *folder.rglob("*")):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            for path in all_files(folder / "2"):
                path.chmod(0)
            with pytest.raises(UserError, match=r"2 cannot be read .*make it readable"):
                restore(folder)
            assert {path.name for path in folder.iterdir()} == {"1", "2"}
        finally:
            os.seteuid(before)


@pytest.mark.filterwarnings("ignore:coroutine", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_while_a_checkpoint_is_read_is_not_taken_for_damage(saved, tmp_path):
    def stop(number, frame):
        raise Preempted

    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    before = signal.signal(signal.SIGALRM, stop)
    read = 0
    checkpoints = Checkpoints(folder, 30)
    try:
        for milliseconds in range(1, 40):
            with contextlib.suppress(Preempted):
                signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
                checkpoints.restore(like(linear()))
                read += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert {path.name for path in folder.iterdir()} == {"1", "2"}
    finally:
        signal.signal(signal.SIGALRM, before)
        checkpoints.close()
    assert read < 39


# The disk


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "none", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leaves no room on a disk."""
    file = folder / "filler"
    with open(file, "wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    assert shutil.disk_usage(folder).free == 0
    return file


def test_a_full_disk_stops_the_run_until_there_is_room(disk, uninterrupted, capfd):
    folder = disk / "checkpoints"
    save(folder, 0, place=START)
    before, filler = contents_of(folder), fill(disk)
    with pytest.raises(UserError, match=r"disk.* cannot be written \(No space left.*make room"):
        train(disk)
    assert contents_of(folder).items() >= before.items()
    assert "Traceback" not in capfd.readouterr().err
    filler.unlink()
    assert_same(train(disk), uninterrupted)


def test_a_disk_that_fills_while_it_is_written_in_the_background(disk):
    checkpoints = Checkpoints(disk, 30)
    checkpoints.save(state_of(1), {"place": 1})
    large = state_of().replace(buffers={"large": np.random.default_rng(0).random(2**19)})
    checkpoints.save(large, {"place": 2})
    with pytest.raises(UserError, match="No space left"):
        checkpoints.wait()
    checkpoints.save(state_of(3), {"place": 3})
    checkpoints.close()
    state, place = restore(disk)
    assert place == {"place": 3}
    assert_same(state, state_of(3))
    assert {path.name for path in disk.iterdir()} == {"1", "3"}


def test_a_write_that_fails_keeps_what_was_saved(tmp_path):
    save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=r"File too large.*ulimit"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert restore(tmp_path)[1] == {"place": 1}


def test_a_disk_that_turns_read_only(disk, uninterrupted):
    save(disk / "checkpoints", 0, place=START)
    before = contents_of(disk)
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(UserError, match=r"disk.* cannot be .*Read-only file system.*writable"):
        train(disk)
    with pytest.raises(UserError, match="Read-only"), atomic_files.locked(disk):
        pass
    assert contents_of(disk) == before
    mount("-o", "remount,rw", str(disk))
    assert_same(train(disk), uninterrupted)


def test_a_file_is_replaced_whole_or_not_at_all(disk):
    file = disk / "report.json"
    atomic_files.write_atomically(file, b"old")
    fill(disk)
    with pytest.raises(UserError, match=f"{disk} cannot be written"), atomic_files.writing(disk):
        atomic_files.write_atomically(file, bytes(100_000))
    assert file.read_bytes() == b"old"
    assert {path.name for path in disk.iterdir()} == {"report.json", "filler"}


def test_errors_of_other_files_are_not_taken_for_those_of_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_files.writing(tmp_path / "run"):
        (tmp_path / "data.npz").read_bytes()
    with pytest.raises(PermissionError), atomic_files.writing(tmp_path / "run"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "data.npz"))


def test_a_line_of_the_record_that_was_cut(tmp_path):
    record, file = MetricsFile(tmp_path), tmp_path / "metrics.jsonl"
    record.keep(bool)
    for epoch in range(3):
        record.append(_line(epoch))
    for cut in (b'{"numb', b"\xff\x00\x00", b""):
        file.write_bytes(file.read_bytes() + cut)
        record.keep(lambda line: line["epoch"] < 2)
        assert [line["epoch"] for line in read_metrics(file)] == [0, 1]
        assert file.read_bytes().endswith(b"\n")
        assert record.lines == 2


def _line(epoch):
    return {"place": [0, epoch, 0], "stage": "alone", "epoch": epoch, "update": "net", "loss": 0.5}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"\xff\xfe",
        lambda line: line.replace(b"place", b"plbce"),
        lambda line: line.replace(b"[0, 1, 0]", b'"010"'),
        lambda line: line.replace(b"[0, 1, 0]", b'[0, "1", 0]'),
        lambda line: line.replace(b'"net"', b"3"),
        lambda line: line.replace(b"0.5", b"{}"),
        lambda line: line.replace(b"0.5", b"9" * 400),
        lambda line: b"[1]",
    ],
)
def test_a_line_of_the_record_that_is_damaged_is_named(tmp_path, damage):
    record, file = MetricsFile(tmp_path), tmp_path / "metrics.jsonl"
    lines = [json.dumps(_line(epoch)).encode() for epoch in range(3)]
    lines[1] = damage(lines[1])
    file.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(UserError, match=r"line 2, is .*; remove the line"):
        record.keep(bool)


def test_lines_of_the_record_that_are_lost_are_counted(tmp_path, caplog):
    train(tmp_path)
    assert not warnings(caplog)
    file = tmp_path / "metrics.jsonl"
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    train(tmp_path)
    (line,) = warnings(caplog)
    assert "lost lines of metrics.jsonl: 1;" in line


def test_a_folder_that_is_moved_away_ends_the_training(tmp_path):
    def move(state):
        # After the saves under way, of which Orbax would say it in words of its own.
        time.sleep(1)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        return {"text to image": 0.5}

    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"run.* cannot be written \(No such.*put it back"):
        train(tmp_path / "run", validate=move, validate_every=1)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    (tmp_path / "elsewhere").rename(tmp_path / "run")
    train(tmp_path / "run")
    assert len(list(read_metrics(tmp_path / "run" / "metrics.jsonl"))) == 2


# The clock


@pytest.mark.parametrize("years", [-60, 60])
def test_a_clock_that_jumps(tmp_path, monkeypatch, uninterrupted, years):
    folder = tmp_path / "checkpoints"
    save(folder, 0, 0, place=START)
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0) if years > 0 else (2**32, 2**32))
    seconds, wall = years * 365 * 86400, (time.time, time.time_ns)
    monkeypatch.setattr(time, "time", lambda: wall[0]() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: wall[1]() + seconds * 10**9)
    assert_same(train(tmp_path), uninterrupted)
    assert restore(folder)[1]["place"] == [1, 0, 0, 0]


# The signal


def test_sigterm_while_the_last_epoch_is_validated(tmp_path, uninterrupted):
    def validate(state):
        del state
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(Preempted):
        train(tmp_path, validate=validate, validate_every=2)
    assert_same(train(tmp_path), uninterrupted)


def test_sigterm_while_an_update_works_on_the_host(tmp_path):
    """It may take longer than whoever sends the signal waits."""

    released = threading.Event()

    def step(state, batch):
        if not (tmp_path / "began").exists():
            (tmp_path / "began").touch()
            os.kill(os.getpid(), signal.SIGTERM)
            released.wait(600)
        return Done(state.replace(buffers={"outputs": state.buffers["outputs"] + 1}), {})

    method = linear(step, kind="host")
    with pytest.raises(Preempted):
        train(tmp_path, method)
    released.set()
    _, record = restore(tmp_path / "checkpoints")
    assert record["place"] == [0, 0, 0, 0]
    assert np.all(np.asarray(train(tmp_path, method).buffers["outputs"]) == 2)


# The numbers


def diverging(workdir, step, kind="minibatch"):
    """What the run says."""
    with pytest.raises(TrainingDivergedError) as caught:
        train(workdir, linear(step, kind))
    return str(caught.value)


def at_step(state, number, then, otherwise):
    return jnp.where(state.step == number, then, otherwise)


def test_a_loss_that_is_nan_stops_the_run_and_keeps_what_was_good(tmp_path):
    def step(state, batch):
        del batch
        return Done(state, {"loss": (at_step(state, 9, jnp.nan, 1.0), 1.0)})

    says = diverging(tmp_path, step)
    assert (
        "the metric 'loss' turned NaN in update 'descend', stage 'only', epoch 2, batch 3" in says
    )
    state, record = restore(tmp_path / "checkpoints")
    assert record["place"][:2] in ([0, 0], [0, 1])
    assert int(state.step) <= 9


def test_a_gradient_that_is_nan_beside_a_finite_loss(tmp_path):
    def step(state, batch):
        del batch

        def objective(layer):
            size = jnp.sum(layer["kernel"] ** 2) + jnp.sum(layer["bias"] ** 2)
            # At zero a root is finite and has no derivative.
            return jnp.sqrt(size * at_step(state, 9, 0.0, 1.0))

        loss, gradients = jax.value_and_grad(objective)(state.params["image"])
        layer = jax.tree.map(lambda x, g: x - 0.1 * g, state.params["image"], gradients)
        return Done(state.replace(params={"image": layer}), {"loss": (loss, 1.0)})

    says = diverging(tmp_path, step)
    assert "a gradient turned NaN in update 'descend', stage 'only', epoch 2, batch 3" in says
    assert "no derivative" in says
    assert np.isfinite(restore(tmp_path / "checkpoints")[0].params["image"]["bias"]).all()


def test_a_weight_that_is_infinite_stops_the_run_within_its_epoch(tmp_path):
    def step(state, batch):
        del batch
        layer = state.params["image"]
        first = at_step(state, 3, jnp.inf, layer["kernel"][0, 0])
        layer = layer | {"kernel": layer["kernel"].at[0, 0].set(first)}
        return Done(state.replace(params={"image": layer}), {"loss": (1.0, 1.0)})

    says = diverging(tmp_path, step)
    assert "the state (params image kernel) turned infinite by update 'descend'" in says
    assert "stage 'only', epoch 1, batch" in says
    saved = restore(tmp_path / "checkpoints")
    assert saved is None or np.isfinite(saved[0].params["image"]["kernel"]).all()


@pytest.mark.parametrize("kind", ["host", "full"])
def test_what_an_update_of_all_rows_gives_is_looked_at(tmp_path, kind):
    def step(state, batch):
        del batch
        outputs = state.buffers["outputs"] * jnp.nan
        return Done(state.replace(buffers={"outputs": outputs}), {"loss": (1.0, 1.0)})

    says = diverging(tmp_path, step, kind)
    assert "(buffers outputs) turned NaN by update 'descend', stage 'only', epoch 1; " in says
    assert "regularisation" in says
    assert restore(tmp_path / "checkpoints") is None


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda step: jnp.where(step == 6, jnp.inf, 1 + 100.0**step), "infinite in .*grew before"),
        (lambda step: jnp.nan * step, "batch 1; look at the scale of the features"),
        (lambda step: jnp.where(step == 6, jnp.nan, 1.0), "batch 7; .*outliers"),
    ],
    ids=["grew", "at once", "otherwise"],
)
def test_the_mend_fits_the_cause(tmp_path, loss, says):
    def step(state, batch):
        del batch
        return Done(state, {"loss": (loss(state.step.astype(jnp.float32)), 1.0)})

    assert re.search(says, diverging(tmp_path, step))


def test_bits_that_tell_nothing_apart_are_told_once(capsys):
    def encode(state, modality, inputs):
        del state
        if modality == "text":
            return jnp.ones((len(inputs), 8))
        return jnp.where(jnp.arange(8) < 3, -1.0, inputs[:, :8])

    def used(state, modality, inputs):
        del state, modality
        return jnp.asarray(inputs[:, :8], jnp.float32) - 0.5

    data, state = small.dataset(), state_of()
    measure = artifacts.validation(linear()._replace(encode=encode), data)
    measure(state)
    said = capsys.readouterr().err
    assert "warning: all 101 text codes of the validation rows are equal" in said
    assert "3 of 8 bits are constant over the 101 image codes of the validation rows" in said
    measure(state)
    artifacts.validation(linear()._replace(encode=used), data)(state)
    assert not capsys.readouterr().err


def test_entries_that_tell_nothing_apart_are_told(capsys):
    """Those of a method with distances of its own, which are no codes."""

    def distances(buffers, outputs, entries):
        return jnp.asarray(outputs[:, :2] @ entries.T, jnp.float32)

    def encode(state, modality, inputs):
        outputs = jnp.asarray(inputs[:, :2], jnp.float32) - 0.5
        return outputs.at[:, 1].set(1) if modality == "text" else outputs

    numbers = code.Code(
        name="minus the inner product",
        entries=lambda buffers, outputs: (outputs > 0).astype(jnp.uint8),
        distances=distances,
        levels=None,
    )
    method = linear()._replace(encode=encode, code=numbers)
    artifacts.validation(method, small.dataset())(state_of())
    said = capsys.readouterr().err
    assert "1 of 2 bits are constant over the 101 text codes of the validation rows" in said


def test_outputs_that_are_not_finite_are_no_codes():
    data, state = small.dataset(), state_of()

    def encode(state, modality, inputs):
        return 10 * jnp.asarray(inputs, jnp.float32)

    (task, *_) = data.validation
    modality = task.query_modality
    task.query.inputs[modality] = np.float32(task.query.inputs[modality])
    task.query.inputs[modality][3] = 3e38
    with pytest.raises(UserError, match=rf"1 of \d+ {modality}s \(first of row 3\); scale"):
        artifacts.validation(linear()._replace(encode=encode), data)(state)
