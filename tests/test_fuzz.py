"""Hostile files: every reader of outside files returns, or refuses in one clear line.

`pytest tests/test_fuzz.py --hypothesis-profile=long` looks longer, and at other files each time.
"""

import json
import struct
import zlib

import hostile
import pytest
from hostile import READERS
from hypothesis import given, settings
from hypothesis import strategies as st

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
