"""Arrays whose rows are read on demand."""

import numpy as np

from jxhash.rows import in_memory, joined


def test_views_know_the_rows_that_are_not_finite():
    array = np.ones((9, 2, 3), np.float32)
    array[4, 1, 1], array[7] = np.inf, np.float32(3e38)
    rows = in_memory(array)
    assert rows.not_finite().tolist() == [4]
    assert rows.take([1, 4, 7, 4]).take([3, 0]).not_finite().tolist() == [0]
    whole = joined([rows.take([4]), rows, rows.take([0])])
    assert whole.not_finite().tolist() == [0, 5]
    np.testing.assert_array_equal(whole[[10, 5, 1]], array[[0, 4, 0]])
