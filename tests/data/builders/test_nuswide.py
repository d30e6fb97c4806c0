"""NUS-WIDE: six pictures, four concepts of which two are kept, three tags."""

import dataclasses
import shutil

import pytest
from archives import NUS, NUS_FILES, build, picture, write, write_nuswide, zip_folder

from jxhash.data.builders import nuswide
from jxhash.errors import UserError


def test_nuswide_is_built(tmp_path):
    write_nuswide(tmp_path / "manual")
    pairs = build(nuswide.Nuswide, NUS, tmp_path)
    assert pairs.metadata["label_names"] == ["clouds", "sky"]
    assert pairs.ids == [NUS_FILES[n].replace("\\", "/") for n in (0, 1, 2, 4, 5)]
    assert pairs.labels.tolist() == [[1, 1], [1, 0], [0, 1], [1, 0], [0, 1]]
    assert pairs.metadata["vocabulary"] == ["sun", "tree", "red"]
    assert pairs.words.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert pairs.texts == ["sun\nred", "red", "", "näive\nsun", "sun\ntree"]
    assert pairs.pictures[3] == picture(4, "PNG")


@pytest.mark.parametrize("layout", ["zip", "flat zip", "folder in folder"])
def test_nuswide_pictures_lie_as_they_are_given(tmp_path, layout):
    """With a blank line behind the list, and paths as on the authors' machine."""
    manual = tmp_path / "manual"
    write_nuswide(manual)
    if layout == "zip":
        zip_folder(manual / "Flickr", manual / "Flickr.zip")
    elif layout == "flat zip":
        shutil.make_archive(manual / "Flickr", "zip", manual / "Flickr")
        shutil.rmtree(manual / "Flickr")
    else:
        (manual / "Flickr").rename(manual / "inner")
        (manual / "inner").rename((manual / "Flickr").mkdir() or manual / "Flickr/Flickr")
    names = "".join(f"C:\\ImageData\\Flickr\\{file}\n" for file in NUS_FILES)
    write(manual, {"ImageList/Imagelist.txt": f"{names}\n"})
    pairs = build(nuswide.Nuswide, NUS, tmp_path)
    assert pairs.ids[1] == "actor/0001_901.jpg"
    assert pairs.pictures[3] == picture(4, "PNG")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Groundtruth/AllLabels/Labels_sky.txt", b"0\n", b"-1\n", "Labels_sky.txt, line 2: expect"),
        ("Groundtruth/AllLabels/Labels_sky.txt", b"0\n", b"", "Labels_sky.txt has 5 lines.*6"),
        ("ImageList/Imagelist.txt", b"actor\\0001", b"..\\0001", "Imagelist.txt, line 2: expected"),
        ("ImageList/Imagelist.txt", b"0004_904", b"0000_900", "line 5: tags of '904'.*is 900"),
        ("ImageList/Imagelist.txt", b"actor\\0005_905.jpg \r\n", b"", "5 lines, not 6"),
        ("NUS_WID_Tags/TagList1k.txt", b"red\n", b"", "2 tags, not 3"),
        ("NUS_WID_Tags/AllTags1k.txt", b"0\t0\t1\t\n", b"0\t1\t\n", "AllTags1k.txt, line 2: exp"),
        ("NUS_WID_Tags/AllTags1k.txt", b"1\t1\t0\t\n", b"", "differ in length"),
        ("NUS_WID_Tags/All_Tags.txt", b"902", b"977", "line 3: tags of '977'.*is 902"),
        ("NUS_WID_Tags/All_Tags.txt", "näive".encode(), b"n\xe4ive", "line 5: no UTF-8.*skip"),
        ("Flickr/actor/0001_901.jpg", None, None, "0001_901.jpg is missing.*-skipping"),
    ],
)
def test_wrong_nuswide_is_named(tmp_path, file, old, new, message):
    write_nuswide(tmp_path / "manual")
    path = tmp_path / "manual" / file
    if old is None:
        path.unlink()
    else:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        build(nuswide.Nuswide, NUS, tmp_path)


def test_nuswide_can_do_without_pictures(tmp_path):
    write_nuswide(tmp_path / "manual")
    shutil.rmtree(tmp_path / "manual/Flickr")
    config = dataclasses.replace(NUS, name="small-tags", pictures=False)
    pairs = build(nuswide.Nuswide, config, tmp_path)
    assert len(pairs.ids) == 5
    assert pairs.pictures is None


def test_nuswide_says_how_to_get_its_pictures(tmp_path):
    write_nuswide(tmp_path / "manual")
    shutil.rmtree(tmp_path / "manual/Flickr")
    with pytest.raises(UserError, match=r"needs Flickr or Flickr\.zip.*Ask for the pictures"):
        build(nuswide.Nuswide, NUS, tmp_path)
