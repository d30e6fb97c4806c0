"""The figures of a report, as SVG that is the same for the same numbers."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

COLOURS = {
    "encoded": "#1f6feb",
    "learned": "#8250df",
    "given": "#1f6feb",
    "untrained networks": "#bf8700",
    "random ranking": "#8c959f",
}
STYLE = {
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


def as_svg(figure: plt.Figure) -> str:
    """The figure as SVG to put into a page; the figure is closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _per_task(results: Mapping[str, Any], height: float = 3.2) -> tuple[plt.Figure, list]:
    figure, axes = plt.subplots(
        1, len(results), figsize=(9, height), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, task in zip(axes[0], results, strict=True):
        axis.set_title(task)
    return figure, list(axes[0])


def precision_recall(results: Mapping[str, Any]) -> str:
    """Precision against recall, one point a Hamming radius, one panel a direction."""
    with plt.rc_context(STYLE):
        figure, axes = _per_task(results)
        for axis, by_protocol in zip(axes, results.values(), strict=True):
            for protocol, values in by_protocol.items():
                curve = values["precision_recall"]
                # Radii that find nothing have no precision to draw.
                points = [
                    (r, p)
                    for r, p in zip(curve["recall"], curve["precision"], strict=True)
                    if r > 0
                ]
                recall, precision = zip(*points, strict=True) if points else ((), ())
                marker = "o" if len(points) < 3 else "."
                axis.plot(
                    recall, precision, marker, ls="-", color=COLOURS[protocol], label=protocol
                )
            axis.set(xlabel="recall", xlim=(0, 1.02), ylim=(0, 1.02))
        axes[0].set_ylabel("precision")
        axes[-1].legend()
        return as_svg(figure)


def top_n(results: Mapping[str, Any]) -> str:
    """Precision among the first N, one panel a direction."""
    with plt.rc_context(STYLE):
        figure, axes = _per_task(results)
        for axis, by_protocol in zip(axes, results.values(), strict=True):
            for protocol, values in by_protocol.items():
                curve = {int(n): p for n, p in values["precision_at"].items()}
                axis.plot(
                    curve.keys(), curve.values(), ".-", color=COLOURS[protocol], label=protocol
                )
            axis.set(xlabel="N", xscale="log", ylim=(0, 1.02))
        axes[0].set_ylabel("precision among the first N")
        axes[-1].legend()
        return as_svg(figure)


def training(lines: Iterable[Mapping[str, Any]]) -> str:
    """Every metric of every update over the epochs, one panel a metric."""
    curves: dict[str, dict[str, list]] = {}
    first: dict[str, int] = {}
    last = 0
    for line in lines:
        # A stage's epochs go on where those of the stage before ended.
        begin = first.setdefault(line["stage"], last)
        last = begin + line["epoch"]
        for name, value in line.items():
            if name in ("place", "stage", "epoch", "update"):
                continue
            panel = "validation MAP" if line["update"] == "validation" else name
            label = name if line["update"] == "validation" else line["update"]
            points = curves.setdefault(panel, {}).setdefault(label, [])
            points.append((last, value))
    return _panels(curves)


def _panels(curves: Mapping[str, Mapping[str, list]]) -> str:
    if not curves:
        return ""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(9, 2.6 * rows), squeeze=False, layout="constrained"
        )
        for axis in axes.flat[len(curves) :]:
            axis.set_axis_off()
        for axis, (panel, by_label) in zip(axes.flat, curves.items(), strict=False):
            for label, points in by_label.items():
                axis.plot(*zip(*points, strict=True), label=label)
            axis.set(title=panel, xlabel="epoch")
            axis.legend()
        return as_svg(figure)


def bits(statistics: Mapping[str, Any]) -> str:
    """The mean of every bit over the database, one panel a modality; 0 is balanced."""
    with plt.rc_context(STYLE):
        figure, axes = _per_task(statistics, height=2.2)
        for axis, (modality, values) in zip(axes, statistics.items(), strict=True):
            mean = values["mean"]
            axis.bar(range(1, len(mean) + 1), mean, color=COLOURS["encoded"])
            axis.set(title=f"{modality} codes", xlabel="bit", ylim=(-1.05, 1.05))
        axes[0].set_ylabel("mean of the bit")
        return as_svg(figure)
