"""Hostile files: every reader of outside files returns, or refuses in one clear line.

`pytest tests/formats/test_fuzz.py --hypothesis-profile=long` looks longer, at other files each
time.
"""

import ast
import contextlib
import gzip
import io
import json
import os
import pathlib
import pickle
import re
import struct
import subprocess
import tarfile
import time
import zipfile
import zlib

import archives
import h5py
import hostile
import numpy as np
import pytest
import scipy.io
from hostile import READERS
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_files import dictionary, finished, number, tensor, text, write_legacy, write_zip

import jxhash
from jxhash import formats
from jxhash.data.builders import archive, iapr_tc12, mirflickr25k, prepared
from jxhash.data.builders import wikipedia as builder_wikipedia
from jxhash.data.own import tables
from jxhash.data.pictures import feature_files
from jxhash.errors import UserError
from jxhash.formats import stored, tensor_files
from jxhash.networks import matconvnet
from jxhash.networks.picture_files import open_rgb

few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
depth = settings.default if settings.default is settings.get_profile("long") else few

WORDS = [
    b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8,
    b"\x01\0\0\0", b"\0\0\0\x10", b"\x0e\0\0\0", b"PK\x01\x02", b"\n", b"\r", b"\0", b'"', b",",
    b";", b"../../", b"/etc/passwd", b"9" * 5000, "²".encode(), b"\xe9", b"-1", b"nan", b"inf",
    b"1e999", b"NaN", b"[" * 2000, b"<", b"<text>", b"\t", b" ", b"{", b"}", b"\\ud800",
]  # fmt: skip


@st.composite
def damaged_bytes(draw, content):
    """Content with bytes flipped, set, cut, taken out, put in or repeated, at some places."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        how = draw(st.sampled_from(("flip", "set", "cut", "out", "in", "repeat")))
        if how == "flip" and place < len(content):
            flipped = content[place] ^ draw(st.integers(1, 255))
            content = content[:place] + bytes([flipped]) + content[place + 1 :]
        elif how == "set":
            word = draw(st.sampled_from(WORDS))
            content = content[:place] + word + content[place + len(word) :]
        elif how == "cut":
            content = content[:place]
        elif how == "out":
            content = content[:place] + content[place + draw(st.integers(1, 64)) :]
        elif how == "in":
            word = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=16)))
            content = content[:place] + word + content[place:]
        elif how == "repeat":
            part = content[place : place + draw(st.integers(1, 64))]
            content = content[:place] + part * draw(st.integers(2, 40)) + content[place:]
    return content


@st.composite
def damaged_words(draw, content):
    """Whole words of four bytes set to telling numbers, at places where formats keep them."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = 4 * draw(st.integers(0, len(content) // 4))
        number = draw(st.one_of(st.integers(0, 20), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1])))
        content[place : place + 4] = struct.pack("<I", number)
    return bytes(content)


# JSON.

TELLING_JSON = [
    "0", "-1", "1.5", "true", "null", "[]", "{}", '""', '"\\u0000"', '"../../x"', '"/etc/passwd"',
    '"\\ud800"', '"' + "a" * 5000 + '"', "1" + "0" * 400, "1e999", "NaN", "-Infinity", "[[1], [2]]",
    "[1" + "0" * 30 + "]", '["a", 1]', '{"a": {}}', '"a:b"', "[" * 985 + "]" * 985,
    "[" * 940 + "]" * 940, "[" * 10**5, "1000000000",
]  # fmt: skip


def places_in(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(child, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def damaged_json(draw, content):
    """One value of one line is another, or under another name."""
    lines = content.decode().strip().split("\n")
    whole = [content.decode()] if content.lstrip().startswith(b"{\n") else lines
    row = draw(st.integers(0, len(whole) - 1))
    value = json.loads(whole[row])
    path = draw(st.sampled_from(list(places_in(value))))
    new = draw(st.sampled_from(TELLING_JSON))
    whole[row] = json.dumps(replaced(value, path, "@@@")).replace('"@@@"', new)
    return "\n".join(whole).encode() + b"\n"


# Arrays.

DTYPES = [
    "<f4", ">f8", "|u1", "<i8", "|b1", "<U3", "<U0", "|S2", "|O", "<c8", "<M8[s]", "|V0", "<f2",
    "<U1000000000", "<f16", [("a", "<f4"), ("b", "|O")], [("a", "<i4")], 5, "nonsense",
]  # fmt: skip
SHAPES = [
    (), (0,), (30,), (30, 5), (5, 30), (-1,), (-30, -5), (2**40, 0), (0, 2**40), (2**40, 2),
    (2**31, 2**31), (2**62, 4), (2**70, 0), (1,) * 70, (True, 3), (10**9,), (10**9, 0), (1.5,),
]  # fmt: skip


@st.composite
def damaged_npy(draw, content):
    """The array under another head, or what is no array."""
    head = {
        "descr": draw(st.sampled_from(DTYPES)),
        "fortran_order": draw(st.sampled_from([False, True, 1])),
        "shape": draw(st.sampled_from(SHAPES)),
    }
    if draw(st.booleans()):
        head.pop(draw(st.sampled_from(["descr", "fortran_order", "shape"])))
        head |= {name: value for name, value in _head_of(content).items() if name not in head}
    text = repr(head).encode() + b"\n"
    version = draw(st.sampled_from([b"\x01\0", b"\x02\0", b"\x03\0"]))
    length = struct.pack("<H" if version == b"\x01\0" else "<I", len(text))
    body = draw(st.sampled_from([_body_of(content), b"", bytes(600), b"\xff" * 600]))
    return b"\x93NUMPY" + version + length + text + body


def _head_of(content):
    length = int.from_bytes(content[8:10], "little")
    return eval(content[10 : 10 + length])  # what numpy itself wrote


def _body_of(content):
    return content[10 + int.from_bytes(content[8:10], "little") :]


@st.composite
def damaged_npz(draw, content):
    """Members with other heads, names, ways of packing, twice, or missing."""
    members = hostile.members_of(content)
    name = draw(st.sampled_from(sorted(members)))
    how = draw(st.sampled_from(("head", "head", "bytes", "name", "missing", "no array", "twice")))
    method = draw(st.sampled_from([0, 0, 8, 12, 14]))
    added = []
    if how == "head":
        members[name] = draw(damaged_npy(members[name]))
    elif how == "bytes":
        members[name] = draw(damaged_bytes(members[name]))
    elif how == "name":
        new = draw(st.sampled_from(["../x.npy", "/x.npy", "x", ".npy", "é.npy", "a/b.npy"]))
        members[new] = members.pop(name)
    elif how == "missing":
        del members[name]
    elif how == "no array":
        members[name] = draw(st.binary(max_size=40))
    else:
        added = [(name, members[name])]
    return hostile.zip_of([*members.items(), *added], method)


@st.composite
def damaged_mat(draw, content):
    """Words of the elements changed, and the elements then packed."""
    head, elements = content[:128], content[128:]
    if draw(st.booleans()):
        return head + draw(damaged_words(elements))
    found = hostile.unpacked(elements)
    row = draw(st.integers(0, len(found) - 1))
    found[row] = draw(st.one_of(damaged_words(found[row]), damaged_bytes(found[row])))
    parts = [zlib.compress(one) for one in found]
    return head + b"".join(struct.pack("<II", 15, len(part)) + part for part in parts)


# Pickles.

OPCODES = [
    b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"u", b"s", b"a", b"e", b"b", b"R",
    b"Q", b"N", b"\x88", b"K\x01", b"J\xff\xff\xff\xff", b"X\x01\0\0\0w", b"X\x07\0\0\0storage",
    b"q\x01", b"h\x01", b"\x94", b"0", b"2", b"\x8a\x09" + b"\xff" * 8 + b"\x7f",
    b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"cos\nsystem\n", b"\x93", b"\x8c\x02os", b"G\x7f\xf0\0\0\0\0\0\0", b".",
]  # fmt: skip


@st.composite
def damaged_pth(draw, content):
    """Opcodes put into the pickle."""
    added = b"".join(draw(st.lists(st.sampled_from(OPCODES), min_size=1, max_size=6)))
    if not content.startswith(b"PK"):
        place = draw(st.integers(0, len(content)))
        return content[:place] + added + content[place:]
    members = hostile.members_of(content)
    body = members["archive/data.pkl"]
    place = draw(st.integers(0, len(body)))
    drop = draw(st.integers(0, 8))
    members["archive/data.pkl"] = body[:place] + added + body[place + drop :]
    return hostile.zip_of(members.items(), 0)


STRUCTURED = {
    ".json": damaged_json,
    ".jsonl": damaged_json,
    ".npy": damaged_npy,
    ".npz": damaged_npz,
    ".mat": damaged_mat,
    ".pth": damaged_pth,
}


def damaged(path, content):
    """What may lie where a valid file is expected."""
    ways = [damaged_bytes(content), damaged_words(content), st.binary(max_size=300)]
    if path.suffix in STRUCTURED:
        ways += [STRUCTURED[path.suffix](content)] * 3
    return st.one_of(ways)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Name of a reader -> a folder with its valid files, which have been read once."""
    made = {}

    def folder_of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("fuzz") / "folder"
            made[name].mkdir()
            READERS[name].write(made[name])
            READERS[name].read(made[name])
        return made[name]

    return folder_of


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name, valid):
    reader, folder = READERS[name], valid(name)
    files = sorted(path for path in folder.glob(reader.damaged) if path.is_file())
    contents = {path: path.read_bytes() for path in files}
    assert files

    @depth
    @given(st.data())
    def check(drawn):
        path = drawn.draw(st.sampled_from(files))
        path.write_bytes(drawn.draw(damaged(path, contents[path])))
        said = ""
        try:
            with hostile.watched(folder):
                reader.read(folder)
        except reader.refuses as error:
            said = str(error)
        finally:
            path.write_bytes(contents[path])
        assert "\n" not in said
        assert [one.name for one in folder.parent.iterdir()] == [folder.name]

    check()


# Files that were made to do harm.


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_in_place_of_a_file_is_not_run(name, valid, tmp_path):
    reader, folder = READERS[name], valid(name)
    marker = tmp_path / "was_run"
    files = sorted(path for path in folder.glob(reader.damaged) if path.is_file())
    for path in files[:4]:
        content = path.read_bytes()
        members = hostile.members_of(content) if zipfile.is_zipfile(path) else {}
        hidden = [
            hostile.zip_of({**members, member: hostile.pickled(marker)}.items(), 0)
            for member in members
        ]
        refused = 0
        for change in [*(hostile.pickled(marker, protocol) for protocol in (0, 2, 4)), *hidden]:
            path.write_bytes(change)
            try:
                with hostile.watched(folder):
                    reader.read(folder)
            except reader.refuses:
                refused += 1
        path.write_bytes(content)
        assert refused >= 3 or len(files) > 1
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["zip", "older", "bare"])
def test_weights_with_code_are_refused(protocol, layout, tmp_path):
    path, marker = tmp_path / "a.pth", tmp_path / "was_run"
    code = hostile.pickled(marker, protocol)
    if layout == "zip":
        write_zip(path, code, {})
    elif layout == "older":
        write_legacy(path, code, {}, {})
    else:
        path.write_bytes(code)
    with pytest.raises(UserError, match=r"a\.pth: (mentions|opcode)"), hostile.watched(tmp_path):
        tensor_files.read(path)
    assert not marker.exists()
    assert not isinstance(pickle.loads(code), str)  # the payload works where it is unpickled
    assert marker.exists()


def doubled(levels):
    """A tuple of twice a tuple of twice a tuple ...: few bytes, whose text is endless."""
    return b")" + b"q\x07h\x07\x86" * levels


@pytest.mark.parametrize(
    "pickled",
    [
        # Their texts, or their depth, must not be part of a message.
        pytest.param(b"\x80\x02" + doubled(64) + b"\x8c\x01x\x93.", id="as a name"),
        pytest.param(
            b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\n" + doubled(64)
            + text("cpu") + b"K\x01tQ.", id="as a key",
        ),
        pytest.param(
            finished(dictionary({"w": tensor("0", "FloatStorage", 1, (1,), (1,))})).replace(
                b"(J\x01\0\0\0t", doubled(64), 1
            ), id="as a shape",
        ),
        pytest.param(
            b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\n)" + b"\x85" * 10**5
            + text("cpu") + b"K\x01tQ.", id="deep",
        ),
        pytest.param(
            finished(dictionary({"w": tensor("0", "FloatStorage", 1, (2**47, 2**47, 0), (1,) * 3)
                                 .replace(number(2**47), b"\x8a\x06" + b"\0" * 5 + b"\x40")})),
            id="empty and endless",
        ),
    ],
)  # fmt: skip
def test_pickles_that_grow_when_they_are_printed(pickled, tmp_path):
    path = write_zip(tmp_path / "a.pth", pickled, {"0": bytes(4)})
    with pytest.raises(UserError, match=r"a\.pth") as caught, hostile.watched(tmp_path):
        tensor_files.read(path)
    assert len(str(caught.value)) < 400


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("name", [name for name in READERS if "np" in name or name == "prepared"])
def test_arrays_of_objects_are_refused(name, valid, tmp_path):
    reader, folder = READERS[name], valid(name)
    marker = tmp_path / "was_run"
    objects = npy_of(np.array([hostile.Payload(marker)] * 30, object))
    for path in (one for one in folder.glob("*") if one.suffix in (".npy", ".npz")):
        content = path.read_bytes()
        members = hostile.members_of(content) if path.suffix == ".npz" else {"": b""}
        for member in members:
            changed = hostile.zip_of({**members, member: objects}.items(), 8) if member else objects
            path.write_bytes(changed)
            with contextlib.suppress(UserError), hostile.watched(folder):
                reader.read(folder)
            with contextlib.suppress(UserError), hostile.watched(folder):
                formats.whole(formats.open_file(path)[member.removesuffix(".npy") or formats.ONLY])
                pytest.fail("objects were read")
        path.write_bytes(content)
    assert not marker.exists()


# Bombs: some kilobytes that claim, or become, more than the memory.


def head_of(descr, shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def deflated_zeros(packer, megabytes):
    """As a packer gives them; each megabyte is packed as the one before."""
    begun = packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begun + one * megabytes + packer.flush()


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat_of(variables):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + variables


def mat_head(kind, shape, name=b"image"):
    return (
        element(6, struct.pack("<II", kind, 0))
        + element(5, struct.pack(f"<{len(shape)}i", *shape))
        + element(1, name)
    )


def packed_variable(kind, shape, content_kind, megabytes):
    """A packed variable that holds some megabytes of zeros, as its sizes say."""
    head = mat_head(kind, shape)
    size = megabytes * 2**20
    packer = zlib.compressobj(9)
    begun = packer.compress(
        struct.pack("<II", 14, len(head) + 8 + size) + head + struct.pack("<II", content_kind, size)
    )
    content = begun + deflated_zeros(packer, megabytes)
    return mat_of(struct.pack("<II", 15, len(content)) + content)


def png_of(width, height):
    def chunk(kind, content):
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", deflated_zeros(zlib.compressobj(9), 4))
        + chunk(b"IEND", b"")
    )


def webp_of(width, height):
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<IBI", 24, 0x2F, bits) + bytes(19)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def read_arrays(path):
    for entry in formats.open_file(path).values():
        formats.whole(entry)


def tar_of_a_long_name(path):
    """A name of 512 megabytes in half a megabyte."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**29
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(2**5):
            file.write(bytes(2**20))


def endless_h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("image", (2**40, 8), "f8", chunks=(2**10, 8))


def repeated_text_h5(path):
    """A million times the same text of a megabyte, by the same place in the file."""
    with h5py.File(path, "w") as file:
        file["one"] = np.full(4096, 7, "u2")
        file["one"].attrs["MATLAB_class"] = np.bytes_("char")
        cells = np.full(100_000, file["one"].ref, h5py.ref_dtype)
        file["image"] = cells


BOMBS = {
    "npz, claimed": ("a.npz", lambda path: path.write_bytes(hostile.zip_of(
        [("image.npy", head_of("<f8", (2**40, 8)) + bytes(1000))], 8)), read_arrays,
        "would take .* GiB of memory"),
    "npz, in several": ("a.npz", lambda path: path.write_bytes(hostile.zip_of(
        [(f"image{n}.npy", head_of("<f8", (2**29,)) + bytes(99)) for n in range(4)], 8)),
        read_arrays, "cannot be read"),
    "npz, without bytes": ("a.npz", lambda path: path.write_bytes(hostile.zip_of(
        [("image.npy", head_of("<f8", (2**40, 0)))], 8)), read_arrays, "would take|is truncated"),
    "npy, claimed": ("a.npy", lambda path: path.write_bytes(head_of("<f8", (2**40, 8))),
                     read_arrays, "is truncated"),
    "npy, without bytes": ("a.npy", lambda path: path.write_bytes(head_of("<f8", (2**40, 0))),
                           read_arrays, "is truncated"),
    "npy, texts of nothing": ("a.npy", lambda path: path.write_bytes(head_of("<U0", (10**9,))),
                              read_arrays, "have no bytes|is truncated"),
    "features": ("a.npz", lambda path: np.savez_compressed(
        path, ids=np.zeros(10**7, "u1"), features=np.zeros((1, 1))), feature_files.read,
        "more than features ever do"),
    "mat, text": ("a.mat", lambda path: path.write_bytes(packed_variable(
        4, (1, 2**28), 4, 512)), read_arrays, "more than texts have"),
    "mat, text in a cell": ("a.mat", lambda path: path.write_bytes(packed_variable(
        1, (1, 1), 14, 512)), read_arrays, "a.mat:image cannot be read"),
    "mat, claimed": ("a.mat", lambda path: path.write_bytes(mat_of(element(
        14, mat_head(6, (2**31 - 1, 2**31 - 1)) + element(9, bytes(8))))), read_arrays,
        "would take"),
    "mat, sparse": ("a.mat", lambda path: path.write_bytes(mat_of(element(
        14, mat_head(5, (1, 2**31 - 1)) + element(9, bytes(8))))), read_arrays, "would take"),
    "mat 4, name": ("a.mat", lambda path: path.write_bytes(
        struct.pack("<5i", 0, 1, 1, 0, 2**31 - 1) + bytes(100)), read_arrays, "is truncated"),
    "matconvnet": ("a.mat", lambda path: path.write_bytes(packed_variable(
        6, (2**26, 1), 9, 512)), matconvnet.read, "no variable|decompresses to more"),
    "h5, never written": ("a.h5", endless_h5, read_arrays, "never written"),
    "h5, cells of one text": ("a.h5", repeated_text_h5, read_arrays, "is longer than"),
    "tar, name": ("a.tgz", tar_of_a_long_name, lambda path: archive.unpacked(
        path, path.parent / "out"), "a name of 536,870,912 bytes"),
    "PNG": ("a.png", lambda path: path.write_bytes(png_of(60_000, 60_000)), open_rgb, "limit"),
    "PNG in an archive": ("a.png", lambda path: path.write_bytes(png_of(60_000, 60_000)),
                          archive.checked_picture, "not a complete picture"),
    "WebP": ("a.webp", lambda path: path.write_bytes(webp_of(16383, 16383)), open_rgb, "limit"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_is_unpacked(name, tmp_path):
    file, write, read, says = BOMBS[name]
    write(tmp_path / file)
    assert (tmp_path / file).stat().st_size < 2**21
    with pytest.raises(ValueError, match=says), hostile.watched(tmp_path):
        read(tmp_path / file)


def test_all_arrays_of_a_file_together_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_MOST_IN_MEMORY", 20_000)
    np.savez_compressed(tmp_path / "a.npz", **{f"x{n}": np.ones(1000) for n in range(3)})
    scipy.io.savemat(tmp_path / "a.mat", {f"x{n}": np.ones(1000) for n in range(3)})
    for path in (tmp_path / "a.npz", tmp_path / "a.mat"):
        entries = list(formats.open_file(path).values())
        np.testing.assert_array_equal(formats.whole(entries[0]).ravel(), np.ones(1000))
        formats.whole(entries[1])
        with pytest.raises(UserError, match="and other arrays of this file would take"):
            formats.whole(entries[2])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_text_in_a_zip_file_that_becomes_too_long_is_refused(method, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.txt", bytes(2**25))
    root = archive.opened(tmp_path / "a.zip")
    with (
        pytest.raises(UserError, match=r"a\.txt is damaged .*unpack to"),
        hostile.watched(tmp_path),
    ):
        archive.read_lines(root / "a.txt")


def test_ten_thousand_labels_are_no_columns(tmp_path):
    rows = "".join(f"{row},red,label{row}\n" for row in range(20_000))
    (tmp_path / "table.csv").write_text("id,text,labels\n" + rows)
    says = r'20000 different classes.*"most_classes": 20000'
    with pytest.raises(UserError, match=says), hostile.watched(tmp_path):
        tables.read_table(tmp_path / "table.csv")


@pytest.mark.parametrize("mark", ["<DESCRIPTION>", "<text>", "<", "<text>" + "<" * 10**6])
def test_markup_without_an_end_takes_no_time(mark, tmp_path):
    (tmp_path / "a.xml").write_text(mark * (2 * 10**6 // len(mark)) + "</text>")
    for read in (iapr_tc12._description, builder_wikipedia._read_text):
        with contextlib.suppress(UserError), hostile.watched(tmp_path):
            read(tmp_path / "a.xml")


# Ways out of a folder.


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "device", "absolute", "above"])
def test_a_tar_file_leads_nowhere_else(kind, tmp_path):
    path, folder = tmp_path / "in/a.tar", tmp_path / "in/out"
    path.parent.mkdir()
    (tmp_path / "secret").write_text("secret")
    names = {"absolute": str(tmp_path / "outside"), "above": "../../outside"}
    first, second = tarfile.TarInfo("link"), tarfile.TarInfo(names.get(kind, "link/outside"))
    first.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE,
                  "device": tarfile.FIFOTYPE}.get(kind, tarfile.DIRTYPE)  # fmt: skip
    first.linkname = {"symlink": str(tmp_path), "hardlink": "../../secret"}.get(kind, "")
    with tarfile.open(path, "w") as file:
        file.addfile(first)
        file.addfile(second)
    before = sorted(tmp_path.rglob("*"))
    with contextlib.suppress(UserError), hostile.watched(tmp_path / "in"):
        archive.unpacked(path, folder)
    found = [one for one in sorted(tmp_path.rglob("*")) if one not in before]
    assert kind == "absolute" or not found
    assert all(folder in (one, *one.parents) and not one.is_symlink() for one in found)


def test_a_zip_file_leads_nowhere_else(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("../outside.txt", "own")
        file.writestr("good/a.txt", "good")
    with hostile.watched(folder):
        root = archive.opened(folder / "a.zip")
        assert archive.read(root / "good/a.txt") == b"good"
        with contextlib.suppress(UserError):
            assert archive.read(root / "../outside.txt") == b"own"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in", "outside.txt"]


def test_no_link_out_of_a_file_is_followed(tmp_path):
    secret = np.arange(12.0).reshape(4, 3)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["image"] = secret
        for name, array in (("data", [7.0]), ("ir", [0]), ("jc", [0, 1])):
            file[name] = array
    (tmp_path / "raw").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = h5py.ExternalLink("secret.h5", "image")
        external = [(str(tmp_path / "raw"), 0, secret.nbytes)]
        file.create_dataset("raw", secret.shape, secret.dtype, external=external)
        layout = h5py.VirtualLayout(secret.shape, secret.dtype)
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "image", secret.shape)
        file.create_virtual_dataset("virtual", layout)
        file["cells"] = np.array([file["raw"].ref], h5py.ref_dtype)
        group = file.create_group("sparse")
        group.attrs["MATLAB_sparse"] = np.uint64(1)
        for name in ("data", "ir", "jc"):
            group[name] = h5py.ExternalLink("secret.h5", name)
    entries = formats.open_file(tmp_path / "a.h5")
    assert set(entries) == {"raw", "virtual", "cells", "sparse"}
    for name, entry in entries.items():
        with pytest.raises(UserError, match="lacks one" if name == "sparse" else "in other files"):
            entry.open()


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_no_module_that_a_prepared_data_set_names_is_imported(key, tmp_path, monkeypatch):
    archives.write_mirflickr(tmp_path / "manual")
    archives.build(mirflickr25k.Mirflickr25k, archives.MIR, tmp_path)
    (path,) = tmp_path.glob("prepared/**/features.json")
    whole = json.loads(path.read_text())
    whole["featuresDict"]["features"]["id"] = {key: "evil_module.Text", "content": {}, "text": {}}
    path.write_text(json.dumps(whole))
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"features\.json names a feature 'evil_module.Text'"):
        prepared.open_pairs(path.parent)


# What was found once: a reader, one of its files, what lies there, and what is said of it.


def npz_of(**contents):
    return hostile.zip_of([(f"{name}.npy", npy_of(array)) for name, array in contents.items()], 0)


def text_of(number):
    """Texts as numpy keeps them, of one number that may be no character."""
    return head_of("<U1", (30,)) + struct.pack("<I", number) * 30


WIKI_LIST = "wikipedia_dataset/testset_txt_img_cat.list"
REGRESSIONS = [
    ("features, npz", "a.npz", hostile.zip_of([("ids.npy", b"x"), ("features.npy", b"x")], 0),
     "cannot be read"),
    ("features, npz", "a.npz", npz_of(ids=hostile.IDS, features=hostile.IMAGES, card="[]"),
     "the card is not a JSON object"),
    ("features, npz", "a.npz",
     npz_of(ids=hostile.IDS, features=hostile.IMAGES, card="[" * 10**5), "nested too deeply"),
    ("features, npy", "a.npy", hostile.zip_of([], 0), "cannot be read"),
    ("data, described", "a.npz", hostile.zip_of(
        [("x.npy", npy_of(hostile.IMAGES)), ("words.npy", text_of(0x110000))], 0),
     "invalid Unicode code points"),
    ("data, described", "a.npz", hostile.zip_of(
        [("x.npy", npy_of(hostile.IMAGES)), ("words.npy", text_of(0xD800))], 0),
     "invalid Unicode code points"),
    ("data, described", "dataset.json", b'{"image": "a.npz:x", "text": "a.npz:words", "labels": '
     b'"l.npy", "split": {"query": [1000000000000000000000]}}', "beyond 64 bits"),
    ("data, described", "dataset.json", b'{"data": "' + b"a" * 5000 + b'"}', "not a name or path"),
    ("data, described", "dataset.json", b'{"data": ' + b"[" * 990 + b"]" * 990 + b"}",
     "nested too deeply"),
    ("data, described", "dataset.json", b'{"words": {"form": "tokens", "length": 1000000000}}',
     "'length' is a whole number"),
    ("data, npz", "a.npz", npz_of(**hostile.DATA, query_idx=[np.inf]), "inf is not in 0 to"),
    ("data, npz", "a.npz", npz_of(image=1, text=2, labels=3), "do not share one number of items"),
    ("data, npz", "a.npz", npz_of(**hostile.DATA, ids=5), "1 items are needed"),
    ("data, npz", "a.npz", npz_of(
        I_tr=hostile.IMAGES, I_te=hostile.IDS, T_tr=hostile.TAGS, T_te=hostile.TAGS,
        L_tr=hostile.LABELS, L_te=hostile.LABELS), "some hold texts, others numbers"),
    ("data, jsonl", "table.jsonl", b'{"id": 1, "text": "\\ud800", "labels": "a"}', "line 1"),
    ("data, jsonl", "table.jsonl", b'{"id": 1, "text": ' + b"[" * 985 + b"]" * 985 + b"}",
     "line 1"),
    ("npy", "a.npy", head_of("<f4", (True, 3)) + bytes(12), "invalid shape"),
    ("npy", "a.npy", head_of("<f4", (-1, 3)) + bytes(12), "invalid shape"),
    ("npy", "a.npy", head_of("<f4", (2**70, 0)), "invalid shape"),
    ("npy", "a.npy", head_of("<f4", (1,) * 70) + bytes(4), "invalid shape"),
    ("split, folder", "query.npy", hostile.zip_of([], 0), "cannot be read"),
    ("regions", "a.npy", hostile.zip_of([], 0), "is damaged"),
    ("h5", "a.h5", struct.pack("<5i", 0, 1, 1, 0, 134744072) + bytes(3000), "cannot be read"),
    ("report", "report.json", b"[" * 10**5, "nested too deeply"),
    ("report", "report.json",
     lambda whole: re.sub(rb'"map": [0-9.]+', b'"map": 1' + b"0" * 400, whole), "is no report"),
    ("prepared", "jxhash.npz", npz_of(
        parts=hostile.IDS, places=np.arange(30), num_words=7, words=np.zeros((30, 1), np.uint8),
        ids=np.zeros(3, np.uint8), ids_ends=3), "is damaged"),
    ("run", "metrics.jsonl", b"\xff\xff\n", "line 1, is damaged"),
    ("run", "metrics.jsonl", b"[1]\n", "line 1, is no line of a training's"),
    ("run", "config.json", b"[]", "config.json is damaged"),
    ("run", "card.json", b"[]", "card.json is damaged"),
    ("tar", "a.tgz", gzip.compress(b"x" * 600)[:14], "a.tgz is neither a folder"),
    ("list of pictures", "list.txt", b"9" * 5000, "there is no picture"),
    ("nuswide", "ConceptsList/Concepts81.txt", b"", "too few"),
    ("nuswide", "ConceptsList/Concepts81.txt", b"sky\n../../clouds\n", "../../clouds"),
    ("mscoco2014", "annotations/captions_val2014.json",
     b'{"annotations": [{"image_id": 42, "caption": "\\ud800"}]}', "expected the fields"),
    ("iapr_tc12", "benchmark/wlist.txt", "²\tcafe\n".encode(), "expected number, name"),
    ("iapr_tc12", "benchmark/wlist.txt", b"9" * 5000 + b"\tcafe\n", "expected number, name"),
    ("mirflickr25k", "mirflickr25k_annotations_v080/sky.txt", b"9" * 5000, "expected a picture"),
    ("wikipedia", WIKI_LIST, b"\x80", "line 1: not in UTF-8"),
    ("wikipedia", WIKI_LIST, b"", "is empty"),
    ("wikipedia", WIKI_LIST, "a b ²".encode(), "class 1 to 10"),
    ("wikipedia", "wikipedia_dataset/categories.list", b"one\n", "expected 10 names"),
    ("wikipedia", "wikipedia_dataset/categories.list", b"../x\n" * 10, "expected 10 names"),
    ("matconvnet, packed", "a.mat", mat_of(struct.pack("<II", 15, 2**32 - 1)), "cannot be read"),
    ("codes, mat", "a.mat", mat_of(element(
        14, mat_head(6, (9, 9), b"q_\xe9") + element(9, bytes(8)))), "no image query"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "says"), REGRESSIONS)
def test_what_was_found_stays_mended(name, file, content, says, valid):
    reader, folder = READERS[name], valid(name)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(content(whole) if callable(content) else content)
    # Of several arrays each is refused by itself.
    in_arrays = name in ("npy", "h5")
    try:
        with pytest.raises(reader.refuses, match=says), hostile.watched(folder):
            read_arrays(folder / file) if in_arrays else reader.read(folder)
    finally:
        (folder / file).write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (b"q_\xe9", lambda content: content),  # a name that is no ASCII
        (b"", lambda content: content),  # SciPy calls it __function_workspace__
        (b"q", lambda content: content.replace(b"\x00\x01IM", b"\x05\x01IM")),  # a version 1.5
    ],
)
def test_every_variable_that_scipy_would_read_is_checked(name, change, tmp_path):
    """SciPy would follow the unknown type 99 out of its memory."""
    variable = element(14, mat_head(6, (9, 9), name) + struct.pack("<II", 99, 8) + bytes(8))
    (tmp_path / "a.mat").write_bytes(change(mat_of(variable)))
    (entry,) = formats.open_file(tmp_path / "a.mat").values()
    with pytest.raises(UserError, match=r"are not its 81 numbers|no variable"):
        entry.open()


# The watch itself.


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: os.system("true"),
        lambda folder: subprocess.run(["true"]),
        lambda folder: exec("1"),
        lambda folder: pickle.loads(pickle.dumps(pathlib.Path())),
        lambda folder: (folder.parent / "x").write_text("x"),
        lambda folder: (folder.parent / "x").mkdir(),
        lambda folder: np.ones(2**26),
        lambda folder: time.sleep(2),
    ],
)
def test_the_watch_sees_harm(harm, tmp_path, monkeypatch):
    monkeypatch.setattr(hostile, "SECONDS", 0.5)
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises((AssertionError, hostile.TooSlow)), hostile.watched(folder):
        harm(folder)


# The package's own code.

_UNSAFE_MODULES = {
    "_pickle", "cPickle", "cloudpickle", "code", "codeop", "ctypes", "dill", "joblib", "marshal",
    "multiprocessing", "pickle", "runpy", "shelve", "subprocess", "torch", "yaml",
}  # fmt: skip
_UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
_UNSAFE_ATTRIBUTES = {"system", "popen", "execv", "execve", "spawnv", "read_pickle", "fromfile"}


def unsafe_lines(source):
    """What a file could run a stranger's code with, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names} & _UNSAFE_MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]} & _UNSAFE_MODULES
        elif isinstance(node, ast.Name):
            names = {node.id} & _UNSAFE_NAMES
        elif isinstance(node, ast.Call):
            names = set(unsafe_in_call(node))
        found += [(node.lineno, name) for name in sorted(names)]
    return found


def unsafe_in_call(node):
    called = ast.unparse(node.func)
    if called.rpartition(".")[2] in _UNSAFE_ATTRIBUTES:
        yield called
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if (
        keywords.get("allow_pickle", "False") != "False"
        or keywords.get("shell", "False") != "False"
    ):
        yield called
    if called in ("np.load", "numpy.load") and "allow_pickle" not in keywords:
        yield f"{called} without allow_pickle=False"
    # Modules are chosen from tables of the package's own.
    own = node.args and ast.unparse(node.args[0]).startswith("f'{__name__}.")
    if called.endswith("import_module") and not own:
        yield called


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import yaml", "eval('1')", "f = exec",
        "np.load(f)", "np.load(f, allow_pickle=True)", "np.save(f, a, allow_pickle=flag)",
        "run('ls', shell=True)", "os.system('ls')", "import subprocess", "import torch",
        "importlib.import_module(name)", "def f():\n    import marshal",
    ],
)  # fmt: skip
def test_unsafe_code_is_seen(source):
    assert unsafe_lines(source)


def test_the_package_runs_no_code_of_others():
    root = pathlib.Path(jxhash.__file__).parent
    files = [*root.rglob("*.py"), *(root.parent / "configs").glob("*.py")]
    assert len(files) > 80
    assert {str(file): lines for file in files if (lines := unsafe_lines(file.read_text()))} == {}
