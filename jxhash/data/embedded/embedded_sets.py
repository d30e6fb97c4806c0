"""The data that comes with the package: clip-art pictures and emoji with their texts.

Both are small and real, so that every method can be tried at once, and neither is the data set of a
paper: their numbers must not be put beside published tables. The cards beside the files say how
they were made; `experiments/embedded_data/build.py` makes them.
"""

import io
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from jxhash.data.assemble import from_parts
from jxhash.data.dataset import Dataset, Items, both_directions, content_hash, json_hash
from jxhash.data.pictures import regions
from jxhash.data.pictures.decoding import EncodedPictures, Pictures, in_squares
from jxhash.inputs import package_files, text_forms
from jxhash.inputs.text_forms import Words

FOLDER = pathlib.Path(__file__).resolve().parent

# A word of a single text does not generalise.
_MIN_TEXTS = 2

# The mean length of the sentences of the papers' data sets.
SENTENCE_LENGTH = 12
# Of published numbers, so that unknown words stay unread.
_BAG = Words("bag", _MIN_TEXTS, nearest=None)
_SENTENCES = Words("tokens", _MIN_TEXTS, length=SENTENCE_LENGTH, nearest=None)


class _Collection(NamedTuple):
    """One embedded set: its card and its rows, in the order of the file."""

    card: dict[str, Any]
    splits: np.ndarray
    titles: list[str]
    texts: list[str]  # title, keywords and description
    labels: np.ndarray
    features: np.ndarray
    pictures: Pictures

    def rows(self, *splits: str) -> np.ndarray:
        """The numbers of the rows of some splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def items(self, split: str, **inputs: np.ndarray) -> Items:
        """The rows of a split for retrieval, with what the inputs of all rows have for them."""
        rows = self.rows(split)
        return Items(
            {modality: array[rows] for modality, array in inputs.items()},
            self.labels[rows],
            [self.titles[row] for row in rows],
            self.pictures.take(rows),
        )


def load_clipart() -> Dataset:
    """Clip art: pictures (256 features each) and bags of words, in pairs.

    The database is every row that is no query; the training rows are a part of it, the validation
    rows the rest. Validation searches with them among the training rows.
    """
    clipart = _read("clipart")
    return _pairs(clipart, clipart.features)


def load_clipart_sentences() -> Dataset:
    """Clip art whose texts are sentences: the numbers of their first 12 known words, in order.

    Pictures, splits and vocabulary are those of `load_clipart`.
    """
    clipart = _read("clipart")
    return _pairs(clipart, clipart.features, _SENTENCES, name="clipart-sentences")


def load_clipart_regions() -> Dataset:
    """Clip art as sequences of regions (see `regions`) and sentences.

    Splits, texts and vocabulary are those of `load_clipart_sentences`. The regions are computed
    at the first use, in some minutes, and kept in the user's cache folder.

    Raises:
      UserError: regions must be computed, and the extras for it are not installed; or what the
        cache folder holds is damaged.
    """
    clipart = _read("clipart")
    sequences = regions.of_pictures("clipart", clipart.pictures, clipart.features)
    return _pairs(
        clipart,
        sequences,
        _SENTENCES,
        name="clipart-regions",
        features=f"{clipart.card['features']}; {regions.DESCRIBED}",
        sha256=json_hash(clipart.card["sha256"] | {"regions": content_hash({"": sequences})}),
    )


def load_clipart_pixels(size: int) -> Dataset:
    """Clip art whose images are the pictures themselves: uint8 [size, size, 3], decoded when read.

    Splits, texts and vocabulary are those of `load_clipart`. The pictures are stored at 64 x 64.
    """
    clipart = _read("clipart")
    pictures = in_squares(clipart.pictures, clipart.titles, size)
    return _pairs(
        clipart,
        pictures,
        name=f"clipart-pixels-{size}",
        features=pictures.described,
        sha256=json_hash(clipart.card["sha256"] | {"pixels": pictures.described}),
    )


def _fitted(clipart: _Collection, words: Words) -> text_forms.TextForm:
    return text_forms.fit([clipart.texts[row] for row in clipart.rows("train")], words)


def _pairs(
    clipart: _Collection, images: np.ndarray | EncodedPictures, words: Words = _BAG, **card: str
) -> Dataset:
    """The splits of clip art, with the given images of all its rows."""
    form = _fitted(clipart, words)
    parts = {name: clipart.rows(name) for name in ("train", "validation", "query")}
    parts["database"] = clipart.rows("train", "validation")
    sizes = {name: len(rows) for name, rows in parts.items()}
    return from_parts(
        _card(clipart, sizes, form) | card,
        {"image": images, "text": form.arrays(clipart.texts)},
        clipart.labels,
        clipart.titles,
        clipart.pictures,
        parts,
        form.vocabulary_size,
    )


def load_clipart_emoji() -> Dataset:
    """Clip art as labelled pairs, and unpaired emoji: pictures of some, texts of others.

    Sources of training rows: "pairs" (clip art), "query" (emoji pictures) and "database" (emoji
    texts), the latter two without labels. Test queries are held out from both. Words are those of
    the auxiliary pairs: nothing teaches a word that no pair has. Picture features are centred on
    the training rows of their own collection and brought to one length, so that a difference of
    style between the collections is no difference of content. Validation is on clip art alone.
    Beside the emoji, held-out clip art is searched for among the auxiliary pairs.
    """
    clipart, emoji = _read("clipart"), _read("emoji")
    form = _fitted(clipart, Words("words", _MIN_TEXTS))
    clipart_images = _centred(clipart.features, clipart.rows("train"))
    clipart_texts = form.arrays(clipart.texts)
    auxiliary, held_out, asked = (
        clipart.items(split, image=clipart_images, text=clipart_texts)
        for split in ("train", "validation", "query")
    )
    on_clipart = (task._replace(on="clip art") for task in both_directions(asked, auxiliary))
    images = _centred(emoji.features, emoji.rows("picture_database"))
    picture_database = emoji.items("picture_database", image=images)
    picture_query = emoji.items("picture_query", image=images)
    texts = form.arrays(emoji.texts)
    text_database = emoji.items("text_database", text=texts)
    text_query = emoji.items("text_query", text=texts)
    forth, back = both_directions(picture_query, text_database)
    return Dataset(
        card={
            "name": "clipart-emoji",
            "version": clipart.card["version"],
            "sizes": {
                "auxiliary pairs": len(auxiliary),
                "clip-art queries": len(asked),
                "picture queries": len(picture_query),
                "pictures": len(picture_database),
                "text queries": len(text_query),
                "texts": len(text_database),
            },
            "sha256": json_hash(
                clipart.card["sha256"] | emoji.card["sha256"] | {"text": form.said}
            ),
            "split": "auxiliary pairs: clip art, train; unpaired emoji: pictures and texts of "
            "different emoji; the pictures and texts searched are also the unlabelled training "
            "rows of their domain, the queries are not",
            "features": "each collection centred on its own training rows, rows of one length",
            "parts": {
                one.card["name"]: _card(one, one.card["split_sizes"], form)
                for one in (clipart, emoji)
            },
        },
        training={
            "pairs": {**auxiliary.inputs, "labels": auxiliary.labels},
            "query": picture_database.inputs,
            "database": text_database.inputs,
        },
        tasks=(*on_clipart, forth, back._replace(query=text_query, database=picture_database)),
        validation=both_directions(held_out, auxiliary),
    )


def _centred(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Shifts features by the mean of some rows, and scales each row to a mean square of 1."""
    shifted = features.astype(np.float32) - features[rows].mean(axis=0, dtype=np.float32)
    scaled: np.ndarray = shifted / np.sqrt(np.mean(np.square(shifted), axis=1, keepdims=True))
    return scaled


def _card(
    collection: _Collection, sizes: dict[str, int], form: text_forms.TextForm
) -> dict[str, Any]:
    card = collection.card
    kept = ("name", "version", "licence", "features", "labels_made_by", "limits", "source")
    return {
        **{name: card[name] for name in kept},
        **form.card(collection.texts),
        "sizes": sizes,
        "split": card["split_rule"],
        "sha256": json_hash(card["sha256"]),
    }


def _read(name: str) -> _Collection:
    card = json.loads(package_files.read(FOLDER / f"{name}.card.json"))
    lines, content = (
        package_files.read(FOLDER / file, card["sha256"][file])
        for file in (f"{name}.jsonl", f"{name}.npz")
    )
    rows = [json.loads(line) for line in lines.splitlines()]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        features, offsets = arrays["features"], arrays["offsets"]
        encoded = arrays["pictures"].tobytes()
    labels = [[label in row["labels"] for label in card["labels"]] for row in rows]
    return _Collection(
        card=card,
        splits=np.array([row["split"] for row in rows]),
        titles=[row["title"] for row in rows],
        texts=[" ".join((row["title"], *row["keywords"], row["description"])) for row in rows],
        labels=np.array(labels, np.uint8),
        features=features,
        pictures=Pictures(
            lambda row: encoded[offsets[row] : offsets[row + 1]], np.arange(len(rows))
        ),
    )
