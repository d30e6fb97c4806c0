"""Reads the emoji: pictures of Noto Emoji, English names and tags of emojibase."""

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import label_rules as rules
from items import Item, is_blank, rasterise, without_repeats
from PIL import Image
from tqdm import tqdm

NPM_PACKAGES = {"emoji-datasource-google": "16.0.0", "emojibase-data": "17.0.0"}


def read_emoji(pictures: Path, text: Path) -> list[Item]:
    """Reads the emoji that have a picture and a label, without the variants of skin tone."""
    names = json.loads((text / "meta" / "groups.json").read_text())["subgroups"]
    known = json.loads((text / "en" / "data.json").read_text())
    by_code = {entry["hexcode"].replace("-FE0F", ""): entry for entry in known}
    items = []
    for entry in tqdm(json.loads((pictures / "emoji.json").read_text()), desc="emoji"):
        code = entry["unified"].replace("-FE0F", "")
        spoken = by_code.get(code)
        if not entry["has_img_google"] or spoken is None or code in rules.DROPPED["emoji"]:
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
