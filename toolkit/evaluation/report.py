"""Scores as text tables in PySOT's form, and as plain data for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.utils.statistics import headline

RED, NORMAL = "\x1b[31m", "\x1b[0m"


class Cell(NamedTuple):
    """Text of a table cell, in red or not."""

    text: str
    red: bool = False


def format_table(
    headers: Sequence[Sequence[tuple[str, int]]], rows: Sequence[Sequence[Cell]]
) -> str:
    """Lay out a table with centred cells and dashed rules.

    Args:
        headers: Header lines of (text, column width); the first sets the length of the rules,
            the last the columns of the rows.
        rows: Cells of each row.
    """
    head = [_line([f"{text:^{width}}" for text, width in header]) for header in headers]
    rule = "-" * len(head[0])
    widths = [width for _, width in headers[-1]]
    lines = [part for line in head for part in (rule, line)] + [rule]
    for row in rows:
        lines.append(_line([_padded(*pair) for pair in zip(row, widths, strict=True)]))
    return "\n".join([*lines, rule])


def ope_table(
    success: Mapping[str, Mapping[str, NDArray]],
    precision: Mapping[str, Mapping[str, NDArray]] | None = None,
    norm_precision: Mapping[str, Mapping[str, NDArray]] | None = None,
    top: int = 20,
) -> str:
    """Table of one-pass trackers, best success first.

    Args:
        success: Curves by tracker and video.
        precision: Likewise; as in PySOT, what is not given prints as 0.000.
        norm_precision: Likewise.
        top: Number of trackers shown.
    """
    rows = []
    for name in ranked(success)[:top]:
        values = [
            mean_score(metric, curves[name]) if curves is not None else 0.0
            for metric, curves in (
                ("success", success),
                ("norm_precision", norm_precision),
                ("precision", precision),
            )
        ]
        rows.append([Cell(name), *(Cell(f"{value:.3f}") for value in values)])
    width = max([12, *(len(name) + 2 for name in success)])
    header = [("Tracker name", width), ("Success", 9), ("Norm Precision", 16), ("Precision", 11)]
    return format_table([header], rows)


def ope_video_table(
    success: Mapping[str, Mapping[str, NDArray]],
    precision: Mapping[str, Mapping[str, NDArray]],
    threshold: float = 0.6,
    color: bool = True,
) -> str:
    """Table of the videos; as in PySOT, its precision is the mean of the whole curve.

    Args:
        success: Curves by tracker and video; trackers are shown in this order.
        precision: Likewise.
        threshold: Values below it are red.
        color: Write terminal codes for red.
    """
    names = list(success)
    videos = sorted({video for name in names for video in success[name]})
    rows = []
    for video in videos:
        curves = [c[name].get(video) for name in names for c in (success, precision)]
        rows.append([Cell(video), *(_mean_cell(curve, threshold, color) for curve in curves)])
    trackers = [("Tracker name", 21), *((name, 21) for name in names)]
    columns = [("Video name", 21), *[("success", 9), ("precision", 11)] * len(names)]
    return format_table([trackers, columns], rows)


def mean_score(metric: str, curves: Mapping[str, NDArray]) -> float:
    """Published figure of a tracker: that of the mean curve over videos of equal weight.

    Raises:
        ValueError: If there is no video.
    """
    if not curves:
        raise ValueError(f"no video to average {metric} over")
    return headline(metric, np.mean(list(curves.values()), axis=0))


def ranked(success: Mapping[str, Mapping[str, NDArray]]) -> list[str]:
    """Trackers by descending AUC; equals stay in the order given."""
    return sorted(success, key=lambda name: mean_score("success", success[name]), reverse=True)


def tracker_data(
    curves: Mapping[str, Mapping[str, NDArray]],
    attributes: Mapping[str, Sequence[str]],
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """All scores of one tracker as plain data.

    Args:
        curves: Curves by metric and video.
        attributes: Video names by attribute; attributes without a scored video are left out.
        problems: What was wrong with its results.

    Returns:
        The overall figures by metric, ``curves``, ``attributes``, ``videos`` and ``problems``.
    """
    scored = next(iter(curves.values()))
    groups = {name: [v for v in videos if v in scored] for name, videos in attributes.items()}
    return {
        **_figures(curves, list(scored)),
        "num_videos": len(scored),
        "problems": list(problems),
        "curves": {m: np.mean(list(c.values()), axis=0).tolist() for m, c in curves.items()},
        "attributes": {name: _figures(curves, group) for name, group in groups.items() if group},
        "videos": {video: _figures(curves, [video]) for video in scored},
    }


def _figures(
    curves: Mapping[str, Mapping[str, NDArray]], videos: Sequence[str]
) -> dict[str, float]:
    return {
        metric: mean_score(metric, {video: by_video[video] for video in videos})
        for metric, by_video in curves.items()
    }


def _mean_cell(curve: NDArray | None, threshold: float, color: bool) -> Cell:
    if curve is None:
        return Cell("-")
    mean = float(np.mean(curve))
    return Cell(f"{mean:.3f}", color and mean < threshold)


def _padded(cell: Cell, width: int) -> str:
    text = f"{cell.text:^{width}}"
    return f"{RED}{text}{NORMAL}" if cell.red else text


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cells) + "|"
