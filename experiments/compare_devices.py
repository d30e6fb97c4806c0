"""Trains every method on one, two and four devices and in two processes; compares MAP, as JSON.

    python experiments/compare_devices.py --out experiments/results/compare_devices.json

Each run is the command line with a method's own config, in a folder of its own below --runs: what
was finished is not run again, what was stopped goes on. Devices are CPU devices of this machine,
and the processes speak over loopback. Beside the differences to one device stands that between two
seeds, which says how much a training amplifies whatever is drawn or rounded otherwise.
"""

import argparse
import json
import pathlib

from benchmarks import turns

from jxhash import methods

ALONE = "one device"
# Where a training runs -> devices of each of its processes.
PLACES = {ALONE: [1], "two devices": [2], "four devices": [4], "two processes": [1, 1]}


def train(method: str, seed: int, place: str, workdir: pathlib.Path) -> dict[str, float]:
    """Trains, and returns direction of the search -> MAP of the encoded database."""
    given = [
        f"--config=configs/{method}.py",
        f"--config.seed={seed}",
        "--config.validate_every=0",
        f"--workdir={workdir}",
    ]
    running = turns.start_training(given, PLACES[place])
    errors = [process.communicate()[1] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("\n".join(errors))
    results = json.loads((workdir / "report.json").read_text())["results"]
    return {direction: measured["encoded"]["map"] for direction, measured in results.items()}


def compare(method: str, runs: pathlib.Path) -> dict:
    """MAP of a method everywhere, and the largest differences over the directions."""

    def measured(place: str, seed: int = 0) -> dict[str, float]:
        return train(method, seed, place, runs / f"{method}-{seed}-{place.replace(' ', '-')}")

    found = {place: measured(place) for place in PLACES}
    other_seed = measured(ALONE, seed=1)
    differences = {
        place: _largest_difference(found[ALONE], found[place]) for place in PLACES if place != ALONE
    }
    differences["another seed"] = _largest_difference(found[ALONE], other_seed)
    return {"largest difference": differences, "MAP": {**found, "another seed": other_seed}}


def _largest_difference(one: dict[str, float], other: dict[str, float]) -> float:
    return max(abs(one[direction] - other[direction]) for direction in one)


def main() -> None:
    """Compares all methods, prints and writes the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=methods.names(), default=methods.names())
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/devices"))
    parser.add_argument("--out", type=pathlib.Path, help="the JSON file to write")
    arguments = parser.parse_args()
    found = {}
    for method in arguments.methods:
        found[method] = compare(method, arguments.runs)
        print(method, found[method]["largest difference"], flush=True)
    turns.keep({"methods": found}, ("jax", "jaxlib"), arguments.out)


if __name__ == "__main__":
    main()
