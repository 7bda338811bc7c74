"""Scores as text: tables in PySOT's form, CSV for other programs, LaTeX for a paper."""

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from toolkit.evaluation.metrics import METRICS, Column, Comparison, Metric, Scores, plain
from toolkit.io.names import printable, width_of

RED, NORMAL = "\x1b[31m", "\x1b[0m"
VIDEO_TABLE_LIMIT = 9  # trackers that fit side by side, as in PySOT
CSV_HEADER = ("dataset", "tracker", "level", "name", "metric", "value", "low", "high")

#: Metrics that PySOT's table of one-pass trackers has columns for.
_ONE_PASS = ("success", "norm_precision", "precision")
#: Marks of the best and the second best value of a column.
_LATEX_MARKS = (r"\textbf{%s}", r"\underline{%s}")
_LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)

#: With what a cell begins that spreadsheets calculate, wide characters included.
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Values = Mapping[str, float]  # by metric
TableColumn = tuple[str, Column]  # metric and how it is shown


class Cell(NamedTuple):
    """Text of a table cell, in red or not."""

    text: str
    red: bool = False

    def centered(self, width: int) -> str:
        """Text in a column."""
        text = _centered(self.text, width)
        return f"{RED}{text}{NORMAL}" if self.red else text


def format_table(
    headers: Sequence[Sequence[tuple[str, int]]], rows: Sequence[Sequence[Cell]]
) -> str:
    """Lay out a table with centered cells and dashed rules.

    Each header line is of (text, column width); the first sets the length of the rules, the last
    the columns of the rows.
    """
    head = [_line(_centered(text, width) for text, width in header) for header in headers]
    rule = "-" * width_of(head[0])
    widths = [width for _, width in headers[-1]]
    lines = [part for line in head for part in (rule, line)]
    body = [_line(cell.centered(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, rule, *body, rule])


def print_tables(
    table: str,
    videos: Mapping[str, Mapping[str, Values]] | None,
    columns: Sequence[TableColumn],
    name_width: int = 14,
    color: bool | None = None,
) -> None:
    """Print a table of trackers and, if ``videos`` are given and fit, `video_table` of them.

    With ``color`` None it is red only if the output is a terminal.
    """
    print(table)
    if videos is not None and len(videos) <= VIDEO_TABLE_LIMIT:
        color = sys.stdout.isatty() if color is None else color
        print("\n\n", video_table(videos, columns, name_width, color), sep="\n")


def metric_table(
    scores: Mapping[str, Values],
    metrics: Sequence[str],
    first: tuple[str, int] = ("Tracker Name", 12),
) -> str:
    """Table of trackers in the order given; what a tracker lacks prints as 0, as in PySOT.

    ``first`` is the heading and the least width of the column of names.
    """
    columns = [METRICS[metric] for metric in metrics]
    rows = [
        [Cell(name), *(Cell(f"{values.get(c.key, 0.0):.{c.digits}f}") for c in columns)]
        for name, values in scores.items()
    ]
    width = max([first[1], *(width_of(name) + 2 for name in scores)])
    header = [(first[0], width), *((c.label, max(len(c.label) + 2, 7)) for c in columns)]
    return format_table([header], rows)


def video_table(
    scores: Mapping[str, Mapping[str, Values]],
    columns: Sequence[TableColumn],
    name_width: int = 14,
    color: bool = True,
) -> str:
    """Table of videos, with the columns of each tracker side by side, in the order given.

    ``name_width`` is that of the names of videos; with ``color`` it has terminal codes for red.
    """
    rows = []
    for video in sorted({video for videos in scores.values() for video in videos}):
        values = [videos.get(video) for videos in scores.values()]
        cells = [_video_cell(of, *column, color) for of in values for column in columns]
        rows.append([Cell(video), *cells])
    width = sum(column.width for _, column in columns) + len(columns) - 1
    trackers = [("Tracker name", name_width), *((name, width) for name in scores)]
    names = [(column.label, column.width) for _, column in columns] * len(scores)
    return format_table([trackers, [("Video name", name_width), *names]], rows)


def one_pass_table(scores: Mapping[str, Values], metrics: Sequence[str], top: int = 20) -> str:
    """Table of the ``top`` one-pass trackers, best success first, with PySOT's three metrics.

    What is not given prints as 0.000, as in PySOT; other ``metrics`` get columns of their own.
    """
    best = sorted(scores, key=lambda name: scores[name]["success"], reverse=True)[:top]
    width = max([12, *(width_of(name) + 2 for name in scores)])
    columns = list(dict.fromkeys([*_ONE_PASS, *metrics]))
    return metric_table({name: scores[name] for name in best}, columns, ("Tracker name", width))


def interval_table(scores: Mapping[str, Scores]) -> str:
    """Table of confidence intervals, ``value [low, high]`` per tracker and metric."""
    columns = [METRICS[metric] for metric in next(iter(scores.values())).intervals]
    rows = [[name, *(_interval(of, column) for column in columns)] for name, of in scores.items()]
    return _fitted_table(["Tracker Name", *(column.label for column in columns)], rows)


def comparison_table(a: str, b: str, comparisons: Mapping[str, Comparison]) -> str:
    """Table of two trackers, their difference and how often A is better, per metric."""
    rows = []
    for metric, of in comparisons.items():
        label, digits = METRICS[metric].label, METRICS[metric].digits
        first, second, low, high = (f"{v:.{digits}f}" for v in (of.a, of.b, of.low, of.high))
        difference = f"{of.difference:+.{digits}f} [{low}, {high}]"
        rows.append([label, first, second, difference, f"{100 * of.share:.1f} %"])
    return _fitted_table(["Metric", a, b, "Difference", f"{a} is better"], rows)


def _fitted_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as what they hold."""
    widths = [max(map(width_of, column)) + 2 for column in zip(header, *rows, strict=True)]
    heads = list(zip(header, widths, strict=True))
    return format_table([heads], [list(map(Cell, row)) for row in rows])


def _interval(scores: Scores, metric: Metric) -> str:
    values = (scores.metrics[metric.key], *scores.intervals[metric.key])
    return "{} [{}, {}]".format(*(f"{value:.{metric.digits}f}" for value in values))


def _video_cell(values: Values | None, metric: str, column: Column, color: bool) -> Cell:
    if values is None:
        return Cell("-")
    value = float(values[metric])
    return Cell(f"{value:.3f}", color and (value < column.low or value > column.high))


def _centered(text: str, width: int) -> str:
    """Text in the middle of some columns of a terminal, the odd one behind it."""
    text = printable(text)
    missing = max(0, width - width_of(text))
    return " " * (missing // 2) + text + " " * (missing - missing // 2)


def _line(cells: Iterable[str]) -> str:
    return "|" + "|".join(cells) + "|"


def csv_text(dataset: str, scores: Mapping[str, Scores]) -> str:
    """Scores in tidy form, one row per value, in the columns of ``CSV_HEADER``.

    ``level`` says what was averaged: the whole ``dataset``, the videos (or frames) of one
    ``attribute``, or one ``video``; ``name`` is that of the attribute or video. A value that is
    not defined is empty, as are bounds of an interval that was not asked for.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for tracker, of in scores.items():
        rows = ([dataset, tracker, *row] for row in _csv_rows(dataset, of))
        writer.writerows(map(_inert, row) for row in rows)
    return text.getvalue()


def _inert(cell: object) -> object:
    """Mark a name that a spreadsheet would take for a formula as text: by an apostrophe."""
    text = printable(cell) if isinstance(cell, str) else ""
    if not text.lstrip().startswith(_FORMULAS):
        return text or cell
    with suppress(ValueError):
        float(text)
        return text
    return f"'{text}"


def _csv_rows(dataset: str, scores: Scores) -> Iterator[list]:
    levels = {
        "dataset": {dataset: scores.metrics},
        "attribute": scores.attributes,
        "video": scores.videos,
    }
    for level, groups in levels.items():
        for name, values in groups.items():
            for metric, value in values.items():
                bounds = scores.intervals.get(metric) if level == "dataset" else None
                yield [level, name, metric, *plain([value, *(bounds or ("", ""))])]


def latex_table(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    r"""Write a ``tabular`` that needs no package: the best values bold, the second underlined."""
    columns = [[_latex_text(name) for name in scores]]
    heads = ["Tracker"]
    for metric in (METRICS[key] for key in metrics):
        columns.append(_marked_texts([of[metric.key] for of in scores.values()], metric))
        arrow = r"$\uparrow$" if metric.higher_is_better else r"$\downarrow$"
        heads.append(f"{_latex_text(metric.label)} {arrow}")
    head, *rows = (" & ".join(row) + r" \\" for row in (heads, *zip(*columns, strict=True)))
    begin = r"\begin{tabular}{l" + "c" * len(metrics) + "}"
    return "\n".join([begin, r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}", ""])


def _latex_text(text: str) -> str:
    r"""Escape a text; ``{}`` parts a ``[`` or ``*`` at its start from the ``\\`` before it."""
    return "{}" * text.startswith(("[", "*")) + printable(text).translate(_LATEX_ESCAPES)


def _marked_texts(values: Sequence[float], metric: Metric) -> list[str]:
    """Texts of a column with the marks of its best two values.

    Values that read alike are marked alike; a single tracker gets no mark.
    """
    texts = [f"{v:.{metric.digits}f}" if math.isfinite(v) else "--" for v in values]
    marks = dict(enumerate(_LATEX_MARKS)) if len(values) > 1 else {}
    places = places_of(values, metric)
    return [marks.get(place, "%s") % text for text, place in zip(texts, places, strict=True)]


def places_of(values: Sequence[float], metric: Metric) -> list[int | None]:
    """Place of each value, 0 is best; values that read alike share one, NaN has none."""
    sign = -1 if metric.higher_is_better else 1
    read = [None if not math.isfinite(v) else round(v, metric.digits) for v in values]
    order = sorted({v for v in read if v is not None}, key=lambda v: sign * v)
    return [None if v is None else order.index(v) for v in read]
