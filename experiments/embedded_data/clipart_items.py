"""Reads, cleans and chooses the pictures of the Open Clip Art Library."""

import contextlib
import hashlib
import html
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import label_rules as rules
import numpy as np
from items import Item, is_blank, rasterise, without_repeats
from PIL import Image
from tqdm import tqdm

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
    names = sorted(name for name in names if not rules.is_left_out(name))
    paths = [(png_root / f"{name}.png", svg_root / f"{name}.svg") for name in names]
    with Pool(processes) as pool:
        read = list(tqdm(pool.imap(read_one, paths, 16), total=len(paths), desc="clip art"))
    items = []
    for name, found in zip(names, read, strict=True):
        if found is not None:
            metadata, pixels = found
            items.append(clipart_item(name, metadata, pixels))
    return items


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
    collection = title.strip().lower().startswith(rules.COLLECTIONS)
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
        known = keyword.strip().lower() in rules.DROPPED["keywords"] or plain in makers
        if known or plain in rules.DROPPED["keywords"] or _MAKER.search(plain):
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


def choose_clipart(items: Sequence[Item]) -> list[Item]:
    """Caps flags and cards, merges copies, leaves out repeats, and labels what remains."""
    items = [item for item in items if not rules.DROPPED["words"] & words_of_item(item)]
    for folder, limit in rules.TABLES["most_pictures"].items():
        items = capped(items, folder, limit)
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
