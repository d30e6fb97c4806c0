"""Feature files: what is written and what is read."""

import numpy as np
import pytest

from jxhash.data.pictures import feature_files
from jxhash.errors import UserError


def write_own(path, ids, rows):
    np.savez(path, ids=np.array(ids), features=np.asarray(rows))
    return path


def test_feature_files_are_checked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, features=np.ones((2, 2)))
    with pytest.raises(UserError, match="no array 'ids', it has features"):
        feature_files.read(path)
    np.savez(path, ids=np.array([{}, {}]), features=np.ones((2, 2)))
    with pytest.raises(UserError, match=r"a\.npz:ids holds Python objects"):
        feature_files.read(path)
    whole = write_own(path, ["a"], np.ones((1, 2))).read_bytes()
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.npz"):
            feature_files.read(path)
    np.savez_compressed(path, ids=np.arange(9000), features=np.zeros((9000, 100)))
    with pytest.raises(UserError, match="more than features ever do"):
        feature_files.read(path)
    path = tmp_path / "b.npy"
    np.save(path, np.ones((2, 2)))
    with pytest.raises(UserError, match=r"b\.ids\.txt"):
        feature_files.read(path)


def test_what_is_written_must_fit(tmp_path):
    for parts in ([np.ones((1, 2))], [np.ones((2, 3))], [np.ones((2, 2)), np.ones((1, 2))]):
        with pytest.raises(ValueError, match="features"):
            feature_files.write(tmp_path / "a.npz", ["a", "b"], parts, 2, {})
    assert list(tmp_path.iterdir()) == []
