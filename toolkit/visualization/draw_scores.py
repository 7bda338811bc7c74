"""Plots that PySOT has not: curves, ranks, accuracy over robustness, bars.

Each takes plain numbers by tracker and returns a figure that belongs to the caller; see
`toolkit.visualization.save_figure`. Trackers keep their colour over the figures of one call order.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolkit.visualization.draw_utils import (
    COLOR,
    MARKER_STYLE,
    add_legend,
    line_style,
    new_figure,
    plain_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

XY = tuple[NDArray, NDArray]  # (P,) positions and (P,) values

SENSITIVITY = 30  # frames, the S of the robustness axis of VOT's reports


def draw_curves(
    curves: Mapping[str, XY],
    scores: Mapping[str, float],
    title: str,
    labels: tuple[str, str],
    location: str = "upper right",
) -> "Figure":
    """Draw one line per tracker; the legend is sorted by score.

    Args:
        curves: Positions and values by tracker; pairs that are not finite leave a gap.
        scores: Number by tracker that stands in the legend, higher is better.
        title: Of the plot.
        labels: Of the x and the y axis.
        location: Corner of the legend.
    """
    figure = new_figure(False)
    axes = figure.add_subplot()
    colors = {tracker: i for i, tracker in enumerate(curves)}
    for tracker in _best_first(scores):
        x, y = curves[tracker]
        x = np.where(np.isfinite(x), x, np.nan)
        label = f"[{scores[tracker]:.3f}] {tracker}"
        axes.plot(x, y, label=label, linewidth=1.8, **line_style(colors[tracker]))
    axes.set_title(plain_text(title), weight="bold")
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.grid(color="0.85", linewidth=0.7)
    add_legend(axes, location)
    return figure


def draw_expected_overlap(
    curves: Mapping[str, XY], eao: Mapping[str, float], window: tuple[int, int], name: str
) -> "Figure":
    """Draw the expected overlap by sequence length; the lengths that EAO averages are shaded.

    Args:
        curves: Lengths in frames and expected overlaps by tracker.
        eao: Expected average overlap by tracker.
        window: First and last length that it averages.
        name: Name of the data set, for the title.
    """
    labels = ("Sequence length [frames]", "Expected overlap")
    figure = draw_curves(curves, eao, f"Expected overlap on {name}", labels)
    axes = figure.axes[0]
    axes.axvspan(*window, color="0.9", zorder=0)
    for x in window:
        axes.axvline(x, color="0.5", linewidth=0.8, zorder=0)
    # beyond twice the window few videos are left, and curves say little
    longest = max((x[-1] for x, _ in curves.values()), default=window[1])
    axes.set_xlim(1, min(longest, 2 * window[1]))
    axes.set_ylim(0, 1)
    middle = (sum(window) / 2, 0.985)
    text = f"EAO: {window[0]} to {window[1]}"
    axes.annotate(text, middle, ha="center", va="top", fontsize=8, color="0.35")
    return figure


def draw_rank(
    scores: Mapping[str, float],
    title: str,
    label: str,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> "Figure":
    """Draw scores over ranks, the best at the right.

    Args:
        scores: By tracker, higher is better; a tracker whose score is NaN is left out.
        title: Of the plot.
        label: What the score is.
        intervals: Bounds of the 95 % interval by tracker, drawn as error bars.
    """
    figure = new_figure(False)
    axes = figure.add_subplot()
    positions = {tracker: i for i, tracker in enumerate(scores)}
    ranked = [tracker for tracker in _best_first(scores) if np.isfinite(scores[tracker])]
    for rank, tracker in enumerate(ranked, start=1):
        value, style = scores[tracker], _marker(positions[tracker])
        axes.plot(rank, value, label=f"[{value:.3f}] {tracker}", **style)
        if intervals and np.isfinite(intervals.get(tracker, (np.nan,))).all():
            axes.vlines(rank, *intervals[tracker], color=style["color"], linewidth=1.2)
    axes.set_title(plain_text(title), weight="bold")
    axes.set(xlabel="Rank", ylabel=label, xlim=(len(ranked) + 0.6, 0.4))
    axes.set_xticks(_whole_ticks(len(ranked)))
    axes.margins(y=0.15)
    axes.grid(color="0.85", linewidth=0.7)
    add_legend(axes, "outside")
    return figure


def draw_accuracy_robustness(
    scores: Mapping[str, tuple[float, float]], name: str, sensitivity: float | None = SENSITIVITY
) -> "Figure":
    """Draw accuracy over robustness, the best at the upper right.

    Args:
        scores: Accuracy, and failures per 100 frames, by tracker.
        name: Name of the data set, for the title.
        sensitivity: Robustness is shown as the probability exp(-S * failures / frames) that a
            tracker does not fail within S frames, as in VOT's reports. None shows failures per
            100 frames, on an axis that runs backwards.
    """
    figure = new_figure(False)
    axes = figure.add_subplot()
    positions = {tracker: i for i, tracker in enumerate(scores)}
    for tracker in _best_first({tracker: of[0] for tracker, of in scores.items()}):
        accuracy, failures = scores[tracker]
        x = failures if sensitivity is None else np.exp(-sensitivity * failures / 100)
        label = f"[{accuracy:.3f}, {failures:.3f}] {tracker}"
        axes.plot(x, accuracy, label=label, **_marker(positions[tracker]))
    axes.set_title(plain_text(f"Accuracy and robustness on {name}"), weight="bold")
    axes.margins(0.12)
    if sensitivity is None:
        axes.set_xlabel("Robustness: failures per 100 frames")
        axes.invert_xaxis()
    else:
        axes.set_xlabel(f"Robustness: exp(-S · failures / frames), S = {sensitivity:g}")
    axes.set_ylabel("Accuracy: mean overlap")
    axes.grid(color="0.85", linewidth=0.7)
    add_legend(axes, "outside")
    return figure


def draw_bars(
    scores: Mapping[str, Mapping[str, float]], title: str, names: Mapping[str, str]
) -> "Figure":
    """Draw several scores per tracker as horizontal bars, the best tracker at the top.

    Args:
        scores: By tracker and metric, from 0; the first of ``names`` ranks the trackers.
        title: Of the plot.
        names: Metrics to draw and what the legend calls them.
    """
    figure = new_figure(False, (6.8, 1.6 + 0.2 * (len(names) + 0.7) * len(scores)))
    axes = figure.add_subplot()
    ranked = _best_first({tracker: of[next(iter(names))] for tracker, of in scores.items()})
    height = 0.82 / len(names)
    for i, (metric, name) in enumerate(names.items()):
        places = np.arange(len(ranked)) + (i - (len(names) - 1) / 2) * height
        values = [scores[tracker][metric] for tracker in ranked]
        bars = axes.barh(places, values, height, label=name, color=COLOR[(1, 4, 2, 3)[i % 4]])
        axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=7)
    axes.set_yticks(np.arange(len(ranked)), map(plain_text, ranked))
    axes.invert_yaxis()
    axes.set_title(plain_text(title), weight="bold")
    if all(scores[tracker][metric] <= 1 for tracker in ranked for metric in names):
        axes.set_xlim(0, 1.08)
        axes.set_xticks(np.arange(0, 1.01, 0.1))
    axes.grid(axis="x", color="0.85", linewidth=0.7)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(names), fontsize=9, frameon=False)
    return figure


def _best_first(scores: Mapping[str, float]) -> list[str]:
    return sorted(scores, key=lambda tracker: -np.nan_to_num(scores[tracker], nan=-1.0))


def _marker(index: int) -> dict[str, object]:
    """Style of the n-th tracker's mark."""
    marker = MARKER_STYLE[index % len(MARKER_STYLE)]
    style = {"color": COLOR[index % len(COLOR)], "linestyle": "none"}
    return {"marker": marker, "markersize": 9, **style}


def _whole_ticks(last: int) -> list[int]:
    """Ranks to label, at most about a dozen."""
    step = max(1, -(-last // 12))
    return list(range(1, last + 1, step))
