"""What the rivals of training.py work on: DCMH's sizes and settings, and drawn pairs.

It imports neither JAX nor PyTorch, so that a rival holds the memory of its own library alone.
"""

import argparse
from pathlib import Path

import numpy as np

IMAGE, TEXT, LABELS = 4096, 1386, 24
HIDDEN = {"image": 4096, "text": 8192}
BITS, BATCH, SEED = 64, 128, 0
LEARNING_RATE, QUANTIZATION, BALANCE = 0.001, 1.0, 1.0
PHASES = {"image": "text", "text": "image"}
# Seconds between checkpoints of a training that saves none.
NEVER = 1e9


def draw_data(rows: int) -> dict[str, np.ndarray]:
    """Features, bags of words and labels of so many rows: always the same."""
    rng = np.random.default_rng(SEED)
    labels = rng.random((rows, LABELS)) < 0.08
    labels[np.arange(rows), rng.integers(LABELS, size=rows)] = True
    return {
        "image": rng.standard_normal((rows, IMAGE), np.float32),
        "text": (rng.random((rows, TEXT), np.float32) < 0.02).astype(np.uint8),
        "labels": labels.astype(np.uint8),
    }


def steps_of(rows: int) -> int:
    """The steps of an epoch."""
    return -(-rows // BATCH)


def start_file(task: argparse.Namespace) -> Path:
    """Where the first weights of a phase are kept."""
    return task.folder / f"start-{task.phase}.npz"
