"""The scores of trackers as one HTML page that needs nothing else: no network, no server.

The page reads without JavaScript; ``page.js`` sorts, changes the metric and shows the details of a
video from the data that the page carries.
"""

import base64
import io
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.evaluation import METRICS, Evaluation
from toolkit.evaluation.metrics import Metric, Scores, plain
from toolkit.evaluation.tables import places_of
from toolkit.io.files import atomic_write
from toolkit.report.figures import Plot, attribute_plots, main_plots
from toolkit.report.filmstrips import encoded, filmstrips, frame_overlaps
from toolkit.visualization import COLOR

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_PLACES = {0: "first", 1: "second"}  # class of a cell

Trackers = Mapping[str, Scores]
Groups = Mapping[str, Sequence[Mapping[str, float] | None]]  # scores of the trackers by group


def write_report(
    folder: str | os.PathLike, evaluation: Evaluation, trackers: Sequence[str]
) -> None:
    """Write ``<folder>/index.html``; without matplotlib it has no plots, and says so.

    Args:
        folder: Made if needed.
        evaluation: Has scored the trackers.
        trackers: Their names, in the order of the tables, best first.

    Raises:
        ModuleNotFoundError: If Jinja2 is not installed.
        OSError: If the file cannot be written.
    """
    page = report_page(evaluation, trackers)
    with atomic_write(Path(folder) / "index.html") as file:
        file.write(page)


def report_page(evaluation: Evaluation, trackers: Sequence[str]) -> str:
    """The page as text; see `write_report`."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the report needs Jinja2: pip install 'pysot[report]'", name=error.name
        ) from error
    text = {path.suffix: path.read_text(encoding="utf-8") for path in _HERE.glob("page.*")}
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(text[".jinja"])
    return page.render(_content(evaluation, trackers), style=text[".css"], script=text[".js"])


def _content(evaluation: Evaluation, trackers: Sequence[str]) -> dict[str, Any]:
    """What the template shows."""
    scores = {name: evaluation.scores(name) for name in trackers}
    metrics = _metrics(evaluation, scores)
    overlaps = frame_overlaps(evaluation, trackers)
    timelines = {
        video: [encoded(of[video]) if video in of else "" for of in overlaps.values()]
        for video in evaluation.dataset.videos
        if any(video in of for of in overlaps.values())
    }
    return {
        "dataset": evaluation.dataset,
        "num_frames": sum(map(len, evaluation.dataset)),
        "incomplete": evaluation.incomplete,
        "metrics": metrics,
        "trackers": _tracker_rows(scores, metrics),
        "attributes": _attribute_table(evaluation, scores, metrics),
        "videos": _video_table(evaluation, scores, metrics),
        "strips": filmstrips(evaluation, trackers, overlaps),
        "data": _data_text(evaluation, scores, metrics, timelines),
        **_plots(evaluation, trackers),
    }


class _Cell(NamedTuple):
    value: float | str
    text: str
    mark: str
    interval: str = ""


class _Row(NamedTuple):
    size: int
    cells: Sequence[_Cell]


class _Table(NamedTuple):
    """A table of videos or attributes, which shows ``metric`` or another one that is chosen."""

    name: str
    metric: Metric
    metrics: Sequence[Metric]
    rows: Mapping[str, _Row]
    counted: bool = True


def _metrics(evaluation: Evaluation, scores: Trackers) -> list[Metric]:
    """All metrics of the trackers, those of the benchmark's table first."""
    there = dict.fromkeys(metric for of in scores.values() for metric in of.metrics)
    first = [metric for metric in evaluation.ranked_metrics if metric in there]
    return [METRICS[metric] for metric in dict.fromkeys([*first, *there])]


def _tracker_rows(scores: Trackers, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    columns = []
    for metric in metrics:
        cells = _cells([of.metrics[metric.key] for of in scores.values()], metric, _PLACES)
        bounds = [_interval(of.intervals.get(metric.key), metric) for of in scores.values()]
        columns.append(
            [cell._replace(interval=text) for cell, text in zip(cells, bounds, strict=True)]
        )
    rows = zip(scores.items(), zip(*columns, strict=True), strict=True)
    return [
        {"index": i, "name": name, "color": _color(i), "cells": cells, "problems": of.problems}
        for i, ((name, of), cells) in enumerate(rows)
    ]


def _cells(values: Sequence[float], metric: Metric, places: Mapping[int, str]) -> list[_Cell]:
    marks = places if len(values) > 1 else {}
    cells = []
    for value, place in zip(values, places_of(values, metric), strict=True):
        known = math.isfinite(value)
        text = f"{value:.{metric.digits}f}" if known else "\u2013"
        cells.append(_Cell(value if known else "", text, marks.get(place, "")))
    return cells


def _interval(bounds: tuple[float, float] | None, metric: Metric) -> str:
    if not bounds or not all(map(math.isfinite, bounds)):
        return ""
    return " to ".join(f"{bound:.{metric.digits}f}" for bound in bounds)


def _attribute_table(evaluation: Evaluation, scores: Trackers, metrics: Sequence[Metric]) -> _Table:
    groups = _attributes(scores)
    groups.pop("ALL", None)
    first = [next(iter(of.attributes.values()), {}) for of in scores.values()]
    known = [metric for metric in metrics if any(metric.key in of for of in first)]
    sizes = {name: len(videos) for name, videos in evaluation.dataset.attr.items()}
    metric, counted = METRICS[evaluation.key], bool(set(groups) & set(sizes))
    return _Table("attributes", metric, known, _rows(groups, sizes, metric), counted)


def _video_table(evaluation: Evaluation, scores: Trackers, metrics: Sequence[Metric]) -> _Table:
    """The table of videos; EAO, say, means little for one of them and is not shown at first."""
    columns = [key for key, _ in evaluation.video_columns]
    key = evaluation.key if evaluation.key in columns or not columns else columns[0]
    sizes = {name: len(video) for name, video in evaluation.dataset.videos.items()}
    rows = _rows(_videos(evaluation, scores), sizes, METRICS[key])
    return _Table("videos", METRICS[key], metrics, rows)


def _rows(groups: Groups, sizes: Mapping[str, int], metric: Metric) -> dict[str, _Row]:
    rows = {}
    for name, scores in groups.items():
        values = [math.nan if of is None else of.get(metric.key, math.nan) for of in scores]
        rows[name] = _Row(sizes.get(name, 0), _cells(values, metric, {0: "first"}))
    return rows


def _videos(evaluation: Evaluation, scores: Trackers) -> dict[str, list]:
    videos = evaluation.dataset.videos
    return {name: [of.videos.get(name) for of in scores.values()] for name in videos}


def _attributes(scores: Trackers) -> dict[str, list]:
    """Scores by attribute, in the order of the data set."""
    names = dict.fromkeys(name for of in scores.values() for name in of.attributes)
    return {name: [of.attributes.get(name) for of in scores.values()] for name in names}


def _plots(evaluation: Evaluation, trackers: Sequence[str]) -> dict[str, Any]:
    try:
        return {
            "no_plots": "",
            "plots": [_image(plot) for plot in main_plots(evaluation, trackers)],
            "more_plots": [_image(plot) for plot in attribute_plots(evaluation, trackers)],
        }
    except ModuleNotFoundError as error:
        logger.warning("the report has no plots: %s", error)
        return {"no_plots": str(error)}


def _image(plot: Plot) -> dict[str, str]:
    file = io.BytesIO()
    plot.figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    image = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return {"title": plot.title, "image": image}


def _color(index: int) -> str:
    """Color of the n-th tracker, the same as in the plots."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in COLOR[index % len(COLOR)])


def _data_text(
    evaluation: Evaluation,
    scores: Trackers,
    metrics: Sequence[Metric],
    timelines: Mapping[str, Sequence[str]],
) -> str:
    """What ``page.js`` works with, as JSON that cannot end the element that holds it."""

    def values(groups: Groups) -> dict[str, list]:
        return {name: [_rounded(of, metrics) for of in row] for name, row in groups.items()}

    videos = evaluation.dataset.videos
    data = {
        "trackers": [{"name": name, "color": _color(i)} for i, name in enumerate(scores)],
        "order": [metric.key for metric in metrics],
        "metrics": {
            of.key: {"label": of.label, "digits": of.digits, "higher": of.higher_is_better}
            for of in metrics
        },
        "videos": values(_videos(evaluation, scores)),
        "attributes": values(_attributes(scores)),
        "frames": {name: len(video) for name, video in videos.items()},
        "tags": {name: list(video.attr) for name, video in videos.items()},
        "timelines": dict(timelines),
    }
    text = json.dumps(plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _rounded(scores: Mapping[str, float] | None, metrics: Sequence[Metric]) -> list[float] | None:
    if scores is None:
        return None
    return [round(scores.get(metric.key, math.nan), 5) for metric in metrics]
