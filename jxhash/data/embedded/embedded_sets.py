"""The data that comes with the package: clip-art pictures and emoji with their texts.

Both are small and real, so that every method can be tried at once, and neither is the data set of a
paper: their numbers must not be put beside published tables. The cards beside the files say how
they were made; `experiments/build_embedded_data.py` makes them.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import pathlib
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from jxhash.data.dataset import Dataset, Items, both_directions, content_hash
from jxhash.data.pictures import regions
from jxhash.data.pictures.decoding import EncodedPictures, in_squares, some_rows
from jxhash.errors import UserError
from jxhash.inputs.text import bags_of_words, build_vocabulary, token_numbers

FOLDER = pathlib.Path(__file__).resolve().parent

# A word of a single text tells a network nothing about others.
_MIN_TEXTS = 2

# The mean length of the sentences of the papers' data sets.
SENTENCE_LENGTH = 12
_SENTENCES = (
    f"numbers of the first {SENTENCE_LENGTH} words of title, keywords and description that at "
    f"least {_MIN_TEXTS} training texts have; 0 at the end"
)


class _Collection(NamedTuple):
    """One embedded set: its card and its rows, in the order of the file."""

    card: dict[str, Any]
    splits: np.ndarray
    titles: list[str]
    texts: list[str]
    labels: np.ndarray
    features: np.ndarray
    pictures: list[bytes]

    def rows(self, splits: Collection[str]) -> np.ndarray:
        """The numbers of the rows of some splits."""
        return np.flatnonzero(np.isin(self.splits, list(splits)))

    def texts_of(self, rows: np.ndarray) -> list[str]:
        """Title, keywords and description of some rows."""
        return [self.texts[row] for row in rows]

    def items(self, rows: np.ndarray, inputs: dict[str, np.ndarray]) -> Items:
        """Some rows for retrieval."""
        return Items(
            inputs,
            self.labels[rows],
            [self.titles[row] for row in rows],
            [self.pictures[row] for row in rows],
        )


def load_clipart() -> Dataset:
    """Clip art: pictures (256 features each) and bags of words, in pairs.

    The database is every row that is no query; the training rows are a part of it, the validation
    rows the rest. Validation searches with them among the training rows.
    """
    clipart = _read("clipart")
    bags = bags_of_words(clipart.texts, _training_words(clipart))
    return _pairs(clipart, clipart.features, bags)


def load_clipart_sentences() -> Dataset:
    """Clip art whose texts are sentences: the numbers of their first 12 known words, in order.

    Pictures, splits and vocabulary are those of `load_clipart`.
    """
    clipart = _read("clipart")
    vocabulary = _training_words(clipart)
    tokens = token_numbers(clipart.texts, vocabulary, SENTENCE_LENGTH)
    pairs = _pairs(clipart, clipart.features, tokens)
    card = {**pairs.card, "name": "clipart-sentences", "text": _SENTENCES}
    return dataclasses.replace(pairs, card=card, vocabulary_size=len(vocabulary))


def load_clipart_regions() -> Dataset:
    """Clip art as sequences of regions (see `regions`) and sentences.

    Splits, texts and vocabulary are those of `load_clipart_sentences`. The regions are worked out
    at the first use, in some minutes, and kept in the user's cache folder.

    Raises:
      UserError: regions must be worked out, and the extras for it are not installed; or what the
        cache folder holds is damaged.
    """
    clipart = _read("clipart")
    vocabulary = _training_words(clipart)
    tokens = token_numbers(clipart.texts, vocabulary, SENTENCE_LENGTH)
    sequences = regions.of_pictures("clipart", clipart.pictures, clipart.features)
    pairs = _pairs(clipart, sequences, tokens)
    card = {
        **pairs.card,
        "name": "clipart-regions",
        "text": _SENTENCES,
        "features": f"{clipart.card['features']}; {regions.DESCRIBED}",
        "sha256": _joined_hash(clipart.card["sha256"] | {"regions": content_hash({"": sequences})}),
    }
    return dataclasses.replace(pairs, card=card, vocabulary_size=len(vocabulary))


def load_clipart_pixels(size: int) -> Dataset:
    """Clip art whose images are the pictures themselves: uint8 [size, size, 3], decoded when read.

    Splits, texts and vocabulary are those of `load_clipart`.

    Args:
      size: height and width; the pictures are stored at 64 x 64.
    """
    clipart = _read("clipart")
    pictures = in_squares(clipart.pictures, clipart.titles, size)
    bags = bags_of_words(clipart.texts, _training_words(clipart))
    pairs = _pairs(clipart, pictures, bags)
    card = {
        **pairs.card,
        "name": f"clipart-pixels-{size}",
        "features": pictures.described,
        "sha256": _joined_hash(clipart.card["sha256"] | {"pixels": pictures.described}),
    }
    return dataclasses.replace(pairs, card=card)


def _training_words(clipart: _Collection) -> list[str]:
    return build_vocabulary(clipart.texts_of(clipart.rows({"train"})), _MIN_TEXTS)


def _pairs(
    clipart: _Collection, images: np.ndarray | EncodedPictures, texts: np.ndarray
) -> Dataset:
    """The splits of clip art, with the given images and texts of all its rows."""
    items = {}
    for name, splits in (
        ("train", {"train"}),
        ("validation", {"validation"}),
        ("query", {"query"}),
        ("database", {"train", "validation"}),
    ):
        rows = clipart.rows(splits)
        inputs = {"image": some_rows(images, rows), "text": texts[rows]}
        items[name] = clipart.items(rows, inputs)
    train = items["train"]
    return Dataset(
        card=_card(clipart.card, {name: len(split) for name, split in items.items()}),
        training={"pairs": {**train.inputs, "labels": train.labels}},
        tasks=both_directions(items["query"], items["database"]),
        validation=both_directions(items["validation"], train),
        trained=train,
    )


def load_clipart_emoji() -> Dataset:
    """Clip art as labelled pairs, and unpaired emoji: pictures of some, texts of others.

    Sources of training rows: "pairs" (clip art), "query" (emoji pictures) and "database" (emoji
    texts), the latter two without labels. Test queries are held out from both. Words are those of
    the auxiliary pairs: nothing teaches a word that no pair has. Picture features are centred on
    the training rows of their own collection and brought to one length, so that a difference of
    style between the collections is no difference of content. Validation is on clip art alone.
    """
    clipart, emoji = _read("clipart"), _read("emoji")
    train, held_out = clipart.rows({"train"}), clipart.rows({"validation"})
    part = {name: emoji.rows({name}) for name in np.unique(emoji.splits)}
    vocabulary = build_vocabulary(clipart.texts_of(train), _MIN_TEXTS)

    emoji_images = _centred(emoji.features, part["picture_database"])
    clipart_images = _centred(clipart.features, train)

    def pictures(rows: np.ndarray) -> Items:
        return emoji.items(rows, {"image": emoji_images[rows]})

    def texts(rows: np.ndarray) -> Items:
        return emoji.items(rows, {"text": bags_of_words(emoji.texts_of(rows), vocabulary)})

    def pairs(rows: np.ndarray) -> Items:
        bags = bags_of_words(clipart.texts_of(rows), vocabulary)
        return clipart.items(rows, {"image": clipart_images[rows], "text": bags})

    auxiliary = pairs(train)
    picture_database, text_database = (
        pictures(part["picture_database"]),
        texts(part["text_database"]),
    )
    picture_query, text_query = pictures(part["picture_query"]), texts(part["text_query"])
    forth, back = both_directions(picture_query, text_database)
    return Dataset(
        card={
            "name": "clipart-emoji",
            "version": clipart.card["version"],
            "sizes": {
                "auxiliary pairs": len(auxiliary),
                "picture queries": len(picture_query),
                "pictures": len(picture_database),
                "text queries": len(text_query),
                "texts": len(text_database),
            },
            "sha256": _joined_hash(clipart.card["sha256"] | emoji.card["sha256"]),
            "split": "auxiliary pairs: clip art, train; unpaired emoji: pictures and texts of "
            "different emoji; the pictures and texts searched are also the unlabelled training "
            "rows of their domain, the queries are not",
            "features": "each collection centred on its own training rows, rows of one length",
            "parts": {
                "clipart": _card(clipart.card, clipart.card["split_sizes"]),
                "emoji": _card(emoji.card, emoji.card["split_sizes"]),
            },
        },
        training={
            "pairs": {**auxiliary.inputs, "labels": auxiliary.labels},
            "query": picture_database.inputs,
            "database": text_database.inputs,
        },
        tasks=(forth, back._replace(query=text_query, database=picture_database)),
        validation=both_directions(pairs(held_out), auxiliary),
    )


def _centred(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Shifts features by the mean of some rows, and scales each row to a mean square of 1."""
    shifted = features.astype(np.float32) - features[rows].mean(axis=0, dtype=np.float32)
    return shifted / np.sqrt(np.mean(np.square(shifted), axis=1, keepdims=True))


def _card(card: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    kept = ("name", "version", "licence", "features", "labels_made_by", "limits", "source")
    return {
        **{name: card[name] for name in kept},
        "sizes": sizes,
        "split": card["split_rule"],
        "sha256": _joined_hash(card["sha256"]),
    }


def _joined_hash(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _read(name: str) -> _Collection:
    card = json.loads(_read_file(f"{name}.card.json"))
    rows = [json.loads(line) for line in _read_whole(f"{name}.jsonl", card).splitlines()]
    with np.load(io.BytesIO(_read_whole(f"{name}.npz", card)), allow_pickle=False) as arrays:
        features, offsets = arrays["features"], arrays["offsets"]
        encoded = arrays["pictures"].tobytes()
    column = {label: number for number, label in enumerate(card["labels"])}
    labels = np.zeros((len(rows), len(column)), np.uint8)
    for number, row in enumerate(rows):
        labels[number, [column[label] for label in row["labels"]]] = 1
    return _Collection(
        card=card,
        splits=np.array([row["split"] for row in rows]),
        titles=[row["title"] for row in rows],
        texts=[" ".join((row["title"], *row["keywords"], row["description"])) for row in rows],
        labels=labels,
        features=features,
        pictures=[encoded[begin:end] for begin, end in itertools.pairwise(offsets)],
    )


def _read_whole(file: str, card: dict[str, Any]) -> bytes:
    content = _read_file(file)
    if hashlib.sha256(content).hexdigest() != card["sha256"][file]:
        raise UserError(f"{FOLDER / file} is cut or changed; install the package again")
    return content


def _read_file(file: str) -> bytes:
    try:
        return (FOLDER / file).read_bytes()
    except OSError as error:
        raise UserError(f"{FOLDER / file} cannot be read; install the package again") from error
