"""The pictures of the embedded data with their texts, before they are labelled and split."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

PICTURE_SIZE = 64
FEATURES = 256
WEBP_QUALITY = 80
MARGIN = 0.03


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
