"""A small data set and small configs: enough to learn from, little enough for a test."""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from jxhash import methods
from jxhash.configuration import read_run, run_config
from jxhash.data.dataset import Dataset, Items, both_directions
from jxhash.training import schedule

CLASSES = 5
OPTIMIZER = {
    "name": "adam",
    "learning_rate": 3e-3,
    "final_learning_rate": 3e-4,
    "decay": "geometric",
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def rows(number: int, seed: int) -> dict[str, np.ndarray]:
    """Noisy one-hot classes seen by two modalities; the first rows carry a second label."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(CLASSES, size=number)
    labels = np.eye(CLASSES, dtype=np.uint8)[classes]
    labels[: number // 10, 0] = 1
    to_image = np.random.default_rng(90).normal(size=(CLASSES, 12))
    to_text = np.random.default_rng(91).random((CLASSES, 20)) < 0.3
    image = labels @ to_image + 0.3 * generator.normal(size=(number, 12))
    text = (labels @ to_text > 0) ^ (generator.random((number, 20)) < 0.05)
    return {"image": image.astype(np.float32), "text": text.astype(np.uint8), "labels": labels}


def items(arrays: dict[str, np.ndarray]) -> Items:
    """Rows to search."""
    inputs = {name: arrays[name] for name in ("image", "text")}
    return Items(inputs, arrays["labels"], [f"item {n}" for n in range(len(arrays["labels"]))])


def dataset(number: int = 101, *, labelled: bool = True) -> Dataset:
    """Pairs, and the two unpaired sources that transfer methods learn from."""
    train, query = rows(number, 0), rows(40, 1)
    pairs = dict(train) if labelled else {name: train[name] for name in ("image", "text")}
    return Dataset(
        card={
            "name": "small",
            "version": "1",
            "sizes": {"train": number, "query": 40},
            "sha256": "0" * 64,
        },
        training={
            "pairs": pairs,
            "query": {"image": rows(37, 2)["image"]},
            "database": {"text": rows(53, 3)["text"]},
        },
        tasks=both_directions(items(query), items(train)),
        validation=both_directions(items(rows(20, 4)), items(train)),
        trained=items(train),
    )


WORDS_A_CLASS = 4


def sentences(labels: np.ndarray, seed: int) -> np.ndarray:
    """Token numbers, of which most are words of a row's classes; between 2 and 12 of them."""
    generator = np.random.default_rng(100 + seed)
    tokens = np.zeros((len(labels), 12), np.int32)
    for row, each in enumerate(labels):
        known = [WORDS_A_CLASS * c + k + 1 for c in np.flatnonzero(each) for k in range(4)]
        length = generator.integers(2, 13)
        noise = generator.integers(1, CLASSES * WORDS_A_CLASS + 1, size=length)
        own = generator.choice(known, size=length)
        tokens[row, :length] = np.where(generator.random(length) < 0.2, noise, own)
    return tokens


def regions(image: np.ndarray, seed: int) -> np.ndarray:
    """The picture itself, then up to three noisy copies of it, each with a place; zeros after."""
    generator = np.random.default_rng(200 + seed)
    rows = np.zeros((len(image), 4, image.shape[1] + 4), np.float16)
    for row, picture in enumerate(image):
        for step in range(generator.integers(1, 5)):
            noise = 0.3 * step * generator.normal(size=len(picture))
            place = generator.uniform(0.2, 0.8, size=4) if step else [1, 1, 0.5, 0.5]
            rows[row, step] = np.concatenate([picture + noise, place])
    return rows


def sentences_dataset(
    number: int = 101, *, labelled: bool = True, with_regions: bool = False
) -> Dataset:
    """Pairs whose texts are token numbers; `with_regions`: images are sequences of regions."""

    def made(count: int, seed: int) -> dict[str, np.ndarray]:
        arrays = rows(count, seed)
        image = regions(arrays["image"], seed) if with_regions else arrays["image"]
        return {**arrays, "image": image, "text": sentences(arrays["labels"], seed)}

    train, given = made(number, 0), dataset(number)
    return dataclasses.replace(
        given,
        training={"pairs": {k: v for k, v in train.items() if labelled or k != "labels"}},
        tasks=both_directions(items(made(40, 1)), items(train)),
        validation=both_directions(items(made(20, 4)), items(train)),
        trained=items(train),
        vocabulary_size=CLASSES * WORDS_A_CLASS,
    )


def regions_dataset(number: int = 101, *, labelled: bool = True) -> Dataset:
    """Pairs of sequences of regions and sentences."""
    return sentences_dataset(number, labelled=labelled, with_regions=True)


LAYER = {"hidden": (32,), "dropout": 0.2}
LAYERS = {"image": LAYER, "text": LAYER}
DROPOUT = ("layers.image.dropout", "layers.text.dropout")


class Case(NamedTuple):
    """What the table of tests needs to know of a method.

    Attributes:
      settings: the method's part of a config, enough to learn `dataset`.
      short: changes that make its training a few epochs long.
      dropout: the settings that are dropout rates; () for a method without dropout.
      dataset: makes the data that it learns from.
    """

    settings: dict[str, Any]
    short: Mapping[str, Any] = types.MappingProxyType({"epochs": 2})
    dropout: tuple[str, ...] = DROPOUT
    dataset: Callable[..., Dataset] = dataset


CASES = {
    "cdq": Case(
        {
            "first_epochs": 10,
            "epochs": 10,
            "layers": LAYERS,
            "width": 32,
            "codewords": 16,
            "icm_sweeps": 1,
            "scale": 0.5,
            "quantization_weight": 0.01,
            "optimizer": OPTIMIZER,
        },
        short={"first_epochs": 2, "epochs": 2},
    ),
    "chn": Case(
        {
            "epochs": 20,
            "layers": LAYERS,
            "margin": 0.5,
            "similar_weight": 3.0,
            "quantization_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
    "cmhh": Case(
        {
            "epochs": 20,
            "layers": LAYERS,
            "beta": 0.2,
            "focusing": 2.0,
            "quantization_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
    "dcmh": Case(
        {
            "epochs": 30,
            "image": {
                "name": "mlp",
                "hidden": (32,),
                "dropout": 0.2,
                "hash_init": 0.05,
                "weights": "",
                "augment_pixels": 0,
                "pretrained_rate": 1.0,
            },
            "text": {"hidden": (32,), "dropout": 0.2, "hash_init": 0.05},
            "quantization_weight": 1.0,
            "balance_weight": 0.0,
            "optimizer": OPTIMIZER,
        },
        dropout=("image.dropout", "text.dropout"),
    ),
    "ddcmh": Case(
        {
            "cosdish_restarts": 2,
            "reencoded_share": 0.25,
            "image_epochs": 20,
            "text_epochs": 20,
            "layers": {**LAYERS, "image": {**LAYER, "input_dropout": 0.1}},
            "image_optimizer": OPTIMIZER,
            "text_optimizer": OPTIMIZER,
        },
        short={"image_epochs": 2, "text_epochs": 2},
        dropout=("layers.image.input_dropout", *DROPOUT),
    ),
    "dvsh": Case(
        {
            "epochs": 25,
            "image": {"hidden": (32,), "dropout": 0.1},
            "text_embedding": 16,
            "text_width": 24,
            "text_dropout": 0.1,
            "similarity_margin": 0.5,
            "bit_margin": 0.5,
            "similar_weight": 3.0,
            "quantization_weight": 0.1,
            "hashing_weight": 1.0,
            "optimizer": {**OPTIMIZER, "learning_rate": 1e-2},
        },
        dropout=("image.dropout", "text_dropout"),
        dataset=sentences_dataset,
    ),
    "lcmh": Case(
        {
            "anchors": 40,
            "kmeans_steps": 20,
            "bandwidth": 0.1,
            "constraint": "cca",
            "regularization": 1e-2,
        },
        short={},
        dropout=(),
    ),
    "prdh": Case(
        {
            "epochs": 30,
            "layers": {name: {**LAYER, "hash_init": 0.05} for name in ("image", "text")},
            "intra_weight": 1.0,
            "decorrelation_weight": 1e-3,
            "quantization_weight": 1.0,
            "balance_weight": 1e-3,
            "optimizer": OPTIMIZER,
        }
    ),
    "thn": Case(
        {
            "epochs": 20,
            "layers": LAYERS,
            "similar_weight": 2.0,
            "balance_weight": 0.01,
            "quantization_weight": 1e-4,
            "mmd_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
    "tvdb": Case(
        {
            "epochs": 20,
            "image_width": 16,
            "image_hidden": 32,
            "text_embedding": 16,
            "text_kernels": (1, 3),
            "text_filters": 8,
            "text_hidden": 32,
            "image_dropout": 0.1,
            "text_dropout": 0.1,
            "output_weight": 0.1,
            "rounds": 2,
            "optimizer": {**OPTIMIZER, "learning_rate": 1e-2},
        },
        short={"epochs": 1},
        dropout=("image_dropout", "text_dropout"),
        dataset=regions_dataset,
    ),
}


def _apart(settings: Any) -> Any:
    """A copy in which no two settings are one dictionary, so that each changes alone."""
    if not isinstance(settings, dict):
        return settings
    return {name: _apart(value) for name, value in settings.items()}


def config(method: str, **changes) -> ConfigDict:
    """A config for the method's data.

    `changes` are keys of the run or of the method's own part, there also "layers.image.dropout".
    """
    made = run_config(
        method=method,
        data="small",
        bits=16,
        batch_size=16,
        **{method: ConfigDict(_apart(CASES[method].settings))},
    )
    for key, value in changes.items():
        *parts, last = key.split(".")
        part = made if key in made else made[method]
        for name in parts:
            part = part[name]
        part[last] = value
    return made


def build(made: ConfigDict, data: Dataset):
    """(method, run settings) for a config and a data set."""
    run = read_run(made)
    spec = schedule.make_spec(data.training, run.batch_size, vocabulary_size=data.vocabulary_size)
    return methods.get(run.method).build(made, spec), run
