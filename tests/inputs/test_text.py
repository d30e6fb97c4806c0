"""Vocabularies, weighted bags of words and token numbers."""

import numpy as np
import pytest

from jxhash.inputs import text
from jxhash.networks import sequence

WORDS = {
    "ascii": ("Red-billed gull, 2 eggs_x", ["red", "billed", "gull", "2", "eggs", "x"]),
    "accents": ("Été À l'ÎLE", ["été", "à", "l", "île"]),
    "decomposed": ("cafe\u0301 bar", ["caf\u00e9", "bar"]),
    "two marks": ("e\u0323\u0302", ["\u1ec7"]),
    "Hindi": ("दिन और दान।", ["दिन", "और", "दान"]),
    "Tamil": ("நாய் 2", ["நாய்", "2"]),
    "Hebrew": ("שָׁלוֹם", ["שָׁלוֹם"]),
    "Korean": ("고양이 개", ["고양이", "개"]),
    "Turkish": ("İstanbul", ["istanbul"]),
    "Chinese": ("红色的猫。狗", ["红色", "色的", "的猫", "狗"]),
    "Japanese": ("赤いコーヒー", ["赤い", "いコ", "コー", "ーヒ", "ヒー"]),
    "decomposed kana": ("か\u3099き", ["がき"]),
    "half width": ("ｲﾇﾀﾞ", ["ｲﾇ", "ﾇﾀ", "ﾀﾞ"]),
    "Thai": ("ที่แมว", ["ที่แ", "แม", "มว"]),
    "Lao": ("ລາວ", ["ລາ", "າວ"]),
    "Khmer": ("ភាសាខ្មែរ", ["ភាសា", "សាខ្", "ខ្មែ", "មែរ"]),
    "Myanmar": ("မြန်မာ", ["မြန်", "န်မာ"]),
    "scripts beside each other": ("iPhone手机3个", ["iphone", "手机", "3", "个"]),
    "rare Han": ("\U00020000\U00020001", ["\U00020000\U00020001"]),
    "joiners": ("क्\u200dष co\u00adop", ["क्ष", "coop"]),
    "keycap": ("1\ufe0f\u20e3 \u2600\ufe0f", ["1"]),
    "byte order mark": ("\ufeffred", ["red"]),
    "a mark alone": ("\u0301 red", ["red"]),
    "nothing": ("\u2600 !?", []),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name):
    read, expected = WORDS[name]
    assert text.words(read) == expected
    assert text.words(" ".join(expected)) == expected


def test_captions_without_spaces_share_words():
    one, other = map(text.words, ("一只红色的猫", "一只黑色的猫"))
    assert set(one) & set(other) == {"一只", "色的", "的猫"}


def test_tokens_keep_the_order_of_known_words():
    places = {"fish": 0, "gull": 1, "red": 2}
    known = text.known_words(["A red, RED gull", "", "fish and fish"], places)
    assert known == [[2, 2, 1], [], [0, 0]]
    tokens = text.token_numbers(known, length=2)
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
    places = {word: place for place, word in enumerate(vocabulary)}
    known = text.known_words(train, places)
    frequencies = text.inverse_document_frequencies(known, len(vocabulary))
    expected = extraction.TfidfVectorizer(vocabulary=vocabulary, tokenizer=text.words,
                                          token_pattern=None).fit(train)  # fmt: skip
    np.testing.assert_allclose(frequencies, expected.idf_, rtol=1e-6)
    found = text.tf_idf(text.known_words(queries, places), frequencies)
    np.testing.assert_allclose(found, expected.transform(queries).toarray(), atol=1e-6)
    assert found.dtype == np.float32


def test_the_mask_is_of_the_words():
    tokens = text.token_numbers([[1, 0], [], [0, 0, 1, 1]], length=3)
    assert sequence.is_word(tokens).sum(axis=1).tolist() == [2, 0, 3]
