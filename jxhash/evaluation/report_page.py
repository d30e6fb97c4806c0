"""The report of a run as one self-contained page."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jxhash.data.dataset import Items
from jxhash.evaluation import figures
from jxhash.evaluation.measure import Found, wasted_bits
from jxhash.evaluation.report import TRAINED, heads, interval, main_values, row_name

QUERIES = 8
RESULTS = 10
_QUERY_SEED = 7

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; margin: 0; background: #f6f8fa; }
main { max-width: 1000px; margin: 0 auto; padding: 24px 24px 64px; background: #fff; }
h1 { font-size: 1.7em; margin: 0 0 4px; } h2 { font-size: 1.2em; margin: 40px 0 8px; }
p, li { max-width: 76ch; } .quiet { color: #59636e; font-size: .9em; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid #d1d9e0; }
th:first-child, td:first-child { text-align: left; }
tr.task td { font-weight: 600; border-bottom: none; padding-top: 14px; }
tr.main td { background: #ddf4ff; }
svg { width: 100%; height: auto; }
.search { display: flex; gap: 8px; margin: 14px 0; }
.query { border-right: 2px solid #d1d9e0; padding-right: 8px; }
.results { display: flex; flex-wrap: wrap; gap: 6px; }
figure { margin: 0; width: 78px; font-size: 10px; line-height: 1.25; text-align: center; }
.card { width: 72px; height: 72px; margin: 0 auto; border: 3px solid #d1d9e0; border-radius: 6px;
  overflow: hidden; display: flex; align-items: center; justify-content: center; background: #fff;
  font-size: 11px; overflow-wrap: anywhere; position: relative; }
.card img { max-width: 100%; max-height: 100%; }
.right .card { border-color: #1a7f37; } .wrong .card { border-color: #cf222e; }
.right figcaption { color: #1a7f37; } .wrong figcaption { color: #cf222e; }
pre { background: #f6f8fa; padding: 12px; overflow: auto; font-size: 12px; }
details { margin: 8px 0; } .warning { color: #9a6700; }
"""


def make_page(
    report: Mapping[str, Any],
    found: Mapping[str, Found],
    metrics_lines: Sequence[Mapping[str, Any]],
) -> bytes:
    """Draws a report.

    Args:
      report: as `report.make_report` gives it.
      found: task name -> what the trained method found among encoded items, for the examples; may
        be empty.
      metrics_lines: the lines of metrics.jsonl; may be none.

    Returns:
      The page in UTF-8; it needs no other file and no network.
    """
    title = report["title"]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="quiet">{html.escape(_versions(report))}</p>',
        _results(report),
        _section("Precision and recall", figures.precision_recall(report["results"])),
        _section("Precision among the first N", figures.top_n(report["results"])),
        _examples(found) if found else "",
        _bits(report["bits"]) if report["bits"] else "",
        _section("Training", figures.training(metrics_lines)) if metrics_lines else "",
        _protocol(report),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<main>{''.join(parts)}</main></html>\n"
    ).encode()


def _versions(report: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {v}" for name, v in report["protocol"]["versions"].items())


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>{body}"


def _results(report: Mapping[str, Any]) -> str:
    titles = ("", *heads(report))
    rows = ["<tr>" + "".join(f"<th>{html.escape(title)}</th>" for title in titles) + "</tr>"]
    for task, by_protocol in report["results"].items():
        rows.append(f'<tr class="task"><td colspan="{len(titles)}">{html.escape(task)}</td></tr>')
        for protocol, values in by_protocol.items():
            cells = "".join(f"<td>{value}</td>" for value in main_values(report, values))
            main = "main" if protocol in TRAINED else ""
            rows.append(f'<tr class="{main}"><td>{row_name(protocol)}</td>{cells}</tr>')
            if protocol in TRAINED and values.get("map_interval"):
                text = f'<td class="quiet" colspan="{len(titles)}">{interval(values)}</td>'
                rows.append(f"<tr>{text}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _examples(found: Mapping[str, Found]) -> str:
    text = (
        f"<p>{QUERIES} queries drawn at random, each with its {RESULTS} nearest items; "
        "the distance below, right ones (a shared label) green with a tick, wrong ones "
        "red with a cross. Items at one distance stand in database order.</p>"
    )
    return _section("What is found", text + "".join(_task_examples(one) for one in found.values()))


def _task_examples(found: Found) -> str:
    task = found.task
    generator = np.random.default_rng(_QUERY_SEED)
    count = min(QUERIES, len(task.query))
    chosen = np.sort(generator.choice(len(task.query), count, replace=False))
    distances = found.distances(chosen)
    rows = [f"<h3>{html.escape(task.name)}</h3>"]
    for query, distance in zip(chosen, distances, strict=True):
        nearest = np.argsort(distance, kind="stable")[:RESULTS]
        shared = found.database.labels[nearest] @ task.query.labels[query].astype(int) > 0
        results = "".join(
            _figure(
                found.database,
                task.database_modality,
                row,
                "right" if relevant else "wrong",
                f"{distance[row]:.4g} {'&#10003;' if relevant else '&#10007;'}",
            )
            for row, relevant in zip(nearest, shared, strict=True)
        )
        asked = _figure(task.query, task.query_modality, query, "", "query")
        rows.append(
            f'<div class="search"><div class="query">{asked}</div>'
            f'<div class="results">{results}</div></div>'
        )
    return "".join(rows)


def _figure(items: Items, modality: str, row: int, mark: str, caption: str) -> str:
    title = html.escape(items.titles[row])
    if modality == "image" and items.pictures is not None:
        body = f'<img alt="{title}" src="{_data_address(items.pictures[row])}">'
    else:
        body = title
    return (
        f'<figure class="{mark}" title="{title}"><div class="card">{body}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _data_address(picture: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"RIFF": "webp"}
    kind = kinds.get(picture[:4], "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _bits(statistics: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{modality}</td><td>{values['items']}</td><td>{values['distinct']}</td>"
        f"<td>{values['constant']}</td><td>{np.abs(values['mean']).mean():.3f}</td>"
        f"<td>{values['correlation']:.3f}</td></tr>"
        for modality, values in statistics.items()
    )
    table = (
        "<table><tr><th>database codes</th><th>items</th><th>different codes</th>"
        "<th>bits that never change</th><th>mean |mean of a bit|</th>"
        f"<th>mean |correlation|</th></tr>{rows}</table>"
    )
    warnings = "".join(
        f'<p class="warning">{html.escape(line)}.</p>' for line in wasted_bits(statistics)
    )
    return _section("Bits", warnings + table + figures.bits(statistics))


def _protocol(report: Mapping[str, Any]) -> str:
    protocol = report["protocol"]
    lines = [f"<li>{html.escape(protocol[name])}</li>" for name in ("relevance", "distance")]
    lines += [f"<li><b>{n}</b>: {html.escape(t)}</li>" for n, t in protocol["database"].items()]
    lines += [f"<li><b>{n}</b>: {html.escape(t)}</li>" for n, t in protocol["measures"].items()]
    card = _pretty(protocol["data"])
    body = f"<ul>{''.join(lines)}</ul><h3>Data card</h3><pre>{card}</pre>"
    if report["config"]:
        body += f"<h3>Config</h3><pre>{_pretty(report['config'])}</pre>"
    return _section("Protocol", body)


def _pretty(values: Mapping[str, Any]) -> str:
    return html.escape(json.dumps(values, indent=2))
