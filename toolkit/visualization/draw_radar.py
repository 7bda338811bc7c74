"""Polar plots of a score by tag or attribute."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolkit.visualization.draw_utils import (
    MARKER_STYLE,
    add_legend,
    line_style,
    new_figure,
    plain_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What plots call VOT's tags.
TAG_LABELS = {
    "all": "Overall",
    "camera_motion": "Camera motion",
    "illum_change": "Illumination change",
    "motion_change": "Motion change",
    "size_change": "Size change",
    "occlusion": "Occlusion",
    "empty": "Unassigned",
}

LEAST_AXES = 3  # a polygon needs as many


def draw_eao(result: Mapping[str, Mapping[str, float]], show: bool = True) -> "Figure":
    """Draw the expected average overlap by tag as a polar plot; see `draw_radar`.

    Args:
        result: EAO by tracker and tag, as `EAOBenchmark.eval` returns it.
        show: Open a window, as PySOT does. False leaves the figure to the caller.

    Raises:
        ValueError: If fewer than three tags have a score.
    """
    title = "Expected average overlap by tag"
    figure = draw_radar(result, title, TAG_LABELS, overall="all", window=show)
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return figure


def draw_radar(
    scores: Mapping[str, Mapping[str, float]],
    title: str,
    names: Mapping[str, str] | None = None,
    overall: str = "ALL",
    window: bool = False,
) -> "Figure":
    """Draw scores as one polygon per tracker, with an axis per tag or attribute.

    Each axis ends at its best tracker and says (lowest, highest) score. Tags that no tracker has a
    score for get no axis. The legend is sorted by the score ``overall``.

    Args:
        scores: By tracker and tag or attribute, higher is better; NaN where not defined.
        title: Of the plot.
        names: What to call tags; others are shown as they are.
        overall: Tag or attribute that stands for all frames or videos.
        window: Make a figure that ``matplotlib.pyplot.show()`` will display.

    Raises:
        ValueError: If fewer than three tags have a score.
    """
    tags = drawable(scores)
    if len(tags) < LEAST_AXES:
        raise ValueError(f"a polar plot needs scores of {LEAST_AXES} tags, there are {len(tags)}")
    values = np.array([[of.get(tag, np.nan) for tag in tags] for of in scores.values()])
    figure = new_figure(window, (7.6, 6.4))
    axes = figure.add_subplot(projection="polar")
    _set_axes(axes, tags, values, names or {})
    angles = _angles(len(tags))
    highest = np.nanmax(values, axis=0)
    scaled = values / np.where(highest > 0, highest, 1)
    for i in _order(scores, overall):
        name, row = list(scores)[i], scaled[i]
        style = {"marker": MARKER_STYLE[i % len(MARKER_STYLE)], "markersize": 4, **line_style(i)}
        label = f"[{scores[name].get(overall, np.nan):.3f}] {name}"
        axes.plot(np.append(angles, angles[0]), np.append(row, row[0]), label=label, **style)
    axes.set_title(plain_text(title), weight="bold", pad=44)
    add_legend(axes, "outside")
    return figure


def drawable(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Tags or attributes that some tracker has a score for, in the order given."""
    tags = dict.fromkeys(tag for of in scores.values() for tag in of)
    return [tag for tag in tags if any(np.isfinite(of.get(tag, np.nan)) for of in scores.values())]


def _angles(count: int) -> NDArray:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _order(scores: Mapping[str, Mapping[str, float]], overall: str) -> list[int]:
    """Positions of the trackers, best first."""
    values = [np.nan_to_num(of.get(overall, 0.0)) for of in scores.values()]
    return sorted(range(len(values)), key=lambda i: -values[i])


def _set_axes(axes: "Axes", tags: Sequence[str], values: NDArray, names: Mapping[str, str]) -> None:
    """Label the axes with tag and range, the first one at the top and the rest clockwise."""
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles = _angles(len(tags))
    ranges = zip(np.nanmin(values, axis=0), np.nanmax(values, axis=0), strict=True)
    for angle, tag, (low, high) in zip(angles, tags, ranges, strict=True):
        right, up = np.sin(angle), np.cos(angle)
        # the text begins where the axis ends, whatever its direction
        sides = {"ha": _side(right, "left", "right"), "va": _side(up, "bottom", "top")}
        text = plain_text(f"{names.get(tag, tag)}\n({low:.3f}, {high:.3f})")
        axes.text(angle, 1.09, text, fontsize=9, **sides)
    axes.set_xticks(angles, [""] * len(tags))
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], [""] * 4)
    axes.grid(color="0.85", linewidth=0.7)
    axes.spines["polar"].set_visible(False)


def _side(direction: float, positive: str, negative: str) -> str:
    if abs(direction) < 0.2:
        return "center"
    return positive if direction > 0 else negative
