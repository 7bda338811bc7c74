"""The scores of trackers as one HTML page that needs nothing else: no network, no server.

Tables and text are written here, so that the page reads without JavaScript; ``page.js`` sorts,
changes the metric and shows the details of a video from the data that the page carries.
"""

import base64
import io
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from toolkit.evaluation import METRICS, Evaluation, Scores
from toolkit.evaluation.metrics import Metric, plain
from toolkit.evaluation.tables import places_of
from toolkit.io.files import atomic_write
from toolkit.report.figures import Plot, attribute_plots, main_plots
from toolkit.report.filmstrips import Strip, filmstrips
from toolkit.report.timelines import encoded, frame_overlaps
from toolkit.visualization.plots import COLOR

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_DASH = "\u2013"
_PLACES = {0: "first", 1: "second"}  # class of a cell

Trackers = Mapping[str, Scores]


def write_report(
    folder: str | os.PathLike, evaluation: Evaluation, trackers: Sequence[str]
) -> None:
    """Write ``<folder>/index.html``; without matplotlib it has no plots, and says so.

    Args:
        folder: Made if needed.
        evaluation: Has scored the trackers.
        trackers: Their names, in the order of the tables, best first.

    Raises:
        OSError: If the file cannot be written.
    """
    page = report_page(evaluation, trackers)
    with atomic_write(Path(folder) / "index.html") as file:
        file.write(page)


def report_page(evaluation: Evaluation, trackers: Sequence[str]) -> str:
    """The page as text; see `write_report`."""
    scores = {name: evaluation.scores(name) for name in trackers}
    metrics = _metrics(evaluation, scores)
    overlaps = frame_overlaps(evaluation, trackers)
    timelines = {
        video: [encoded(of[video]) if video in of else "" for of in overlaps.values()]
        for video in evaluation.dataset.videos
        if any(video in of for of in overlaps.values())
    }
    strips = filmstrips(evaluation, trackers, overlaps)
    sections = [
        _heading(evaluation, scores),
        _section("Trackers", _tracker_table(scores, metrics)),
        *_plot_sections(evaluation, trackers),
        _attribute_section(evaluation, scores, metrics),
        _video_section(evaluation, scores, metrics),
        _strip_section(strips),
        _problem_section(scores),
        _DIALOG,
        _data_element(_page_data(evaluation, scores, metrics, timelines)),
        f"<script>\n{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>",
    ]
    return _PAGE.format(
        title=escape(f"{evaluation.dataset.name}: {_counted(len(scores), 'tracker')}"),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        body="\n".join(filter(None, sections)),
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_DIALOG = """<dialog id="video" aria-labelledby="video-name">
<h2 id="video-name"></h2>
<button class="close" autofocus>Close</button>
<p class="soft"></p>
<div class="plot"></div>
<div class="scroll"></div>
</dialog>"""


def _metrics(evaluation: Evaluation, scores: Trackers) -> list[str]:
    """All metrics of the trackers, those of the benchmark's table first."""
    there = dict.fromkeys(metric for of in scores.values() for metric in of.metrics)
    first = [metric for metric in evaluation.ranked_metrics if metric in there]
    return [*first, *(metric for metric in there if metric not in first)]


def _heading(evaluation: Evaluation, scores: Trackers) -> str:
    dataset = evaluation.dataset
    frames = sum(map(len, dataset))
    counts = [
        _counted(len(dataset), "video"),
        _counted(frames, "frame"),
        _counted(len(scores), "tracker"),
    ]
    protocol = f"protocol {dataset.benchmark.protocol}, missing results: {evaluation.incomplete}"
    return (
        f"<h1>{escape(dataset.name)}</h1>\n"
        f'<p class="soft">{", ".join(counts)}; {escape(protocol)}</p>'
    )


def _section(title: str, *parts: str) -> str:
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *parts, "</section>"])


def _tracker_table(scores: Trackers, metrics: Sequence[str]) -> str:
    """The table of trackers: a column per metric, and one for the number of problems."""
    heads = [_head("tracker", "Tracker", "ascending"), *map(_metric_head, metrics)]
    heads.append(_head("problems", "Problems", "descending"))
    places = {
        metric: places_of([of.metrics[metric] for of in scores.values()], METRICS[metric])
        for metric in metrics
    }
    rows = []
    for i, (name, of) in enumerate(scores.items()):
        cells = [
            _cell(of.metrics[m], METRICS[m], _mark(places[m][i], scores), of.intervals.get(m))
            for m in metrics
        ]
        count = len(of.problems)
        link = f'<a href="#problems-{i}">{count}</a>' if count else "0"
        rows.append([_row_head(_swatch(i) + escape(name), name), *cells])
        rows[-1].append(f'<td data-value="{count}">{link}</td>')
    note = "Green is the best of a column, underlined the second; a click on a heading sorts."
    return f'<p class="soft">{note}</p>\n' + _table("scores", heads, [("", row) for row in rows])


def _attribute_section(evaluation: Evaluation, scores: Trackers, metrics: Sequence[str]) -> str:
    names = [name for name in _attributes(scores) if name != "ALL"]
    if not names:
        return ""
    sizes = {name: len(videos) for name, videos in evaluation.dataset.attr.items()}
    known = [m for m in metrics if any(m in _any(of) for of in scores.values())]
    heads = [_head("attribute", "Attribute", "ascending")]
    heads += [_head("videos", "Videos", "descending")] if set(names) & set(sizes) else []
    fixed = {name: [str(sizes.get(name, 0))] for name in names} if len(heads) > 1 else {}
    groups = {name: [of.attributes.get(name) for of in scores.values()] for name in names}
    table = _group_table("attributes", heads, groups, fixed, (list(scores), evaluation.key))
    return _section("Attributes", _chooser("attributes", known, evaluation.key), table)


def _video_section(evaluation: Evaluation, scores: Trackers, metrics: Sequence[str]) -> str:
    heads = [_head("video", "Video", "ascending"), _head("frames", "Frames", "descending")]
    videos = evaluation.dataset.videos
    groups = {name: [of.videos.get(name) for of in scores.values()] for name in videos}
    fixed = {name: [str(len(video))] for name, video in videos.items()}
    metric = _video_metric(evaluation)
    table = _group_table("videos", heads, groups, fixed, (list(scores), metric))
    note = '<p class="soft">Click on a video for its details.</p>'
    return _section("Videos", note, _chooser("videos", metrics, metric), table)


def _video_metric(evaluation: Evaluation) -> str:
    """What the table of videos shows at first: EAO, say, means little for a single video."""
    columns = [metric for metric, _ in evaluation.video_columns]
    return evaluation.key if evaluation.key in columns or not columns else columns[0]


def _group_table(
    name: str,
    heads: Sequence[str],
    groups: Mapping[str, Sequence[Mapping[str, float] | None]],
    fixed: Mapping[str, Sequence[str]],
    columns: tuple[Sequence[str], str],
) -> str:
    """A table of videos or attributes with a column per tracker.

    Args:
        name: Identifies the table.
        heads: Of the columns before those of the trackers.
        groups: Scores of the trackers by row; None where a tracker has none.
        fixed: Texts of the columns after the name, by row.
        columns: Names of the trackers, and the metric that is shown.
    """
    trackers, metric = columns
    shown = METRICS[metric]
    first = "descending" if shown.higher_is_better else "ascending"
    heads = [*heads, *(_head(str(i), of, first, _swatch(i)) for i, of in enumerate(trackers))]
    rows = []
    for group, scores in groups.items():
        values = [math.nan if of is None else of.get(metric, math.nan) for of in scores]
        places = places_of(values, shown)
        label = escape(group)
        if name == "videos":
            label = f'<button data-video="{label}">{label}</button>'
        cells = [f"<td>{text}</td>" for text in fixed.get(group, ())]
        for value, place in zip(values, places, strict=True):
            cells.append(_cell(value, shown, "first" if place == 0 and len(values) > 1 else ""))
        rows.append((f' data-name="{escape(group)}"', [_row_head(label, group), *cells]))
    extra = f' data-first="{len(heads) - len(trackers)}"'
    return _table(name, heads, rows, extra, "scroll tall")


def _table(
    name: str,
    heads: Sequence[str],
    rows: Iterable[tuple[str, Sequence[str]]],
    extra: str = "",
    kind: str = "scroll",
) -> str:
    """A table whose rows are (attributes, cells), in a box that scrolls by itself."""
    body = "\n".join(f"<tr{attributes}>{''.join(cells)}</tr>" for attributes, cells in rows)
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(name)}">\n'
        f'<table id="{escape(name)}"{extra}>\n<thead><tr>{"".join(heads)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _head(key: str, label: str, first: str, swatch: str = "") -> str:
    """A heading that sorts; ``first`` is the direction of the first click."""
    button = (
        f'<button data-key="{escape(key)}" data-first="{first}">{swatch}{escape(label)}</button>'
    )
    return f'<th scope="col" aria-sort="none">{button}</th>'


def _metric_head(metric: str) -> str:
    shown = METRICS[metric]
    return _head(metric, shown.label, "descending" if shown.higher_is_better else "ascending")


def _row_head(label: str, value: str) -> str:
    return f'<th scope="row" data-value="{escape(value)}">{label}</th>'


def _cell(
    value: float, metric: Metric, mark: str = "", interval: tuple[float, float] | None = None
) -> str:
    known = math.isfinite(value)
    text = f"{value:.{metric.digits}f}" if known else _DASH
    if interval and all(map(math.isfinite, interval)):
        low, high = (f"{bound:.{metric.digits}f}" for bound in interval)
        text += f"<small>{low} to {high}</small>"
    kind = f' class="{mark}"' if mark else ""
    return f'<td data-value="{value if known else ""}"{kind}>{text}</td>'


def _mark(place: int | None, scores: Trackers) -> str:
    return _PLACES.get(place, "") if len(scores) > 1 else ""


def _swatch(index: int) -> str:
    return f'<span class="swatch" style="background:{_color(index)}"></span>'


def _color(index: int) -> str:
    """Colour of the n-th tracker, the same as in the plots."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in COLOR[index % len(COLOR)])


def _chooser(table: str, metrics: Sequence[str], chosen: str) -> str:
    """A list to choose the metric of a table from; nothing if there is no choice."""
    if len(metrics) < 2:
        return f'<p class="soft">{escape(METRICS[chosen].label)}</p>'
    options = "".join(
        f'<option value="{metric}"{" selected" if metric == chosen else ""}>'
        f"{escape(METRICS[metric].label)}</option>"
        for metric in metrics
    )
    return f'<p><label>Metric <select data-table="{table}">{options}</select></label></p>'


def _plot_sections(evaluation: Evaluation, trackers: Sequence[str]) -> list[str]:
    try:
        shown = [_plot(plot) for plot in main_plots(evaluation, trackers)]
        more = [_plot(plot) for plot in attribute_plots(evaluation, trackers)]
    except ModuleNotFoundError as error:
        logger.warning("the report has no plots: %s", error)
        note = f"<p>There are no plots: {escape(str(error))}</p>"
        return [_section("Plots", note)]
    parts = [f'<div class="plots">\n{"".join(shown)}</div>']
    if more:
        summary = f"<summary>Success by attribute ({_counted(len(more), 'plot')})</summary>"
        parts.append(
            f'<details>\n{summary}\n<div class="plots">\n{"".join(more)}</div>\n</details>'
        )
    return [_section("Plots", *parts)]


def _plot(plot: Plot) -> str:
    file = io.BytesIO()
    plot.figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    address = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    title = escape(plot.title)
    image = f'<img loading="lazy" alt="Plot: {title}" src="{address}">'
    return f"<figure>{image}<figcaption>{title}</figcaption></figure>\n"


def _strip_section(strips: Mapping[str, Sequence[Strip]]) -> str:
    if not strips:
        return ""
    note = "Ground truth green, result yellow; frames count from 0."
    parts = [f'<p class="soft">{note}</p>']
    for tracker, of in strips.items():
        parts.append(f"<h3>{escape(tracker)}</h3>")
        for strip in of:
            caption = escape(strip.caption)
            image = f'<img loading="lazy" alt="Frames of {caption}" src="{strip.image}">'
            box = f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
            parts.append(f"<figure>{box}{image}</div><figcaption>{caption}</figcaption></figure>")
    return _section("Worst failures", '<div class="strips">', *parts, "</div>")


def _problem_section(scores: Trackers) -> str:
    parts = []
    for i, (name, of) in enumerate(scores.items()):
        if of.problems:
            items = "".join(f"<li>{escape(problem)}</li>" for problem in of.problems)
            parts.append(f'<h3 id="problems-{i}">{escape(name)}</h3>\n<ul>{items}</ul>')
    return _section("Problems with the results", *(parts or ["<p>None were found.</p>"]))


def _page_data(
    evaluation: Evaluation,
    scores: Trackers,
    metrics: Sequence[str],
    timelines: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What ``page.js`` works with."""

    def values(of: Mapping[str, float] | None) -> list[float] | None:
        return None if of is None else [_rounded(of.get(metric, math.nan)) for metric in metrics]

    videos = evaluation.dataset.videos
    shown = {metric: METRICS[metric] for metric in metrics}
    return plain(
        {
            "trackers": [{"name": name, "color": _color(i)} for i, name in enumerate(scores)],
            "order": list(metrics),
            "metrics": {
                metric: {"label": of.label, "digits": of.digits, "higher": of.higher_is_better}
                for metric, of in shown.items()
            },
            "videos": {n: [values(of.videos.get(n)) for of in scores.values()] for n in videos},
            "attributes": {
                n: [values(of.attributes.get(n)) for of in scores.values()]
                for n in _attributes(scores)
            },
            "frames": {name: len(video) for name, video in videos.items()},
            "tags": {name: list(video.attr) for name, video in videos.items()},
            "timelines": dict(timelines),
        }
    )


def _data_element(data: Mapping[str, Any]) -> str:
    """The data as an element of the page; no text in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>'


def _attributes(scores: Trackers) -> list[str]:
    """Names of all attributes, in the order of the data set."""
    return list(dict.fromkeys(name for of in scores.values() for name in of.attributes))


def _any(scores: Scores) -> Mapping[str, float]:
    """Scores of any attribute, for the metrics that there are."""
    return next(iter(scores.attributes.values()), {})


def _rounded(value: float) -> float:
    return round(value, 5) if math.isfinite(value) else value


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
