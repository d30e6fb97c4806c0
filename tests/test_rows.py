"""Arrays whose rows are read on demand."""

import numpy as np

from jxhash.rows import Grouped, in_memory, joined


def test_views_know_the_rows_that_are_not_finite():
    array = np.ones((9, 2, 3), np.float32)
    array[4, 1, 1], array[7] = np.inf, np.float32(3e38)
    rows = in_memory(array)
    assert rows.not_finite().tolist() == [4]
    assert rows.take([1, 4, 7, 4]).take([3, 0]).not_finite().tolist() == [0]
    whole = joined([rows.take([4]), rows, rows.take([0])])
    assert whole.not_finite().tolist() == [0, 5]
    np.testing.assert_array_equal(whole[[10, 5, 1]], array[[0, 4, 0]])


def test_items_with_several_rows():
    flat = np.arange(12, dtype=np.float32).reshape(6, 2)
    grouped = Grouped(in_memory(flat), np.array([1, 3, 2]))
    assert grouped.shape == (3, 2)
    np.testing.assert_array_equal(grouped[np.array([2, 0])], flat[[4, 0]])
    np.testing.assert_array_equal(
        grouped.drawn(np.array([1, 1, 0]), np.array([4, 2, 9])), flat[[2, 3, 0]]
    )
    np.testing.assert_array_equal(
        np.asarray(grouped), [flat[0], flat[1:4].mean(0), flat[4:].mean(0)]
    )
    some = grouped.take(np.array([2, 1]))
    np.testing.assert_array_equal(some.flat[:], flat[[4, 5, 1, 2, 3]])
    assert some.counts.tolist() == [2, 3]
    flat[3, 0] = np.inf
    assert grouped.not_finite().tolist() == [1]
    tokens = Grouped(in_memory(np.int32([[3, 0], [4, 1]])), np.array([2]))
    assert np.asarray(tokens).tolist() == [[3, 0]]
