"""The figures of a report, as SVG that depends on the numbers alone."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jxhash.evaluation.measure import ENCODED, GIVEN, LEARNED, RANDOM, UNTRAINED

COLOURS = {
    ENCODED: "#1f6feb",
    LEARNED: "#8250df",
    GIVEN: "#1f6feb",
    UNTRAINED: "#bf8700",
    RANDOM: "#8c959f",
}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "jxhash",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def as_svg(figure: Figure) -> str:
    """Renders a figure as an <svg> element and closes it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _panels(
    titles: Iterable[str], columns: int, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    titles = list(titles)
    rows = -(-len(titles) // columns)
    size = 9, height * rows
    figure, axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained", **options
    )
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title)
    for axis in axes.flat[len(titles) :]:
        axis.set_axis_off()
    return figure, list(axes.flat)


def _curves(
    results: Mapping[str, Any],
    points: Callable[[Mapping[str, Any]], list[tuple[float, float]]],
    ylabel: str,
    **options: Any,
) -> str:
    """One curve per protocol, one panel per direction."""
    with plt.rc_context(STYLE):
        figure, axes = _panels(results, min(2, len(results)), 3.2, sharey=True)
        for axis, by_protocol in zip(axes, results.values(), strict=True):
            for protocol, values in by_protocol.items():
                x, y = zip(*points(values), strict=True) if points(values) else ((), ())
                marker = "o" if len(x) < 3 else "."
                axis.plot(x, y, marker, ls="-", color=COLOURS[protocol], label=protocol)
            axis.set(ylim=(0, 1.02), **options)
        axes[0].set_ylabel(ylabel)
        axes[-1].legend()
        return as_svg(figure)


def precision_recall(results: Mapping[str, Any]) -> str:
    """Precision against recall, one point per Hamming radius, one panel per direction."""
    return _curves(results, _radii_with_items, "precision", xlabel="recall", xlim=(0, 1.02))


def _radii_with_items(values: Mapping[str, Any]) -> list[tuple[float, float]]:
    # Precision is undefined within a radius that holds no item.
    curve = values["precision_recall"]
    return [(r, p) for r, p in zip(curve["recall"], curve["precision"], strict=True) if r > 0]


def top_n(results: Mapping[str, Any]) -> str:
    """Precision of the first N, one panel per direction."""
    points = partial(_first_items, measure="precision_at")
    return _curves(results, points, "precision of the first N", xlabel="N", xscale="log")


def recall_at(results: Mapping[str, Any]) -> str:
    """How many queries find a relevant item among the first N, one panel per direction."""
    points = partial(_first_items, measure="hit_rate_at")
    return _curves(results, points, "Recall@N", xlabel="N", xscale="log")


def _first_items(values: Mapping[str, Any], measure: str) -> list[tuple[float, float]]:
    return [(int(n), value) for n, value in values[measure].items()]


def training(lines: Iterable[Mapping[str, Any]]) -> str:
    """Every metric of every update over the epochs, one panel per metric."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    first: dict[str, int] = {}
    last = 0
    for line in lines:
        # The epochs of a stage continue those of the stage before.
        begin = first.setdefault(line["stage"], last)
        last = begin + line["epoch"]
        for name, value in line.items():
            if name in ("place", "stage", "epoch", "update"):
                continue
            panel = "validation MAP" if line["update"] == "validation" else name
            label = name if line["update"] == "validation" else line["update"]
            curves[panel][label].append((last, value))
    if not curves:
        return ""
    with plt.rc_context(STYLE):
        figure, axes = _panels(curves, min(3, len(curves)), 2.6)
        for axis, by_label in zip(axes, curves.values(), strict=False):
            for label, points in by_label.items():
                axis.plot(*zip(*points, strict=True), label=label)
            axis.set_xlabel("epoch")
            axis.legend()
        return as_svg(figure)


def bits(statistics: Mapping[str, Any]) -> str:
    """The mean of every bit over the database, one panel per modality; 0 is balanced."""
    with plt.rc_context(STYLE):
        titles = [f"{modality} codes" for modality in statistics]
        figure, axes = _panels(titles, len(titles), 2.2, sharey=True)
        for axis, values in zip(axes, statistics.values(), strict=True):
            mean = values["mean"]
            axis.bar(range(1, len(mean) + 1), mean, color=COLOURS[ENCODED])
            axis.set(xlabel="bit", ylim=(-1.05, 1.05))
        axes[0].set_ylabel("mean of the bit")
        return as_svg(figure)
