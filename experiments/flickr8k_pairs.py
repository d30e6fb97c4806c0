"""Photographs and captions found by pairs, without labels: Flickr8k's development split.

    python experiments/flickr8k_pairs.py --data_dir=FOLDER

FOLDER/flickr8k holds train_lite0.npz and dev_lite0.npz (`jxhash.data.extract`), train_captions.tsv
and dev_captions.tsv. Trained on the pairs of the training split; captions and pictures of the
development split search for each other. Recall@N of pictures counts any of their five captions.

Baselines: canonical correlations, real-valued (cosine of variates weighted by their squared
correlations) and as CCA-ITQ codes; beside them LCMH. The ridge was chosen on 500 pictures of the
training split.
"""

import argparse
import json
import pathlib
import tempfile
from functools import partial
from typing import Any

import baselines
import numpy as np

from jxhash import auto_settings, configuration, methods, metrics
from jxhash.atomic_files import write_atomically
from jxhash.data.assemble import from_parts, normalized
from jxhash.data.dataset import Dataset, Task, content_hash
from jxhash.data.text_inputs import text_inputs
from jxhash.evaluation import retrieval
from jxhash.inputs.text_forms import Words
from jxhash.metrics import per_query
from jxhash.training import engine, schedule

RESULTS = pathlib.Path(__file__).resolve().parent / "results" / "flickr8k_pairs.json"
COMMAND = "python experiments/flickr8k_pairs.py --data_dir=FOLDER"
RIDGES = (0.001, 0.003, 0.01, 0.03)
DIMENSIONS = 256
BITS = (32, 64, 128, 256)
RECALLS = (1, 5, 10)


def load(folder: pathlib.Path, form: str) -> Dataset:
    """The training and the development split, captions in a text form."""
    ids, features, captions = [], [], []
    for split in ("train", "dev"):
        with np.load(folder / f"{split}_lite0.npz", allow_pickle=False) as content:
            of_split = content["ids"].tolist()
            features.append(content["features"].astype(np.float32))
        own: dict[str, list[str]] = {name: [] for name in of_split}
        for line in (folder / f"{split}_captions.tsv").read_text().splitlines():
            name, caption = line.split("\t", 1)
            own[name].append(caption)
        ids += of_split
        captions += own.values()
    images, flat = np.concatenate(features), [caption for own in captions for caption in own]
    rows = np.arange(len(ids))
    train, query = rows[: len(features[0])], rows[len(features[0]) :]
    validation = np.sort(np.random.default_rng(0).choice(train, 500, replace=False))
    parts = {"train": train, "query": query, "database": query, "validation": validation}
    counts = np.array([len(own) for own in captions])
    made = text_inputs(flat, counts, rows, train, Words(form=form))
    card = {"name": "flickr8k", "version": "", "sizes": {}, "sha256": content_hash({"": images})}
    inputs = {"image": images, "text": made.arrays}
    titles = [own[0] for own in captions]
    dataset = from_parts(
        card | made.card, inputs, None, titles, None, parts, given=["image"], captions=flat
    )
    return normalized(dataset, "scale")


def expanded(dataset: Dataset, without: Task | None) -> dict[str, np.ndarray]:
    """A row a caption beside the picture's, but for the pictures that a task asks for."""
    pairs = dataset.training["pairs"]
    texts = pairs["text"]
    owner = np.repeat(np.arange(len(texts)), texts.counts)
    kept = np.ones(len(owner), bool)
    if without is not None:
        asked = {row.tobytes() for row in without.query.inputs["image"][:]}
        images = pairs["image"][:]
        kept = ~np.array([images[row].tobytes() in asked for row in owner])
    return {"image": pairs["image"][owner[kept]], "text": texts.flat[np.flatnonzero(kept)]}


def recalls(task: Task, distances: Any) -> list[float]:
    """Recall@1, @5 and @10 by [q, n] distances, exact under ties."""
    relevance = metrics.label_relevance(task.query.labels, task.database.labels)(slice(None))
    ranking = metrics.ranked_relevance(distances, np.asarray(relevance))
    return [round(float(v), 4) for v in per_query.hit_rate_at(ranking, RECALLS).mean(axis=0)]


def real_valued(found: baselines.Canonical, tasks: tuple[Task, ...]) -> dict[str, list[float]]:
    """Cosines of variates, weighted by their squared correlations."""
    weights = found.correlations[:DIMENSIONS] ** 2

    def points(modality: str, rows: Any) -> np.ndarray:
        variates = found.project[modality](rows[:])[:, :DIMENSIONS] * weights
        return variates / np.linalg.norm(variates, axis=1, keepdims=True)

    return {
        task.name: recalls(
            task,
            -points(task.query_modality, task.query.inputs[task.query_modality])
            @ points(task.database_modality, task.database.inputs[task.database_modality]).T,
        )
        for task in tasks
    }


def by_codes(encoders: dict[str, Any], tasks: tuple[Task, ...]) -> dict[str, list[float]]:
    """Hamming distances of codes."""
    values = {}
    for task in tasks:
        query, items = (
            encoders[modality](side.inputs[modality][:])
            for modality, side in (
                (task.query_modality, task.query),
                (task.database_modality, task.database),
            )
        )
        found = metrics.distance_histogram(query, items, task.query.labels, task.database.labels)
        values[task.name] = metrics.hit_rate_at(found, RECALLS).round(4).tolist()
    return values


def lcmh(dataset: Dataset, bits: int) -> dict[str, list[float]]:
    """The library's LCMH with its config for data of one's own."""
    config = configuration.load("configs/lcmh.py:own")
    config.bits = bits
    config, _ = auto_settings.resolved(config, len(dataset.training["pairs"]["text"]))
    run = configuration.read_run(config)
    method = methods.get("lcmh").build(config, schedule.make_spec(dataset.training, run.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        state = engine.train(method, dataset.training, run, pathlib.Path(folder))
    found = retrieval.retrieve(method, state, dataset.tasks)
    ks = partial(per_query.hit_rate_at, ks=RECALLS)
    return {
        task: one.read({"recalls": ks})["recalls"].mean(axis=0).round(4).tolist()
        for task, one in found.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--form", default="words", help="of texts, see jxhash.inputs.text_forms")
    options = parser.parse_args()
    dataset = load(options.data_dir / "flickr8k", options.form)
    held_out = expanded(dataset, dataset.validation[0])
    scores = {}
    for ridge in RIDGES:
        values = real_valued(baselines.cca(held_out, ridge), dataset.validation)
        scores[ridge] = sum(map(sum, values.values()))
        print(f"ridge {ridge:g}: {values}", flush=True)
    ridge = max(scores, key=lambda one: scores[one])
    pairs = expanded(dataset, None)
    found = baselines.cca(pairs, ridge)
    results = {"CCA, real-valued": real_valued(found, dataset.tasks)}
    print(results, flush=True)
    for bits in BITS:
        codes = baselines.itq(found, pairs, bits, seed=0)
        results[f"CCA-ITQ, {bits} bits"] = by_codes(codes, dataset.tasks)
        results[f"LCMH, {bits} bits"] = lcmh(dataset, bits)
        print(bits, results, flush=True)
    made = {"command": COMMAND, "ridge": ridge, "recall at 1, 5, 10": results}
    write_atomically(RESULTS, (json.dumps(made, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
