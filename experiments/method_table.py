"""Every method under one protocol: a table, its JSON with the data cards, and a page of charts.

    python experiments/method_table.py --data_dir=FOLDER
    python experiments/method_table.py --collections clipart --methods dcmh chn --bits 32

Each cell is the mean over seeds of runs of `jxhash.main`, each in a folder of its own below --runs:
what was finished is not run again, what was stopped goes on. Beside the methods stand baselines
(experiments/baselines.py). Without --data_dir the collections that need files are left out.
"""

import argparse
import html
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import baselines
import jax
import matplotlib.pyplot as plt
import tables
from absl import logging

from jxhash import data
from jxhash.errors import UserError
from jxhash.evaluation.figures import STYLE, as_svg

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results" / "methods.json"
PAGE = ROOT / "docs" / "methods.html"

# Collection -> method -> argument of its config. All of a collection search the same rows.
COLLECTIONS = {
    "clipart": {
        "dcmh": "clipart",
        "prdh": "clipart",
        "chn": "clipart",
        "cmhh": "clipart",
        "dvsh": "clipart-sentences",
        "tvdb": "clipart-regions",
        "ddcmh": "clipart",
        "cdq": "clipart",
        "lcmh": "clipart",
    },
    "clipart-emoji": {"thn": "clipart-emoji"},
    "wikipedia": dict.fromkeys(
        ("dcmh", "prdh", "chn", "cmhh", "ddcmh", "cdq", "lcmh"), "wikipedia"
    ),
}
WHY_EMPTY = {
    ("clipart", "thn"): "learns for unpaired collections, see its own task",
    ("wikipedia", "thn"): "needs unpaired collections of other domains",
    ("wikipedia", "dvsh"): "needs sentences; these arrays hold topics",
    ("wikipedia", "tvdb"): "needs sentences and regions; these arrays hold topics and visual words",
}
NEEDS_FILES = {"wikipedia"}
# The table of the README; parts of it do not overwrite it.
WHOLE = {"collections": [*COLLECTIONS], "methods": None, "bits": [16, 32, 64], "seeds": 3}
PROTOCOLS = ("encoded", "learned")
SPENT = "processor seconds"
CLASSIFIER = "SVM classes"
MEASURES = ("map", "map_at_50", "lookup_precision")
# What is shown of them: title -> (protocol, measure).
SHOWN = {
    "MAP, database encoded": ("encoded", "map"),
    "MAP, database learned": ("learned", "map"),
    "precision within radius 2, database encoded": ("encoded", "lookup_precision"),
}


class Cell(NamedTuple):
    """One method on one collection at one code length."""

    collection: str
    method: str
    bits: int


class Progress:
    """Says which run is next and about how long the rest takes."""

    def __init__(self, runs: int) -> None:
        self._runs, self._done, self._started = runs, 0, time.monotonic()

    def __call__(self, cell: Cell, seed: int, seconds: float) -> None:
        """Notes a run that ended, which took so many seconds when it was made."""
        self._done += 1
        spent = time.monotonic() - self._started
        left = spent / self._done * (self._runs - self._done) / 60
        print(
            f"{self._done} of {self._runs}: {cell.method} on {cell.collection}, {cell.bits} bits, "
            f"seed {seed}: {seconds:.0f} s; about {left:.0f} minutes left",
            file=sys.stderr,
        )


def cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """The cells to fill, the code length in the middle first."""
    for bits in sorted(arguments.bits, key=lambda bits: abs(bits - 32)):
        for collection in arguments.collections:
            for method in COLLECTIONS[collection]:
                if arguments.methods is None or method in arguments.methods:
                    yield Cell(collection, method, bits)


def run_cell(cell: Cell, arguments: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Runs a cell over its seeds and sums it up."""
    values: dict[str, list[float]] = {}
    seconds, reports = [], []
    argument = COLLECTIONS[cell.collection][cell.method]
    for seed in range(arguments.seeds):
        config = tables.load_config(cell.method, argument, {"bits": cell.bits}, seed)
        try:
            report, spent, _ = tables.run_once(config, arguments.runs, arguments.data_dir)
        except UserError as error:
            print(f"{cell} stays empty: {error}", file=sys.stderr)
            return {**cell._asdict(), "values": {}, "why empty": str(error)}
        progress(cell, seed, spent.clock if spent else 0.0)
        seconds += [spent.processor] if spent else []
        reports.append(report)
        for task, by_protocol in report["results"].items():
            for protocol in (p for p in PROTOCOLS if p in by_protocol):
                for measure in MEASURES:
                    found = by_protocol[protocol][measure]
                    if found is not None:
                        values.setdefault(f"{task}, {protocol}, {measure}", []).append(found)
    protocol = reports[0]["protocol"]
    return {
        **cell._asdict(),
        "config": f"configs/{cell.method}.py:{argument}",
        "seeds": list(range(arguments.seeds)),
        "values": {name: tables.spread(found) for name, found in values.items()},
        **({SPENT: tables.spread(seconds)} if seconds else {}),
        "distance": protocol["distance"],
        "card": protocol["data"]["sha256"],
        "config values": reports[0]["config"],
    }


def run_baselines(collection: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the baselines on one collection."""
    if collection == "clipart-emoji":
        return []
    dataset, rows = data.load(collection, arguments.data_dir), []
    for name in baselines.HASHES:
        for bits in arguments.bits:
            of_seeds = [baselines.hash_map(dataset, name, bits, s) for s in range(arguments.seeds)]
            values = {
                f"{task}, encoded, map": tables.spread([found[task] for found in of_seeds])
                for task in of_seeds[0]
            }
            rows.append({**Cell(collection, name, bits)._asdict(), "values": values})
    classes = baselines.classifier_map(dataset)
    for bits in arguments.bits if classes else ():
        values = {f"{t}, learned, map": tables.spread([v]) for t, v in classes.items()}
        rows.append({**Cell(collection, CLASSIFIER, bits)._asdict(), "values": values})
    return rows


def as_markdown(record: dict[str, Any], collection: str, shown: str) -> str:
    """One table: methods by code length and direction, means with their deviation over seeds."""
    rows, what = _rows_of(record, collection), ", ".join(SHOWN[shown])
    tasks, lengths = _tasks(rows), sorted({row["bits"] for row in rows})
    heads = [f"{task}, {bits} bits" for task in tasks for bits in lengths]
    lines = [f"| | {' | '.join([*heads, SPENT])} |", "|---|" + "---|" * (len(heads) + 1)]
    for method in dict.fromkeys(row["method"] for row in rows):
        by_bits = {row["bits"]: row for row in rows if row["method"] == method}
        found = [
            _cell(by_bits.get(bits, {}).get("values", {}).get(f"{task}, {what}"))
            for task in tasks
            for bits in lengths
        ]
        if not any(found) and (why := _why_empty(by_bits, shown)):
            lines.append(f"| {_title(method)} | {why} |" + " |" * len(heads))
        if any(found):
            spent = [row[SPENT]["mean"] for row in by_bits.values() if SPENT in row]
            seconds = f"{sum(spent) / len(spent):.0f}" if spent else ""
            lines.append(f"| {_title(method)} | {' | '.join([*found, seconds])} |")
    lines += [
        f"| {_title(method)} | {why} |" + " |" * len(heads)
        for (where, method), why in WHY_EMPTY.items()
        if where == collection
    ]
    return "\n".join(lines)


def _why_empty(by_bits: dict[int, dict[str, Any]], shown: str) -> str | None:
    """Why a method has no figure in a table; None for baselines, which stand in one alone."""
    row = next(iter(by_bits.values()))
    if "config" not in row:
        return row.get("why empty")
    if SHOWN[shown][0] == "learned":
        return "learns no codes for its training rows"
    return "ranks by a distance of its own, which has no radius"


def _tasks(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name.split(", ")[0] for row in rows for name in row["values"]))


def _cell(values: dict[str, Any] | None) -> str:
    return f"{values['mean']:.3f} ± {values['deviation']:.3f}" if values else ""


def _title(method: str) -> str:
    return method.upper() if method.islower() and method.isalpha() else method


def chart(record: dict[str, Any], collection: str, shown: str) -> str:
    """A measure over code length, a line a method, a panel a direction; SVG."""
    rows, what = _rows_of(record, collection), ", ".join(SHOWN[shown])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
        for axis, task in zip(axes, _tasks(rows), strict=True):
            for method in dict.fromkeys(row["method"] for row in rows):
                points = sorted(
                    (row["bits"], found["mean"], found["deviation"])
                    for row in rows
                    if row["method"] == method and (found := row["values"].get(f"{task}, {what}"))
                )
                if points:
                    bits, mean, deviation = zip(*points, strict=True)
                    style = "o-" if "config" in _first(rows, method) else "s--"
                    axis.errorbar(
                        bits, mean, deviation, fmt=style, label=_title(method), ms=4, capsize=2,
                        color=_colour(method),
                    )  # fmt: skip
            axis.set(title=task, xlabel="bits", xscale="log")
            axis.set_xticks(record["bits"], [str(bits) for bits in record["bits"]], minor=False)
            axis.minorticks_off()
        axes[0].set_ylabel(shown.split(",")[0])
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
        return as_svg(figure)


def _colour(method: str) -> tuple[float, ...]:
    """The same for a method in every chart."""
    known = [*dict.fromkeys(m for by_method in COLLECTIONS.values() for m in by_method)]
    known += [*baselines.HASHES, CLASSIFIER]
    return plt.get_cmap("tab20")(known.index(method))


def _first(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    return next(row for row in rows if row["method"] == method)


def _rows_of(record: dict[str, Any], collection: str) -> list[dict[str, Any]]:
    return [row for row in record["rows"] if row["collection"] == collection]


def sections(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The collections, each with what there is to show of it."""
    for collection in COLLECTIONS:
        names = {name for row in _rows_of(record, collection) for name in row["values"]}
        for title, shown in SHOWN.items():
            if any(name.endswith(", ".join(shown)) for name in names):
                yield collection, title


def as_page(record: dict[str, Any]) -> str:
    """The charts and tables as one page that needs nothing else."""
    parts = []
    for collection, shown in sections(record):
        table = _html_table(as_markdown(record, collection, shown))
        parts.append(f"<h2>{collection}: {shown}</h2>{chart(record, collection, shown)}{table}")
    cards = html.escape(json.dumps(record["cards"], indent=1))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>jxhash: the methods</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:24px auto}"
        "table{border-collapse:collapse;font-size:.85em}td,th{padding:4px 8px;text-align:right;"
        "border-bottom:1px solid #d1d9e0}td:first-child,td.why{text-align:left}"
        "svg{width:100%;height:auto}"
        "pre{overflow:auto;background:#f6f8fa;padding:12px;font-size:12px}</style>"
        f"<h1>The methods under one protocol</h1><p>{html.escape(record['protocol'])}</p>"
        f"{''.join(parts)}<h2>Data cards</h2><pre>{cards}</pre></html>\n"
    )


def _html_table(markdown: str) -> str:
    head, _, *rows = ([c.strip() for c in ln.split("|")[1:-1]] for ln in markdown.splitlines())
    body = "".join(f"<tr>{_html_row(row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{html.escape(c)}</th>' for c in head)}</tr>{body}</table>"


def _html_row(row: list[str]) -> str:
    name, first, *rest = row
    # A reason why a row is empty goes over all of it.
    span = "" if any(rest) else f' class="why" colspan="{len(rest) + 1}"'
    cells = f"<td>{html.escape(name)}</td><td{span}>{html.escape(first)}</td>"
    return cells + ("" if span else "".join(f"<td>{html.escape(cell)}</td>" for cell in rest))


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--collections", nargs="+", choices=COLLECTIONS, default=WHOLE["collections"]
    )
    known = sorted({method for by_method in COLLECTIONS.values() for method in by_method})
    parser.add_argument("--methods", nargs="+", choices=known, help="only these (all)")
    parser.add_argument("--bits", nargs="+", type=int, default=WHOLE["bits"])
    parser.add_argument("--seeds", type=int, default=WHOLE["seeds"])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/methods"))
    parser.add_argument("--data_dir", help="as of jxhash.main")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON (below --runs, if a part)")
    parser.add_argument("--page", type=pathlib.Path, help="the page of charts (the same)")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or min(arguments.bits) < 1:
        parser.error("--seeds and --bits are at least 1")
    arguments.data_dir = arguments.data_dir or os.environ.get("JXHASH_DATA_DIR")
    if arguments.data_dir is None:
        arguments.collections = [c for c in arguments.collections if c not in NEEDS_FILES]
    if not list(cells(arguments)):
        parser.error("nothing to run: these methods and collections have no cell, or no --data_dir")
    whole = {**vars(arguments), **WHOLE} == vars(arguments)
    arguments.output = arguments.output or (RESULTS if whole else arguments.runs / RESULTS.name)
    arguments.page = arguments.page or (PAGE if whole else arguments.runs / PAGE.name)
    return arguments


def command_of(arguments: argparse.Namespace) -> str:
    """The command that makes this table, whatever folders were used."""
    parts = ["python experiments/method_table.py"]
    for name in ("collections", "methods", "bits"):
        if values := getattr(arguments, name):
            parts.append(" ".join([f"--{name}", *map(str, values)]))
    parts += [f"--seeds {arguments.seeds}"]
    return " ".join(parts + (["--data_dir=FOLDER"] if arguments.data_dir else []))


def make_table() -> None:
    """Fills the cells, prints the tables, writes JSON and page."""
    arguments = parse_arguments()
    logging.set_verbosity(logging.WARNING)
    # Runs that differ in their seed alone share their compiled code.
    jax.config.update("jax_compilation_cache_dir", str(arguments.runs / "compiled"))
    todo = list(cells(arguments))
    progress = Progress(len(todo) * arguments.seeds)
    rows = [run_cell(cell, arguments, progress) for cell in todo]
    order = [Cell(c, m, b) for c in COLLECTIONS for m in COLLECTIONS[c] for b in arguments.bits]
    rows.sort(key=lambda row: order.index(Cell(row["collection"], row["method"], row["bits"])))
    for collection in arguments.collections:
        rows += run_baselines(collection, arguments)
    names = {COLLECTIONS[row["collection"]].get(row["method"]) for row in rows} - {None}
    record = {
        "command": command_of(arguments),
        "protocol": "MAP over the whole ranking, expected over the order of ties, mean and "
        f"standard deviation over {arguments.seeds} seeds; settings chosen on validation rows",
        "machine": f"{platform.machine()}, {platform.python_version()}, jax {jax.__version__}",
        "bits": arguments.bits,
        "cards": {name: dict(data.load(name, arguments.data_dir).card) for name in sorted(names)},
        "rows": rows,
    }
    for file, content in (
        (arguments.output, json.dumps(record, indent=1) + "\n"),
        (arguments.page, as_page(record)),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    for collection, shown in sections(record):
        print(f"\n{collection}: {shown}\n\n{as_markdown(record, collection, shown)}")


if __name__ == "__main__":
    make_table()
