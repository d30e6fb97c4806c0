"""From texts to bags of words or token numbers, with a vocabulary of the training texts alone."""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits.

    >>> words("Red-billed gull, 2 eggs")
    ['red', 'billed', 'gull', '2', 'eggs']
    """
    return _WORD.findall(text.lower())


def build_vocabulary(
    texts: Iterable[str], min_texts: int, max_words: int | None = None
) -> list[str]:
    """The words that occur in at least `min_texts` of the texts, sorted.

    Args:
      texts: of the training rows alone.
      min_texts: a word of fewer texts is left out.
      max_words: of more words, those of the most texts are kept, of equals the first in the
        alphabet; None keeps all.

    >>> build_vocabulary(["red gull", "red fish", "blue fish"], 2)
    ['fish', 'red']
    >>> build_vocabulary(["red gull", "red fish", "blue fish"], 1, max_words=3)
    ['blue', 'fish', 'red']
    """
    counts = collections.Counter(word for text in texts for word in set(words(text)))
    known = sorted(word for word, count in counts.items() if count >= min_texts)
    return sorted(sorted(known, key=lambda word: -counts[word])[:max_words])


def bags_of_words(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Marks which words of the vocabulary each text has.

    Args:
      texts: n texts.
      vocabulary: V words; others are passed over.

    Returns:
      uint8 [n, V] in {0, 1}.

    >>> bags_of_words(["Red gull", "fish"], ["fish", "red"]).tolist()
    [[0, 1], [1, 0]]
    """
    column = {word: number for number, word in enumerate(vocabulary)}
    bags = np.zeros((len(texts), len(vocabulary)), np.uint8)
    for row, text in enumerate(texts):
        bags[row, [column[word] for word in words(text) if word in column]] = 1
    return bags


def inverse_document_frequencies(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """How much each word tells: log((1 + n) / (1 + texts with the word)) + 1.

    One is added to both counts, so that a word that no text has is no division by zero.

    Args:
      texts: n texts, of the training rows alone.
      vocabulary: V words.

    Returns:
      float32 [V], at least 1.

    >>> print(inverse_document_frequencies(["red gull", "red fish"], ["fish", "red"]))
    [1.4054651 1.       ]
    """
    column = {word: number for number, word in enumerate(vocabulary)}
    having = np.zeros(len(vocabulary))
    for text in texts:
        having[[column[word] for word in set(words(text)) if word in column]] += 1
    return (np.log((1 + len(texts)) / (1 + having)) + 1).astype(np.float32)


def tf_idf(texts: Sequence[str], vocabulary: Sequence[str], frequencies: np.ndarray) -> np.ndarray:
    """Counts the words of each text, weighs them, and brings each row to length 1.

    Args:
      texts: n texts.
      vocabulary: V words; others are passed over.
      frequencies: [V], of `inverse_document_frequencies` of the training texts.

    Returns:
      float32 [n, V]; a text without a known word is a row of zeros.

    >>> print(tf_idf(["red red fish"], ["fish", "red"], np.array([1.5, 1.0])))
    [[0.6 0.8]]
    """
    column = {word: number for number, word in enumerate(vocabulary)}
    weights = np.zeros((len(texts), len(vocabulary)), np.float32)
    for row, text in enumerate(texts):
        known = [column[word] for word in words(text) if word in column]
        np.add.at(weights[row], known, 1)
    weights *= frequencies.astype(np.float32)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    weights /= np.where(lengths > 0, lengths, 1)
    return weights


def token_numbers(texts: Sequence[str], vocabulary: Sequence[str], length: int = 12) -> np.ndarray:
    """Numbers the words of each text, in their order.

    Args:
      texts: n texts.
      vocabulary: V words; others are passed over.
      length: known words that are kept of a text, from its beginning.

    Returns:
      int32 [n, length]: the vocabulary's words have the numbers 1 to V; 0 fills the end of shorter
      texts, see `word_mask`.

    >>> token_numbers(["A red, red gull", "fish"], ["fish", "red"], length=3).tolist()
    [[2, 2, 0], [1, 0, 0]]
    """
    number = {word: position for position, word in enumerate(vocabulary, start=1)}
    tokens = np.zeros((len(texts), length), np.int32)
    for row, text in enumerate(texts):
        known = [number[word] for word in words(text) if word in number][:length]
        tokens[row, : len(known)] = known
    return tokens


def word_mask(tokens: np.ndarray) -> np.ndarray:
    """Where token numbers are words and where padding, a bool array of the same shape.

    >>> word_mask(np.array([[2, 1, 0]])).tolist()
    [[True, True, False]]
    """
    return tokens > 0
