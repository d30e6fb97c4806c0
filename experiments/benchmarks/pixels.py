r"""Measures decoding and augmentation against Pillow alone, in one run.

    python experiments/benchmarks/pixels.py --out experiments/results/bench_pixels.json

The pictures are photographs as data sets have them: crops of the portrait that comes with
matplotlib, saved as JPEG of 500 x 375 pixels. Contenders take turns, and a figure is the median
over rounds:

  pillow: a process a core, each opens its share of the files, decodes, scales, and keeps nothing;
  pixels: encoded pictures streamed as the engine streams them (read ahead by threads, stacked into
    blocks), moved and mirrored on the device, until the last result is there.

Both bring a picture to 224 x 224 by the same function. CPU seconds add up all threads and
processes: what to look at where other work shares the machine. Beside them, how many pictures a
second Lite0 learns from, the gradient of all its weights, at several sizes and with no decoding.
"""

import argparse
import io
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib
import numpy as np
import turns
from PIL import Image

from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.networks import cnn_f, efficientnet_lite, picture_hash
from jxhash.training import batches

PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
SIZE, BATCH, REACH = cnn_f.PICTURE_SIZE, 32, 16


class Round(NamedTuple):
    """One round of one contender."""

    pictures_per_second: float
    cpu_milliseconds_per_picture: float


def draw_pictures(number: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels."""
    rng = np.random.default_rng(0)
    with Image.open(PHOTOGRAPH) as opened:
        photograph = opened.convert("RGB")
    pictures = []
    for _ in range(number):
        left, top = rng.integers(0, photograph.width - 400), rng.integers(0, 300)
        crop = photograph.crop((left, top, left + 400, top + 300)).resize((500, 375))
        content = io.BytesIO()
        crop.save(content, "JPEG", quality=90)
        pictures.append(content.getvalue())
    return pictures


def decode_all(pictures: Sequence[bytes]) -> int:
    """What a process of the contender "pillow" does."""
    for picture in pictures:
        cnn_f.fit(picture)
    return len(pictures)


def stream_all(pictures: Sequence[bytes], augment: Callable, seed: int) -> None:
    """An epoch as the engine reads it."""
    images = EncodedPictures(pictures, range(len(pictures)), cnn_f.fit, SIZE)
    training = {"pairs": {"image": images}}
    placement = batches.place(training, 0.0, BATCH)
    plan = batches.epoch_plan(training, BATCH, "shuffled", (seed,))
    steps, last = len(plan["pairs"]), None
    for first in range(0, steps, placement.steps_per_call):
        block = placement.arrays(plan, first)["pairs"]["image"]
        for step in range(min(placement.steps_per_call, steps - first)):
            pixels = block[step].reshape(-1, SIZE, SIZE, 3)
            last = augment(pixels, jax.random.split(jax.random.key(step), len(pixels)), REACH)
    jax.block_until_ready(last)


def learning(size: int, rounds: int) -> float:
    """Pictures a second of which Lite0 works out the gradient."""
    module, variables = efficientnet_lite.lite0()
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)

    def loss(params: dict, pixels: jax.Array) -> jax.Array:
        inputs = efficientnet_lite.normalise(pixels)
        return module.apply({**variables, "params": params}, inputs).sum()

    gradient = jax.jit(jax.grad(loss))

    def step() -> None:
        jax.block_until_ready(gradient(variables["params"], np.float32(pixels)))

    step()
    times = turns.rounds({"gradient": lambda: turns.timed(step)[0]}, rounds)
    return BATCH / statistics.median(times["gradient"])


def pillow_round(pictures: Sequence[bytes], cores: int) -> Round:
    """The processes are there before the clock starts, and have ended when their time is read."""
    shares = [pictures[core::cores] for core in range(cores)]
    # The processes must not inherit the threads of JAX.
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(decode_all, [share[:2] for share in shares], chunksize=1)
        started = time.perf_counter()
        used = pool.map(decode_timed, shares, chunksize=1)
        seconds = time.perf_counter() - started
    return Round(len(pictures) / seconds, 1e3 * sum(used) / len(pictures))


def decode_timed(pictures: Sequence[bytes]) -> float:
    """Processor seconds of this process for its share."""
    return turns.timed(lambda: decode_all(pictures))[1]


def measure(number: int, rounds: int) -> dict[str, list[Round]]:
    """All rounds of both contenders, in turn."""
    pictures, cores = draw_pictures(number), len(os.sched_getaffinity(0))
    augment = jax.jit(picture_hash.shift_and_flip, static_argnums=2)
    stream_all(pictures[: 2 * BATCH], augment, 0)
    seeds = itertools.count()

    def pixels_round() -> Round:
        seconds, cpu = turns.timed(lambda: stream_all(pictures, augment, next(seeds)))
        return Round(number / seconds, 1e3 * cpu / number)

    contenders = {"pillow": lambda: pillow_round(pictures, cores), "pixels": pixels_round}
    return turns.rounds(contenders, rounds)


def main() -> None:
    """Measures, prints, and writes the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=1024, help="pictures a round (1024)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each contender (7)")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    arguments = parser.parse_args()
    found = measure(arguments.pictures, arguments.rounds)
    medians = {
        name: Round(*map(statistics.median, zip(*rounds, strict=True)))
        for name, rounds in found.items()
    }
    ratios = [
        one.pictures_per_second / other.pictures_per_second
        for one, other in zip(found["pixels"], found["pillow"], strict=True)
    ]
    record = {
        "pictures": arguments.pictures,
        "medians": {name: median._asdict() for name, median in medians.items()},
        "pixels over pillow, median of rounds": statistics.median(ratios),
        "pixels over pillow, each round": ratios,
        "pixels over pillow, by CPU time": medians["pillow"].cpu_milliseconds_per_picture
        / medians["pixels"].cpu_milliseconds_per_picture,
        "Lite0 learns from, pictures a second": {
            f"{size} x {size}": learning(size, arguments.rounds) for size in (64, 96, SIZE)
        },
        "rounds": {name: [one._asdict() for one in rounds] for name, rounds in found.items()},
    }
    turns.keep(record, ("jax", "numpy", "pillow"), arguments.out)


if __name__ == "__main__":
    main()
