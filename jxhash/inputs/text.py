"""From texts to bags of words or token numbers, with a vocabulary of the training texts alone."""

import collections
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_ASCII_WORD = re.compile("[a-z0-9]+")
# Blocks of scripts whose words no space separates: Thai, Lao, Myanmar, Khmer, Hiragana, Katakana
# (also of half width), Han.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Soft hyphen, joiners, byte order mark, variation selectors: seen by renderers, not by readers.
_INVISIBLE = re.compile("[\u00ad\u200c\u200d\u2060\ufeff\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def words(text: str) -> list[str]:
    """The words of a text in lower case and NFC: runs of letters, digits and their marks.

    Runs of scripts that are written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer,
    Myanmar) are read as overlapping pairs of characters, a single one as itself; they end where
    another script begins.

    >>> words("Red-billed gull, 2 eggs")
    ['red', 'billed', 'gull', '2', 'eggs']
    >>> words("iPhone手机壳")
    ['iphone', '手机', '机壳']
    """
    lowered = text.lower()
    if lowered.isascii():
        return _ASCII_WORD.findall(lowered)
    # Lower case of the Turkish capital: an i with a second dot.
    seen = _INVISIBLE.sub("", lowered).replace("i\u0307", "i")
    runs, character = _patterns()
    found: list[str] = []
    for word, run in runs.findall(unicodedata.normalize("NFC", seen)):
        characters = character.findall(run)
        pairs = ["".join(pair) for pair in itertools.pairwise(characters)]
        found += [word] if word else pairs or characters
    return found


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Finds a word or a run without spaces (two groups), and the characters of such a run."""
    planes = map(chr, range(0x20000))  # no other has marks that are seen
    # Enclosing marks (Me) make symbols of digits: the keycap of 1 is the word "1".
    marks = "".join(mark for mark in planes if unicodedata.category(mark) in ("Mn", "Mc"))
    letter = f"[^\\W_][{marks}]*"
    character = f"(?=[{_WITHOUT_SPACES}]){letter}"
    word = f"(?![{_WITHOUT_SPACES}]){letter}"
    return re.compile(f"((?:{word})+)|((?:{character})+)"), re.compile(character)


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


def known_words(texts: Iterable[str], places: Mapping[str, int]) -> list[list[int]]:
    """The places of the known words of each text, in its order; other words are left out.

    >>> known_words(["A red, red gull", "boat"], {"gull": 0, "red": 1})
    [[1, 1, 0], []]
    """
    return [[places[word] for word in words(text) if word in places] for text in texts]


def bags_of_words(known: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """Marks which words of the vocabulary each text has.

    Args:
      known: places of the words of n texts, see `known_words`.
      size: of the vocabulary, V.

    Returns:
      uint8 [n, V] in {0, 1}.

    >>> bags_of_words([[1, 1, 0], [2]], 3).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    bags = np.zeros((len(known), size), np.uint8)
    for row, places in enumerate(known):
        bags[row, places] = 1
    return bags


def inverse_document_frequencies(known: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """The inverse document frequency of each word: log((1 + n) / (1 + texts with the word)) + 1.

    Adding one to both counts avoids a division by zero for a word that no text has.

    Args:
      known: places of the words of n texts of the training rows alone, see `known_words`.
      size: of the vocabulary, V.

    Returns:
      float32 [V], at least 1.

    >>> print(inverse_document_frequencies([[1], [1, 0]], 2))
    [1.4054651 1.       ]
    """
    having = np.zeros(size)
    for places in known:
        having[places] += 1  # once, however often the text has the word
    return (np.log((1 + len(known)) / (1 + having)) + 1).astype(np.float32)


def tf_idf(known: Sequence[Sequence[int]], frequencies: np.ndarray) -> np.ndarray:
    """Counts the words of each text, weighs them, and brings each row to length 1.

    Args:
      known: places of the words of n texts, see `known_words`.
      frequencies: [V], of `inverse_document_frequencies` of the training texts.

    Returns:
      float32 [n, V]; a text without a known word is a row of zeros.

    >>> print(tf_idf([[1, 1, 0]], np.array([1.5, 1.0])))
    [[0.6 0.8]]
    """
    weights = np.zeros((len(known), len(frequencies)), np.float32)
    for row, places in enumerate(known):
        np.add.at(weights[row], places, 1)
    weights *= frequencies.astype(np.float32)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    weights /= np.where(lengths > 0, lengths, 1)
    return weights


def token_numbers(known: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Numbers the words of each text, in their order.

    Args:
      known: places of the words of n texts, see `known_words`.
      length: words that are kept of a text, from its beginning.

    Returns:
      int32 [n, length]: the vocabulary's words have the numbers 1 to V; 0 fills the end of shorter
      texts.

    >>> token_numbers([[1, 1, 0], [0]], length=2).tolist()
    [[2, 2], [1, 0]]
    """
    tokens = np.zeros((len(known), length), np.int32)
    for row, places in enumerate(known):
        kept = np.array(places[:length], np.int32)
        tokens[row, : len(kept)] = kept + 1
    return tokens
