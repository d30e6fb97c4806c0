"""`builders.prepare`, its command, and what importing a builder takes."""

import pathlib
import subprocess
import sys

import pytest
from archives import write_wikipedia

from jxhash import data
from jxhash.data import builders
from jxhash.data.builders import prepared
from jxhash.errors import UserError


def test_the_home_folder_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_wikipedia(tmp_path / "manual")
    path = builders.prepare("wikipedia_cross_modal/features", "~/prepared", "~/manual")
    assert path == tmp_path / "prepared/wikipedia_cross_modal/features/1.0.0"
    assert not (tmp_path / "~").exists()
    assert len(data.load("wikipedia_cross_modal/features:archive", "~/prepared").trained) == 3


def test_the_command_line(tmp_path, capsys):
    from jxhash.data.builders import __main__ as command

    options = [f"--data_dir={tmp_path / 'out'}", f"--manual_dir={tmp_path / 'manual'}"]
    write_wikipedia(tmp_path / "manual")
    command.main(["wikipedia_cross_modal/features-skipping", *options])
    path = pathlib.Path(capsys.readouterr().out.split("\n")[-2])
    assert path == tmp_path / "out/wikipedia_cross_modal/features-skipping/1.0.0"
    assert len(prepared.open_pairs(path).ids) == 5
    command.main(["wikipedia_cross_modal/pairs-skipping", *options])
    name = "wikipedia_cross_modal/pairs-skipping-pixels-8:archive"
    images = data.load(name, tmp_path / "out").training["pairs"]["image"]
    assert images.shape[1:] == (8, 8, 3)
    with pytest.raises(UserError, match=r"features-skipping is prepared without pictures; choose"):
        data.load(name.replace("pairs", "features"), tmp_path / "out")
    with pytest.raises(SystemExit, match=r"^2$"):
        command.main(["flickr30k", *options])
    assert "jxhash: flickr30k needs flickr30k or flickr30k.tar.gz" in capsys.readouterr().err
    (tmp_path / "file").write_bytes(b"")
    wrong = f"--manual_dir={tmp_path / 'manul'}"
    for arguments, says in (
        (["mirflickr25k", f"--data_dir={tmp_path / 'file'}", options[1]], "cannot be written to"),
        (["mirflickr25k", options[0], wrong], "there is no folder"),
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            command.main(arguments)
        assert says in capsys.readouterr().err


def test_the_library_imports_no_builder():
    code = (
        "import sys, jxhash.data, jxhash.data.builders, jxhash.data.builders.prepared; "
        "print([name for name in ('tensorflow_datasets', 'tensorflow') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_builders_need_no_tensorflow():
    assert "tensorflow" not in sys.modules
    for name in builders.names():
        builder, config = builders.resolve(name)
        assert builder.name == name
        assert config is builder.BUILDER_CONFIGS[0]
        assert builder.MANUAL_DOWNLOAD_INSTRUCTIONS


def test_known_checksums_are_read():
    infos = builders.get("mscoco2014").url_infos
    assert infos["http://images.cocodataset.org/zips/train2014.zip"].size == 13_510_573_713
