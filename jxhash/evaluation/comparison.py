"""Two reports on the same queries: by how much they differ, and whether by more than chance."""

import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jxhash import metrics
from jxhash.errors import UserError
from jxhash.evaluation import report
from jxhash.evaluation.code_files import read_array
from jxhash.evaluation.measure import CONFIDENCE, Definitions, Found, average_precisions

# Stands beside report.json: the average precision of every query that counts.
QUERIES = "queries.npz"


def to_npz(trained: Mapping[str, Mapping[str, Found]], definitions: Definitions) -> bytes:
    """The average precisions of each protocol and task, as a file beside the report keeps them."""
    buffer = io.BytesIO()
    values = {
        _name(task, protocol): average_precisions(found, definitions)
        for protocol, by_task in trained.items()
        for task, found in by_task.items()
    }
    np.savez(buffer, **values)
    return buffer.getvalue()


def paired_table(reports: Sequence[Mapping[str, Any]], files: Sequence[pathlib.Path]) -> str:
    """Each report's MAP minus that of the first on the same queries, in at most 80 columns.

    Args:
      reports: as `report.make_report` gives them, of one protocol card.
      files: where they lie.

    Returns:
      An empty text where fewer than two of them keep the values of their queries.

    Raises:
      UserError: a file of values is damaged or belongs to another report.
    """
    kept = [pair for pair in zip(reports, files, strict=True) if _beside(pair[1]).exists()]
    if len(kept) < 2:
        return ""
    head = f"MAP minus that of {kept[0][0]['title']}, query by query ({CONFIDENCE:.0%} interval)"
    lines = report.wrapped(head)
    for other in kept[1:]:
        lines += report.wrapped(other[0]["title"], 2)
        lines += list(_rows(kept[0], other))
    return "\n".join(lines)


def _rows(
    one: tuple[Mapping[str, Any], pathlib.Path], other: tuple[Mapping[str, Any], pathlib.Path]
) -> Iterator[str]:
    for task, by_protocol in one[0]["results"].items():
        for protocol in report.TRAINED:
            if protocol not in by_protocol or protocol not in other[0]["results"].get(task, {}):
                continue
            values = [_values(*side, task, protocol) for side in (other, one)]
            (mean, low, high), p_value = metrics.paired_comparison(*values, confidence=CONFIDENCE)
            name = f"{task}, {report.row_name(protocol)}"
            yield f"    {name:38} {mean:+.3f}  {low:+.3f} to {high:+.3f}  p={p_value:.4f}"


def _values(made: Mapping[str, Any], file: pathlib.Path, task: str, protocol: str) -> np.ndarray:
    values = read_array(f"{_beside(file)}:{_name(task, protocol)}")
    expected = made["results"][task][protocol]["map"]
    fits = values.dtype.kind == "f" and values.ndim == 1 and values.size > 0
    if not fits or not np.isclose(values.mean(), expected, rtol=1e-9, atol=1e-12):
        raise UserError(f"{_beside(file)} is not that of {file}; remove it to do without")
    return values


def _beside(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(QUERIES)


def _name(task: str, protocol: str) -> str:
    return f"{task}, {protocol}"
