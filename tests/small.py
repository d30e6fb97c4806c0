"""A small data set and small configs: enough to learn from, little enough for a test."""

import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from jxhash import methods
from jxhash.configuration import read_run, run_config
from jxhash.data.dataset import Dataset, Items, both_directions
from jxhash.training import engine

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
    return {
        "image": image.astype(np.float32),
        "text": text.astype(np.uint8),
        "labels": labels,
    }


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


class Case(NamedTuple):
    """What the table of tests needs to know of a method.

    Attributes:
      settings: the method's part of a config, enough to learn `dataset`.
      short: changes that make its training a few epochs long.
      dropout: the settings that are dropout rates; () for a method without dropout.
      supervised: whether it needs labels.
      dataset: makes the data that it learns from.
    """

    settings: dict[str, Any]
    short: Mapping[str, Any] = types.MappingProxyType({"epochs": 2})
    dropout: tuple[str, ...] = ("image_dropout", "text_dropout")
    supervised: bool = True
    dataset: Callable[..., Dataset] = dataset


CASES = {
    "cdq": Case(
        {
            "first_epochs": 10,
            "epochs": 10,
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
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
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "margin": 0.5,
            "similar_weight": 3.0,
            "quantization_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
    "cmhh": Case(
        {
            "epochs": 20,
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "beta": 0.2,
            "focusing": 2.0,
            "quantization_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
    "dcmh": Case(
        {
            "epochs": 30,
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "hash_init": 0.05,
            "quantization_weight": 1.0,
            "balance_weight": 0.0,
            "optimizer": OPTIMIZER,
        }
    ),
    "ddcmh": Case(
        {
            "image_epochs": 20,
            "text_epochs": 20,
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "image_optimizer": OPTIMIZER,
            "text_optimizer": OPTIMIZER,
        },
        short={"image_epochs": 2, "text_epochs": 2},
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
        supervised=False,
    ),
    "prdh": Case(
        {
            "epochs": 30,
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "hash_init": 0.05,
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
            "image_hidden": (32,),
            "text_hidden": (32,),
            "image_dropout": 0.2,
            "text_dropout": 0.2,
            "quantization_weight": 1e-4,
            "mmd_weight": 0.1,
            "optimizer": OPTIMIZER,
        }
    ),
}


def config(method: str, **changes) -> ConfigDict:
    """A config for the method's data; `changes` are keys of the method's own part or of the run."""
    made = run_config(
        method=method,
        data="small",
        bits=16,
        batch_size=16,
        **{method: ConfigDict(CASES[method].settings)},
    )
    for key, value in changes.items():
        part = made if key in made else made[method]
        part[key] = value
    return made


def build(made: ConfigDict, data: Dataset):
    """(method, run settings) for a config and a data set."""
    run = read_run(made)
    spec = engine.make_spec(data.training, run.batch_size)
    return methods.get(run.method).build(made, spec), run
