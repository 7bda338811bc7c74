"""The scores of trackers as one HTML page that needs nothing else: no network, no server.

The page reads without JavaScript; ``page.js`` sorts, changes the metric and shows the details of a
video from the data that the page carries.
"""

import base64
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
from toolkit.io.names import printable
from toolkit.io.packages import load_package
from toolkit.report.figures import Plot, attribute_plots, main_plots
from toolkit.report.filmstrips import encoded, filmstrips, frame_overlaps
from toolkit.results.runs import read_runs
from toolkit.visualization.plots import bgr_color, drawn

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent

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
        ImportError: If Jinja2 is not installed, or broken.
        OSError: If the file cannot be written.
    """
    page = report_page(evaluation, trackers)
    with atomic_write(Path(folder) / "index.html") as file:
        file.write(page)


def report_page(evaluation: Evaluation, trackers: Sequence[str]) -> str:
    """The page as text; see `write_report`."""
    jinja2 = load_package("jinja2", "Jinja2", "the report needs")
    text = {path.suffix: path.read_text(encoding="utf-8") for path in _HERE.glob("page.*")}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(text[".jinja"])
    content = _content(evaluation, trackers)
    return printable(page.render(content, style=text[".css"], script=text[".js"]), keep="\n\t")


class _Cell(NamedTuple):
    value: float | None
    mark: str  # class of the cell
    interval: Sequence[float] = ()


class _Table(NamedTuple):
    """A table of videos or attributes, which shows ``metric`` or another one that is chosen."""

    name: str
    metric: Metric
    metrics: Sequence[Metric]
    groups: Groups
    sizes: Mapping[str, int]

    @property
    def rows(self) -> dict[str, list[_Cell]]:
        return {
            name: _cells([(of or {}).get(self.metric.key, math.nan) for of in row], self.metric)
            for name, row in self.groups.items()
        }


def _content(evaluation: Evaluation, trackers: Sequence[str]) -> dict[str, Any]:
    """What the template shows."""
    dataset, videos = evaluation.dataset, evaluation.dataset.videos
    scores = {name: evaluation.scores(name) for name in trackers}
    metrics = _metrics(evaluation, scores)
    by_video = {name: [of.videos.get(name) for of in scores.values()] for name in videos}
    names = dict.fromkeys(name for of in scores.values() for name in of.attributes)
    by_attribute = {name: [of.attributes.get(name) for of in scores.values()] for name in names}
    overlaps = frame_overlaps(evaluation, trackers)
    return {
        "dataset": dataset,
        "num_frames": sum(map(len, dataset)),
        "incomplete": evaluation.incomplete,
        "metrics": metrics,
        "trackers": _tracker_rows(evaluation, scores, metrics),
        "attributes": _attribute_table(evaluation, by_attribute, metrics),
        "videos": _video_table(evaluation, by_video, metrics),
        "strips": filmstrips(evaluation, trackers, overlaps),
        "data": _json(
            {
                "trackers": [{"name": name, "color": _color(i)} for i, name in enumerate(scores)],
                "order": [metric.key for metric in metrics],
                "metrics": {
                    of.key: {"label": of.label, "digits": of.digits, "higher": of.higher_is_better}
                    for of in metrics
                },
                "videos": _rounded(by_video, metrics),
                "attributes": _rounded(by_attribute, metrics),
                "frames": {name: len(video) for name, video in videos.items()},
                "tags": {name: list(video.attr) for name, video in videos.items()},
                "timelines": {
                    name: [encoded(of[name]) if name in of else "" for of in overlaps.values()]
                    for name in videos
                    if any(name in of for of in overlaps.values())
                },
            }
        ),
        **_plots(evaluation, trackers),
    }


def _metrics(evaluation: Evaluation, scores: Trackers) -> list[Metric]:
    """All metrics of the trackers, those of the benchmark's table first."""
    there = dict.fromkeys(metric for of in scores.values() for metric in of.metrics)
    first = [metric for metric in evaluation.ranked_metrics if metric in there]
    return [METRICS[metric] for metric in dict.fromkeys([*first, *there])]


def _tracker_rows(
    evaluation: Evaluation, scores: Trackers, metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    columns = []
    for metric in metrics:
        cells = _cells([of.metrics[metric.key] for of in scores.values()], metric, ("second",))
        bounds = [of.intervals.get(metric.key, ()) for of in scores.values()]
        known = [of if all(map(math.isfinite, of)) else () for of in bounds]
        columns.append([c._replace(interval=of) for c, of in zip(cells, known, strict=True)])
    rows = zip(scores.items(), zip(*columns, strict=True), strict=True)
    return [
        {
            "index": i,
            "name": name,
            "color": _color(i),
            "cells": cells,
            "problems": of.problems,
            "runs": _run_rows(evaluation, name),
        }
        for i, ((name, of), cells) in enumerate(rows)
    ]


def _run_rows(evaluation: Evaluation, tracker: str) -> list[list[str]]:
    """Texts of how a tracker was run, empty where that is not known; at least one row."""
    runs = read_runs(evaluation.store(tracker).folder, evaluation.dataset.videos)
    return [
        [
            "" if run.fps is None else f"{run.fps:.1f}",
            f"{run.frames:,}",
            str(run.videos),
            *(run.conditions.device, run.conditions.settings, run.conditions.version),
            run.date.replace("T", " ")[:16],
        ]
        for run in runs
    ] or [[""] * 7]


def _cells(values: Sequence[float], metric: Metric, marks: Sequence[str] = ()) -> list[_Cell]:
    """Cells with marks of the best values, unless there is only one."""
    known = dict(enumerate(("first", *marks))) if len(values) > 1 else {}
    places = places_of(values, metric)
    return [_Cell(plain(v), known.get(place, "")) for v, place in zip(values, places, strict=True)]


def _attribute_table(evaluation: Evaluation, groups: Groups, metrics: Sequence[Metric]) -> _Table:
    groups = {name: row for name, row in groups.items() if name != "ALL"}
    found = {metric for row in groups.values() for of in row for metric in of or ()}
    known = [metric for metric in metrics if metric.key in found]
    attributes = evaluation.dataset.attr
    sizes = {name: len(attributes[name]) for name in groups if name in attributes}
    return _Table("attributes", METRICS[evaluation.key], known, groups, sizes)


def _video_table(evaluation: Evaluation, groups: Groups, metrics: Sequence[Metric]) -> _Table:
    """The table of videos; EAO, say, means little for one of them and is not shown at first."""
    columns = [key for key, _ in evaluation.video_columns]
    key = evaluation.key if evaluation.key in columns or not columns else columns[0]
    sizes = {name: len(video) for name, video in evaluation.dataset.videos.items()}
    return _Table("videos", METRICS[key], metrics, groups, sizes)


def _plots(evaluation: Evaluation, trackers: Sequence[str]) -> dict[str, Any]:
    try:
        return {
            "no_plots": "",
            "plots": [_image(plot) for plot in main_plots(evaluation, trackers)],
            "more_plots": [_image(plot) for plot in attribute_plots(evaluation, trackers)],
        }
    except ImportError as error:
        logger.warning("the report has no plots: %s", error)
        return {"no_plots": str(error)}


def _image(plot: Plot) -> dict[str, str]:
    image = "data:image/svg+xml;base64," + base64.b64encode(drawn(plot.figure, "svg")).decode(
        "ascii"
    )
    return {"title": plot.title, "image": image}


def _color(index: int) -> str:
    """Color of the n-th tracker, the same as in the plots."""
    blue, green, red = bgr_color(index)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _rounded(groups: Groups, metrics: Sequence[Metric]) -> dict[str, list]:
    """Values by group, tracker and metric."""
    keys = [metric.key for metric in metrics]
    return {
        name: [
            None if of is None else [round(of.get(key, math.nan), 5) for key in keys] for of in row
        ]
        for name, row in groups.items()
    }


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
