"""MS COCO 2014 (Lin et al., ECCV 2014), from its own archives."""

import json
from typing import Any

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_URL = "http://images.cocodataset.org/"
_ANNOTATIONS = "annotations_trainval2014.zip"
# The largest of the archive has 332 million.
_MAX_BYTES = 2**29
_PARTS = ("train2014", "val2014")

# Captions, categories of objects, file.
_Picture = tuple[list[str], set[int], archive.Folder]


class Mscoco2014(base.PairsBuilder):
    """123,287 pictures with five captions each and 80 object categories, train and val together.

    A pair is a picture with at least one object: 122,218 of them. `texts` has all captions. The
    vocabulary is the 2,000 words that occur in the captions of the most pairs; papers give the
    number, none a rule.
    """

    BUILDER_CONFIGS = [base.Config(name="pairs", num_words=2_000)]
    HOMEPAGE = "https://cocodataset.org/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Files that are not in the manual folder are downloaded from
    https://cocodataset.org/#download: train2014.zip, val2014.zip and {_ANNOTATIONS} (or folders
    `train2014`, `val2014` and `annotations`), 20 GB."""
    CITATION = """T.-Y. Lin et al. Microsoft COCO: Common Objects in Context. ECCV 2014."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads captions and categories."""
        names = _ANNOTATIONS, _ANNOTATIONS[:-4], "annotations"
        notes = fetch.download(f"{_URL}annotations/{_ANNOTATIONS}", *names)
        notes = archive.around(notes, "instances_train2014.json")
        pictures: dict[int, _Picture] = {}
        categories: dict[int, str] = {}
        for part in _PARTS:
            folder = fetch.download(f"{_URL}zips/{part}.zip", f"{part}.zip", part)
            found, categories = _read_part(folder, notes, part, faults)
            pictures.update(found)
        column = base.columns(sorted(categories))
        pairs = [
            base.Pair(
                # typeshed takes the parent of a zipfile.Path for any PathLike.
                id=f"{path.parent.name}/{path.name}",  # type: ignore[attr-defined]
                texts=captions,
                labels=base.numbers(objects, column),
                picture=path,
            )
            for _, (captions, objects, path) in sorted(pictures.items())
        ]
        label_names = [categories[number] for number in sorted(categories)]
        return base.Contents(None, label_names, {"pairs": pairs})


def _read_part(
    folder: archive.Folder, notes: archive.Folder, part: str, faults: base.Faults
) -> tuple[dict[int, _Picture], dict[int, str]]:
    """Number -> captions, categories and file of the pictures with an object; category -> name."""
    instances, captions = notes / f"instances_{part}.json", notes / f"captions_{part}.json"
    images, objects, categories = _load(
        instances,
        images={"id": int, "file_name": str},
        annotations={"image_id": int, "category_id": int},
        categories={"id": int, "name": str},
    )
    (texts,) = _load(captions, annotations={"image_id": int, "caption": str})
    names = {entry["id"]: entry["name"] for entry in categories}
    folder = archive.within(folder, part)
    found: dict[int, _Picture] = {}
    for image in images:
        file = f"COCO_{part}_{image['id']:012}.jpg"
        if image["file_name"] != file:
            raise UserError(
                f"{instances}: picture {image['id']} is called {image['file_name'][:60]!r}, not "
                f"{file}; it is another version of the archive"
            )
        found[image["id"]] = [], set(), folder / file
    for number, entry in enumerate(texts):
        if entry["image_id"] not in found:
            raise UserError(
                f"{captions}, annotation {number}: picture {entry['image_id']} is not in "
                f"{instances}; the files do not belong together"
            )
        found[entry["image_id"]][0].append(" ".join(entry["caption"].split()))
    for number, entry in enumerate(objects):
        if entry["image_id"] not in found or entry["category_id"] not in names:
            raise UserError(
                f"{instances}, annotation {number}: picture {entry['image_id']} or category "
                f"{entry['category_id']} is not in its lists"
            )
        found[entry["image_id"]][1].add(entry["category_id"])
    for number, (sentences, labels, _) in found.items():
        if labels and not sentences:
            faults.found("captions", f"{captions}: picture {number} has no caption")
    kept = {number: one for number, one in found.items() if one[0] and one[1]}
    return kept, names


def _load(path: archive.Folder, **lists: dict[str, type]) -> list[list[dict[str, Any]]]:
    """Some lists of an annotation file, with the fields asked for.

    Outlines and boxes of objects, which fill most of a file, are dropped as they are parsed.
    """
    kept = set(lists).union(*lists.values())
    try:
        loaded = json.loads(
            archive.read(path, _MAX_BYTES),
            object_hook=lambda entry: {k: entry[k] for k in kept & entry.keys()},
        )
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a complete JSON file ({error}); unpack it again") from error
    for name, types in lists.items():
        entries = loaded.get(name) if isinstance(loaded, dict) else None
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{path} has no list {name!r}; it is not an annotation file of MS COCO")
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not all(
                isinstance(entry.get(field), kind) and _can_be_written(entry[field])
                for field, kind in types.items()
            ):
                raise UserError(f"{path}, {name} {number}: expected the fields {', '.join(types)}")
    return [loaded[name] for name in lists]


def _can_be_written(value: str | int) -> bool:
    """False for a text with half of a character, as JSON may have it."""
    return isinstance(value, int) or value.encode(errors="ignore") == value.encode(
        errors="surrogatepass"
    )
