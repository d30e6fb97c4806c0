"""MATLAB files of the format 5: what is read of them, and what is refused before SciPy reads it."""

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from jxhash import formats
from jxhash.errors import UserError
from jxhash.formats import mat_check

ROWS = 60
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(ROWS, 7)).astype(np.float32)
TAGS = (RANDOM.random((ROWS, 11)) < 0.3).astype(np.uint8)
IDS = [f"im{row}" for row in range(ROWS)]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_matlab_5_file_that_lies_is_refused_before_scipy_reads_it(compressed, tmp_path):
    """SciPy's reader follows wrong types and sizes out of its memory; this would end the tests."""
    path = tmp_path / "a.mat"
    contents = {
        "image": FEATURES.astype(float),
        "tags": scipy.sparse.csc_matrix(TAGS.astype(float)),
        "ids": np.array(IDS),
        "caption": np.array([["two words"], ["caf\xe9"]], object),
    }
    scipy.io.savemat(path, contents)
    whole = path.read_bytes()
    opened = {name: entry.open() for name, entry in formats.open_file(path).items()}
    np.testing.assert_array_equal(np.asarray(opened["tags"].along(0)), TAGS)
    assert opened["ids"] == IDS
    assert opened["caption"] == ["two words", "caf\xe9"]
    smaller = bytearray(whole)
    smaller[160] = ROWS - 1
    with pytest.raises(ValueError, match=r"3360 bytes of the type 9 are not its 413 numbers"):
        mat_check.check(io.BytesIO(smaller), ["image"])
    refused = 0
    for place in [144, 145, 160, 164, *range(184, 190), *RANDOM.integers(200, len(whole), 300)]:
        damaged = bytearray(whole)
        damaged[place] = 15
        content = [damaged[:128], packed(damaged[128:]) if compressed else damaged[128:]]
        path.write_bytes(b"".join(content))
        try:
            for entry in formats.open_file(path).values():
                entry.open()
        except UserError:
            refused += 1
    assert refused > 20


def packed(elements):
    """Each variable of a file as a packed one."""
    found, place = [], 0
    while place < len(elements):
        length = 8 + int.from_bytes(elements[place + 4 : place + 8], "little")
        content = zlib.compress(bytes(elements[place : place + length]))
        found.append((15).to_bytes(4, "little") + len(content).to_bytes(4, "little") + content)
        place += length
    return b"".join(found)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def opaque(name):
    """A string as MATLAB keeps it: an object of its own, which has no shape."""
    numbers = struct.pack("<6I", 0xDD000000, 2, 1, 1, 1, 1)
    inside = element(6, struct.pack("<II", 13, 0)) + element(5, struct.pack("<2i", 6, 1))
    inside += element(1, b"") + element(6, numbers)
    names = b"".join(element(1, one) for one in (name, b"MCOS", b"string"))
    return element(14, element(6, struct.pack("<II", 17, 0)) + names + element(14, inside))


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_beside_a_string_are_read(compressed, tmp_path):
    path = tmp_path / "workspace.mat"
    scipy.io.savemat(path, {"images": FEATURES, "tags": TAGS})
    content = path.read_bytes()
    variables = opaque(b"notes") + content[128:]
    path.write_bytes(content[:128] + (packed(variables) if compressed else variables))
    entries = formats.open_file(path)
    assert formats.listed(entries) == f"images ({ROWS} x 7), tags ({ROWS} x 11)"
    np.testing.assert_array_equal(formats.whole(entries["images"]), FEATURES)
    np.testing.assert_array_equal(formats.whole(entries["tags"]), TAGS)


def test_a_string_is_never_read_under_the_name_that_scipy_gives_it(tmp_path):
    path = tmp_path / "workspace.mat"
    scipy.io.savemat(path, {"None": FEATURES})
    path.write_bytes(path.read_bytes() + opaque(b"notes"))
    with pytest.raises(UserError, match="something other than numbers and texts"):
        formats.open_file(path)["None"].open()


def test_sparse_logical_matrices_are_read(tmp_path):
    sparse = scipy.sparse.csc_array(TAGS > 0)
    scipy.io.savemat(tmp_path / "scipy.mat", {"labels": sparse})
    # MATLAB itself tags the bytes of the entries as doubles.
    content = bytearray((tmp_path / "scipy.mat").read_bytes())
    place = content.index(struct.pack("<II", 2, sparse.nnz), content.index(b"labels"))
    content[place : place + 4] = struct.pack("<I", 9)
    (tmp_path / "matlab.mat").write_bytes(content)
    for name in ("scipy.mat", "matlab.mat"):
        labels = formats.whole(formats.open_file(tmp_path / name)["labels"])
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, TAGS)
    content[place : place + 4] = struct.pack("<I", 99)  # SciPy would follow it out of its memory
    (tmp_path / "matlab.mat").write_bytes(content)
    with pytest.raises(UserError, match="bytes of the type 99"):
        formats.open_file(tmp_path / "matlab.mat")["labels"].open()


def test_of_variables_of_one_name_the_first_is_read(tmp_path):
    path = tmp_path / "twice.mat"
    scipy.io.savemat(path, {"images": FEATURES})
    content = path.read_bytes()
    scipy.io.savemat(path, {"images": FEATURES[:1]})
    path.write_bytes(content + path.read_bytes()[128:])
    (entry,) = formats.open_file(path).values()
    assert entry.shape == FEATURES.shape
    np.testing.assert_array_equal(formats.whole(entry), FEATURES)
