"""Precision over recall of long-term evaluation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.visualization.draw_utils import (
    add_legend,
    line_style,
    line_width,
    new_figure,
    plain_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ISO_F1 = np.arange(1, 10) / 10
_GREEN = (0.55, 0.78, 0.55)


def draw_f1(
    result: Mapping[str, Mapping[str, Mapping[str, NDArray]]],
    bold_name: str | None = None,
    name: str = "VOT2018-LT",
    show: bool = True,
) -> "Figure":
    """Draw mean precision over mean recall, with lines of equal F1 and a mark at the best F1.

    Args:
        result: Curves by tracker, metric and video, as `F1Benchmark.eval` returns them.
        bold_name: Tracker whose line and legend entry are heavier. (PySOT calls it ``Ours``.)
        name: Name of the data set, for the title.
        show: Open a window, as PySOT does. False leaves the figure to the caller.
    """
    figure = new_figure(show, (6.4, 5.6))
    axes = figure.add_subplot()
    _draw_iso_lines(axes)
    lines = {tracker: _line(of) for tracker, of in result.items()}
    colors = {tracker: i for i, tracker in enumerate(result)}
    for tracker in sorted(lines, key=lambda of: lines[of].f1, reverse=True):
        line, style = lines[tracker], line_style(colors[tracker])
        width, label = line_width(tracker, bold_name), f"[{line.f1:.3f}] {tracker}"
        axes.plot(line.recall, line.precision, label=label, linewidth=width, **style)
        axes.plot(*line.best, marker="o", markersize=7, markeredgecolor="white", **style)
    axes.set_title(plain_text(f"{name} Precision vs Recall"), weight="bold")
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.03))
    axes.set_xticks(np.arange(0, 1.01, 0.1))
    axes.set_yticks(np.arange(0, 1.01, 0.1))
    add_legend(axes, "lower left", bold_name)
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return figure


class _Line(NamedTuple):
    recall: NDArray
    precision: NDArray
    best: tuple[float, float]
    f1: float


def _line(curves: Mapping[str, Mapping[str, NDArray]]) -> _Line:
    precision, recall = (
        np.mean(list(curves[metric].values()), axis=0) for metric in ("precision", "recall")
    )
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1))
    return _Line(recall, precision, (recall[best], precision[best]), float(f1[best]))


def _draw_iso_lines(axes: "Axes") -> None:
    """Green lines of equal F1, each with its value at the right edge."""
    for f1 in ISO_F1:
        recall = np.geomspace(f1 / (2 - f1), 1, 100)  # precision is 1 at the left end
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=_GREEN, linewidth=0.8, zorder=1)
        end = (1.005, f1 / (2 - f1))
        axes.annotate(
            f"{f1:.1f}", end, color=_GREEN, fontsize=8, va="center", annotation_clip=False
        )
