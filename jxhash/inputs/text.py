"""From texts to bags of words or token numbers, with a vocabulary of the training texts alone."""

import collections
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

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
    found = []
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


def bags_of_words(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Marks which words of the vocabulary each text has.

    Args:
      texts: n texts.
      vocabulary: V words; other words are ignored.

    Returns:
      uint8 [n, V] in {0, 1}.

    >>> bags_of_words(["Red gull", "fish"], ["fish", "red"]).tolist()
    [[0, 1], [1, 0]]
    """
    bags = np.zeros((len(texts), len(vocabulary)), np.uint8)
    for row, known in enumerate(_known(texts, vocabulary)):
        bags[row, known] = 1
    return bags


def _known(texts: Iterable[str], vocabulary: Sequence[str]) -> Iterator[list[int]]:
    """The places in the vocabulary of the known words of each text, in its order."""
    place = {word: number for number, word in enumerate(vocabulary)}
    for text in texts:
        yield [place[word] for word in words(text) if word in place]


def inverse_document_frequencies(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """The inverse document frequency of each word: log((1 + n) / (1 + texts with the word)) + 1.

    Adding one to both counts avoids a division by zero for a word that no text has.

    Args:
      texts: n texts, of the training rows alone.
      vocabulary: V words.

    Returns:
      float32 [V], at least 1.

    >>> print(inverse_document_frequencies(["red gull", "red fish"], ["fish", "red"]))
    [1.4054651 1.       ]
    """
    having = np.zeros(len(vocabulary))
    for known in _known(texts, vocabulary):
        having[known] += 1  # once, however often the text has the word
    return (np.log((1 + len(texts)) / (1 + having)) + 1).astype(np.float32)


def tf_idf(texts: Sequence[str], vocabulary: Sequence[str], frequencies: np.ndarray) -> np.ndarray:
    """Counts the words of each text, weighs them, and brings each row to length 1.

    Args:
      texts: n texts.
      vocabulary: V words; other words are ignored.
      frequencies: [V], of `inverse_document_frequencies` of the training texts.

    Returns:
      float32 [n, V]; a text without a known word is a row of zeros.

    >>> print(tf_idf(["red red fish"], ["fish", "red"], np.array([1.5, 1.0])))
    [[0.6 0.8]]
    """
    weights = np.zeros((len(texts), len(vocabulary)), np.float32)
    for row, known in enumerate(_known(texts, vocabulary)):
        np.add.at(weights[row], known, 1)
    weights *= frequencies.astype(np.float32)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    weights /= np.where(lengths > 0, lengths, 1)
    return weights


def token_numbers(texts: Sequence[str], vocabulary: Sequence[str], length: int = 12) -> np.ndarray:
    """Numbers the words of each text, in their order.

    Args:
      texts: n texts.
      vocabulary: V words; other words are ignored.
      length: known words that are kept of a text, from its beginning.

    Returns:
      int32 [n, length]: the vocabulary's words have the numbers 1 to V; 0 fills the end of shorter
      texts.

    >>> token_numbers(["A red, red gull", "fish"], ["fish", "red"], length=3).tolist()
    [[2, 2, 0], [1, 0, 0]]
    """
    tokens = np.zeros((len(texts), length), np.int32)
    for row, known in enumerate(_known(texts, vocabulary)):
        kept = np.array(known[:length], np.int32)
        tokens[row, : len(kept)] = kept + 1
    return tokens
