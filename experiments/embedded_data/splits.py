"""Splits the embedded data so that every split has its share of every label."""

import re
from collections import defaultdict
from collections.abc import Sequence

import label_rules as rules
import numpy as np
from items import Item
from tqdm import tqdm

SEED = 2004
CLIPART_SIZES = {"query": 500, "validation": 250}
EMOJI_SIZES = {
    "picture_query": 200,
    "picture_database": 400,
    "text_query": 200,
    "text_database": 400,
}


def stratify(
    groups: Sequence[Sequence[int]], labels: np.ndarray, sizes: dict[str, int], rest: str | None
) -> list[str]:
    """Deals groups of rows to splits so that every split has its share of every label.

    Args:
      groups: rows that stay together.
      labels: bool [n, C].
      sizes: rows of each split; filled exactly where groups of one row are left for the end.
      rest: the split of all other rows, or None where the sizes take all.

    Returns:
      The split of each row.
    """
    rng = np.random.default_rng(SEED)
    names = list(sizes) + ([rest] if rest else [])
    room = dict(sizes)
    if rest:
        room[rest] = len(labels) - sum(sizes.values())
    frequency = labels.sum(axis=0) / len(labels)
    wanted = {name: room[name] * np.maximum(frequency, 1e-9) for name in names}
    given = {name: np.zeros(labels.shape[1]) for name in names}
    left = dict(room)
    splits = [""] * len(labels)
    # Large groups first and, among equals, rare labels first: what comes last fits anywhere.
    rarity = [1 / max(frequency[labels[list(g)].any(axis=0)].min(initial=1), 1e-9) for g in groups]
    order = sorted(range(len(groups)), key=lambda g: (-len(groups[g]), -rarity[g], rng.random()))
    for number in order:
        group = list(groups[number])
        counts = labels[group].sum(axis=0)
        # One long series must not bring a split most of what it may have of a label.
        fitting = [
            name
            for name in names
            if left[name] >= len(group)
            and (name == rest or (given[name] + counts <= 1.5 * wanted[name] + 2)[counts > 0].all())
        ]
        if not fitting:
            fitting = [max(names, key=lambda name: left[name])]

        def need(name: str, counts: np.ndarray = counts) -> float:
            lack = 1 - given[name] / wanted[name]
            return float((counts / frequency.clip(1e-9) * lack).sum() / counts.sum()) + 0.1 * (
                left[name] / room[name]
            )

        chosen = max(fitting, key=need)
        given[chosen] += counts
        left[chosen] -= len(group)
        for row in group:
            splits[row] = chosen
    return splits


def split_clipart(items: Sequence[Item]) -> None:
    """Sets the split of every clip-art item; a series stays on one side."""
    series: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(items):
        series[series_of(item)].append(row)
    splits = stratify(list(series.values()), label_matrix(items), CLIPART_SIZES, "train")
    for item, split in zip(items, splits, strict=True):
        item.split = split


def split_emoji(items: Sequence[Item], target: np.ndarray) -> dict[str, float]:
    """Chooses emoji whose label proportions resemble `target` and deals them to the four parts.

    Args:
      items: all emoji; their `split` is set.
      target: float [C], the label proportions of clip art (sum 1).

    Returns:
      Total variation distances to the target: of all emoji ("before") and of each part.
    """
    labels = label_matrix(items)
    kept = closest_subset(labels, target, sum(EMOJI_SIZES.values()))
    splits = stratify([[row] for row in range(len(kept))], labels[kept], EMOJI_SIZES, None)
    for item in items:
        item.split = "unused"
    for row, split in zip(kept, splits, strict=True):
        items[row].split = split
    distances = {"before": total_variation(labels, target)}
    for name in EMOJI_SIZES:
        part = [row for row, item in enumerate(items) if item.split == name]
        distances[name] = total_variation(labels[part], target)
    distances["after"] = total_variation(labels[kept], target)
    return {name: round(value, 4) for name, value in distances.items()}


def closest_subset(labels: np.ndarray, target: np.ndarray, size: int) -> np.ndarray:
    """Removes rows one by one, each time the one whose loss brings the proportions nearest."""
    rng = np.random.default_rng(SEED)
    kept = rng.permutation(len(labels))
    counts = labels.sum(axis=0).astype(np.float64)
    for _ in tqdm(range(len(labels) - size), desc="choosing emoji"):
        after = counts - labels[kept]
        distance = np.abs(after / after.sum(axis=1, keepdims=True) - target).sum(axis=1)
        # A label that has few pictures left must not vanish from any of the four parts.
        distance += 10.0 * ((after < 8) & labels[kept]).any(axis=1)
        worst = int(distance.argmin())
        counts -= labels[kept[worst]]
        kept = np.delete(kept, worst)
    return np.sort(kept)


def label_matrix(items: Sequence[Item]) -> np.ndarray:
    """Returns bool [n, C]."""
    matrix = np.zeros((len(items), len(rules.LABELS)), bool)
    for row, item in enumerate(items):
        matrix[row, [rules.LABELS.index(label) for label in item.labels]] = True
    return matrix


def proportions(labels: np.ndarray) -> np.ndarray:
    """Returns the share of each label among all labels, float [C], sum 1."""
    counts = labels.sum(axis=0).astype(np.float64)
    return counts / counts.sum()


def total_variation(labels: np.ndarray, target: np.ndarray) -> float:
    """Returns half the L1 distance of the label proportions to the target."""
    return float(np.abs(proportions(labels) - target).sum() / 2)


def series_of(item: Item) -> str:
    """Returns what numbered or black-and-white variants of one drawing have in common."""
    title = re.sub(r"\(?b\s*(?:and|_|&)\s*w\)?|\bbw\b", " ", item.title.lower())
    words = re.findall(r"[^\W\d_]{2,}", title)
    return item.id.split("/", 1)[0] + "/" + " ".join(words or [item.id])
