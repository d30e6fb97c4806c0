"""The word vectors of the package: the file, its card, and words by their neighbours."""

import json
import shutil

import numpy as np
import pytest

from jxhash.errors import UserError
from jxhash.inputs import text, word_vectors

ARRAYS, CARD = (word_vectors.FOLDER / f"word_vectors.{end}" for end in ("npz", "card.json"))


def cosine(one, other):
    u, v = word_vectors.vectors([one, other]).astype(np.float64)
    return u @ v / np.linalg.norm(u) / np.linalg.norm(v)


def test_the_file_is_small_and_plain():
    assert ARRAYS.stat().st_size < 3_500_000
    with np.load(ARRAYS, allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        ranks, scales, entries = arrays["ranks"], arrays["scales"], arrays["entries"]
    assert len(words) == len(set(words)) == json.loads(CARD.read_text())["words"] > 30_000
    assert all(text.words(word) == [word] for word in words)
    assert entries.shape == (len(words), 100)
    assert (entries.dtype, scales.dtype, ranks.dtype) == (np.int8, np.float32, np.int32)
    assert (np.abs(entries.astype(int)).max(axis=1) == 127).all()
    assert (scales > 0).all()
    assert (np.diff(ranks) > 0).all()


def test_vectors_are_those_of_glove():
    # The first numbers of "the" and "king" in glove.6B.100d.txt; entries are rounded to 1/127 of
    # the largest of a word.
    found = word_vectors.vectors(["the", "king"])[:, :3]
    exact = [[-0.038194, -0.24487, 0.72812], [-0.32307, -0.87616, 0.21977]]
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_near_words_have_near_vectors():
    assert cosine("king", "queen") > 0.7 > 0.2 > cosine("king", "cabbage")
    assert cosine("boat", "ship") > cosine("boat", "guitar")
    assert cosine("dog", "puppy") > cosine("dog", "algebra")


def test_words_without_a_vector():
    found = word_vectors.vectors(["qwrtzp", "dog", ""])
    assert found.any(axis=1).tolist() == [False, True, False]
    assert found.dtype == np.float32
    ranks = word_vectors.ranks(["the", "of", "dog", "qwrtzp"])
    assert ranks[:2].tolist() == [1, 4]
    assert 4 < ranks[2] < 10_000
    assert ranks[3] == 0
    assert word_vectors.vectors([]).shape == (0, 100)


@pytest.mark.parametrize("change", ["cut", "flipped", "missing"])
def test_another_file_is_refused(change, tmp_path, monkeypatch):
    shutil.copy(CARD, tmp_path)
    content = bytearray(ARRAYS.read_bytes())
    content[len(content) // 2] ^= 1
    kept = {"cut": content[:1000], "flipped": content}
    if change in kept:
        (tmp_path / ARRAYS.name).write_bytes(kept[change])
    monkeypatch.setattr(word_vectors, "FOLDER", tmp_path)
    word_vectors._table.cache_clear()
    with pytest.raises(UserError, match=r"word_vectors\.npz.*install the package again"):
        word_vectors.vectors(["dog"])
    word_vectors._table.cache_clear()
