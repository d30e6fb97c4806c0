"""Builders: small archives in the layout of the real ones, whole and malformed, and real files."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import scipy.io
from archives import (
    CAPTIONS,
    COCO,
    FLICKR,
    IAPR,
    MIR,
    NUS,
    NUS_FILES,
    PASCAL,
    WIKI,
    build,
    coco_parts,
    picture,
    write,
    write_coco,
    write_flickr,
    write_iapr,
    write_mirflickr,
    write_nuswide,
    write_pascal,
    write_wikipedia,
    zip_folder,
)

from jxhash import data
from jxhash.data import builders, protocols
from jxhash.data.builders import archive as archives
from jxhash.data.builders import (
    base,
    flickr30k,
    iapr_tc12,
    mirflickr25k,
    mscoco2014,
    nuswide,
    pascal_sentence,
    prepared,
    wikipedia,
)
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.networks import pretrained

DATA_DIR = os.environ.get("JXHASH_DATA_DIR")


# MIRFLICKR-25K: eight pictures; a tag is a word on two of them.


def ids(*numbers):
    return [f"im{number}.jpg" for number in sorted(numbers)]


def test_mirflickr_is_built(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    assert pairs.metadata["vocabulary"] == ["sea", "sky", "zürich"]
    assert pairs.ids == ids(1, 2, 3, 6, 8)
    assert pairs.words.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert pairs.texts[1] == "sky\nzürich"
    assert pairs.texts[4] == "sea\nonly\nonly"
    names = [np.array(pairs.metadata["label_names"])[row == 1].tolist() for row in pairs.labels]
    assert names == [["sea", "sky"], ["sky"], ["sea"], ["night"], ["night"]]
    assert list(pairs.pictures) == [picture(n) for n in (1, 2, 3, 6, 8)]
    assert pairs.metadata["skipped"] == {}
    assert pairs.name == "mirflickr25k/small"


def test_zip_files_are_read_as_folders_are(tmp_path):
    manual = tmp_path / "manual"
    write_mirflickr(manual)
    folders = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    zip_folder(manual / "mirflickr", manual / "mirflickr25k.zip")
    annotations = "mirflickr25k_annotations_v080"
    zip_folder(manual / annotations, manual / f"{annotations}.zip")
    zipped = build(mirflickr25k.Mirflickr25k, dataclasses.replace(MIR, name="zipped"), tmp_path)
    assert zipped.texts == folders.texts
    np.testing.assert_array_equal(zipped.words, folders.words)
    np.testing.assert_array_equal(zipped.labels, folders.labels)
    assert list(zipped.pictures) == list(folders.pictures)


def test_mirflickr_without_pictures_or_without_the_rule_of_tags(tmp_path):
    write_mirflickr(tmp_path / "manual")
    for path in (tmp_path / "manual/mirflickr").glob("*.jpg"):
        path.unlink()
    config = mirflickr25k.Config(
        name="l", pictures=False, tagged=False, num_pictures=8, min_pictures=2
    )
    pairs = build(mirflickr25k.Mirflickr25k, config, tmp_path)
    assert pairs.ids == ids(1, 2, 3, 4, 5, 6, 8)
    assert pairs.words[3].tolist() == [0, 0, 0]
    assert pairs.texts[4] == ""
    assert pairs.pictures is None


MIR_DAMAGE = [
    ("mirflickr/im3.jpg", picture(3)[:-90], "pair im3.jpg: .*im3.jpg is no whole picture"),
    ("mirflickr/im3.jpg", b"GIF89a", "pair im3.jpg: .*im3.jpg is no whole picture"),
    ("mirflickr/im3.jpg", None, r"pair im3.jpg: .*im3.jpg is missing"),
    ("mirflickr/meta/tags/tags2.txt", "sky\nzürich".encode("latin-1"), r"tags2.txt, line 2: not"),
    ("mirflickr/meta/tags/tags2.txt", "sky".encode("utf-16"), r"picture 2: .*tags2.txt, line 1"),
    ("mirflickr/meta/tags/tags2.txt", None, r"picture 2: .*tags2.txt is missing"),
]


@pytest.mark.parametrize(("file", "content", "message"), MIR_DAMAGE)
def test_a_damaged_pair_stops_or_is_counted(tmp_path, file, content, message):
    write_mirflickr(tmp_path / "manual")
    (tmp_path / "manual" / file).unlink()
    if content is not None:
        write(tmp_path / "manual", {file: content})
    with pytest.raises(UserError, match=f"{message}.*-skipping"):
        build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    pairs = build(mirflickr25k.Mirflickr25k, MIR.skipping(), tmp_path)
    assert sum(pairs.metadata["skipped"].values()) == 1
    assert pairs.ids == ids(*({1, 2, 3, 6, 8} - {3 if "im3" in file else 2}))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mirflickr25k_annotations_v080/sky.txt", "1\n25001\n", "sky.txt, line 2: .*1 to 8"),
        ("mirflickr25k_annotations_v080/sky.txt", "1 1\n", "sky.txt, line 1: .*'1 1'"),
        ("mirflickr25k_annotations_v080/tree.txt", None, "tree.txt is missing"),
        ("mirflickr25k_annotations_v080/animals.txt", None, r"has no animals.txt; .*another ver"),
    ],
)
def test_a_damaged_archive_always_stops(tmp_path, file, content, message):
    write_mirflickr(tmp_path / "manual")
    (tmp_path / "manual" / file).unlink()
    if content is not None:
        write(tmp_path / "manual", {file: content})
    with pytest.raises(UserError, match=message):
        build(mirflickr25k.Mirflickr25k, MIR.skipping(), tmp_path)


def test_damaged_zip_files_are_named(tmp_path):
    manual = tmp_path / "manual"
    write_mirflickr(manual)
    zip_folder(manual / "mirflickr", manual / "mirflickr25k.zip")
    whole = (manual / "mirflickr25k.zip").read_bytes()
    (manual / "mirflickr25k.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"mirflickr25k\.zip is no folder and no whole zip file"):
        build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    place = whole.index(picture(3)) + 200  # stored: its sum is wrong
    changed = whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
    (manual / "mirflickr25k.zip").write_bytes(changed)
    with pytest.raises(UserError, match=r"pair im3.jpg: .*im3\.jpg is damaged.*CRC"):
        build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    write_mirflickr(manual)
    zip_folder(manual / "mirflickr", manual / "mirflickr25k.zip", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(manual / "mirflickr25k.zip") as archive:
        entry = archive.getinfo("mirflickr/im3.jpg")
    place = entry.header_offset + 30 + len(entry.filename)
    with open(manual / "mirflickr25k.zip", "r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 20)  # packed: it does not unpack
    with pytest.raises(UserError, match=r"pair im3.jpg: .*im3\.jpg is damaged.*decompress"):
        build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    assert not list((tmp_path / "prepared/mirflickr25k").glob("small/*"))


def test_a_zip_file_may_be_unpacked_into_a_folder_of_its_name(tmp_path):
    write_mirflickr(tmp_path / "manual/mirflickr25k")
    (tmp_path / "manual/mirflickr25k/mirflickr25k_annotations_v080").rename(
        tmp_path / "manual/mirflickr25k_annotations_v080"
    )
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    assert list(pairs.pictures) == [picture(n) for n in (1, 2, 3, 6, 8)]


def test_the_home_folder_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_wikipedia(tmp_path / "manual")
    path = builders.prepare("wikipedia_cross_modal/features", "~/prepared", "~/manual")
    assert path == tmp_path / "prepared/wikipedia_cross_modal/features/1.0.0"
    assert not (tmp_path / "~").exists()
    assert len(data.load("wikipedia_cross_modal/features:archive", "~/prepared").trained) == 3


def test_a_picture_that_is_there_twice_is_named(tmp_path):
    write_pascal(tmp_path / "manual")
    pairs = [base.Pair("a.jpg", [], []), base.Pair("b.jpg", [], []), base.Pair("a.jpg", [], [])]

    class Twice(pascal_sentence.PascalSentence, skip_registration=True):
        def contents(self, fetch, faults):
            return base.Contents([], ["label"], {"pairs": pairs})

    config = pascal_sentence.Config(name="small", pictures=False)
    with pytest.raises(UserError, match=r"the picture a\.jpg twice"):
        build(Twice, config, tmp_path)


@contextlib.contextmanager
def served(folder):
    """A folder at an address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_archives_that_have_an_address_are_downloaded(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    write_mirflickr(folder)
    zip_folder(folder / "mirflickr", folder / "mirflickr25k.zip")
    annotations = "mirflickr25k_annotations_v080"
    zip_folder(folder / annotations, folder / f"{annotations}.zip")
    with served(folder) as address:
        monkeypatch.setattr(mirflickr25k, "_URL", address)
        pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path, manual="nothing")
    assert pairs.ids == ids(1, 2, 3, 6, 8)


def test_dead_addresses_are_named(tmp_path, monkeypatch):
    message = r"mirflickr25k.zip cannot be downloaded .*404.* get mirflickr25k.zip or mirf"
    with served(tmp_path / "nothing") as address:
        monkeypatch.setattr(mirflickr25k, "_URL", address)
        with pytest.raises(UserError, match=message):
            build(mirflickr25k.Mirflickr25k, MIR, tmp_path)


# NUS-WIDE: six pictures, four concepts of which two are kept, three tags.


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


# MS COCO: two pictures for training, two for validation, one of which shows no object.


def test_coco_is_built(tmp_path):
    write_coco(tmp_path / "manual", coco_parts())
    zip_folder(tmp_path / "manual/val2014", tmp_path / "manual/val2014.zip")
    pairs = build(mscoco2014.Mscoco2014, COCO, tmp_path)
    assert pairs.ids == [
        "train2014/COCO_train2014_000000000009.jpg",
        "train2014/COCO_train2014_000000000030.jpg",
        "val2014/COCO_val2014_000000000042.jpg",
    ]
    assert pairs.metadata["label_names"] == ["thing 48", "thing 60", "thing 81"]
    assert pairs.labels.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    # a, dog and number are in the captions of all pairs; 30, 42 and 9 in one each.
    assert pairs.metadata["vocabulary"] == ["30", "a", "dog", "number"]
    assert pairs.words.tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]
    assert pairs.texts[0] == "A dog, number 9\nA dog, number 9"
    assert list(pairs.pictures) == [picture(n) for n in (9, 30, 42)]


def spoil_coco(parts, how):
    instances, captions = parts["train2014"]
    if how == "other version":
        instances["images"][1]["file_name"] = "000000000009.jpg"
    elif how == "strange caption":
        captions["annotations"][1]["image_id"] = 77
    elif how == "strange category":
        instances["annotations"][0]["category_id"] = 5
    elif how == "no caption":
        captions["annotations"] = [a for a in captions["annotations"] if a["image_id"] != 9]
    elif how == "no text":
        captions["annotations"][2]["caption"] = None
    elif how == "no list":
        del instances["categories"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("other version", r"instances_train2014.*picture 9.*'000000000009.jpg'.*another version"),
        ("strange caption", r"captions_train2014.*annotation 1: picture 77 is not in"),
        ("strange category", r"instances_train2014.*annotation 0: picture 30 or category 5"),
        ("no caption", r"captions_train2014.*picture 9 has no caption.*-skipping"),
        ("no text", r"captions_train2014.*annotations 2: expected the fields image_id, caption"),
        ("no list", r"instances_train2014.json has no list 'categories'"),
        ("cut", r"instances_train2014.json is no whole JSON file"),
    ],
)
def test_wrong_coco_is_named(tmp_path, how, message):
    parts = coco_parts()
    spoil_coco(parts, how)
    write_coco(tmp_path / "manual", parts)
    if how == "cut":
        file = tmp_path / "manual/annotations/instances_train2014.json"
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UserError, match=message):
        build(mscoco2014.Mscoco2014, COCO, tmp_path)


# IAPR TC-12: four pictures in two folders.


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


def test_tar_files_are_unpacked_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "name.jpg").write_bytes(picture(1) * 40)
    path, folder = tmp_path / "a.tgz", tmp_path / "out/a.tgz"

    def pack(name):
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "name.jpg", "good.jpg")
            archive.add(tmp_path / "name.jpg", name)

    pack("../outside.jpg")
    with pytest.raises(UserError, match=r"a\.tgz cannot be unpacked.*outside"):
        archives.unpacked(path, folder)
    pack("inside.jpg")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.tgz cannot be unpacked"):
        archives.unpacked(path, folder)
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_MAX_ARCHIVE_BYTES", 20_000)
        with pytest.raises(UserError, match="more than 20,000 bytes"):
            archives.unpacked(path, folder)
    assert not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "outside.jpg").exists()
    assert (archives.unpacked(path, folder) / "inside.jpg").read_bytes() == picture(1) * 40
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["a.tgz"]
    path.unlink()
    assert archives.unpacked(path, folder) == folder


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


# Wikipedia: three training pairs and two to test.


@pytest.mark.parametrize("zipped", [False, True])
def test_wikipedia_is_built(tmp_path, zipped):
    manual = tmp_path / "manual"
    arrays = write_wikipedia(manual)
    if zipped:
        zip_folder(manual / "wikipedia_dataset", manual / "wikipedia_dataset.zip")
    pairs = build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)
    assert pairs.ids == [f"class{n}/image{n}.jpg" for n in (1, 2, 3, 4, 5)]
    assert pairs.parts.tolist() == ["train"] * 3 + ["test"] * 2
    assert pairs.labels.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert pairs.texts[3] == "The battle of 4 & more aa ab ac"
    assert pairs.metadata["vocabulary"] == ["battle", "more", "of"]
    both = np.concatenate([arrays["I_tr"], arrays["I_te"]])
    np.testing.assert_array_equal(pairs.arrays["image_features"], both)
    assert list(pairs.pictures) == [picture(n) for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "texts/text-2.xml",
            "<article>",
            r"trainset.*line 2: .*text-2.xml has no text.*skip",
        ),
        ("texts/text-5.xml", None, r"testset.*line 2: .*text-5.xml is missing.*-skipping"),
        ("testset_txt_img_cat.list", "a\t../b\t1\nc\td\t2\n", "line 1: .*no file names"),
        ("testset_txt_img_cat.list", "a\tb\t1\n", "do not belong together"),
        ("testset_txt_img_cat.list", b"a\tb\t1\na\t\xe9\t2\n", "list, line 2: not in UTF-8"),
        (
            "categories.list",
            "art\nbiology\n",
            r"categories\.list: expected 10 names of folders, found 2",
        ),
        (
            "images/class1/image1.jpg",
            picture(1)[:300],
            "pair class1/image1.jpg: .*image1.jpg is no whole pic",
        ),
    ],
)
def test_wrong_wikipedia_is_named(tmp_path, file, content, message):
    write_wikipedia(tmp_path / "manual")
    folder = tmp_path / "manual/wikipedia_dataset"
    (folder / file).unlink()
    if content is not None:
        write(folder, {file: content})
    with pytest.raises(UserError, match=message):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


def test_features_that_lie_are_refused_before_scipy_reads_them(tmp_path):
    manual = tmp_path / "manual"
    write_wikipedia(manual)
    file = manual / "wikipedia_dataset/raw_features.mat"
    content = bytearray(file.read_bytes())
    place = content.index(b"I_tr") + 4
    content[place : place + 4] = (77).to_bytes(4, "little")  # a type that there is not
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"raw_features\.mat:I_tr cannot be read .*type 77"):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


def test_a_damaged_list_in_a_zip_file_is_named(tmp_path):
    manual = tmp_path / "manual"
    write_wikipedia(manual)
    zip_folder(manual / "wikipedia_dataset", manual / "wikipedia_dataset.zip")
    whole = (manual / "wikipedia_dataset.zip").read_bytes()
    changed = whole.replace(b"text-4\timage4\t4", b"text-4\timage9\t4")  # its sum is wrong
    (manual / "wikipedia_dataset.zip").write_bytes(changed)
    with pytest.raises(UserError, match=r"testset_txt_img_cat\.list cannot be read .*CRC"):
        build(wikipedia.WikipediaCrossModal, WIKI, tmp_path)


# Pascal Sentences: the page.


def test_pascal_is_built(tmp_path):
    write_pascal(tmp_path / "manual")
    pairs = build(pascal_sentence.PascalSentence, PASCAL, tmp_path)
    assert pairs.ids == ["dog/2008_8.jpg", "boat/2008_3.jpg", "dog/2008_5.jpg"]
    assert pairs.metadata["label_names"] == ["boat", "dog"]
    assert pairs.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert pairs.texts[0] == "A dog of 8 & more.\nNothing here"
    assert pairs.pictures[1] == picture(3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<tr><td>Nothing here</td></tr>", "", r"picture 1 \(dog/2008_8.jpg\): 1 sentences.*skip"),
        ("boat/2008_3.jpg", "/etc/passwd", "shows the picture '/etc/passwd'"),
        ("boat/2008_3.jpg", "dog/2008_3.jpg", "3 pictures of 1 classes, not 3 of 2"),
    ],
)
def test_wrong_pascal_is_named(tmp_path, old, new, message):
    write_pascal(tmp_path / "manual")
    page = tmp_path / "manual/pascal-sentences/index.html"
    page.write_text(page.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        build(pascal_sentence.PascalSentence, PASCAL, tmp_path)


# Flickr30k: captions in any order.


def test_flickr30k_is_built_without_labels(tmp_path):
    write_flickr(tmp_path / "manual")
    pairs = build(flickr30k.Flickr30k, FLICKR, tmp_path)
    assert pairs.ids == ["77.jpg", "5.jpg"]
    assert pairs.texts == ["Dog runs .\nA dog .", "Two men .\nMen in a park ."]
    assert pairs.labels is None
    assert pairs.metadata["vocabulary"] == ["a", "dog", "in"]
    split = protocols.divide(np.arange(2), protocols.Sizes(1, None), seed=0)
    with pytest.raises(UserError, match="has no labels"):
        prepared.dataset(pairs, split, np.zeros((2, 3), np.float32))


def test_flickr30k_pictures_may_be_a_tar_file(tmp_path):
    manual = tmp_path / "manual"
    write_flickr(manual)
    with tarfile.open(manual / "flickr30k-images.tar", "w") as archive:
        archive.add(manual / "flickr30k-images", "flickr30k-images")
    shutil.rmtree(manual / "flickr30k-images")
    pairs = build(flickr30k.Flickr30k, FLICKR, tmp_path)
    assert list(pairs.pictures) == [picture(77), picture(5)]


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (CAPTIONS.replace("77.jpg#1", "77.jpg#0"), "picture 77 has not 2 captions.*-skipping"),
        (CAPTIONS.replace("#0\tTwo", " Two"), r"token, line 3: expected picture.jpg#place"),
        (CAPTIONS.replace("5.jpg", "6.jpg", 1), "describes 3 pictures, not 2"),
        (CAPTIONS.encode("utf-16"), "token, line 1: not utf-8"),
    ],
)
def test_wrong_flickr30k_is_named(tmp_path, captions, message):
    write_flickr(tmp_path / "manual", captions)
    with pytest.raises(UserError, match=message):
        build(flickr30k.Flickr30k, FLICKR, tmp_path)


# From prepared pairs to a data set.


def test_prepared_pairs_become_a_data_set(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    split = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=5)
    images = np.arange(10, dtype=np.float32).reshape(5, 2)
    dataset = prepared.dataset(pairs, split, images)
    query = dataset.tasks[0].query
    np.testing.assert_array_equal(query.inputs["image"], images[split.query])
    np.testing.assert_array_equal(query.inputs["text"], pairs.words[split.query])
    assert query.pictures[0] == picture((1, 2, 3, 6, 8)[split.query[0]])
    assert dataset.card["sizes"] == {"query": 1, "database": 4, "train": 2, "validation": 1}
    assert dataset.card["split"]["sha256"] == split.card["sha256"]
    other = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=6)
    assert prepared.dataset(pairs, other, images).card["sha256"] != dataset.card["sha256"]
    with pytest.raises(UserError, match="4 images were given for 5 pairs"):
        prepared.dataset(pairs, split, images[:4])
    again = prepared.open_pairs(next((tmp_path / "prepared").glob("*/*/1.0.0")))
    np.testing.assert_array_equal(again.words, pairs.words)
    assert again.texts == pairs.texts


def test_prepared_pictures_themselves_as_images(tmp_path):
    write_mirflickr(tmp_path / "manual")
    pairs = build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    split = protocols.divide(np.arange(5), protocols.Sizes(1, 2, 1), seed=5)
    dataset = prepared.dataset(pairs, split, prepared.pixels(pairs, 8))
    assert dataset.card["name"] == "mirflickr25k/small-pixels-8"
    assert dataset.card["image"] == "the pictures, 8 x 8 pixels, RGB"
    for items, rows in ((dataset.trained, split.train), (dataset.tasks[0].query, split.query)):
        assert isinstance(items.inputs["image"], EncodedPictures)
        fitted = [pretrained.fit(picture((1, 2, 3, 6, 8)[row]), 8) for row in rows]
        np.testing.assert_array_equal(items.inputs["image"][:], fitted)
    hashes = {dataset.card["sha256"]}
    for other, size in ((pairs, 9), (pairs._replace(pictures_sha256="0"), 8)):
        again = prepared.dataset(other, split, prepared.pixels(other, size))
        hashes.add(again.card["sha256"])
    assert len(hashes) == 3
    with pytest.raises(UserError, match="small is prepared without pictures"):
        prepared.pixels(pairs._replace(pictures=None), 8)
    reopened = prepared.open_pairs(next((tmp_path / "prepared").glob("*/*/1.0.0")))
    assert reopened.pictures_sha256 == pairs.pictures_sha256
    digests = [hashlib.sha256(one).digest() for one in pairs.pictures]
    assert pairs.pictures_sha256 == hashlib.sha256(b"".join(digests)).hexdigest()


def test_features_of_pictures_are_found_by_id(tmp_path):
    path = tmp_path / "image_features.npz"
    features = np.random.default_rng(0).random((3, 4))
    np.savez(path, ids=["b", "a", "c"], features=features)
    read = prepared.read_features(path, ["a", "b"])
    np.testing.assert_array_equal(read, features[[1, 0]].astype(np.float32))
    with pytest.raises(UserError, match=r"no row for 1 of 2 pictures, such as 'd'; .* like 'b'"):
        prepared.read_features(path, ["a", "d"])
    with pytest.raises(UserError, match=r"is missing: make features .*'-pixels-224'"):
        prepared.read_features(tmp_path / "none.npz", ["a"])
    np.savez(path, ids=["b", "b", "a"], features=features)
    with pytest.raises(UserError, match="the id 'b' names the rows 0 and 1"):
        prepared.read_features(path, ["a", "b"])
    np.savez(path, ids=["b", "a"], features=features)
    with pytest.raises(UserError, match=r"features of shape \(3, 4\) do not fit 2 ids"):
        prepared.read_features(path, ["a", "b"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read"):
        prepared.read_features(path, ["a"])


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


def test_a_prepared_set_is_divided_before_its_features_are_read(tmp_path, monkeypatch):
    write_mirflickr(tmp_path / "manual")
    build(mirflickr25k.Mirflickr25k, MIR, tmp_path)
    folder = tmp_path / "prepared"
    (folder / "mirflickr25k/small").rename(folder / "mirflickr25k/pairs")
    for name, message in (
        ("mirflickr25k:dcmh", "divides 20,015 pairs of .* but there are 5"),
        ("mirflickr25k:none", "unknown protocol 'none'; .* or folder of indices"),
        ("mirflickr25k:archive:1", "does not divide its pairs"),
    ):
        with pytest.raises(UserError, match=message):
            data.load(name, folder)
    features = np.arange(10, dtype=np.float32).reshape(5, 2)
    np.savez(
        folder / "mirflickr25k/pairs/1.0.0/image_features",
        ids=ids(1, 2, 3, 6, 8),
        features=features,
    )
    lists = {"query": [2], "train": [4, 1]}
    scipy.io.savemat(tmp_path / "split.mat", lists)
    monkeypatch.chdir(tmp_path)
    dataset = data.load("mirflickr25k:split.mat", "prepared")
    assert dataset.card["sizes"] == {"query": 1, "database": 4, "train": 2, "validation": 0}
    np.testing.assert_array_equal(dataset.tasks[0].query.inputs["image"], features[1:2])
    assert dataset.card["text"] == "which of the 3 words of all pairs a text has"
    sentences = data.load("mirflickr25k-sentences:split.mat", folder)
    # The only word that both training pairs have is sky; its number is 1.
    assert sentences.training["pairs"]["text"].tolist() == [[1, *[0] * 11]] * 2
    assert sentences.card["text"].startswith("numbers of the first 12 of 1 words")
    assert sentences.vocabulary_size == 1
    assert sentences.card["sha256"] != dataset.card["sha256"]
    weighted = data.load("mirflickr25k-tf-idf:split.mat", folder)
    assert weighted.card["text"].startswith("tf-idf of 1 words")
    dataset = data.load("mirflickr25k:split.mat:0", folder)
    np.testing.assert_array_equal(dataset.tasks[0].query.inputs["image"], features[2:3])


def test_names_that_cannot_be_loaded(tmp_path, monkeypatch):
    for name, message in (
        ("mirflick:dcmh", "no builder is called 'mirflick'"),
        ("mirflickr25k/pair:dcmh", "no config 'pair'; there are pairs, tags, labelled, pairs-s"),
        ("mirflickr25k:dcmh", r"holds no prepared data set; build it with `python -m"),
        ("mirflickr25k:dcmh:x", "a protocol and a seed"),
        ("mirflickr25k:dcmh:0:1", "a protocol and a seed"),
        ("mirflickr25k", "name a protocol after 'mirflickr25k', as in"),
        ("nuswide/tc21", "name a protocol after 'nuswide/tc21', as in"),
        ("mirflick", r"unknown data set .* with a protocol after it.*mirflickr25k, mscoco2014"),
    ):
        with pytest.raises(UserError, match=message):
            data.load(name, tmp_path)
    monkeypatch.delenv("JXHASH_DATA_DIR", raising=False)
    with pytest.raises(UserError, match=r"prepared data set: give the folder .*--data_dir"):
        data.load("mirflickr25k:dcmh")
    with pytest.raises(UserError, match="is no prepared data set"):
        prepared.open_pairs(tmp_path)


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


# The real files.


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with Wikipedia")
def test_the_real_wikipedia(tmp_path):
    path = builders.prepare("wikipedia_cross_modal/features", tmp_path, DATA_DIR)
    pairs = prepared.open_pairs(path)
    folder = pathlib.Path(DATA_DIR) / "wikipedia"
    official = scipy.io.loadmat(folder / "raw_features.mat")
    for name, letter in (("image_features", "I"), ("text_features", "T")):
        for part, suffix in (("train", "tr"), ("test", "te")):
            given = pairs.arrays[name][pairs.parts == part]
            np.testing.assert_array_equal(given, official[f"{letter}_{suffix}"])
    lines = (folder / "trainset_txt_img_cat.list").read_text().splitlines()
    lines += (folder / "testset_txt_img_cat.list").read_text().splitlines()
    classes = (folder / "categories.list").read_text().split()
    rows = [line.split() for line in lines]
    assert pairs.ids == [f"{classes[int(row[2]) - 1]}/{row[1]}.jpg" for row in rows]
    assert (pairs.labels.argmax(axis=1) + 1).tolist() == [int(row[2]) for row in rows]
    dataset = data.load("wikipedia_cross_modal/features:archive", tmp_path)
    assert dataset.card["sizes"] == {"query": 693, "database": 2173, "train": 2173, "validation": 0}


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with MIRFLICKR's tags")
def test_the_real_mirflickr_tags(tmp_path):
    """The archive's tag and label files, written again from the 20,015 pairs that are at hand.

    Of the other 4,985 pictures only this is known: they have no label or no frequent tag. The tags
    that the pairs lack of 20 pictures are given to pictures without labels.
    """
    with np.load(pathlib.Path(DATA_DIR) / "mirflickr25k/text_labels.npz") as real:
        tags = np.unpackbits(real["tags_packed"], axis=1, count=int(real["n_tags"]))
        vocabulary, labels, names = real["vocab"].tolist(), real["labels"], real["label_names"]
        numbers = real["image_id"].tolist()
    texts = {
        number: [vocabulary[c] for c in np.flatnonzero(row)]
        for number, row in zip(numbers, tags, strict=True)
    }
    others = [number for number in range(1, 25_001) if number not in texts]
    for column, lacking in enumerate(20 - tags.sum(axis=0, dtype=int)):
        for number in others[: max(lacking, 0)]:
            texts.setdefault(number, []).append(vocabulary[column])
    for number in others[30:]:
        texts[number] = [f"rare{number}"]
    manual = tmp_path / "manual"
    manual.mkdir()
    with zipfile.ZipFile(manual / "mirflickr25k.zip", "w") as archive:
        for number in range(1, 25_001):
            lines = "".join(f"{tag}\n" for tag in texts.get(number, ()))
            archive.writestr(f"mirflickr/meta/tags/tags{number}.txt", lines)
    with zipfile.ZipFile(manual / "mirflickr25k_annotations_v080.zip", "w") as archive:
        for column, name in enumerate(names):
            lines = "".join(f"{numbers[row]}\n" for row in np.flatnonzero(labels[:, column]))
            archive.writestr(f"{name}.txt", lines)
    pairs = prepared.open_pairs(builders.prepare("mirflickr25k/tags", tmp_path / "out", manual))
    assert len(pairs.metadata["vocabulary"]) == 1_386
    assert pairs.metadata["vocabulary"] == vocabulary
    assert pairs.ids == ids(*numbers)
    np.testing.assert_array_equal(pairs.words, tags)
    np.testing.assert_array_equal(pairs.labels, labels)
    features = np.ones((20_015, 2), np.float32)
    np.savez(
        tmp_path / "out/mirflickr25k/tags/1.0.0/image_features", ids=pairs.ids, features=features
    )
    dataset = data.load("mirflickr25k/tags:dcmh:3", tmp_path / "out")
    assert dataset.card["sizes"]["database"] == 18_015
    assert dataset.training["pairs"]["text"].shape == (10_000, 1_386)
    queries = protocols.draw("dcmh", "mirflickr25k", 20_015, seed=3).query
    np.testing.assert_array_equal(dataset.tasks[0].query.labels, labels[queries])
