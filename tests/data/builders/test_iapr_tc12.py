"""IAPR TC-12: four pictures in two folders."""

import shutil
import tarfile

import pytest
from archives import IAPR, build, picture, served, write, write_iapr

from jxhash.data.builders import iapr_tc12
from jxhash.errors import UserError


def test_iapr_is_built(tmp_path):
    write_iapr(tmp_path / "manual")
    pairs = build(iapr_tc12.IaprTc12, IAPR, tmp_path)
    assert pairs.ids == ["00/25.jpg", "00/26.jpg", "01/1025.jpg", "01/1026.jpg"]
    assert pairs.metadata["label_names"] == ["cafe", "tree", "park"]
    assert pairs.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert pairs.texts[:2] == ["a café in the park;", "a park & trees"]
    # a is in four texts, park in three; in, the and trees in two, of which in comes first.
    assert pairs.metadata["vocabulary"] == ["a", "in", "park"]
    assert pairs.words.tolist() == [[1, 1, 1], [1, 0, 1], [1, 0, 0], [1, 1, 1]]
    assert pairs.pictures[2] == picture(1025)


def test_iapr_is_downloaded_and_unpacked(tmp_path, monkeypatch):
    write_iapr(tmp_path / "manual")
    (tmp_path / "served").mkdir()
    with tarfile.open(tmp_path / "served/iaprtc12.tgz", "w:gz") as archive:
        archive.add(tmp_path / "manual/iaprtc12", "iaprtc12")
    shutil.rmtree(tmp_path / "manual/iaprtc12")
    with served(tmp_path / "served") as address:
        monkeypatch.setattr(iapr_tc12, "_URL", f"{address}iaprtc12.tgz")
        pairs = build(iapr_tc12.IaprTc12, IAPR, tmp_path)
    assert pairs.texts[:2] == ["a café in the park;", "a park & trees"]
    assert pairs.pictures[3] == picture(1026)


ENG = "iaprtc12/annotations_complete_eng/00/25.eng"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (ENG, "<DESCRIPTION>café</DESCRIPTION>", r"picture 25: .*25.eng is UTF-8.*-skipping"),
        (ENG, "<DESCRIPTION>a</DESCRIPTION>".encode("utf-16"), r"25.eng has no description"),
        (ENG, "<DESCRIPTION> </DESCRIPTION>", r"25.eng has no description"),
        (ENG, None, r"picture 25: .*25.eng is missing.*-skipping"),
        ("benchmark/saiapr_tc-12/01/labels.txt", "1025 1 8\n", "line 1: label 8 is not in wlist"),
        ("benchmark/saiapr_tc-12/01/labels.txt", "1025 1\n", "line 1: expected picture, segment"),
        (
            "benchmark/saiapr_tc-12/01/labels.txt",
            "1025 1 7\n",
            "on 3 pictures, not.*another version",
        ),
        ("benchmark/wlist.txt", "1 cafe\n", "wlist.txt, line 1"),
        ("benchmark/wlist.txt", None, "has no wlist.txt"),
    ],
)
def test_wrong_iapr_is_named(tmp_path, file, content, message):
    write_iapr(tmp_path / "manual")
    (tmp_path / "manual" / file).unlink()
    if content is not None:
        write(tmp_path / "manual", {file: content})
    with pytest.raises(UserError, match=message):
        build(iapr_tc12.IaprTc12, IAPR, tmp_path)
