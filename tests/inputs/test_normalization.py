"""Normalisation of features: the same numbers from any scale, by hand and in float64."""

import typing

import numpy as np
import pytest

from jxhash import rows
from jxhash.inputs import normalization
from jxhash.inputs.normalization import Kind

KINDS = [kind for kind in typing.get_args(Kind) if kind != "none"]


def plain(kind, train, features):
    """In float64, from the definitions."""
    train, features = np.float64(train), np.float64(features)
    centred = features - train.mean(axis=0)
    if kind == "scale":
        return centred / np.sqrt(np.mean((train - train.mean(axis=0)) ** 2))
    if kind == "standardize":
        return centred / train.std(axis=0)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_as_defined(kind, shape, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 1000)
    generator = np.random.default_rng(0)
    train, other = generator.normal(3, 20, (2, 50, *shape)) * np.arange(1, 8)
    fitted = normalization.fit(kind, rows.in_memory(train))
    flat = train.reshape(-1, 7)
    found = fitted.rows(rows.in_memory(other))[10:20]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(kind, flat, other[10:20]), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "offset"), [(100, 0), (0.01, 5), (1e-4, 0), (1, 1e4)])
def test_scale_and_offset_change_nothing(kind, factor, offset):
    features = np.random.default_rng(1).normal(size=(200, 9))
    one, other = (
        normalization.fit(kind, rows.in_memory(x))(x)
        for x in (features, features * factor + offset)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_integers_and_half_precision_are_read_as_numbers():
    features = np.random.default_rng(2).integers(0, 200, (40, 5))
    for dtype in (np.uint8, np.float16, np.int64):
        own = features.astype(dtype)
        found = normalization.fit("scale", rows.in_memory(own))(own)
        np.testing.assert_allclose(found, plain("scale", features, features), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_feature_becomes_zero(kind):
    train = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    train[:, 2] = 0.1
    fitted = normalization.fit(kind, rows.in_memory(train))
    assert fitted.constant.tolist() == [2]
    # Also where a later row has another value there.
    assert fitted(np.float32([[1, 2, 1e6, 3]]))[0, 2] == 0
    alike = normalization.fit(kind, rows.in_memory(np.full((5, 3), 7)))
    assert (alike(np.array([[7, 8, 9]])) == 0).all()


def test_none_leaves_arrays_as_they_are():
    features = rows.in_memory(np.arange(6, dtype=np.int16).reshape(2, 3))
    assert normalization.fit("none", features).rows(features) is features


def test_views_are_mapped_and_keep_what_is_not_finite():
    array = np.ones((9, 2))
    array[4, 1] = np.nan
    view = rows.in_memory(array).take([5, 4, 3]).mapped(lambda x: 2 * x, np.float32)
    assert view.not_finite().tolist() == [1]
    np.testing.assert_array_equal(view.take([2, 0])[:], np.full((2, 2), 2))
