"""Shared labels of multi-hot rows and of class ids."""

import numpy as np
import pytest
from random_arrays import make_labels

from jxhash import metrics


def test_shared_labels_of_both_forms():
    rng = np.random.default_rng(23)
    a, b = make_labels(rng, 5, 4), make_labels(rng, 6, 4)
    np.testing.assert_array_equal(metrics.shared_labels(a * 2.5, b.astype(bool)), a @ b.T)
    for rows in (slice(1, 3), np.array([4, 0])):
        np.testing.assert_array_equal(metrics.label_relevance(a, b)(rows), a[rows] @ b.T)
    ids = np.array([0, -1, 2])
    np.testing.assert_array_equal(
        metrics.shared_labels(ids, ids), [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    )


LABELS, IDS = np.ones((3, 2)), np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("query_labels", "labels", "error", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), ValueError, "same classes or class ids"),
        (LABELS, LABELS * np.nan, ValueError, "database labels .* a negative value or NaN"),
        (LABELS * [1, -1], LABELS, ValueError, "query labels .* a negative value or NaN"),
        (IDS * 1.0, IDS * 1.0, TypeError, "class ids are integers"),
        (IDS[:, None], IDS[:, None], ValueError, r"labels\[:, 0\]"),
    ],
)
def test_labels_that_do_not_match_are_refused(query_labels, labels, error, message):
    with pytest.raises(error, match=message):
        metrics.shared_labels(query_labels, labels)
