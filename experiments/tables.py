"""Runs a table of the README over its seeds, prints it, and keeps it as JSON.

    python experiments/tables.py thn

Every run is a run of `jxhash.main` in a folder of its own below --runs, so a table that was stopped
goes on where it stopped, and finished runs are not repeated. Nothing here chooses a setting: the
configs hold what was chosen on validation data.
"""

import argparse
import json
import pathlib
import platform
import statistics
import time
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from jxhash import configuration, running
from jxhash.training.progress import read_metrics

RESULTS = pathlib.Path(__file__).resolve().parent / "results"
CONFIGS = pathlib.Path(__file__).resolve().parent.parent / "configs"


class Row(NamedTuple):
    """One row of a table: a config with changes, run over seeds."""

    name: str
    config: str
    data: str
    changes: dict[str, Any]


class Table(NamedTuple):
    """A table: its rows, and the seeds of each."""

    rows: tuple[Row, ...]
    seeds: int


TABLES = {
    "thn": Table(
        (
            Row("mu = 0", "thn", "clipart-emoji", {"thn.mmd_weight": 0.0}),
            Row("mu = 1", "thn", "clipart-emoji", {"thn.mmd_weight": 1.0}),
            Row(
                "mu = 1, the paper's weights",
                "thn",
                "clipart-emoji",
                {"thn.mmd_weight": 1.0, "thn.similar_weight": 1.0, "thn.balance_weight": 0.0},
            ),
        ),
        seeds=5,
    )
}


def load_config(name: str, argument: str, changes: dict[str, Any], seed: int) -> ConfigDict:
    """A config of configs/ with changes."""
    config = configuration.load(f"{CONFIGS / name}.py:{argument}")
    config.update_from_flattened_dict({"seed": seed, **changes})
    return config


class Spent(NamedTuple):
    """What a run took, in seconds; other work on the machine adds little to the processor's."""

    clock: float
    processor: float


def run_once(
    config: ConfigDict, runs: pathlib.Path, data_dir: str | None
) -> tuple[dict[str, Any], Spent | None, pathlib.Path]:
    """Runs a config in a folder of its own; returns the report, what it took, and the folder.

    What a run took is known if one process made it, and is kept beside the run; else it is None.
    """
    workdir = runs / configuration.run_name(config)
    clock, processor, begun = time.monotonic(), time.process_time(), workdir.exists()
    report = running.run(config, workdir, data_dir)
    file = workdir / "spent.json"
    if not begun:
        spent = Spent(time.monotonic() - clock, time.process_time() - processor)
        file.write_text(json.dumps(spent._asdict()))
    spent = Spent(**json.loads(file.read_text())) if file.exists() else None
    return report, spent, workdir


def run_row(row: Row, seeds: int, runs: pathlib.Path) -> dict[str, Any]:
    """Runs a row over its seeds and sums it up."""
    maps: dict[str, list[float]] = {}
    seconds, mmd = [], []
    for seed in range(seeds):
        config = load_config(row.config, row.data, row.changes, seed)
        report, spent, workdir = run_once(config, runs, None)
        seconds += [spent.clock] if spent else []
        for task, by_protocol in report["results"].items():
            for protocol, values in by_protocol.items():
                maps.setdefault(f"{task}, {protocol}", []).append(values["map"])
        lines = [line["mmd"] for line in read_metrics(workdir / "metrics.jsonl") if "mmd" in line]
        mmd += lines[-1:]
    return {
        "name": row.name,
        "config": f"configs/{row.config}.py:{row.data}",
        "changes": row.changes,
        "seeds": list(range(seeds)),
        "map": {name: spread(values) for name, values in maps.items()},
        **({"seconds": spread(seconds)} if seconds else {}),
        "data": report["protocol"]["data"],
        **({"mmd of the last epoch": spread(mmd)} if mmd else {}),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "deviation": deviation, "values": values}


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table, MAP with its standard deviation over seeds."""
    columns = list(rows[0]["map"])
    extra = [name for name in ("mmd of the last epoch", "seconds") if name in rows[0]]
    lines = [
        "| | " + " | ".join((*columns, *extra)) + " |",
        "|---|" + "---|" * (len(columns) + len(extra)),
    ]
    for row in rows:
        cells = [_cell(row["map"][column]) for column in columns]
        cells += [_cell(row[name]) for name in extra]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: dict[str, Any]) -> str:
    return f"{values['mean']:.3f} ± {values['deviation']:.3f}"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/tables"))
    return parser.parse_args()


def run_table() -> None:
    """Runs the table that the command line names."""
    arguments = parse_arguments()
    logging.set_verbosity(logging.WARNING)
    table = TABLES[arguments.table]
    rows = [run_row(row, table.seeds, arguments.runs) for row in table.rows]
    result = {
        "command": f"python experiments/tables.py {arguments.table}",
        "machine": f"{platform.machine()}, {platform.python_version()}",
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{arguments.table}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(as_markdown(rows))


if __name__ == "__main__":
    run_table()
