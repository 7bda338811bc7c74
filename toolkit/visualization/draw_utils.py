"""Colours and styles of plots, and the door to matplotlib."""

import os
from typing import TYPE_CHECKING

import numpy as np

from toolkit.io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# RGB in [0, 1]; the first seven stay apart for colour-blind readers (Okabe and Ito).
COLOR = (
    (0.835, 0.369, 0.000),
    (0.000, 0.447, 0.698),
    (0.000, 0.620, 0.451),
    (0.800, 0.475, 0.655),
    (0.902, 0.624, 0.000),
    (0.337, 0.706, 0.914),
    (0.250, 0.250, 0.250),
    (0.550, 0.340, 0.290),
    (0.440, 0.280, 0.690),
    (0.500, 0.560, 0.050),
    (0.760, 0.090, 0.200),
)
LINE_STYLE = ("-", "--", ":", "-", "--", ":", "-", "--", ":", "-")
LEGEND_ROWS = 24
MARKER_STYLE = ("o", "v", "<", "*", "D", "X", "P", "s", "^", "p")


def line_style(index: int) -> dict[str, object]:
    """Colour and dashes of the n-th line; both repeat, out of step with each other."""
    return {"color": COLOR[index % len(COLOR)], "linestyle": LINE_STYLE[index % len(LINE_STYLE)]}


def line_width(name: str, bold_name: str | None) -> float:
    """Width in points of a tracker's line; that of ``bold_name`` is heavier."""
    return 3.2 if name == bold_name else 1.8


def plain_text(text: str) -> str:
    """Text that matplotlib shows as it is, dollars included."""
    return text.replace("$", r"\$")


def add_legend(axes: "Axes", location: str, bold_name: str | None = None) -> None:
    """Add a legend of entries ``[score] name``: in a corner, or beside the axes to hide no line.

    Args:
        axes: Their labelled lines and markers make the entries.
        location: Corner for a legend inside, as matplotlib names it; ``"outside"`` for one beside.
        bold_name: Tracker whose entry is bold.
    """
    handles, labels = axes.get_legend_handles_labels()
    if location != "outside" and not _covers(axes, location, labels):
        legend = axes.legend(handles, labels, loc=location, fontsize=9, framealpha=0.9)
    else:
        legend = _legend_beside(axes, handles, labels)
    for text in legend.get_texts():
        text.set_parse_math(False)
        if bold_name and text.get_text().endswith(f"] {bold_name}"):
            text.set_weight("bold")


def _covers(axes: "Axes", location: str, labels: list[str]) -> bool:
    """Whether a legend in a corner would hide a part of a line, by the size it will about have."""
    width = 0.14 + 0.0155 * max(map(len, labels), default=0)
    height = 0.04 + 0.053 * len(labels)
    to_axes = (axes.transData - axes.transAxes).transform
    for line in axes.get_lines():
        points = np.asarray(line.get_xydata(), np.float64)
        x, y = to_axes(points[np.isfinite(points).all(axis=1)]).T
        x = 1 - x if "right" in location else x
        y = 1 - y if "upper" in location else y
        if np.any((x < width) & (y < height)):
            return True
    return False


def _legend_beside(axes: "Axes", handles: list, labels: list[str]) -> "Legend":
    """Widen the figure by as much as the legend needs, so that the axes keep their size."""
    figure, columns = axes.figure, -(-len(labels) // LEGEND_ROWS)
    width, height = figure.get_size_inches()
    longest = max(map(len, labels), default=0)
    figure.set_size_inches(width + columns * (0.5 + 0.085 * longest), height)
    place = "outside right upper"
    return figure.legend(handles, labels, loc=place, ncols=columns, fontsize=9, frameon=False)


def bgr_color(index: int) -> tuple[int, int, int]:
    """Colour of the n-th tracker for OpenCV."""
    red, green, blue = COLOR[index % len(COLOR)]
    return round(255 * blue), round(255 * green), round(255 * red)


def new_figure(window: bool, size: tuple[float, float] = (6.4, 4.8)) -> "Figure":
    """Make an empty figure of ``size`` inches.

    Args:
        window: Make one that ``matplotlib.pyplot.show()`` will display. Otherwise it belongs to
            the caller alone: nothing to close, no display needed.
        size: Width and height in inches.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install 'pysot[plot]'", name=error.name
        ) from error
    if not window:
        return Figure(figsize=size, layout="constrained")
    from matplotlib import pyplot

    return pyplot.figure(figsize=size, layout="constrained")


def save_figure(figure: "Figure", path: str | os.PathLike, dpi: int = 150) -> None:
    """Write a figure in the format its suffix names (png, pdf, svg), whole or not at all.

    Raises:
        ValueError: If matplotlib does not know the format.
        OSError: If the file cannot be written.
    """
    with atomic_path(path) as temporary:
        # polar labels stick out of what the layout reserves for them
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight", pad_inches=0.08)
