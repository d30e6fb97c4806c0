"""Paired comparison of reports on the same queries: differences, intervals and p-values."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jxhash import metrics
from jxhash.errors import UserError
from jxhash.evaluation import report
from jxhash.evaluation.code_files import read_array
from jxhash.evaluation.measure import CONFIDENCE, Definitions, Found, average_precisions

# Beside report.json: the average precision of every query that counts.
QUERIES = "queries.npz"

_Kept = tuple[Mapping[str, Any], pathlib.Path]


def query_values(
    trained: Mapping[str, Mapping[str, Found]], definitions: Definitions
) -> dict[str, np.ndarray]:
    """The arrays of queries.npz: the average precisions of each task and protocol."""
    return {
        f"{task}, {protocol}": average_precisions(found, definitions)
        for protocol, by_task in trained.items()
        for task, found in by_task.items()
    }


def paired_table(reports: Sequence[Mapping[str, Any]], files: Sequence[pathlib.Path]) -> str:
    """Each report's MAP minus that of the first on the same queries, in at most 80 columns.

    The protocol cards must be equal. Empty if fewer than two files have a queries.npz beside them.

    Raises:
      UserError: a queries.npz is damaged or belongs to another report.
    """
    kept = [pair for pair in zip(reports, files, strict=True) if _beside(pair[1]).exists()]
    if len(kept) < 2:
        return ""
    one, *others = kept
    head = f"MAP minus that of {one[0]['title']}, query by query ({CONFIDENCE:.0%} interval)"
    lines = report.wrapped(head)
    for other in others:
        lines += [*report.wrapped(other[0]["title"], 2), *_rows(one, other)]
    return "\n".join(lines)


def _rows(one: _Kept, other: _Kept) -> Iterator[str]:
    for task, by_protocol in one[0]["results"].items():
        shared = by_protocol.keys() & other[0]["results"].get(task, {}).keys()
        for protocol in filter(shared.__contains__, report.TRAINED):
            values = [_values(*side, task, protocol) for side in (other, one)]
            (mean, low, high), p_value = metrics.paired_comparison(*values, confidence=CONFIDENCE)
            name = f"{task}, {report.row_name(protocol)}"
            yield f"    {name:38} {mean:+.3f}  {low:+.3f} to {high:+.3f}  p={p_value:.4f}"


def _values(made: Mapping[str, Any], file: pathlib.Path, task: str, protocol: str) -> np.ndarray:
    values = read_array(f"{_beside(file)}:{task}, {protocol}")
    expected = made["results"][task][protocol]["map"]
    fits = values.dtype.kind == "f" and values.ndim == 1 and values.size > 0
    if not fits or not np.isclose(values.mean(), expected, rtol=1e-9, atol=1e-12):
        raise UserError(f"{_beside(file)} is not that of {file}; remove it to skip the comparison")
    return values


def _beside(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(QUERIES)
