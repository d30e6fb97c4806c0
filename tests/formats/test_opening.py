"""Opening files of arrays: every format gives numpy's rows, and damage is named."""

import os
import signal

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from jxhash import formats
from jxhash.errors import Preempted, UserError

ROWS = 60
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(ROWS, 7)).astype(np.float32)
TAGS = (RANDOM.random((ROWS, 11)) < 0.3).astype(np.uint8)


def test_a_signal_while_a_file_is_read_is_no_damage(tmp_path, monkeypatch):
    def stop(number, frame):
        raise Preempted("stopped")

    np.savez_compressed(tmp_path / "a.npz", image=FEATURES)
    (entry,) = formats.open_file(tmp_path / "a.npz").values()
    before = signal.signal(signal.SIGTERM, stop)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: os.kill(os.getpid(), 15))
    with pytest.raises(Preempted):
        entry.open()
    signal.signal(signal.SIGTERM, before)


@settings(max_examples=40, deadline=None)
@given(
    arrays_of.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, ">f4", ">i2"]),
        arrays_of.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements=st.integers(0, 100),
    ),
    st.sampled_from(["C", "F"]),
    st.data(),
)
def test_rows_are_those_of_numpy(tmp_path_factory, array, order, drawn):
    folder = tmp_path_factory.mktemp("rows")
    array = np.asarray(array, order=order)
    np.save(folder / "a.npy", array)
    np.savez(folder / "a.npz", a=array)
    scipy.io.savemat(folder / "a.mat", {"a": array})
    with h5py.File(folder / "b.h5", "w") as file:
        file["a"] = array
    axis = drawn.draw(st.integers(0, array.ndim - 1))
    index = drawn.draw(st.lists(st.integers(-array.shape[axis], array.shape[axis] - 1)))
    expected = np.moveaxis(array, axis, 0)
    for name in ("a.npy", "a.npz", "b.h5", "a.mat"):
        (entry,) = formats.open_file(folder / name).values()
        stored = entry.open()
        if name == "a.mat" and array.ndim == 1:
            assert stored.shape == (1, len(array))
            continue
        assert entry.shape == stored.shape == array.shape
        rows = stored.along(axis)
        np.testing.assert_array_equal(np.asarray(rows), expected)
        np.testing.assert_array_equal(rows[np.array(index, int)], expected[index])
        np.testing.assert_array_equal(rows[1:3], expected[1:3])
        np.testing.assert_array_equal(rows[0], expected[0])
        np.testing.assert_array_equal(rows.take(np.arange(len(rows))[::-1])[:], expected[::-1])
        assert rows[:1].nbytes * len(rows) == rows.nbytes


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize("kind", ["npy", "npz", "mat", "h5", "zip"])
def test_a_cut_file_is_named(kind, tmp_path):
    array = RANDOM.normal(size=(200, 50))
    path = tmp_path / ("a.npz" if kind == "zip" else f"a.{kind}")
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file["image"] = array
    elif kind == "mat":
        scipy.io.savemat(path, {"image": array})
    elif kind == "npy":
        np.save(path, array)
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(path, image=array)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(UserError, match=rf"{path.name}.* cannot be read|is truncated"):
        [entry.open() for entry in formats.open_file(path).values()]


def test_a_file_cut_while_in_use_is_an_error_not_a_crash(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, FEATURES)
    (entry,) = formats.open_file(path).values()
    rows = entry.open().along(0)
    path.write_bytes(cut(path.read_bytes()))
    np.testing.assert_array_equal(rows[2], FEATURES[2])
    with pytest.raises(UserError, match="was truncated while in use"):
        rows[ROWS - 1]


def test_a_flipped_bit_in_a_packed_member_is_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, image=RANDOM.normal(size=(200, 50)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz cannot be read"):
        formats.open_file(path)["image"].open()


@pytest.mark.parametrize("change", ["row", "start"])
def test_a_sparse_matrix_that_points_outside_is_refused(change, tmp_path):
    sparse = scipy.sparse.csc_matrix(TAGS.astype(float))
    rows, starts = sparse.indices.copy(), sparse.indptr.copy()
    if change == "row":
        rows[3] = ROWS
    else:
        starts[2] = 10**6
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("tags")
        group.attrs["MATLAB_sparse"] = np.uint64(ROWS)
        for name, array in (("data", sparse.data), ("ir", rows), ("jc", starts)):
            group[name] = array
    with pytest.raises(UserError, match=r"entries outside|column pointers are damaged"):
        formats.open_file(tmp_path / "a.h5")["tags"].open()


def test_numbers_too_large_for_32_bits_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 2**40]]))
    (entry,) = formats.open_file(tmp_path / "a.npy").values()
    with pytest.raises(UserError, match="beyond 2147483647"):
        entry.open().along(0)[:]
