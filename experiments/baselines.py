"""What the methods are measured beside: no network, no iteration over batches, the same protocol.

    python experiments/baselines.py clipart --bits=32
    python experiments/baselines.py wikipedia --bits=32 --data_dir=FOLDER

- random projections: the signs of random directions of both modalities' principal components, the
  same directions for both. Nothing ties the modalities together: the floor of what learns.
- CCA-ITQ: canonical correlations of the training pairs, rotated to be near their signs (Gong and
  Lazebnik, Iterative Quantization, CVPR 2011). Unsupervised, linear.
- SVM classes: no hash code. Class probabilities of each query rank the training rows by their true
  class (data with one label a row). What a plain classifier reaches under the protocol "learned".
"""

import argparse
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from jxhash import codes, data, metrics
from jxhash.data.dataset import Dataset

ROTATIONS = 50
COMPONENTS = 512
# Of the largest variance, added to all; the best of 0.003 ... 1 on validation rows.
RIDGE = {"clipart": 0.3, "wikipedia": 0.01}

Encode = Callable[[np.ndarray], np.ndarray]


def principal(train: np.ndarray) -> Encode:
    """Centres rows and gives their principal components, at most `COMPONENTS`."""
    train = train.astype(np.float64)
    mean = train.mean(axis=0)
    axes = scipy.linalg.eigh(np.cov(train.T))[1][:, ::-1].T[:COMPONENTS]
    return lambda rows: (rows.astype(np.float64) - mean) @ axes.T


def random_projections(dataset: Dataset, bits: int, seed: int) -> dict[str, Encode]:
    """Signs of the same random directions of each modality's principal components."""
    pairs, encoders = dataset.training["pairs"], {}
    for modality in ("image", "text"):
        components = principal(pairs[modality])
        width = components(pairs[modality][:1]).shape[1]
        directions = np.random.default_rng(seed).standard_normal((COMPONENTS, bits))[:width]
        encoders[modality] = lambda rows, c=components, d=directions: codes.sign(c(rows) @ d)
    return encoders


class Canonical(NamedTuple):
    """Canonical correlations of pairs.

    Attributes:
      project: modality -> from rows to their canonical variates, [n, d].
      correlations: of each pair of variates, descending, [d].
    """

    project: Mapping[str, Encode]
    correlations: np.ndarray


def cca(pairs: Mapping[str, np.ndarray], ridge: float) -> Canonical:
    """Canonical correlations of "image" and "text"; `ridge` is a share of the largest variance."""
    components = {modality: principal(pairs[modality]) for modality in ("image", "text")}
    whitened, whiteners = {}, {}
    for modality, component in components.items():
        rows = component(pairs[modality])
        values, vectors = scipy.linalg.eigh(rows.T @ rows / len(rows))
        whiteners[modality] = vectors / np.sqrt(values + ridge * values.max())
        whitened[modality] = rows @ whiteners[modality]
    cross = whitened["image"].T @ whitened["text"] / len(pairs["image"])
    left, correlations, right = scipy.linalg.svd(cross, full_matrices=False)
    turns = {"image": whiteners["image"] @ left, "text": whiteners["text"] @ right.T}
    project = {m: lambda rows, m=m: components[m](rows) @ turns[m] for m in turns}
    return Canonical(project, correlations)


def itq(
    found: Canonical, pairs: Mapping[str, np.ndarray], bits: int, seed: int
) -> dict[str, Encode]:
    """Signs of the first variates, weighted by their correlations and rotated to be near signs."""
    # Fewer directions than bits: the rotation spreads them over all bits.
    scale = found.correlations[:bits]
    maps = {m: lambda rows, p=p: p(rows)[:, :bits] * scale for m, p in found.project.items()}
    both = np.concatenate([maps[m](pairs[m]) for m in maps])
    rotation = _rotation(both, bits, seed)
    return {m: lambda rows, m=m: codes.sign(maps[m](rows) @ rotation) for m in maps}


def cca_itq(dataset: Dataset, bits: int, seed: int) -> dict[str, Encode]:
    """Canonical correlations of the pairs, then the rotation that brings them near to signs."""
    pairs = dataset.training["pairs"]
    return itq(cca(pairs, RIDGE[dataset.card["name"]]), pairs, bits, seed)


def _rotation(rows: np.ndarray, bits: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((bits, bits))
    rotation = scipy.linalg.qr(noise)[0][: rows.shape[1]]
    for _ in range(ROTATIONS):
        left, _, right = scipy.linalg.svd(rows.T @ np.sign(rows @ rotation), full_matrices=False)
        rotation = left @ right
    return rotation


HASHES = {"random projections": random_projections, "CCA-ITQ": cca_itq}


def hash_map(dataset: Dataset, name: str, bits: int, seed: int) -> dict[str, float]:
    """MAP of each task with codes of a baseline, the database encoded."""
    encoders = HASHES[name](dataset, bits, seed)
    found = {}
    for task in dataset.tasks:
        query = encoders[task.query_modality](task.query.inputs[task.query_modality])
        items = encoders[task.database_modality](task.database.inputs[task.database_modality])
        histogram = metrics.distance_histogram(
            query, items, task.query.labels, task.database.labels
        )
        found[task.name] = metrics.mean_average_precision(histogram)
    return found


def classifier_map(dataset: Dataset) -> dict[str, float] | None:
    """MAP of each task where an SVM's class probabilities rank the training rows by their class.

    None for data whose rows have several labels. Its settings are chosen by cross-validation on the
    training rows.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    pairs = dataset.training["pairs"]
    if np.any(pairs["labels"].sum(axis=1) != 1):
        return None
    classes, found = pairs["labels"].argmax(axis=1), {}
    for task in dataset.tasks:
        modality = task.query_modality
        grid = {"svc__C": [0.3, 1, 3, 10, 30], "svc__gamma": ["scale", 0.003, 0.01, 0.03]}
        search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=5)
        best = search.fit(pairs[modality], classes).best_estimator_
        classifier = CalibratedClassifierCV(best, ensemble=False).fit(pairs[modality], classes)
        probabilities = classifier.predict_proba(task.query.inputs[modality])
        relevance = metrics.shared_labels(task.query.labels, pairs["labels"])
        ranking = metrics.ranked_relevance(-probabilities[:, classes], relevance)
        found[task.name] = metrics.mean_average_precision(ranking)
    return found


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=("clipart", "wikipedia"))
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data_dir", type=pathlib.Path, help="as of jxhash.main")
    return parser.parse_args()


def print_baselines() -> None:
    """Prints the MAP of every baseline."""
    arguments = parse_arguments()
    dataset = data.load(arguments.data, arguments.data_dir)
    rows: dict[str, Any] = {
        name: hash_map(dataset, name, arguments.bits, arguments.seed) for name in HASHES
    }
    rows["SVM classes (training rows)"] = classifier_map(dataset)
    for name, found in rows.items():
        values = found or {"": "data with several labels a row"}
        print(name, *(f"{task}: {v:.3f}" if task else v for task, v in values.items()), sep="  ")


if __name__ == "__main__":
    print_baselines()
