"""Texts as token numbers, and the data sets that have them."""

import dataclasses
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import data
from jxhash.data.dataset import Dataset, both_directions
from jxhash.data.embedded import embedded_sets
from jxhash.data.pictures import regions
from jxhash.errors import UserError
from jxhash.inputs import text
from jxhash.methods.base import Batch
from jxhash.training import batches

DATA_DIR = os.environ.get("JXHASH_DATA_DIR")


def test_tokens_keep_the_order_of_known_words():
    vocabulary = ["fish", "gull", "red"]
    tokens = text.token_numbers(["A red, RED gull", "", "fish and fish"], vocabulary, length=2)
    assert tokens.tolist() == [[3, 3], [0, 0], [1, 1]]
    assert tokens.dtype == np.int32


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
    assert text.word_mask(tokens).sum(axis=1).tolist() == [2, 0, 3]


def test_clipart_sentences_are_the_words_of_clipart():
    plain, sentences = data.load("clipart"), data.load("clipart-sentences")
    assert sentences.vocabulary_size == plain.training["pairs"]["text"].shape[1]
    assert plain.vocabulary_size is None
    assert sentences.card["sizes"] == plain.card["sizes"]
    for name in ("image", "labels"):
        one, other = (d.training["pairs"][name] for d in (plain, sentences))
        np.testing.assert_array_equal(one, other)
    for one, other in ((plain.tasks, sentences.tasks), (plain.validation, sentences.validation)):
        for bags, tokens in zip(one, other, strict=True):
            _assert_same_words(bags.query.inputs["text"], tokens.query.inputs["text"])
            _assert_same_words(bags.database.inputs["text"], tokens.database.inputs["text"])
            assert bags.query.titles == tokens.query.titles


def _assert_same_words(bags, tokens):
    assert tokens.shape == (len(bags), embedded_sets.SENTENCE_LENGTH)
    for bag, sentence in zip(bags, tokens, strict=True):
        words = sentence[sentence > 0]
        assert not np.any(sentence[len(words) :])
        known = set(np.flatnonzero(bag) + 1)
        assert set(words) <= known
        if len(words) < embedded_sets.SENTENCE_LENGTH:
            assert set(words) == known


def test_clipart_regions_bring_regions_and_sentences(monkeypatch):
    sentences = data.load("clipart-sentences")

    def quick(name, pictures, whole):
        assert name == "clipart"
        rows = np.zeros((len(pictures), 3, whole.shape[1] + 4), np.float16)
        rows[:, 0, : whole.shape[1]] = whole
        return rows

    monkeypatch.setattr(regions, "of_pictures", quick)
    loaded = data.load("clipart-regions")
    assert loaded.vocabulary_size == sentences.vocabulary_size
    assert loaded.card["sha256"] != sentences.card["sha256"]
    assert loaded.training["pairs"]["image"].shape == (1683, 3, 260)
    for one, other in zip(loaded.tasks, sentences.tasks, strict=True):
        np.testing.assert_array_equal(one.query.inputs["text"], other.query.inputs["text"])
        whole = one.query.inputs["image"][:, 0, :256]
        np.testing.assert_array_equal(whole, other.query.inputs["image"])


@pytest.mark.skipif(not DATA_DIR, reason="JXHASH_DATA_DIR names no folder with IAPR TC-12")
def test_dvsh_learns_at_the_size_of_iapr_tc12():
    """Its 19,996 descriptions and labels are real; picture features are drawn, for want of any."""
    path = pathlib.Path(DATA_DIR) / "iapr_tc12" / "text_labels.npz"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    with np.load(path, allow_pickle=False) as arrays:
        descriptions, labels = arrays["docs"].tolist(), arrays["labels"]
    assert len(descriptions) == 19_996
    vocabulary = text.build_vocabulary(descriptions, 5)
    tokens = text.token_numbers(descriptions, vocabulary)
    assert len(vocabulary) > 1000
    assert tokens.max() == len(vocabulary)
    assert np.mean(np.all(tokens > 0, axis=1)) > 0.5
    image = np.random.default_rng(0).normal(size=(len(tokens), 16)).astype(np.float32)
    pairs = {"image": image, "text": tokens, "labels": labels}
    some = small.items({name: array[:10] for name, array in pairs.items()})
    loaded = Dataset(
        {"name": "iapr"},
        {"pairs": pairs},
        both_directions(some, some),
        vocabulary_size=len(vocabulary),
    )
    method, _ = small.build(small.config("dvsh"), loaded)
    before = jax.jit(method.init)(jax.random.key(0))
    index = jnp.arange(100, 164)
    rows = {name: jnp.asarray(array[100:164]) for name, array in pairs.items()}
    batch = Batch({"pairs": batches.with_index(rows, index, len(tokens))}, {"pairs": {}})
    after, metrics = jax.jit(method.stages[0].updates[0].step)(before, batch)
    assert np.isfinite(metrics["loss"][0])
    names = ("fusion", "text")
    for network in names:
        words, moved = (
            s.params["networks"][network]["params"]["WordLSTM_0"]["Embed_0"]["embedding"]
            for s in (before, after)
        )
        assert words.shape == (len(vocabulary) + 1, 16)
        assert jnp.any(words != moved)
