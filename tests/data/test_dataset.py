"""Data sets: what they refuse."""

import dataclasses

import numpy as np
import pytest
import small

from jxhash.data.dataset import Dataset
from jxhash.errors import UserError


def test_domain_labels_cannot_be_passed_to_training():
    given = small.dataset()
    labelled = dict(given.training["query"], labels=np.ones((37, 5), np.uint8))
    with pytest.raises(UserError, match=r"query.*labels"):
        Dataset(given.card, {**given.training, "query": labelled}, given.tasks)


def test_nan_empty_and_uneven_data_are_refused():
    given = small.dataset()
    pairs = dict(given.training["pairs"])
    spoilt = pairs["image"].copy()
    spoilt[[3, 8]] = np.nan
    for change, message in (
        ({"image": spoilt}, "image.*NaN.*2 rows.*row 3"),
        ({"image": pairs["image"][:5]}, "differ in length"),
        ({name: array[:0] for name, array in pairs.items()}, "empty"),
    ):
        with pytest.raises(UserError, match=message):
            Dataset(given.card, {**given.training, "pairs": {**pairs, **change}}, given.tasks)


def test_tokens_that_are_no_sentence_are_named():
    given = small.sentences_dataset()
    pairs = dict(given.training["pairs"])
    for row, tokens, says in (
        (4, [given.vocabulary_size + 1, 0], "outside of 0 to"),
        (7, [0, 1], "behind padding"),
    ):
        spoilt = pairs["text"].copy()
        spoilt[row, :2] = tokens
        with pytest.raises(UserError, match=f"text of source 'pairs' .*{says}.* row {row}"):
            dataclasses.replace(given, training={"pairs": {**pairs, "text": spoilt}})
