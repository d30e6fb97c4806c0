"""report.json, its tables for the terminal, and whether two reports are comparable."""

import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

import jxhash
from jxhash.atomic_files import read_json
from jxhash.configuration import differences
from jxhash.errors import UserError
from jxhash.evaluation import measure
from jxhash.evaluation.measure import Definitions

WIDTH = 80

PROTOCOLS = {
    measure.ENCODED: "the trained networks encode the database items",
    measure.LEARNED: "the database consists of the training rows, with the codes that training "
    "itself optimised (not the network's output)",
    measure.GIVEN: "the codes of the files",
    measure.UNTRAINED: "the same networks before the first step encode the database items",
    measure.RANDOM: "the expectation over all orders of the database",
}
TRAINED = (measure.ENCODED, measure.LEARNED, measure.GIVEN)


def make_report(
    title: str,
    card: Mapping[str, Any],
    distance: str,
    results: Mapping[str, Mapping[str, Any]],
    bits: Mapping[str, Any],
    config: Mapping[str, Any],
    definitions: Definitions = measure.DEFAULT,
    *,
    relevance: str = measure.SHARED_LABEL,
    chosen: Mapping[str, Any] | None = None,
    verdict: Sequence[str] = (),
) -> dict[str, Any]:
    """Assembles report.json: the numbers and the protocol card that defines them.

    `results` are of `measure.evaluate`, `bits` of `measure.bit_statistics`; the distance is in
    words, `relevance` is one of `measure`, and the config is empty for codes that came from files.
    `chosen` is what "auto" stood for, `verdict` what a reader must know before the numbers.
    """
    protocols = set().union(*results.values())
    return {
        "title": title,
        "protocol": {
            "data": dict(card),
            "definitions": definitions._asdict(),
            "measures": definitions.in_words(),
            "relevance": relevance,
            "database": {name: text for name, text in PROTOCOLS.items() if name in protocols},
            "distance": distance,
            "seed": config.get("seed"),
            "versions": {"jxhash": jxhash.__version__, "jax": jax.__version__},
        },
        "config": dict(config),
        "chosen": dict(chosen or {}),
        "verdict": list(verdict),
        "results": results,
        "bits": bits,
    }


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a report.

    Raises:
      UserError: the file is damaged, or no report of this version.
    """
    report: dict[str, Any] = read_json(path)
    if not _prints(report):
        raise UserError(
            f"{path} is no report of this version of jxhash; remove it and repeat the command "
            "that made it"
        )
    return report


def _prints(report: Any) -> bool:
    """Whether the report holds all that a table needs, in this version's layout."""
    try:
        rows = min(map(len, report["results"].values()))
        return bool(rows and table(report) and joint_table([report, report]))
    # Values of other types fail in many ways.
    except Exception:
        return False


def table(report: Mapping[str, Any]) -> str:
    """The main numbers in at most 80 columns."""
    lines = [report["title"], *_card_lines(report), "", f"{'':34}{_in_columns(heads(report))}"]
    for task, by_protocol in report["results"].items():
        lines.append(task)
        for protocol, values in by_protocol.items():
            cells = main_values(report, values).values()
            lines.append(f"  {row_name(protocol):32}{_in_columns(cells)}")
            if protocol in TRAINED and "MAP" in heads(report) and values["map_interval"]:
                lines.append(f"    {interval(values)}")
    for warning in report["verdict"]:
        lines += ["", *wrapped(f"WARNING: {warning}")]
    return "\n".join(lines)


def joint_table(reports: Sequence[Mapping[str, Any]], *, anyway: bool = False) -> str:
    """The trained rows of several reports in one table of at most 80 columns.

    With `anyway` it accepts reports of different protocols, and says so.

    Raises:
      UserError: the protocol cards differ, in data, measures or versions.
    """
    first, *others = reports
    different = [line for other in others for line in _card_differences(first, other)]
    if different and not anyway:
        raise UserError(
            f"these reports are not comparable, their protocol cards differ: {different[0]}"
            + (f" (and in {len(different) - 1} more)" if len(different) > 1 else "")
            + "; use --anyway to show them in one table nevertheless"
        )
    warnings = [line for text in different for line in wrapped(f"PROTOCOLS DIFFER: {text}")]
    lines = warnings or _card_lines(first)
    distances = dict.fromkeys(report["protocol"]["distance"] for report in reports)
    if len(distances) == 1:
        lines += wrapped(*distances)
    columns = heads(first)
    lines += ["", f"{'':34}{_in_columns(columns)}"]
    for task in dict.fromkeys(task for report in reports for task in report["results"]):
        lines.append(task)
        for report in reports:
            lines += wrapped(report["title"], 2)
            if len(distances) > 1:
                lines += wrapped(report["protocol"]["distance"], 4)
            for protocol, values in report["results"].get(task, {}).items():
                if protocol in TRAINED:
                    own = main_values(report, values)
                    cells = _in_columns(own.get(head, "-") for head in columns)
                    lines.append(f"    {row_name(protocol):30}{cells}")
    return "\n".join(lines)


def wrapped(text: str, indent: int = 0) -> list[str]:
    """The lines of a text in at most 80 columns."""
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space)


def _card_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Compares all but distance and seed, which are shown, and jax, which measures nothing."""
    one, other = one["protocol"], other["protocol"]
    # One may have rows that the other lacks; the shared ones must agree.
    shared = {name: one[name].keys() & other[name].keys() for name in ("database", "measures")}
    cards = [
        {name: card[name] for name in ("data", "definitions", "relevance")}
        | {name: {key: card[name][key] for key in keys} for name, keys in shared.items()}
        | {"jxhash": card["versions"]["jxhash"]}
        for card in (one, other)
    ]
    return differences(cards[0], cards[1])


def _card_lines(report: Mapping[str, Any]) -> list[str]:
    """The main entries of the protocol card."""
    protocol = report["protocol"]
    data, given = protocol["data"], Definitions(**protocol["definitions"])
    sizes = ", ".join(f"{size} {name}" for name, size in data["sizes"].items())
    return [
        *wrapped(f"{data['name']} {data['version']}: {sizes}; sha256 {data['sha256'][:12]}"),
        *wrapped(
            f"ties: {given.ties}; queries without a relevant item: {given.empty}; "
            f"MAP@{given.cut} over {given.denominator}; {versions(report)}"
        ),
        *wrapped(_list(data.get("normalization", {}), "normalization: {}")),
        *wrapped(_list(report["chosen"], "auto: {}")),
        *wrapped(data.get("caution", "")),
        *wrapped(_without_words(data.get("texts without a known word", 0))),
    ]


def _without_words(number: int) -> str:
    return f"texts without a known word: {number:,}" if number else ""


def _list(values: Mapping[str, Any], said: str) -> str:
    """Names and values within a text; empty for none."""
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    return said.format(listed) if listed else ""


def versions(report: Mapping[str, Any]) -> str:
    """The versions of the libraries that measured, in a line."""
    return ", ".join(
        f"{name} {version}" for name, version in report["protocol"]["versions"].items()
    )


def heads(report: Mapping[str, Any]) -> dict[str, str]:
    """The header row of the main measures: heading -> name of the measure, "NAME/N" of a curve."""
    given = Definitions(**report["protocol"]["definitions"])
    if report["protocol"]["relevance"] == measure.SAME_PAIR:
        recalls = {f"R@{k}": f"hit_rate_at/{k}" for k in measure.RECALLS}
        return recalls | {"median rank": "median_rank", "MRR": "mean_reciprocal_rank"}
    return {
        "MAP": "map",
        f"MAP@{given.cut}": f"map_at_{given.cut}",
        f"NDCG@{given.cut}": f"ndcg_at_{given.cut}",
        f"P(r<={given.radius})": "lookup_precision",
    }


def main_values(report: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Heading -> value of each main measure, with three decimals or a dash if undefined."""
    return {head: _in_digits(head, _value(values, name)) for head, name in heads(report).items()}


def _value(values: Mapping[str, Any], name: str) -> float | None:
    measured, _, position = name.partition("/")
    if not position:
        value: float | None = values[name]
        return value
    curve: dict[str, float] = values[measured]
    # Of a smaller database the curve ends with all of it.
    return curve.get(position, curve[max(curve, key=int)])


def _in_digits(head: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if head == "median rank" else f"{value:.3f}"


def _in_columns(cells: Iterable[str]) -> str:
    cells = list(cells)
    widths = (8, 10, 10, 10) if len(cells) == 4 else (8, 8, 8, 13, 8)
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def interval(values: Mapping[str, Any]) -> str:
    """The bootstrap interval of MAP."""
    low, high = values["map_interval"]
    return f"{100 * measure.CONFIDENCE:g} % bootstrap interval over queries: {low:.3f}-{high:.3f}"


def row_name(protocol: str) -> str:
    """The row label of a protocol or baseline."""
    return f"database {protocol}" if protocol in TRAINED else protocol
