"""The report of a run as one self-contained HTML page."""

import base64
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jinja2
import numpy as np

from jxhash.data.dataset import Items
from jxhash.evaluation import figures, report
from jxhash.evaluation.measure import Found
from jxhash.metrics import label_relevance

QUERIES = 8
RESULTS = 10
_QUERY_SEED = 7

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals |= {
    "TRAINED": report.TRAINED,
    "figures": figures,
    "heads": report.heads,
    "interval": report.interval,
    "json": json.dumps,
    "main_values": report.main_values,
    "row_name": report.row_name,
    "versions": report.versions,
}


def make_page(
    made: Mapping[str, Any], found: Mapping[str, Found], metrics_lines: Sequence[Mapping[str, Any]]
) -> bytes:
    """Renders a report as a page in UTF-8, which needs no other file and no network.

    Beside the numbers of `report.make_report` it shows the search results of some tasks and curves
    of the lines of metrics.jsonl; there may be none of either.
    """
    page = _TEMPLATES.get_template("report_page.html.jinja").render(
        report=made,
        searches={one.task.name: _searches(one) for one in found.values()},
        num_queries=QUERIES,
        num_results=RESULTS,
        metrics_lines=metrics_lines,
    )
    return page.encode()


def _searches(found: Found) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Random queries, each with its nearest items."""
    task = found.task
    rng = np.random.default_rng(_QUERY_SEED)
    count = min(QUERIES, len(task.query))
    chosen = np.sort(rng.choice(len(task.query), count, replace=False))
    relevance = label_relevance(task.query.labels, found.database.labels)(chosen)
    rows = zip(chosen, found.distances(chosen), np.asarray(relevance) > 0, strict=True)
    for query, distance, is_relevant in rows:
        nearest = np.argsort(distance, kind="stable")[:RESULTS]
        yield (
            _card(task.query, task.query_modality, query),
            [
                _card(found.database, task.database_modality, row)
                | {"distance": f"{distance[row]:.4g}", "relevant": shares}
                for row, shares in zip(nearest, is_relevant[nearest], strict=True)
            ],
        )


def _card(items: Items, modality: str, row: int) -> dict[str, Any]:
    pictures = items.pictures if modality == "image" else None
    return {
        "title": items.titles[row],
        "picture": None if pictures is None else _data_uri(pictures[row]),
    }


def _data_uri(picture: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"RIFF": "webp"}
    kind = kinds.get(picture[:4], "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
