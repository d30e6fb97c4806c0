"""Vocabularies, weighted bags of words and token numbers."""

import numpy as np
import pytest

from jxhash.inputs import text
from jxhash.networks import sequence


def test_tokens_keep_the_order_of_known_words():
    vocabulary = ["fish", "gull", "red"]
    tokens = text.token_numbers(["A red, RED gull", "", "fish and fish"], vocabulary, length=2)
    assert tokens.tolist() == [[3, 3], [0, 0], [1, 1]]
    assert tokens.dtype == np.int32


def test_a_vocabulary_of_a_size_keeps_the_words_of_the_most_texts():
    texts = ["red gull", "red fish gull", "red boat", "blue blue blue", "boat"]
    assert text.build_vocabulary(texts, 1, max_words=2) == ["boat", "red"]
    assert text.build_vocabulary(texts, 2, max_words=9) == ["boat", "gull", "red"]


def test_tf_idf_is_that_of_scikit_learn():
    extraction = pytest.importorskip("sklearn.feature_extraction.text")
    train = ["red red gull", "red fish", "a boat and a fish", "gull"]
    queries = ["fish fish RED boat", "nothing known", ""]
    vocabulary = text.build_vocabulary(train, 1)
    frequencies = text.inverse_document_frequencies(train, vocabulary)
    expected = extraction.TfidfVectorizer(vocabulary=vocabulary, tokenizer=text.words,
                                          token_pattern=None).fit(train)  # fmt: skip
    np.testing.assert_allclose(frequencies, expected.idf_, rtol=1e-6)
    found = text.tf_idf(queries, vocabulary, frequencies)
    np.testing.assert_allclose(found, expected.transform(queries).toarray(), atol=1e-6)
    assert found.dtype == np.float32


def test_the_mask_is_of_the_words():
    tokens = text.token_numbers(["red gull", "", "gull gull red red"], ["gull", "red"], length=3)
    assert sequence.is_word(tokens).sum(axis=1).tolist() == [2, 0, 3]
