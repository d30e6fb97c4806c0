"""Similarity from labels: values by hand, and what is refused."""

import jax
import numpy as np
import pytest

from jxhash import similarity


def test_similarity_by_hand():
    a, b = np.array([[1, 0, 1], [0, 0, 0]]), np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert similarity.share_label(a, b).tolist() == [[1, 0, 0], [0, 0, 0]]
    assert similarity.signed(a, b).tolist() == [[1, -1, -1], [-1, -1, -1]]
    np.testing.assert_allclose(similarity.cosine(a, b), [[0.5, 0, 0], [0, 0, 0]])
    gradient = jax.grad(lambda x: similarity.cosine(x, b).sum())(a.astype(float))
    assert np.all(np.isfinite(gradient))


def test_class_numbers_are_refused():
    with pytest.raises(ValueError, match="one-hot"):
        similarity.share_label(np.array([1, 2]), np.array([1, 2]))


def test_negative_labels_are_refused():
    labels = np.array([[1, 0], [0, 1]])
    with pytest.raises(ValueError, match=r"labels_a .*\(2, 2\).*-1"):
        similarity.share_label(2 * labels - 1, labels)
    with pytest.raises(ValueError, match=r"labels_b .*\(2, 2\).*-1"):
        similarity.signed(labels, 2 * labels - 1)
