"""The report of a run as JSON, and the table that the terminal shows."""

import textwrap
from collections.abc import Mapping
from typing import Any

import jax

import jxhash
from jxhash.evaluation.measure import CUT, MEASURES, RADIUS, RELEVANCE

WIDTH = 80

PROTOCOLS = {
    "encoded": "database codes made by the trained networks from the database items",
    "learned": "database: the training rows, under the codes that training left for them",
    "untrained networks": "the same networks before the first step, database encoded",
    "random ranking": "the expectation over all orders of the database",
}


def make_report(
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    distance: str,
    results: Mapping[str, Mapping[str, Any]],
    bits: Mapping[str, Any],
) -> dict[str, Any]:
    """Puts together what report.json holds: the numbers, and the protocol that names them."""
    protocols = {protocol for by_protocol in results.values() for protocol in by_protocol}
    return {
        "protocol": {
            "data": dict(card),
            "measures": MEASURES,
            "relevance": RELEVANCE,
            "database": {name: text for name, text in PROTOCOLS.items() if name in protocols},
            "distance": distance,
            "seed": config["seed"],
            "versions": {"jxhash": jxhash.__version__, "jax": jax.__version__},
        },
        "config": dict(config),
        "results": results,
        "bits": bits,
    }


def table(report: Mapping[str, Any]) -> str:
    """The main numbers in at most 80 columns."""
    config, data = report["config"], report["protocol"]["data"]
    sizes = ", ".join(f"{size} {name}" for name, size in data["sizes"].items())
    lines = [
        f"{config['method'].upper()} on {data['name']}, {config['bits']} bits, "
        f"seed {config['seed']}",
        *_wrapped(f"{data['name']} {data['version']}: {sizes}; sha256 {data['sha256'][:12]}"),
        "",
        f"{'':34}{'MAP':>8}{f'MAP@{CUT}':>10}{f'NDCG@{CUT}':>10}{f'P(r<={RADIUS})':>10}",
    ]
    for task, by_protocol in report["results"].items():
        lines.append(task)
        for protocol, values in by_protocol.items():
            cells = (
                f"{values['map']:8.3f}",
                f"{values[f'map_at_{CUT}']:10.3f}",
                f"{values[f'ndcg_at_{CUT}']:10.3f}",
                f"{number(values['lookup_precision']):>10}",
            )
            lines.append(f"  {_row_name(protocol):32}{''.join(cells)}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def _row_name(protocol: str) -> str:
    return f"database {protocol}" if protocol in ("encoded", "learned") else protocol


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)
