"""The report of a run as JSON, its tables for the terminal, and what makes two comparable."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence, Set
from typing import Any

import jax

import jxhash
from jxhash.atomic_files import read_json
from jxhash.configuration import differences
from jxhash.errors import UserError
from jxhash.evaluation.measure import CONFIDENCE, DEFAULT, RELEVANCE, Definitions

WIDTH = 80

PROTOCOLS = {
    "encoded": "database codes made by the trained networks from the database items",
    "learned": "database: the training rows, under the codes that training left for them",
    "given": "the codes of the files",
    "untrained networks": "the same networks before the first step, database encoded",
    "random ranking": "the expectation over all orders of the database",
}
TRAINED = ("encoded", "learned", "given")


def make_report(
    title: str,
    card: Mapping[str, Any],
    distance: str,
    results: Mapping[str, Mapping[str, Any]],
    bits: Mapping[str, Any],
    config: Mapping[str, Any],
    definitions: Definitions = DEFAULT,
) -> dict[str, Any]:
    """Puts together what report.json holds: the numbers, and the protocol card that names them.

    Args:
      title: what was measured.
      card: of the data.
      distance: in words.
      results: task name -> protocol or baseline name -> measures.
      bits: as `measure.bit_statistics` gives it.
      config: of the run; empty for codes that came from files.
      definitions: of the measures.
    """
    protocols = {protocol for by_protocol in results.values() for protocol in by_protocol}
    return {
        "title": title,
        "protocol": {
            "data": dict(card),
            "definitions": definitions._asdict(),
            "measures": definitions.in_words(),
            "relevance": RELEVANCE,
            "database": {name: text for name, text in PROTOCOLS.items() if name in protocols},
            "distance": distance,
            "seed": config.get("seed"),
            "versions": {"jxhash": jxhash.__version__, "jax": jax.__version__},
        },
        "config": dict(config),
        "results": results,
        "bits": bits,
    }


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a report.

    Raises:
      UserError: the file is damaged, or no report of this version.
    """
    report = read_json(path)
    if not _prints(report):
        raise UserError(
            f"{path} is no report of this version of jxhash; remove it, and the command that made "
            "it makes it again"
        )
    return report


def _prints(report: Any) -> bool:
    """Whether no part that a table needs is missing, of another kind or of another version."""
    try:
        return bool(table(report) and joint_table([report, report]) and _rows(report))
    # What is of another kind, or a number that no table holds, fails in as many ways.
    except Exception:
        return False


def _rows(report: Mapping[str, Any]) -> int:
    """The fewest rows of a task."""
    return min(len(by_protocol) for by_protocol in report["results"].values())


def table(report: Mapping[str, Any]) -> str:
    """The main numbers in at most 80 columns."""
    lines = [report["title"], *_card_lines(report), "", _heads(report)]
    for task, by_protocol in report["results"].items():
        lines.append(task)
        for protocol, values in by_protocol.items():
            lines.append(f"  {row_name(protocol):32}{_cells(report, values)}")
            if protocol in TRAINED and values.get("map_interval"):
                lines.append(f"    {interval(values)}")
    return "\n".join(lines)


def joint_table(reports: Sequence[Mapping[str, Any]], *, anyway: bool = False) -> str:
    """The trained rows of several reports below each other, in at most 80 columns.

    Args:
      reports: as `make_report` gives them, at least one.
      anyway: whether to put reports of different protocols into one table; it says so then.

    Raises:
      UserError: the protocol cards differ, in data, measures or versions.
    """
    first, *others = reports
    different = [line for other in others for line in _card_differences(first, other)]
    if different and not anyway:
        raise UserError(
            f"these reports are not comparable, their protocol cards differ: {different[0]}"
            + (f" (and in {len(different) - 1} more)" if len(different) > 1 else "")
            + "; give --anyway to see them in one table nevertheless"
        )
    warnings = [line for text in different for line in wrapped(f"PROTOCOLS DIFFER: {text}")]
    lines = warnings or _card_lines(first)
    distances = dict.fromkeys(report["protocol"]["distance"] for report in reports)
    if len(distances) == 1:
        lines += wrapped(*distances)
    lines += ["", _heads(first)]
    tasks = dict.fromkeys(task for report in reports for task in report["results"])
    for task in tasks:
        lines.append(task)
        for report in reports:
            lines += wrapped(report["title"], 2)
            if len(distances) > 1:
                lines += wrapped(report["protocol"]["distance"], 4)
            lines += [
                f"    {row_name(protocol):30}{_cells(report, values, heads(first))}"
                for protocol, values in report["results"].get(task, {}).items()
                if protocol in TRAINED
            ]
    return "\n".join(lines)


def wrapped(text: str, indent: int = 0) -> list[str]:
    """The lines of a text in at most 80 columns."""
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space)


def _card_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what matters: distance and seed are shown, and the measures are numpy's, not jax's."""
    one, other = one["protocol"], other["protocol"]
    cards = [
        {
            **{n: v for n, v in card.items() if n not in ("distance", "seed", "versions")},
            # One may have rows that the other has not; those of both were made and measured alike.
            **{
                n: _shared(card[n], one[n].keys() & other[n].keys())
                for n in ("database", "measures")
            },
            "jxhash": card["versions"]["jxhash"],
        }
        for card in (one, other)
    ]
    return differences(*cards)


def _shared(texts: Mapping[str, str], names: Set[str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name in names}


def _card_lines(report: Mapping[str, Any]) -> list[str]:
    """The protocol card in short; the report holds all of it."""
    protocol = report["protocol"]
    data, given = protocol["data"], Definitions(**protocol["definitions"])
    sizes = ", ".join(f"{size} {name}" for name, size in data["sizes"].items())
    versions = ", ".join(f"{name} {version}" for name, version in protocol["versions"].items())
    lines = (
        f"{data['name']} {data['version']}: {sizes}; sha256 {data['sha256'][:12]}",
        f"ties: {given.ties}; queries without a relevant item: {given.empty}; MAP@{given.cut} over "
        f"{given.denominator}; {versions}",
    )
    return [line for text in lines for line in wrapped(text)]


def heads(report: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the main measures, as they head a table."""
    given = Definitions(**report["protocol"]["definitions"])
    return ("MAP", f"MAP@{given.cut}", f"NDCG@{given.cut}", f"P(r<={given.radius})")


def main_values(report: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of the main measures, to print."""
    cut = report["protocol"]["definitions"]["cut"]
    names = ("map", f"map_at_{cut}", f"ndcg_at_{cut}", "lookup_precision")
    return tuple(number(values[name]) for name in names)


def _heads(report: Mapping[str, Any]) -> str:
    return f"{'':34}" + _in_columns(heads(report))


def _cells(
    report: Mapping[str, Any], values: Mapping[str, Any], columns: Sequence[str] | None = None
) -> str:
    """The main values under the heads of the report's own table, or those of another's."""
    named = dict(zip(heads(report), main_values(report, values), strict=True))
    return _in_columns([named.get(head, "-") for head in columns or named])


def _in_columns(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, (8, 10, 10, 10), strict=True))


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def interval(values: Mapping[str, Any]) -> str:
    """The interval of MAP, to print below it."""
    low, high = values["map_interval"]
    return f"MAP from {low:.3f} to {high:.3f} over draws of the queries ({CONFIDENCE:.0%})"


def row_name(protocol: str) -> str:
    """A protocol or baseline as the name of a row."""
    return f"database {protocol}" if protocol in TRAINED else protocol
