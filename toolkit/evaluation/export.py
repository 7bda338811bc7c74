"""Scores as CSV, for other programs, and as a LaTeX table, for a paper."""

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence

from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.scores import METRICS, Metric, Scores, plain
from toolkit.io.files import atomic_write

CSV_HEADER = ("dataset", "tracker", "level", "name", "metric", "value", "low", "high")

#: Marks of the best and the second best value of a column.
LATEX_MARKS = (r"\textbf{%s}", r"\underline{%s}")

_LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def write_csv(path: str | os.PathLike, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write the scores of trackers in tidy form, see `csv_rows`; whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    scores = {name: evaluation.scores(name) for name in trackers}
    writer.writerows(csv_rows(evaluation.dataset.name, scores))
    with atomic_write(path) as file:
        file.write(text.getvalue())


def csv_rows(dataset: str, scores: Mapping[str, Scores]) -> Iterator[list]:
    """Yield one row per value, in the columns of ``CSV_HEADER``.

    ``level`` says what was averaged: the whole ``dataset``, the videos (or frames) of one
    ``attribute``, or one ``video``; ``name`` is that of the attribute or video. A value that is
    not defined is empty, as are bounds of an interval that was not asked for.
    """
    for tracker, of in scores.items():
        levels = {
            "dataset": {dataset: of.metrics},
            "attribute": of.attributes,
            "video": of.videos,
        }
        for level, groups in levels.items():
            for name, values in groups.items():
                for metric, value in values.items():
                    bounds = of.intervals.get(metric, ("", "")) if level == "dataset" else ("", "")
                    yield [dataset, tracker, level, name, metric, *plain([value, *bounds])]


def write_latex(path: str | os.PathLike, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write the table of trackers, best first, as LaTeX; see `latex_table`.

    Raises:
        OSError: If the file cannot be written.
    """
    values = {name: evaluation.scores(name).metrics for name in trackers}
    with atomic_write(path) as file:
        file.write(latex_table(values, shown_metrics(evaluation)))


def shown_metrics(evaluation: Evaluation) -> list[str]:
    """Metrics of the benchmark's table; the one that ranks the trackers is always among them."""
    metrics = list(evaluation.dataset.benchmark.metrics)
    return metrics if evaluation.key in metrics else [evaluation.key, *metrics]


def latex_table(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    r"""Write a ``tabular`` that needs no package: the best values bold, the second underlined.

    Args:
        scores: Values by tracker and metric; trackers are shown in this order.
        metrics: Columns, keys of `toolkit.evaluation.scores.METRICS`.
    """
    columns = {metric: METRICS[metric] for metric in metrics}
    marked = {
        metric: marked_texts([values[metric] for values in scores.values()], shown)
        for metric, shown in columns.items()
    }
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    heads = [f"{latex_escaped(c.label)} {arrows[c.higher_is_better]}" for c in columns.values()]
    lines = [r"\begin{tabular}{l" + "c" * len(metrics) + "}", r"\hline"]
    lines += [" & ".join(["Tracker", *heads]) + r" \\", r"\hline"]
    for i, name in enumerate(scores):
        cells = [latex_escaped(name), *(marked[metric][i] for metric in metrics)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def marked_texts(values: Sequence[float], metric: Metric) -> list[str]:
    """Texts of a column with the marks of its best two values.

    Values that read alike are marked alike; a single tracker gets no mark.
    """
    places = places_of(values, metric)
    texts = [shown_value(value, metric) for value in values]
    marks = (*LATEX_MARKS, "%s")
    if len(values) < 2:
        return texts
    return [
        marks[min(place, 2)] % text if place is not None else text
        for text, place in zip(texts, places, strict=True)
    ]


def places_of(values: Sequence[float], metric: Metric) -> list[int | None]:
    """Place of each value, 0 is best; values that read alike share one, NaN has none."""
    sign = -1 if metric.higher_is_better else 1
    read = [None if not math.isfinite(v) else round(v, metric.digits) for v in values]
    order = sorted({v for v in read if v is not None}, key=lambda v: sign * v)
    return [None if v is None else order.index(v) for v in read]


def shown_value(value: float, metric: Metric) -> str:
    """Text of a value with the decimals of its metric; a dash where it is not defined."""
    return f"{value:.{metric.digits}f}" if math.isfinite(value) else "--"


def latex_escaped(text: str) -> str:
    """Text with the characters escaped that mean something to LaTeX."""
    return text.translate(_LATEX_ESCAPES)
