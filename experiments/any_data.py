"""How methods fare on data that their configs were not tuned on, under each normalisation.

    python experiments/any_data.py --data_dir=FOLDER --cache=FOLDER --icons=FOLDER

Every figure is of the validation rows, among the training rows; no test query is looked at. The
sets: clip art with the raw features that `jxhash.data.extract` writes, as they are, and on other
scales; Wikipedia's visual words and topics (--data_dir); Flickr8k with concepts as labels
(--data_dir); emoji pictures, encoded anew. The latter come from two npm packages, unpacked below
--icons: `emoji-datasource-twitter` and `emojibase-data`, as npm unpacks them, in folders of these
names. Features are computed once and kept in --cache.

Results are added to the JSON file as they come; what it has is not measured again.
"""

import argparse
import functools
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
from absl import logging
from tqdm import tqdm

from jxhash import auto_settings, configuration, methods
from jxhash.atomic_files import write_atomically
from jxhash.data.assemble import from_parts, normalized
from jxhash.data.builders import wikipedia_features
from jxhash.data.dataset import Dataset, content_hash
from jxhash.data.embedded import embedded_sets
from jxhash.data.text_inputs import text_inputs
from jxhash.evaluation import measure, retrieval
from jxhash.inputs.lite0_features import pooled_features
from jxhash.inputs.normalization import Kind
from jxhash.inputs.text_forms import Words
from jxhash.training import engine, schedule

RESULTS = pathlib.Path(__file__).resolve().parent / "results" / "any_data.json"
METHODS = ("cdq", "chn", "cmhh", "dcmh", "ddcmh", "lcmh", "prdh")  # those that read two vectors
_SPLIT_SEED = 0


def pairs(name: str, images: np.ndarray, texts: Any, labels: np.ndarray, rows: int) -> Dataset:
    """A data set of `rows` of the given pairs, a fifth (at most 500) for validation.

    Texts are strings, which become arrays as a user's own do, or an array.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))[:rows]
    held_out = min(500, len(order) // 5)
    train, validation = np.sort(order[held_out:]), np.sort(order[:held_out])
    given = ["image", "text"]
    if isinstance(texts, list):
        given = ["image"]
        texts = text_inputs(texts, None, order, train, Words()).arrays
    parts = {"train": train, "database": train, "query": validation, "validation": validation}
    inputs = {"image": images, "text": texts}
    card = {"name": name, "version": "", "sizes": {}, "sha256": content_hash(inputs)}
    return from_parts(card, inputs, labels, [""] * len(images), None, parts, given=given)


def clipart(factor: float, offset: float, options: argparse.Namespace) -> Dataset:
    """Clip art with raw features, on any scale."""
    collection = embedded_sets._read("clipart")
    pictures = [collection.pictures[row] for row in range(len(collection.titles))]
    features = _kept(options.cache / "clipart.npy", lambda: pooled_features(pictures))
    rows = collection.rows("train", "validation")
    texts = [collection.texts[row] for row in rows]
    scaled = features[rows] * np.float32(factor) + np.float32(offset)
    return pairs("clipart", scaled, texts, collection.labels[rows], len(rows))


def wikipedia(options: argparse.Namespace) -> Dataset:
    """Wikipedia's training rows as its archive has them."""
    side, _ = wikipedia_features.read_sides(options.data_dir / "wikipedia")
    return pairs("wikipedia", side["image"], side["text"], side["labels"], len(side["image"]))


def flickr8k(rows: int, options: argparse.Namespace) -> Dataset:
    """Photographs with five captions each as one text, and concepts as labels."""
    folder = options.data_dir / "flickr8k"
    with np.load(folder / "train_lite0.npz", allow_pickle=False) as content:
        ids, features = content["ids"].tolist(), content["features"].astype(np.float32)
    captions: dict[str, list[str]] = {}
    for line in (folder / "train_captions.tsv").read_text().splitlines():
        picture, caption = line.split("\t")
        captions.setdefault(picture.partition("#")[0], []).append(caption)
    concepts = json.loads((folder / "concepts.json").read_text())
    labels = _multi_hot([concepts["labels"].get(one, []) for one in ids])
    return pairs("flickr8k", features, [" ".join(captions[one]) for one in ids], labels, rows)


def icons(rows: int, options: argparse.Namespace) -> Dataset:
    """Emoji of another hand than the embedded ones; labels are their groups."""
    listed = json.loads((options.icons / "emojibase-data" / "en" / "data.json").read_text())
    folder = options.icons / "emoji-datasource-twitter"
    drawn = json.loads((folder / "emoji.json").read_text())
    drawn = [one for one in drawn if one["has_img_twitter"]]
    file_of = {one["unified"]: folder / "img/twitter/64" / one["image"] for one in drawn}
    known = [one for one in listed if one["hexcode"] in file_of and "subgroup" in one]
    read = lambda: pooled_features([file_of[one["hexcode"]].read_bytes() for one in known])  # noqa: E731
    texts = [" ".join([one["label"], *one.get("tags", [])]) for one in known]
    labels = _multi_hot([[one["group"]] for one in known])
    return pairs("icons", _kept(options.cache / "icons.npy", read), texts, labels, rows)


def _kept(file: pathlib.Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, make())
    found: np.ndarray = np.load(file, allow_pickle=False)
    return found


def _multi_hot(rows: list[list[Any]]) -> np.ndarray:
    names = sorted({name for row in rows for name in row})
    return np.array([[name in row for name in names] for row in rows], np.uint8)


SETS: Mapping[str, Callable[[argparse.Namespace], Dataset]] = {
    "clip art": functools.partial(clipart, 1, 0),
    "clip art x 100": functools.partial(clipart, 100, 0),
    "clip art x .01 + 5": functools.partial(clipart, 0.01, 5),
    "Wikipedia": wikipedia,
    "Flickr8k": functools.partial(flickr8k, 6000),
    "Flickr8k, 500": functools.partial(flickr8k, 500),
    "icons, 2000": functools.partial(icons, 2000),
    "icons, 300": functools.partial(icons, 300),
}


def score(dataset: Dataset, method: str, kind: Kind, seed: int) -> dict[str, Any]:
    """Trains on a data set with the method's config for own data, and measures the validation."""
    config = configuration.load(f"configs/{method}.py:own")
    with config.unlocked():
        config.update({"validate_every": 0, "checkpoint_seconds": 1e6, "seed": seed})
    config, _ = auto_settings.resolved(config, len(dataset.training["pairs"]["labels"]))
    run, started = configuration.read_run(config), time.monotonic()
    dataset = normalized(dataset, kind)
    spec = schedule.make_spec(dataset.training, run.batch_size)
    built = methods.get(method).build(config, spec)
    with tempfile.TemporaryDirectory() as folder:
        state = engine.train(built, dataset.training, run, pathlib.Path(folder))
    found = retrieval.retrieve(built, state, dataset.validation)
    bits = measure.bit_statistics(found)
    return {
        "map": {task: round(one.score(), 4) for task, one in found.items()},
        "random": round(measure.random_measures(found["image to text"])["map"], 4),
        "constant bits": {modality: values["constant"] for modality, values in bits.items()},
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--icons", type=pathlib.Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--kinds", nargs="*", default=get_args(Kind), choices=get_args(Kind))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    cells = itertools.product(options.sets, range(options.seeds), options.kinds, options.methods)
    load = functools.lru_cache(1)(lambda name: SETS[name](options))
    for name, seed, kind, method in tqdm(list(cells), unit="run"):
        cell = f"{name}; {method}; {kind}; seed {seed}"
        if cell in results:
            continue
        dataset = load(name)
        try:
            results[cell] = score(dataset, method, kind, seed)
        except Exception as error:  # a diverged training is a result too
            results[cell] = {"error": f"{type(error).__name__}: {error}"[:200]}
        write_atomically(options.output, (json.dumps(results, indent=1) + "\n").encode())
        tqdm.write(f"{cell}: {results[cell]}")


if __name__ == "__main__":
    main()
