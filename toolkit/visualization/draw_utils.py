"""Colours and styles of plots, and the door to matplotlib."""

import os
from typing import TYPE_CHECKING

from toolkit.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
MARKER_STYLE = ("o", "v", "<", "*", "D", "x", ".", "s", "^", "p")


def line_style(index: int) -> dict[str, object]:
    """Colour and dashes of the n-th line; both repeat, out of step with each other."""
    return {"color": COLOR[index % len(COLOR)], "linestyle": LINE_STYLE[index % len(LINE_STYLE)]}


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
        figure.savefig(temporary, dpi=dpi)
