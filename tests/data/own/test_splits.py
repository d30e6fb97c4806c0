"""Queries, database, training and validation rows of a user's own data."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jxhash.data.own import splits


def test_the_field_s_sizes_where_there_are_as_many_rows():
    parts, _ = splits.divide(np.arange(20_015), {}, {}, 0)
    sizes = {name: len(rows) for name, rows in parts.items()}
    assert sizes == {"train": 17_515, "validation": 500, "query": 2000, "database": 18_015}


def test_by_pairs_the_partner_of_each_query_is_searched():
    parts, rule = splits.divide(np.arange(20_015), {}, {}, 0, by_pairs=True)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 18_515,
        "validation": 500,
        "query": 1000,
        "database": 1000,
    }
    np.testing.assert_array_equal(parts["query"], parts["database"])
    assert not set(parts["query"]) & set(parts["train"])
    assert "the other halves of the queries" in rule


@settings(max_examples=60, deadline=None)
@given(st.integers(12, 90), st.integers(0, 5), st.integers(1, 9), st.integers(0, 9))
def test_parts_never_share_what_they_must_not(rows, seed, query, validation):
    kept = np.arange(0, 2 * rows, 2)
    sizes = {"query": min(query, rows - 2), "validation": min(validation, 1)}
    parts, _ = splits.divide(kept, {}, sizes, seed)
    asked, searched = set(parts["query"].tolist()), set(parts["database"].tolist())
    train, held = set(parts["train"].tolist()), set(parts["validation"].tolist())
    assert asked | searched == set(kept.tolist())
    assert not asked & searched
    assert train | held <= searched
    assert not train & held
    assert all((np.diff(part) > 0).all() for part in parts.values())
