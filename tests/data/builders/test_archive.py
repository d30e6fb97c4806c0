"""Archives: folders, zip files, tar files and addresses, whole and damaged."""

import dataclasses
import tarfile
import zipfile

import numpy as np
import pytest
from archives import MIR, build, picture, served, write_mirflickr, zip_folder

from jxhash.data.builders import archive as archives
from jxhash.data.builders import mirflickr25k
from jxhash.errors import UserError


def ids(*numbers):
    return [f"im{number}.jpg" for number in sorted(numbers)]


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


def test_damaged_zip_files_are_named(tmp_path):
    manual = tmp_path / "manual"
    write_mirflickr(manual)
    zip_folder(manual / "mirflickr", manual / "mirflickr25k.zip")
    whole = (manual / "mirflickr25k.zip").read_bytes()
    (manual / "mirflickr25k.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        UserError, match=r"mirflickr25k\.zip is neither a folder nor a complete zip"
    ):
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
