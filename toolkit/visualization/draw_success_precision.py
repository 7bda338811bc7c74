"""Success and precision plots of one-pass evaluation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.metrics import CURVES, score_of_curve
from toolkit.visualization.draw_utils import (
    add_legend,
    line_style,
    line_width,
    new_figure,
    plain_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_success_precision(
    success_ret: Mapping[str, Mapping[str, NDArray]],
    name: str,
    videos: Sequence[str],
    attr: str,
    precision_ret: Mapping[str, Mapping[str, NDArray]] | None = None,
    norm_precision_ret: Mapping[str, Mapping[str, NDArray]] | None = None,
    bold_name: str | None = None,
    axis: Sequence[float] = (0, 1),
    show: bool = True,
) -> dict[str, "Figure"]:
    """Draw one figure per metric given; the legend is sorted by score.

    Args:
        success_ret: Curves by tracker and video, as `OPEBenchmark.eval_success` returns them.
        name: Name of the data set, for the title.
        videos: Videos to average over; those a tracker was not scored on are left out.
        attr: Attribute these videos share, for the title; ``"ALL"`` for all videos.
        precision_ret: As ``success_ret``.
        norm_precision_ret: As ``success_ret``.
        bold_name: Tracker whose line and legend entry are heavier.
        axis: Lower and upper limit of the y axis.
        show: Open windows, as PySOT does. False leaves the figures to the caller, see
            `toolkit.visualization.save_figure`.

    Returns:
        Figures by metric: ``success``, ``precision``, ``norm_precision``.

    Raises:
        ValueError: If a tracker has no score on any of the videos.
    """
    given = {
        "success": success_ret,
        "precision": precision_ret,
        "norm_precision": norm_precision_ret,
    }
    # Trackers keep their colour over all figures, whatever their rank in each.
    colors = {tracker: i for i, tracker in enumerate(success_ret)}
    subject = f"of OPE on {name}" if attr == "ALL" else f"of OPE - {attr}"
    figures = {}
    for metric, scores in given.items():
        if scores is not None:
            means = {tracker: _mean(tracker, scores[tracker], videos) for tracker in scores}
            figures[metric] = _draw(metric, means, subject, colors, bold_name, axis, show)
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return figures


def _mean(tracker: str, scores: Mapping[str, NDArray], videos: Sequence[str]) -> NDArray:
    curves = [scores[video] for video in videos if video in scores]
    if not curves:
        raise ValueError(f"{tracker} has no score on any of the {len(videos)} videos to draw")
    return np.mean(curves, axis=0)


def _draw(
    metric: str,
    means: Mapping[str, NDArray],
    subject: str,
    colors: Mapping[str, int],
    bold_name: str | None,
    axis: Sequence[float],
    window: bool,
) -> "Figure":
    curve, figure = CURVES[metric], new_figure(window)
    axes = figure.add_subplot()
    scores = {tracker: score_of_curve(metric, mean) for tracker, mean in means.items()}
    for tracker in sorted(means, key=lambda name: scores[name], reverse=True):
        label = f"[{scores[tracker]:.3f}] {tracker}"
        style = {"linewidth": line_width(tracker, bold_name), **line_style(colors.get(tracker, 0))}
        axes.plot(curve.thresholds, means[tracker], label=label, **style)
    axes.set_title(plain_text(f"{curve.title.title()} plots {subject}"), weight="bold")
    unit = f" [{curve.unit}]" if curve.unit else ""
    axes.set(xlabel=curve.x + unit, ylabel=curve.y)
    first, last = curve.thresholds[[0, -1]]
    axes.set_xlim(first, last)
    axes.set_ylim(axis[0], axis[1] + 0.03)
    axes.set_xticks(np.linspace(first, last, 11))
    axes.set_yticks(np.arange(axis[0], axis[1] + 1e-9, 0.1))
    axes.grid(color="0.85", linewidth=0.7)
    add_legend(axes, curve.corner, bold_name)
    return figure
