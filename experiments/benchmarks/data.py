r"""Times the opening of users' own files and measures the memory that it takes, as JSON.

    python experiments/benchmarks/data.py --out experiments/results/bench_data.json

Two sets of the size of MIRFLICKR-25K are written into a scratch folder (4 GB, drawn numbers; the
figures do not depend on what they are): 4,096 features, 1,386 words and 24 labels of 20,015 pairs,
in each layout; and the 20,015 x 3 x 224 x 224 bytes of pixels of a peer's .mat file. Each figure is
of a process of its own, the files being in the system's cache; memory is the peak of the resident
set from before the opening to the end of what the figure names.
"""

import argparse
import pathlib
import tempfile
import time

import h5py
import numpy as np
import turns

ROWS, FEATURES, WORDS, LABELS, SIZE = 20_015, 4096, 1386, 24, 224
BATCH = 128
REPEATS = 3


def drawn() -> dict[str, np.ndarray]:
    """A set of features, words and labels."""
    generator = np.random.default_rng(0)
    return {
        "images": generator.random((ROWS, FEATURES), np.float32),
        "tags": (generator.random((ROWS, WORDS), np.float32) < 0.01).astype(np.uint8),
        "labels": (generator.random((ROWS, LABELS), np.float32) < 0.15).astype(np.uint8),
    }


def write_features(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The set in each layout: what it is called -> its path."""
    arrays = drawn()
    np.savez(folder / "set.npz", **arrays)
    (folder / "npy").mkdir()
    for name, array in arrays.items():
        np.save(folder / "npy" / f"{name}.npy", array)
    with h5py.File(folder / "set.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    write_matlab(folder / "set.mat", {name: array.T for name, array in arrays.items()})
    return {
        ".npz": folder / "set.npz",
        "folder of .npy": folder / "npy",
        ".h5": folder / "set.h5",
        ".mat (7.3, axes backwards: read into memory)": folder / "set.mat",
    }


def write_matlab(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """A file with MATLAB's header; `arrays` as they lie in it."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_pixels(path: pathlib.Path) -> None:
    """The pixels in DCMH's layout: for MATLAB 224 x 224 x 3 x 20,015, in chunks of 8 pictures."""
    arrays = drawn()
    write_matlab(path, {"YAll": arrays["tags"].T, "LAll": arrays["labels"].T})
    generator = np.random.default_rng(1)
    shape = (ROWS, 3, SIZE, SIZE)
    with h5py.File(path, "r+") as file:
        pixels = file.create_dataset("images", shape, np.uint8, chunks=(8, *shape[1:]))
        for first in range(0, ROWS, 512):
            rows = min(512, ROWS - first)
            pixels[first : first + rows] = generator.integers(0, 256, (rows, *shape[1:]), np.uint8)


def measure_features(path: str) -> dict[str, float]:
    """Opens a set; then reads the training rows as the engine does to place them on the devices."""
    from jxhash import data
    from jxhash.training import batches

    before, started = turns.memory("VmHWM"), time.perf_counter()
    dataset = data.load(path)
    seconds, opened = time.perf_counter() - started, turns.memory("VmHWM")
    arrays = batches.in_memory(dataset.training)["pairs"]
    size = sum(array.nbytes for array in arrays.values())
    return {
        "seconds to open": seconds,
        "MB to open": (opened - before) / 1e6,
        "MB of the training arrays": size / 1e6,
        "MB with the training arrays read": (turns.memory("VmHWM") - before) / 1e6,
    }


def measure_pixels(path: str) -> dict[str, float]:
    """Opens the pixels, streams calls of batches, and reads the database in blocks."""
    from jxhash import data
    from jxhash.evaluation import encode
    from jxhash.training import batches

    before, started = turns.memory("VmHWM"), time.perf_counter()
    dataset = data.load(path)
    seconds = time.perf_counter() - started
    row = dataset.training["pairs"]["image"][:1].nbytes
    placed = batches.place(dataset.training, 2**30, BATCH)
    plan = batches.epoch_plan(dataset.training, BATCH, "shuffled", (0,))
    steps, started = len(plan["pairs"]), time.perf_counter()
    for first in range(0, steps, placed.steps_per_call):
        placed.arrays(plan, first)
    epoch = time.perf_counter() - started
    database = dataset.tasks[0].database.inputs["image"]
    size, started = encode.BLOCK_BYTES // row, time.perf_counter()
    for first in range(0, len(database), size):
        database[first : first + size]
    return {
        "seconds to open (3.0 GB are hashed)": seconds,
        "images a second, in random order": steps * BATCH / epoch,
        "images a second, in order": len(database) / (time.perf_counter() - started),
        "MB of a batch": BATCH * row / 1e6,
        "peak MB beyond a batch": (turns.memory("VmHWM") - before - BATCH * row) / 1e6,
        "MB of the array": ROWS * row / 1e6,
    }


def measured(kind: str, path: pathlib.Path) -> dict[str, float]:
    """One measurement, in a process of its own."""
    return turns.in_own_process("--measure", kind, str(path))


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: round(float(np.median([run[name] for run in runs])), 3) for name in runs[0]}


def main() -> None:
    """Runs everything, or one measurement for the process that asked for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=2)
    arguments = parser.parse_args()
    measures = {"features": measure_features, "pixels": measure_pixels}
    if arguments.measure:
        kind, path = arguments.measure
        turns.say(measures[kind](path))
        return
    results: dict[str, dict] = {"features": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for name, path in write_features(folder).items():
            runs = [measured("features", path) for _ in range(REPEATS)]
            results["features"][name] = middle(runs)
        write_pixels(folder / "pixels.mat")
        results["pixels"] = measured("pixels", folder / "pixels.mat")
    found = {
        "rows": ROWS,
        "MB of a set of features": ROWS * (4 * FEATURES + WORDS + LABELS) / 1e6,
        "repeats": REPEATS,
        **results,
    }
    turns.keep(found, ("jax", "numpy", "h5py"), arguments.out)


if __name__ == "__main__":
    main()
