"""Scores as text tables in PySOT's form."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.scores import METRICS, Comparison, Metric, Scores
from toolkit.utils.statistics import headline

RED, NORMAL = "\x1b[31m", "\x1b[0m"

Values = Mapping[str, float]  # by metric


class Column(NamedTuple):
    """A column of the table of videos.

    Attributes:
        label: Its heading.
        width: In characters.
        metric: What it shows.
        low: Values below it are red.
        high: Values above it are red.
    """

    label: str
    width: int
    metric: str
    low: float = -np.inf
    high: float = np.inf


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


def metric_table(
    scores: Mapping[str, Values],
    metrics: Sequence[str],
    first: tuple[str, int] = ("Tracker Name", 12),
) -> str:
    """Table of trackers in the order given.

    Args:
        scores: Values by tracker and metric; what a tracker lacks prints as 0, as in PySOT.
        metrics: Columns, keys of `toolkit.evaluation.scores.METRICS` or any other name.
        first: Heading and least width of the column of names.
    """
    columns = [METRICS.get(metric, Metric(metric)) for metric in metrics]
    rows = [
        [
            Cell(name),
            *(_number(values.get(m, 0.0), c) for m, c in zip(metrics, columns, strict=True)),
        ]
        for name, values in scores.items()
    ]
    width = max([first[1], *(len(name) + 2 for name in scores)])
    header = [(first[0], width), *((c.label, max(len(c.label) + 2, 7)) for c in columns)]
    return format_table([header], rows)


def video_table(
    scores: Mapping[str, Mapping[str, Values]],
    columns: Sequence[Column],
    name_width: int = 14,
    color: bool = True,
) -> str:
    """Table of videos, with the columns of each tracker side by side.

    Args:
        scores: Values by tracker, video and metric; trackers are shown in this order.
        columns: What to show of each tracker.
        name_width: Characters of the column of names.
        color: Write terminal codes for red.
    """
    rows = []
    for video in sorted({video for videos in scores.values() for video in videos}):
        values = [videos.get(video) for videos in scores.values()]
        cells = [_video_cell(of, column, color) for of in values for column in columns]
        rows.append([Cell(video), *cells])
    width = sum(column.width for column in columns) + len(columns) - 1
    trackers = [("Tracker name", name_width), *((name, width) for name in scores)]
    names = [(column.label, column.width) for column in columns] * len(scores)
    return format_table([trackers, [("Video name", name_width), *names]], rows)


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
    given = {"success": success, "norm_precision": norm_precision, "precision": precision}
    scores = {
        name: {metric: mean_score(metric, of[name]) for metric, of in given.items() if of}
        for name in success
    }
    best = sorted(scores, key=lambda name: scores[name]["success"], reverse=True)[:top]
    width = max([12, *(len(name) + 2 for name in success)])
    return metric_table({name: scores[name] for name in best}, list(given), ("Tracker name", width))


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
    means = {
        name: {
            video: {"success": np.mean(curve), "precision": np.mean(precision[name][video])}
            for video, curve in curves.items()
        }
        for name, curves in success.items()
    }
    columns = [
        Column("success", 9, "success", threshold),
        Column("precision", 11, "precision", threshold),
    ]
    return video_table(means, columns, 21, color)


def tag_table(scores: Mapping[str, Values]) -> str:
    """Table of the expected average overlap by tag, of trackers in the order given.

    Args:
        scores: Values by tracker and tag.
    """
    tags = list(next(iter(scores.values()), {}))
    width = max([20, *(len(name) + 2 for name in scores)])
    header = [("Tracker Name", width), *((tag, max(len(tag) + 2, 7)) for tag in tags)]
    rows = [[Cell(name), *(Cell(f"{of[tag]:.3f}") for tag in tags)] for name, of in scores.items()]
    return format_table([header], rows)


def interval_table(scores: Mapping[str, Scores]) -> str:
    """Table of confidence intervals, ``value [low, high]`` per tracker and metric."""
    metrics = list(next(iter(scores.values())).intervals)
    rows = [
        [Cell(name), *(_interval(of, metric) for metric in metrics)] for name, of in scores.items()
    ]
    return _fitted_table(["Tracker Name", *(METRICS[metric].label for metric in metrics)], rows)


def comparison_table(a: str, b: str, comparisons: Mapping[str, Comparison]) -> str:
    """Table of two trackers, their difference and how often A is better, per metric."""
    rows = []
    for metric, of in comparisons.items():
        numbers = [_number(value, METRICS[metric]).text for value in (of.a, of.b, of.low, of.high)]
        difference = f"{of.difference:+.{METRICS[metric].digits}f} [{numbers[2]}, {numbers[3]}]"
        texts = [METRICS[metric].label, *numbers[:2], difference, f"{100 * of.share:.1f} %"]
        rows.append([Cell(text) for text in texts])
    return _fitted_table(["Metric", a, b, "Difference", f"{a} is better"], rows)


def _fitted_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table whose columns are as wide as what they hold."""
    texts = [header, *([cell.text for cell in row] for row in rows)]
    widths = [max(map(len, column)) + 2 for column in zip(*texts, strict=True)]
    return format_table([list(zip(header, widths, strict=True))], rows)


def _interval(scores: Scores, metric: str) -> Cell:
    values = (scores.metrics[metric], *scores.intervals[metric])
    value, low, high = (_number(value, METRICS[metric]).text for value in values)
    return Cell(f"{value} [{low}, {high}]")


def mean_score(figure: str, curves: Mapping[str, NDArray]) -> float:
    """Published figure of a tracker: that of the mean curve over videos of equal weight.

    Args:
        figure: Key of `toolkit.utils.statistics.FIGURES`.
        curves: Curve by video of the metric it is read from.

    Raises:
        ValueError: If there is no video.
    """
    if not curves:
        raise ValueError(f"no video to average {figure} over")
    return float(headline(figure, np.mean(list(curves.values()), axis=0)))


def _number(value: float, metric: Metric) -> Cell:
    return Cell(f"{value:.{metric.digits}f}")


def _video_cell(values: Values | None, column: Column, color: bool) -> Cell:
    if values is None:
        return Cell("-")
    value = float(values[column.metric])
    return Cell(f"{value:.3f}", color and (value < column.low or value > column.high))


def _padded(cell: Cell, width: int) -> str:
    text = f"{cell.text:^{width}}"
    return f"{RED}{text}{NORMAL}" if cell.red else text


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cells) + "|"
