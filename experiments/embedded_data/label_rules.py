"""Applies the tables of label_rules.toml, which choose and label the pictures.

A clip-art picture is labelled by the folders that hold it, then by whole words of its title,
keywords and file name; an emoji by its Unicode subgroup, then by whole words of its name. The
labels of single items replace both.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LABELS = tuple(TABLES["labels"].split())
DROPPED = {kind: frozenset(words.split()) for kind, words in TABLES["dropped"].items()}
COLLECTIONS = tuple(TABLES["collections"]["titles"])

_WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Returns the lower-case words of texts, and the hyphenated words both whole and in parts."""
    found = set()
    for text in texts:
        for word in _WORD.findall(text.lower().replace("_", " ")):
            found.add(word)
            found.update(word.split("-"))
    return frozenset(found)


def in_folder(folder: str, parent: str) -> bool:
    """Says whether a folder is `parent` or lies in it; "" holds every folder."""
    return not parent or folder == parent or folder.startswith(parent + "/")


def is_left_out(name: Path) -> bool:
    """Says whether the folder or the file of a clip-art picture is left out."""
    folder = name.parent.as_posix()
    return (
        any(in_folder(folder, dropped) for dropped in DROPPED["folders"])
        or name.name in DROPPED["items"]
        or name.as_posix() in DROPPED["misfiled"]
        or name.name.endswith(tuple(DROPPED["endings"]))
    )


def clipart_labels(name: str, folders: Iterable[str], words: frozenset[str]) -> list[str]:
    """Returns the labels of a clip-art picture, in the order of LABELS.

    Args:
      name: file name without folder and ending.
      folders: every folder in which the picture is filed.
      words: what `words_of` found in title, keywords and file name.
    """
    rules, folders = TABLES["clipart"], tuple(folders)
    if single := _matching(rules["items"], {name}):
        return with_implied(single)
    labels = _matching(rules["words"], words)
    for folder in folders:
        fitting = [parent for parent in rules["folders"] if in_folder(folder, parent)]
        labels.update(rules["folders"][max(fitting, key=len)].split() if fitting else ())
    for label, word, parent in rules["exceptions"]["refused"]:
        if (not word or word in words) and any(in_folder(folder, parent) for folder in folders):
            labels.discard(label)
    return with_implied(labels)


def emoji_labels(hexcode: str, subgroup: str, name: str) -> list[str]:
    """Returns the labels of an emoji, in the order of LABELS; none where no rule applies."""
    rules = TABLES["emoji"]
    if hexcode in rules["items"]:
        return with_implied(rules["items"][hexcode].split())
    by_word = rules["words"].get(subgroup, {})
    return with_implied(
        _matching(rules["subgroups"], {subgroup}) | _matching(by_word, words_of([name]))
    )


def _matching(table: Mapping[str, str], words: frozenset[str] | set[str]) -> set[str]:
    """The labels whose list has one of the words."""
    return {label for label, listed in table.items() if not words.isdisjoint(listed.split())}


def with_implied(topics: Iterable[str]) -> list[str]:
    """Turns topics into labels, adds the implied ones and sorts by the vocabulary."""
    folded, implied = TABLES["folded"], TABLES["implied"]
    found = {folded.get(topic, topic) for topic in topics}
    while wider := {implied[label] for label in found if label in implied} - found:
        found |= wider
    if unknown := found - set(LABELS):
        raise ValueError(f"labels outside the vocabulary: {sorted(unknown)}")
    return [label for label in LABELS if label in found]
