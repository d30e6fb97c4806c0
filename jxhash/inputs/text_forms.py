"""Text forms: fitted on the training texts, then from any texts to arrays, always the same way.

A fitted form is plain data (`TextForm.state`), so that a run can keep it.

>>> form = fit(["a red gull", "a red fish"], Words(form="bag", min_texts=1))
>>> form.vocabulary
('a', 'fish', 'gull', 'red')
>>> form.arrays(["A gull", "qwrtzp"]).tolist()
[[1, 0, 1, 0], [0, 0, 0, 0]]
>>> form.usable(["A gull", "qwrtzp"]).tolist()
[True, False]
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from jxhash.errors import UserError
from jxhash.inputs import text, word_vectors

# The least cosine of an unknown word and the known one that it is read as. Held-out MAP (mean of
# both directions) at .4, .5, .6: clip art with THN .834, .850, .841; Flickr8k, 500 pairs with one
# caption each, with CHN .589, .590, .596.
NEAREST = 0.6

# Smooth inverse frequency (Arora, Liang and Ma, ICLR 2017): a word of probability p weighs
# a / (a + p). By Zipf's law p is 1 / (rank * H), with H the sum of 1 / rank over GloVe's words.
_SMOOTH = 1e-3
_HARMONIC = 13.5
_LEAST_SPREAD = 1e-6  # of mean vectors, as a share of their mean square
# Bounds the memory of cosines to a vocabulary.
_UNKNOWN_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Words:
    """How texts become arrays."""

    form: str = "words"  # one of `FORMS`
    min_texts: int = 2  # a word of fewer training texts is not in the vocabulary
    max_words: int = 5000  # the words of the most training texts are kept
    length: int = 12  # of sentences as tokens, in known words; longer ones are cut
    nearest: float | None = NEAREST  # as in `TextForm`


@dataclasses.dataclass(frozen=True, eq=False)
class TextForm:
    """A fitted form, from texts to arrays.

    Attributes:
      vocabulary: of the training texts, sorted.
      min_texts: how many of them have each of its words, at least.
      nearest: words outside of the vocabulary are read as the known word with the nearest vector
        if its cosine is at least this; None leaves them out, for texts of a published protocol.
    """

    form: ClassVar[str]
    described: ClassVar[str]
    vocabulary: tuple[str, ...]
    min_texts: int
    nearest: float | None

    @classmethod
    def fitted(cls, texts: Sequence[str], words: Words) -> Self:
        """The form of training texts; `fit` chooses the class.

        Raises:
          UserError: no word occurs in as many texts as `words` asks for.
        """
        vocabulary = text.build_vocabulary(texts, words.min_texts, words.max_words)
        if not vocabulary:
            raise UserError(
                f"no word occurs in {words.min_texts} of the {len(texts)} training texts; lower "
                "'min_texts' of 'words' in the description"
            )
        return cls(tuple(vocabulary), words.min_texts, words.nearest)

    def arrays(self, texts: Sequence[str]) -> np.ndarray:
        """What networks read, a row for each of n texts."""
        raise NotImplementedError

    def usable(self, texts: Sequence[str]) -> np.ndarray:
        """Bool [n], False for a text of which no word is known: its row says nothing."""
        return np.array([bool(places) for places in self.known(texts)], bool)

    @property
    def said(self) -> str:
        """What the arrays hold, for a card."""
        said = self.described.format(words=len(self.vocabulary), **dataclasses.asdict(self))
        said += f"; words that at least {self.min_texts} training texts have"
        if self.nearest is None:
            return said
        return f"{said}; others as the nearest of them (cosine of word vectors {self.nearest:g})"

    @property
    def vocabulary_size(self) -> int | None:
        """The number of words where arrays hold their numbers from 1, else None."""
        return None

    def known(self, texts: Sequence[str]) -> list[list[int]]:
        """The places in the vocabulary of the words of each text, in its order."""
        places = {word: place for place, word in enumerate(self.vocabulary)}
        if self.nearest is not None:
            unknown = sorted({word for one in texts for word in text.words(one)} - places.keys())
            places |= _nearest(unknown, self.vocabulary, self.nearest)
        return text.known_words(texts, places)

    def card(self, texts: Sequence[str]) -> dict[str, Any]:
        """The entries of a data set's card for texts in this form."""
        without = int((~self.usable(texts)).sum())
        return {"text": self.said, "texts without a known word": without}

    def state(self) -> dict[str, Any]:
        """All of the form as JSON values and arrays; see `from_state`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"form": self.form, **fields, "vocabulary": list(self.vocabulary)}


@dataclasses.dataclass(frozen=True, eq=False)
class _Bag(TextForm):
    """A bag of words: uint8 [n, V] in {0, 1}."""

    form = "bag"
    described = "which of {words} words a text has"

    def arrays(self, texts: Sequence[str]) -> np.ndarray:
        return text.bags_of_words(self.known(texts), len(self.vocabulary))


@dataclasses.dataclass(frozen=True, eq=False)
class _TfIdf(TextForm):
    """Words weighted by their inverse document frequencies: float32 [n, V], rows of length 1."""

    form = "tf-idf"
    described = "tf-idf of {words} words, rows of length 1"
    idf: np.ndarray  # float32 [V]

    @classmethod
    def fitted(cls, texts: Sequence[str], words: Words) -> Self:
        bag = _Bag.fitted(texts, words)
        idf = text.inverse_document_frequencies(bag.known(texts), len(bag.vocabulary))
        return cls(bag.vocabulary, bag.min_texts, bag.nearest, idf)

    def arrays(self, texts: Sequence[str]) -> np.ndarray:
        return text.tf_idf(self.known(texts), self.idf)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tokens(TextForm):
    """Numbers of the first words of a text: int32 [n, length], 1 to V, and 0 at the end."""

    form = "tokens"
    described = "numbers of the first {length} of {words} words, in order; 0 at the end"
    length: int

    @classmethod
    def fitted(cls, texts: Sequence[str], words: Words) -> Self:
        bag = _Bag.fitted(texts, words)
        return cls(bag.vocabulary, bag.min_texts, bag.nearest, words.length)

    def arrays(self, texts: Sequence[str]) -> np.ndarray:
        return text.token_numbers(self.known(texts), self.length)

    @property
    def vocabulary_size(self) -> int | None:
        return len(self.vocabulary)


@dataclasses.dataclass(frozen=True, eq=False)
class _BagAndMean(TextForm):
    """A bag of words beside the mean of word vectors: float16 [n, V + 100].

    Means weigh frequent words less and are centred on the training texts; a text of which no word
    has a vector is at their centre. Both parts have the same mean square length over the training
    texts, so that neither drowns the other.
    """

    form = "words"
    described = (
        "which of {words} words a text has, and the mean vector of all its words, weighted by "
        "frequency, centred, of the same mean square length"
    )
    centre: np.ndarray  # float32 [100]
    scale: float  # of the centred means

    @classmethod
    def fitted(cls, texts: Sequence[str], words: Words) -> Self:
        bag = _Bag.fitted(texts, words)
        means, usable = _mean_vectors(texts)
        centre = means.sum(axis=0) / np.float32(max(usable.sum(), 1))
        squares = np.square(means[usable] - centre).sum(dtype=np.float64)
        # Else texts of the same words are told apart by rounding alone.
        differ = squares > _LEAST_SPREAD * np.square(means).sum(dtype=np.float64)
        scale = np.sqrt(bag.arrays(texts).sum() / squares) if differ else 0.0
        return cls(bag.vocabulary, bag.min_texts, bag.nearest, centre, float(scale))

    def arrays(self, texts: Sequence[str]) -> np.ndarray:
        means, usable = _mean_vectors(texts)
        means = np.where(usable[:, None], self.scale * (means - self.centre), 0)
        bags = text.bags_of_words(self.known(texts), len(self.vocabulary))
        return np.concatenate([bags, means], axis=1, dtype=np.float16, casting="same_kind")

    def usable(self, texts: Sequence[str]) -> np.ndarray:
        usable: np.ndarray = super().usable(texts) | _mean_vectors(texts)[1]
        return usable


FORMS: Mapping[str, type[TextForm]] = {
    kind.form: kind for kind in (_Bag, _BagAndMean, _TfIdf, _Tokens)
}


def fit(texts: Sequence[str], words: Words) -> TextForm:
    """Fits a form on the training texts.

    Raises:
      UserError: no word occurs in as many texts as `words` asks for.
    """
    return FORMS[words.form].fitted(texts, words)


def from_state(state: Mapping[str, Any]) -> TextForm:
    """The form that `TextForm.state` described.

    Raises:
      UserError: it is not the state of a form.
    """
    kind = next((kind for kind in FORMS.values() if kind.form == state.get("form")), None)
    if kind is None:
        raise UserError(
            f"the text form is {state.get('form')!r:.40}, not one of {', '.join(FORMS)}"
        )
    names = [field.name for field in dataclasses.fields(kind)]
    if set(state) != {"form", *names}:
        raise UserError(f"the text form {kind.form!r} has the entries form, {', '.join(names)}")
    words = state["vocabulary"] if isinstance(state["vocabulary"], list) else []
    for name in names:
        if not _CHECKS[name](state[name], len(words)):
            raise UserError(f"{name!r} of the text form {kind.form!r} is damaged")
    return kind(**{name: state[name] for name in names} | {"vocabulary": tuple(words)})


def is_cosine(value: Any) -> bool:
    """Whether a value from outside can be `Words.nearest`."""
    return value is None or (type(value) in (int, float) and 0 < value <= 1)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_vector(value: Any, length: int) -> bool:
    is_array = isinstance(value, np.ndarray) and value.dtype == np.float32
    return is_array and value.shape == (length,) and bool(np.isfinite(value).all())


# Whether an entry of a state can be used, given the number of words of its vocabulary.
_CHECKS: Mapping[str, Callable[[Any, int], bool]] = {
    "vocabulary": lambda value, size: (
        0 < size == len(set(map(str, value))) and all(isinstance(word, str) for word in value)
    ),
    "min_texts": lambda value, _: _is_count(value),
    "nearest": lambda value, _: is_cosine(value),
    "idf": _is_vector,
    "length": lambda value, _: _is_count(value),
    "centre": lambda value, _: _is_vector(value, word_vectors.WIDTH),
    "scale": lambda value, _: type(value) is float and 0 <= value < np.inf,
}


def _nearest(unknown: Sequence[str], vocabulary: Sequence[str], least: float) -> dict[str, int]:
    """The place in the vocabulary of the word nearest to each unknown one, if that near."""
    unknown = list(itertools.compress(unknown, word_vectors.ranks(unknown)))
    known = _directions(vocabulary)
    found = {}
    for begin in range(0, len(unknown), _UNKNOWN_AT_ONCE):
        block = unknown[begin : begin + _UNKNOWN_AT_ONCE]
        cosines = _directions(block) @ known.T
        nearest = cosines.argmax(axis=1)
        for row in np.flatnonzero(cosines.max(axis=1) >= least).tolist():
            found[block[row]] = int(nearest[row])
    return found


def _directions(words: Sequence[str]) -> np.ndarray:
    """Word vectors of length 1, float32 [m, 100]; zeros for a word without one."""
    found = word_vectors.vectors(words)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    directions: np.ndarray = found / np.where(lengths > 0, lengths, 1)
    return directions


def _mean_vectors(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean word vectors by `_SMOOTH`, float32 [n, 100], and which texts have any, bool [n]."""
    split = [text.words(one) for one in texts]
    every = sorted(set(itertools.chain.from_iterable(split)))
    places = {word: place for place, word in enumerate(every)}
    ranks, vectors = word_vectors.ranks(every), word_vectors.vectors(every)
    inverse = np.where(ranks > 0, ranks * _HARMONIC, 1)
    weights = np.where(ranks > 0, _SMOOTH / (_SMOOTH + 1 / inverse), 0)
    means = np.zeros((len(split), word_vectors.WIDTH), np.float32)
    usable = np.zeros(len(split), bool)
    for row, one in enumerate(split):
        known = [places[word] for word in one]
        total = weights[known].sum()
        usable[row] = total > 0
        means[row] = weights[known] @ vectors[known] / max(total, np.finfo(np.float64).tiny)
    return means, usable
