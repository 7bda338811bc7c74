"""Plots of scores, and the colors and styles of all of them; matplotlib is loaded when drawing.

A tracker has the same color in all figures that are given the trackers in one order, whatever its
rank in each. Figures belong to the caller, see `save_figure`; those of PySOT open windows unless
``show`` is false.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.metrics import CURVES, f1_of, score_of_curve
from toolkit.io.files import write_bytes
from toolkit.io.names import printable
from toolkit.io.packages import load_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

logger = logging.getLogger(__name__)

XY = tuple[NDArray, NDArray]  # (P,) positions and (P,) values
Curves = Mapping[str, Mapping[str, NDArray]]  # by tracker and video

# RGB in [0, 1]; the first seven stay apart for color-blind readers (Okabe and Ito).
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
MARKER_STYLE = ("o", "v", "<", "*", "D", "X", "P", "s", "^", "p")
LEGEND_ROWS = 24  # of a legend beside the axes
_CORNERS = ("lower right", "upper right", "upper left", "lower left")
LEGEND_INSIDE, LEGEND_WIDTH = 10, 40  # entries, and characters of one, of a legend within them
LEAST_AXES = 3  # of a polar plot: a polygon needs as many
SENSITIVITY = 30  # frames, the S of the robustness axis of VOT's reports

_GREEN = (0.55, 0.78, 0.55)
_GRID = {"color": "0.85", "linewidth": 0.7}
#: What plots call VOT's tags.
_TAG_LABELS = {
    "all": "Overall",
    "camera_motion": "Camera motion",
    "illum_change": "Illumination change",
    "motion_change": "Motion change",
    "size_change": "Size change",
    "occlusion": "Occlusion",
    "empty": "Unassigned",
}


def draw_success_precision(
    success_ret: Curves,
    name: str,
    videos: Sequence[str],
    attr: str,
    precision_ret: Curves | None = None,
    norm_precision_ret: Curves | None = None,
    bold_name: str | None = None,
    axis: Sequence[float] = (0, 1),
    show: bool = True,
) -> dict[str, "Figure"]:
    """Draw one figure per metric given, and return them by metric; see `OPEBenchmark`.

    Args:
        success_ret: Curves by tracker and video.
        name: Name of the data set.
        videos: Videos to average over; those a tracker was not scored on are left out.
        attr: Attribute these videos share; ``"ALL"`` for all videos.
        precision_ret: As ``success_ret``.
        norm_precision_ret: As ``success_ret``.
        bold_name: Tracker whose line and legend entry are heavier.
        axis: Lower and upper limit of the y axis.
        show: Open windows, as PySOT does.

    Raises:
        ValueError: If a tracker has no score on any of the videos.
    """
    names = ("success", "precision", "norm_precision")
    given = dict(zip(names, (success_ret, precision_ret, norm_precision_ret), strict=True))
    colors = {tracker: i for i, tracker in enumerate(success_ret)}
    subject = f"of OPE on {name}" if attr == "ALL" else f"of OPE - {attr}"
    figures = {}
    for metric, curves in given.items():
        if curves is not None:
            means = {tracker: _mean(tracker, curves[tracker], videos) for tracker in curves}
            figures[metric] = new_figure(show)
            axes = figures[metric].add_subplot()
            _draw_means(axes, metric, means, colors, bold_name)
            _finish_means(axes, metric, subject, axis, bold_name)
    _show(show)
    return figures


def _mean(tracker: str, scores: Mapping[str, NDArray], videos: Sequence[str]) -> NDArray:
    curves = [scores[video] for video in videos if video in scores]
    if not curves:
        raise ValueError(f"{tracker} has no score on any of the {len(videos)} videos to draw")
    return np.mean(curves, axis=0)


def _draw_means(
    axes: "Axes",
    metric: str,
    means: Mapping[str, NDArray],
    colors: Mapping[str, int],
    bold_name: str | None,
) -> None:
    thresholds = CURVES[metric].thresholds
    scores = {tracker: score_of_curve(metric, mean) for tracker, mean in means.items()}
    for tracker in sorted(means, key=lambda name: scores[name], reverse=True):
        line, width = (thresholds, means[tracker]), _line_width(tracker, bold_name)
        _draw_line(axes, line, scores[tracker], tracker, colors.get(tracker, 0), linewidth=width)
    first, last = thresholds[[0, -1]]
    axes.set_xlim(first, last)
    axes.set_xticks(np.linspace(first, last, 11))


def _finish_means(
    axes: "Axes", metric: str, subject: str, limits: Sequence[float], bold_name: str | None
) -> None:
    curve = CURVES[metric]
    axes.set_ylim(limits[0], limits[1] + 0.03)
    axes.set_yticks(np.arange(limits[0], limits[1] + 1e-9, 0.1))
    labels = (f"{curve.x} [{curve.unit}]" if curve.unit else curve.x, curve.y)
    _finish(axes, f"{curve.title.title()} plots {subject}", labels, curve.corner, bold_name)


def _draw_line(
    axes: "Axes", line: XY, score: float, tracker: str, index: int, **style: object
) -> None:
    axes.plot(*line, label=f"[{score:.3f}] {tracker}", **style, **line_style(index))


def draw_f1(
    result: Mapping[str, Curves],
    bold_name: str | None = None,
    name: str = "VOT2018-LT",
    show: bool = True,
) -> "Figure":
    """Draw mean precision over mean recall, with lines of equal F1 and a mark at the best F1.

    ``result`` is what `F1Benchmark.eval` returns. The line and legend entry of ``bold_name`` are
    heavier. (PySOT calls it ``Ours``.) With ``show`` a window opens, as in PySOT.
    """
    figure = new_figure(show)
    axes = figure.add_subplot()
    _draw_iso_lines(axes)
    means = {
        tracker: [np.mean(list(of[m].values()), axis=0) for m in ("recall", "precision")]
        for tracker, of in result.items()
    }
    f1 = {tracker: np.nan_to_num(f1_of(*of)) for tracker, of in means.items()}
    colors = {tracker: i for i, tracker in enumerate(result)}
    for tracker in sorted(f1, key=lambda of: f1[of].max(), reverse=True):
        line, index, best = means[tracker], colors[tracker], int(np.argmax(f1[tracker]))
        width = _line_width(tracker, bold_name)
        _draw_line(axes, line, f1[tracker][best], tracker, index, linewidth=width)
        mark = {"marker": "o", "markersize": 7, "markeredgecolor": "white"}
        axes.plot(*(values[best] for values in line), **mark, **line_style(index))
    axes.set_title(plain_text(f"{name} Precision vs Recall"), weight="bold")
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.03))
    axes.set(xticks=np.arange(0, 1.01, 0.1), yticks=np.arange(0, 1.01, 0.1))
    add_legend(axes, "lower left", bold_name)
    _show(show)
    return figure


def _draw_iso_lines(axes: "Axes") -> None:
    """Green lines of equal F1, each with its value at the right edge."""
    for f1 in np.arange(1, 10) / 10:
        recall = np.geomspace(f1 / (2 - f1), 1, 100)  # precision is 1 at the left end
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=_GREEN, linewidth=0.8, zorder=1)
        end = (1.005, f1 / (2 - f1))
        axes.annotate(
            f"{f1:.1f}", end, color=_GREEN, fontsize=8, va="center", annotation_clip=False
        )


def draw_eao(result: Mapping[str, Mapping[str, float]], show: bool = True) -> "Figure":
    """Draw what `EAOBenchmark.eval` returns as a polar plot, see `draw_radar`, in a window."""
    title = "Expected average overlap by tag"
    figure = draw_radar(result, title, _TAG_LABELS, overall="all", window=show)
    _show(show)
    return figure


def draw_radar(
    scores: Mapping[str, Mapping[str, float]],
    title: str,
    names: Mapping[str, str] | None = None,
    overall: str = "ALL",
    window: bool = False,
) -> "Figure":
    """Draw scores as one polygon per tracker, with an axis per tag or attribute.

    Each axis ends at its best tracker and shows the lowest and highest score; a tag without any
    gets none. ``names`` are labels of tags that are not shown as they are, ``overall`` is the tag
    that stands for all frames or videos.

    Raises:
        ValueError: If fewer than three tags have a score.
    """
    tags = drawable(scores)
    if len(tags) < LEAST_AXES:
        raise ValueError(f"a polar plot needs scores of {LEAST_AXES} tags, there are {len(tags)}")
    values = np.array([[of.get(tag, np.nan) for tag in tags] for of in scores.values()])
    figure = new_figure(window, (7.2, 5.4))
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(tags), endpoint=False)
    _set_polar_axes(axes, angles, values, [(names or {}).get(tag, tag) for tag in tags])
    highest = np.nanmax(values, axis=0)
    scaled = dict(zip(scores, values / np.where(highest > 0, highest, 1), strict=True))
    wholes = {tracker: of.get(overall, np.nan) for tracker, of in scores.items()}
    order = {tracker: i for i, tracker in enumerate(scores)}
    for name in _best_first(wholes, undefined=0.0):
        i, row = order[name], scaled[name]
        line = (np.append(angles, angles[0]), np.append(row, row[0]))
        marker = MARKER_STYLE[i % len(MARKER_STYLE)]
        _draw_line(axes, line, wholes[name], name, i, marker=marker, markersize=4)
    axes.set_title(plain_text(title), weight="bold", pad=34)
    add_legend(axes, "below")
    return figure


def drawable(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Tags or attributes that some tracker has a score for, in the order given."""
    tags = dict.fromkeys(tag for of in scores.values() for tag in of)
    return [tag for tag in tags if any(np.isfinite(of.get(tag, np.nan)) for of in scores.values())]


def _set_polar_axes(axes: "Axes", angles: NDArray, values: NDArray, names: Sequence[str]) -> None:
    """Label the axes with name and range, the first one at the top and the rest clockwise."""
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    ranges = zip(np.nanmin(values, axis=0), np.nanmax(values, axis=0), strict=True)
    for angle, name, (low, high) in zip(angles, names, ranges, strict=True):
        right, up = np.sin(angle), np.cos(angle)
        # the text begins where the axis ends, whatever its direction
        sides = {"ha": _side(right, "left", "right"), "va": _side(up, "bottom", "top")}
        text = plain_text(f"{name}\n({low:.3f}, {high:.3f})")
        axes.text(angle, 1.09, text, fontsize=9, **sides)
    axes.set_xticks(angles, [""] * len(angles))
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], [""] * 4)
    axes.grid(**_GRID)
    axes.spines["polar"].set_visible(False)


def _side(direction: float, positive: str, negative: str) -> str:
    if abs(direction) < 0.2:
        return "center"
    return positive if direction > 0 else negative


def draw_curves(
    curves: Mapping[str, XY],
    scores: Mapping[str, float],
    title: str,
    labels: tuple[str, str],
    location: str = "upper right",
) -> "Figure":
    """Draw one line per tracker, with gaps where it is not finite.

    ``labels`` are those of the x and the y axis; ``location`` is the corner of the legend, in which
    a higher score comes first.
    """
    figure = new_figure(False)
    axes = figure.add_subplot()
    order = list(curves)
    for tracker in _best_first(scores):
        x, y = curves[tracker]
        line = (np.where(np.isfinite(x), x, np.nan), y)
        _draw_line(axes, line, scores[tracker], tracker, order.index(tracker), linewidth=1.8)
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    _finish(axes, title, labels, location)
    return figure


def draw_expected_overlap(
    curves: Mapping[str, XY], eao: Mapping[str, float], window: tuple[int, int], name: str
) -> "Figure":
    """Draw the expected overlap by sequence length; the lengths that EAO averages are shaded."""
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
    """Draw scores over ranks, the best at the right, with intervals as error bars.

    A higher score is better; a tracker whose score is NaN is left out.
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
    axes.set_xlim(len(ranked) + 0.6, 0.4)
    axes.set_xticks(range(1, len(ranked) + 1, max(1, -(-len(ranked) // 12))))
    axes.margins(y=0.15)
    _finish(axes, title, ("Rank", label), "best")
    return figure


def draw_accuracy_robustness(
    scores: Mapping[str, tuple[float, float]], name: str, sensitivity: float | None = SENSITIVITY
) -> "Figure":
    """Draw accuracy over robustness, the best at the upper right.

    Args:
        scores: Accuracy, and failures per 100 frames, by tracker.
        name: Name of the data set.
        sensitivity: S in the probability exp(-S * failures / frames) that a tracker does not fail
            within S frames, as in VOT's reports. None shows failures per 100 frames, on an axis
            that runs backwards.
    """
    figure = new_figure(False)
    axes = figure.add_subplot()
    positions = {tracker: i for i, tracker in enumerate(scores)}
    for tracker in _best_first({tracker: of[0] for tracker, of in scores.items()}):
        accuracy, failures = scores[tracker]
        x = failures if sensitivity is None else np.exp(-sensitivity * failures / 100)
        label = f"[{accuracy:.3f}, {failures:.3f}] {tracker}"
        axes.plot(x, accuracy, label=label, **_marker(positions[tracker]))
    axes.margins(0.12)
    if sensitivity is None:
        x_label = "Robustness: failures per 100 frames"
        axes.invert_xaxis()
    else:
        x_label = f"Robustness: exp(-S · failures / frames), S = {sensitivity:g}"
    labels = (x_label, "Accuracy: mean overlap")
    _finish(axes, f"Accuracy and robustness on {name}", labels, "best")
    return figure


def draw_bars(
    scores: Mapping[str, Mapping[str, float]], title: str, names: Mapping[str, str]
) -> "Figure":
    """Draw several scores per tracker as horizontal bars, the best tracker at the top.

    ``names`` are the metrics to draw and their names in the legend; the first ranks the trackers.
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
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(names), fontsize=9, frameon=False)
    return figure


def new_figure(window: bool, size: tuple[float, float] = (6.4, 4.8)) -> "Figure":
    """Make an empty figure of ``size`` inches.

    With ``window`` it is one that ``matplotlib.pyplot.show()`` will display. Otherwise it belongs
    to the caller alone: nothing to close, no display needed.

    Raises:
        ImportError: If matplotlib is not installed, or broken.
    """
    matplotlib = load_package("matplotlib.figure", "matplotlib", "plots need")
    if not window:
        return matplotlib.Figure(figsize=size, layout="constrained")
    from matplotlib import pyplot

    return pyplot.figure(figsize=size, layout="constrained")


def save_figure(figure: "Figure", path: str | os.PathLike, dpi: int = 150) -> None:
    """Write a figure in the format its suffix names (png, pdf, svg), whole or not at all."""
    # polar labels stick out of what the layout reserves for them
    write_bytes(path, drawn(figure, Path(path).suffix[1:], dpi=dpi, pad_inches=0.08))


def drawn(figure: "Figure", kind: str, **options: Any) -> bytes:
    """Draw a figure as png, pdf or svg; equal figures give equal bytes, without a date."""
    from matplotlib import rc_context

    data = io.BytesIO()  # not a file: Pillow misses a full disk
    date = {"svg": "Date", "pdf": "CreationDate"}.get(kind.lower())
    metadata = {date: None} if date else None
    # without the salt, names in SVG files are random
    with rc_context({"svg.hashsalt": "pysot"}), _quiet_fonts():
        _add_fonts(figure)
        figure.savefig(data, format=kind, metadata=metadata, **options)
    return data.getvalue()


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Keep what matplotlib says of fonts and characters off the screen; see `_fonts_for`."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # a line for each weight or family that is not there
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # one for each character that no font has
            yield
    finally:
        log.setLevel(level)


def _add_fonts(figure: "Figure") -> None:
    """Let texts in scripts that the usual font lacks use fonts of this machine."""
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
    fonts = _fonts_for(frozenset(ord(c) for text in texts for c in text.get_text() if c > "\x7f"))
    for text in texts if fonts else ():
        text.set_fontfamily([*text.get_fontfamily(), *fonts])


@cache
def _fonts_for(characters: frozenset[int]) -> tuple[str, ...]:
    """Return the fewest fonts that have what the usual one lacks of some characters."""
    from matplotlib import font_manager as manager

    usual = manager.get_font(manager.findfont("sans")).get_charmap() if characters else ()
    fonts, missing = [], characters - set(usual)
    known: dict[str, frozenset[int]] = {}
    for entry in manager.fontManager.ttflist if missing else ():
        if not entry.name.startswith("Last Resort"):  # matplotlib's, which has boxes for all
            with suppress(OSError, RuntimeError):  # a damaged file
                known[entry.name] = missing & set(manager.get_font(entry.fname).get_charmap())
    while missing and (best := max(known, key=lambda name: len(known[name] & missing), default="")):
        if not known[best] & missing:
            break
        fonts.append(best)
        missing -= known[best]
    if missing:
        _warn_once("no font here has all characters of the names: plots show boxes instead")
    return tuple(fonts)


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def line_style(index: int) -> dict[str, object]:
    """Color and dashes of the n-th line; both repeat, out of step with each other."""
    return {"color": COLOR[index % len(COLOR)], "linestyle": LINE_STYLE[index % len(LINE_STYLE)]}


def bgr_color(index: int) -> tuple[int, int, int]:
    """Color of the n-th tracker for OpenCV."""
    red, green, blue = COLOR[index % len(COLOR)]
    return round(255 * blue), round(255 * green), round(255 * red)


def plain_text(text: str) -> str:
    """Text that matplotlib shows as it is, dollars included."""
    return printable(text, keep="\n").replace("$", r"\$")


def add_legend(axes: "Axes", location: str, bold_name: str | None = None) -> None:
    """Add a legend of entries ``[score] name``.

    Where ``LEGEND_INSIDE`` entries at most are short enough it stands within the figure: at
    ``location``, a corner of the axes as matplotlib names it, or, if it would hide a line there or
    that is ``"best"``, where it hides least; or ``"below"`` the axes. Else it stands beside them,
    in a wider figure. So plots of the same trackers have the same size.
    """
    handles, labels = axes.get_legend_handles_labels()
    labels = list(map(printable, labels))
    if location == "below" and _fits(labels):
        columns = min(len(labels), max(1, 80 // max(map(len, labels), default=1)))
        place = "outside lower center"
        legend = axes.figure.legend(
            handles, labels, loc=place, ncols=columns, fontsize=9, frameon=False
        )
    elif _fits(labels):
        corners = [corner for corner in (location, *_CORNERS) if corner != "best"]
        free = (corner for corner in corners if not _covers(axes, corner, labels))
        place = next(free, "best")
        legend = axes.legend(handles, labels, loc=place, fontsize=9, framealpha=0.7)
    else:
        legend = _legend_beside(axes, handles, labels)
    for text in legend.get_texts():
        text.set_parse_math(False)
        if bold_name and text.get_text().endswith(f"] {printable(bold_name)}"):
            text.set_weight("bold")


def _fits(labels: Sequence[str]) -> bool:
    """Return whether a legend leaves most of the axes free."""
    return len(labels) <= LEGEND_INSIDE and max(map(len, labels), default=0) <= LEGEND_WIDTH


def _covers(axes: "Axes", location: str, labels: list[str]) -> bool:
    """Whether a legend in a corner would hide a part of a line, by the size it will about have."""
    width = 0.14 + 0.0155 * max(map(len, labels), default=0)
    height = 0.04 + 0.053 * len(labels)
    to_axes = (axes.transData - axes.transAxes).transform
    for line in (line for line in axes.get_lines() if not line.get_label().startswith("_")):
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


def _finish(
    axes: "Axes", title: str, labels: tuple[str, str], location: str, bold_name: str | None = None
) -> None:
    axes.set_title(plain_text(title), weight="bold")
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.grid(**_GRID)
    add_legend(axes, location, bold_name)


def _show(window: bool) -> None:
    if window:
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            _add_fonts(pyplot.figure(number))
        pyplot.show()


def _best_first(scores: Mapping[str, float], undefined: float = -1.0) -> list[str]:
    return sorted(scores, key=lambda tracker: -np.nan_to_num(scores[tracker], nan=undefined))


def _line_width(name: str, bold_name: str | None) -> float:
    """Width in points of a tracker's line; that of ``bold_name`` is heavier."""
    return 3.2 if name == bold_name else 1.8


def _marker(index: int) -> dict[str, object]:
    """Style of the n-th tracker's mark."""
    marker = MARKER_STYLE[index % len(MARKER_STYLE)]
    return {**line_style(index), "linestyle": "none", "marker": marker, "markersize": 9}
