"""Text forms: values by plain loops, unknown words, texts without words, state."""

import json
import math

import numpy as np
import pytest

from jxhash.errors import UserError
from jxhash.inputs import text_forms, word_vectors
from jxhash.inputs.text_forms import Words

TRAIN = ["a red boat", "the red dog and the boat", "a dog", "qwrtzp qwrtzp boat", "!"]
LATER = ["Red puppy", "boat boat red", "sparrow", "qwrtzp", "xyzzyx", ""]


def fit(form, **words):
    return text_forms.fit(TRAIN, Words(form, **{"min_texts": 2, **words}))


def test_a_bag_marks_known_words_and_the_nearest_of_others():
    form = fit("bag", nearest=0.6)
    assert form.vocabulary == ("a", "boat", "dog", "red")
    expected = [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert form.arrays(LATER).tolist() == expected
    assert form.arrays(LATER).dtype == np.uint8
    assert form.usable(LATER).tolist() == [True, True, False, False, False, False]
    assert form.card(LATER)["texts without a known word"] == 4


def test_without_nearest_a_bag_has_known_words_alone():
    form = fit("bag", nearest=None)
    assert form.arrays(["Red puppy"]).tolist() == [[0, 0, 0, 1]]
    assert form.usable(["puppy"]).tolist() == [False]


def test_the_nearest_word_is_that_of_a_plain_loop():
    vocabulary = ["bird", "boat", "cat", "dog", "fish", "tree"]
    form = text_forms.fit([" ".join(vocabulary)] * 2, Words("tokens", nearest=0.5, length=1))
    unknown = ["puppy", "kitten", "ship", "algebra", "forest", "salmon", "qwrtzp"]
    directions = {
        word: vector / (np.linalg.norm(vector) or 1)
        for word, vector in zip(
            vocabulary + unknown,
            word_vectors.vectors(vocabulary + unknown).astype(np.float64),
            strict=True,
        )
    }
    for word in unknown:
        cosines = [float(directions[word] @ directions[known]) for known in vocabulary]
        best = max(range(6), key=cosines.__getitem__)
        expected = best + 1 if cosines[best] >= 0.5 else 0
        assert form.arrays([word]).tolist() == [[expected]], word
    assert form.arrays(["puppy", "algebra"]).tolist() == [[4], [0]]


def test_tf_idf_and_tokens_read_unknown_words_too():
    weighted = fit("tf-idf")
    idf = [math.log(6 / (1 + texts)) + 1 for texts in (2, 3, 2, 2)]
    np.testing.assert_allclose(weighted.idf, idf, rtol=1e-6)
    length = math.hypot(idf[2], idf[3])
    expected = [[0, 0, idf[2] / length, idf[3] / length]]
    np.testing.assert_allclose(weighted.arrays(["red puppy"]), expected, rtol=1e-6)
    tokens = fit("tokens", length=3)
    assert tokens.arrays(["puppy of a red boat", ""]).tolist() == [[3, 1, 4], [0, 0, 0]]
    assert (tokens.vocabulary_size, weighted.vocabulary_size) == (4, None)


def weighted_mean(words):
    """The smooth mean vector in float64, None without a vector."""
    total, weights = np.zeros(100), 0.0
    for word in words:
        rank = int(word_vectors.ranks([word])[0])
        if rank:
            weight = 1e-3 / (1e-3 + 1 / (13.5 * rank))
            total += weight * word_vectors.vectors([word])[0].astype(np.float64)
            weights += weight
    return total / weights if weights else None


def test_words_are_the_bag_beside_the_centred_mean_vector():
    form = fit("words")
    bags, means = np.split(form.arrays(TRAIN).astype(np.float64), [4], axis=1)
    assert bags.tolist() == fit("bag").arrays(TRAIN).tolist()
    by_hand = [weighted_mean(one.lower().split()) for one in TRAIN]
    assert [one is None for one in by_hand] == [False, False, False, False, True]
    centre = np.mean(by_hand[:4], axis=0)
    centred = np.array([one - centre for one in by_hand[:4]])
    scale = np.sqrt(bags.sum() / np.square(centred).sum())
    np.testing.assert_allclose(means[:4], centred * scale, atol=1e-3)
    assert not means[4].any()
    np.testing.assert_allclose(np.square(means).sum(), np.square(bags).sum(), rtol=1e-3)
    later = form.arrays(LATER)
    np.testing.assert_allclose(
        later[2, 4:], (weighted_mean(["sparrow"]) - centre) * scale, atol=2e-3
    )
    assert not later[3:].any()
    assert form.usable(LATER).tolist() == [True, True, True, False, False, False]


def test_texts_of_another_language_have_a_bag_and_no_mean():
    texts = ["दिन और दान", "दिन दान", "一只红色的猫", "一只黑色的猫"]
    form = text_forms.fit(texts, Words("words"))
    assert form.vocabulary == tuple(sorted(["दिन", "दान", "一只", "色的", "的猫"]))
    assert form.scale == 0
    assert form.arrays(texts)[:, :5].sum(axis=1).tolist() == [2, 2, 3, 3]
    assert not form.arrays([*texts, "a dog"])[:, 5:].any()


def test_texts_of_the_same_words_have_no_mean():
    # Their mean has a rounding error, and so a spread.
    texts = ["red boat", "boat red", "red boat", "red boat red boat", "boat red"]
    form = text_forms.fit(texts, Words("words"))
    assert form.scale == 0
    assert form.arrays(["a dog"]).tolist() == [[0] * 102]


@pytest.mark.parametrize("name", text_forms.FORMS)
def test_a_form_comes_back_from_its_state(name):
    form = fit(name)
    state = form.state()
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    values = json.loads(json.dumps({key: state[key] for key in state.keys() - arrays.keys()}))
    again = text_forms.from_state(values | arrays)
    np.testing.assert_array_equal(again.arrays(LATER), form.arrays(LATER))
    assert again.said == form.said
    assert "4 words" in form.said


DAMAGED = [
    ("bag", {"form": "text"}, "not one of bag, words, tf-idf, tokens"),
    ("bag", {"form": ["bag"]}, "not one of"),
    ("bag", {"other": 1}, "has the entries"),
    ("bag", {"vocabulary": []}, "'vocabulary'"),
    ("bag", {"vocabulary": "abc"}, "'vocabulary'"),
    ("bag", {"vocabulary": ["a", "a"]}, "'vocabulary'"),
    ("bag", {"vocabulary": ["a", 2]}, "'vocabulary'"),
    ("bag", {"min_texts": 0}, "'min_texts'"),
    ("bag", {"nearest": 1.5}, "'nearest'"),
    ("bag", {"nearest": float("nan")}, "'nearest'"),
    ("tf-idf", {"idf": np.ones(3, np.float32)}, "'idf'"),
    ("tf-idf", {"idf": [1.0] * 4}, "'idf'"),
    ("tf-idf", {"idf": np.array([1, 1, 1, None])}, "'idf'"),
    ("tokens", {"length": True}, "'length'"),
    ("words", {"centre": np.full(100, np.nan, np.float32)}, "'centre'"),
    ("words", {"scale": -1.0}, "'scale'"),
    ("words", {"scale": float("inf")}, "'scale'"),
]


@pytest.mark.parametrize(("name", "change", "message"), DAMAGED)
def test_a_damaged_state_is_refused(name, change, message):
    with pytest.raises(UserError, match=message):
        text_forms.from_state(fit(name).state() | change)


def test_texts_without_a_common_word_are_refused():
    with pytest.raises(UserError, match="no word occurs in 2 of the 2 training texts"):
        text_forms.fit(["red", "blue"], Words())
