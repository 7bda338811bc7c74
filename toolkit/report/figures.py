"""All plots that apply to an evaluation, whatever its protocol."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import NDArray

from toolkit.evaluation import METRICS, Evaluation
from toolkit.evaluation.metrics import CURVES, Scores
from toolkit.visualization import (
    draw_accuracy_robustness,
    draw_bars,
    draw_curves,
    draw_eao,
    draw_expected_overlap,
    draw_f1,
    draw_radar,
    draw_rank,
    draw_success_precision,
)
from toolkit.visualization.plots import LEAST_AXES, drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plot(NamedTuple):
    """A plot and what to call it.

    Attributes:
        name: Part of a file name.
        title: One line of text.
        figure: The plot.
    """

    name: str
    title: str
    figure: "Figure"


Trackers = Mapping[str, Scores]  # in the order that decides their colors


def main_plots(evaluation: Evaluation, trackers: Sequence[str]) -> Iterator[Plot]:
    """Draw the plots over the whole data set that its evaluation has.

    Args:
        evaluation: Has scored the trackers.
        trackers: Names; trackers have the same color in all plots.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    scores = {name: evaluation.scores(name) for name in trackers}
    yield from _PLOTTERS[evaluation.dataset.benchmark.evaluation](evaluation, scores)
    if more := [metric.key for metric in evaluation.metrics if metric.always_shown]:
        yield _bars(evaluation, scores, more, "more_scores")


def attribute_plots(
    evaluation: Evaluation, trackers: Sequence[str], metrics: Sequence[str] = ("success",)
) -> Iterator[Plot]:
    """Draw the curves over the videos of each attribute; one-pass sets only, else nothing.

    Args:
        evaluation: Has scored the trackers.
        trackers: Names; those that have no result for an attribute are not in its plot.
        metrics: ``success``, and ``precision`` if wanted.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    if evaluation.dataset.benchmark.evaluation != "ope":
        return
    scores = {name: evaluation.scores(name) for name in trackers}
    success, precision = (_by_video(scores, metric) for metric in ("success", "precision"))
    for attribute, videos in evaluation.dataset.attr.items():
        # a tracker that is left out must not change the colors of the others
        having = {name: set(videos) & set(of) for name, of in success.items()}
        if attribute == "ALL" or not all(having.values()):
            continue
        given = precision if "precision" in metrics else None
        figures = draw_success_precision(
            success, evaluation.dataset.name, videos, attribute, given, show=False
        )
        for metric, figure in figures.items():
            title = f"{CURVES[metric].title}, {attribute} ({_counted(videos)})"
            yield Plot(f"{metric}_{file_part(attribute)}", title, figure)


def file_part(name: str) -> str:
    """A name as part of a file name: letters, digits, dots and dashes, the rest underscores."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "_"


def _counted(videos: Sequence[str]) -> str:
    return f"{len(videos)} video" + ("" if len(videos) == 1 else "s")


def _one_pass(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    dataset = evaluation.dataset
    figures = draw_success_precision(
        _by_video(scores, "success"),
        dataset.name,
        list(dataset.videos),
        "ALL",
        _by_video(scores, "precision"),
        _by_video(scores, "norm_precision"),
        show=False,
    )
    for metric, figure in figures.items():
        yield Plot(metric, CURVES[metric].title, figure)
    yield from _radar(evaluation, scores)


def _reset(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    name, eao = evaluation.dataset.name, _metric(scores, "eao")
    bounds = {tracker: of.intervals["eao"] for tracker, of in scores.items() if of.intervals}
    figure = draw_rank(eao, f"Expected average overlap on {name}", "EAO", bounds)
    yield Plot("eao_rank", "EAO by rank", figure)
    curves, window = _curves(scores, "expected_overlap"), evaluation.dataset.benchmark.eao_window
    figure = draw_expected_overlap(curves, eao, window, name)
    yield Plot("expected_overlap", "Expected overlap", figure)
    points = {
        tracker: (of.metrics["accuracy"], of.metrics["robustness"])
        for tracker, of in scores.items()
    }
    figure = draw_accuracy_robustness(points, name)
    yield Plot("accuracy_robustness", "Accuracy and robustness", figure)
    by_tag = {
        tracker: {tag: values["eao"] for tag, values in of.attributes.items()}
        for tracker, of in scores.items()
    }
    if len(drawable(by_tag)) >= LEAST_AXES:
        yield Plot("eao", "EAO by tag", draw_eao(by_tag, show=False))


def _long_term(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    name = evaluation.dataset.name
    curves = {metric: _by_video(scores, metric) for metric in ("precision", "recall")}
    result = {tracker: {metric: of[tracker] for metric, of in curves.items()} for tracker in scores}
    figure = draw_f1(result, name=name, show=False)
    yield Plot("f1", "Precision over recall", figure)
    curve, f1 = CURVES["f1"], _metric(scores, "f1")
    labels = (curve.x, curve.y)
    figure = draw_curves(_curves(scores, "f1"), f1, f"F1 on {name}", labels, "lower left")
    yield Plot("f1_threshold", "F1 over the confidence threshold", figure)
    yield from _radar(evaluation, scores)


def _got10k(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    name, curve = evaluation.dataset.name, CURVES["success"]
    title, labels = f"Success plots on {name}, by AO", (curve.x, curve.y)
    curves = _curves(scores, "success")
    figure = draw_curves(curves, _metric(scores, "ao"), title, labels)
    yield Plot("success", curve.title, figure)
    yield _bars(evaluation, scores, evaluation.headlines)
    yield from _radar(evaluation, scores)


def _masks(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    yield _bars(evaluation, scores, evaluation.headlines)
    yield from _radar(evaluation, scores)


_PLOTTERS: dict[str, Callable[[Evaluation, Trackers], Iterator[Plot]]] = {
    "ope": _one_pass,
    "vot": _reset,
    "longterm": _long_term,
    "got10k": _got10k,
    "davis": _masks,
}


def _bars(
    evaluation: Evaluation, scores: Trackers, metrics: Sequence[str], name: str = "scores"
) -> Plot:
    names = {metric: METRICS[metric].label for metric in metrics}
    title = f"{', '.join(names.values())} on {evaluation.dataset.name}"
    figure = draw_bars({tracker: of.metrics for tracker, of in scores.items()}, title, names)
    return Plot(name, title, figure)


def _radar(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    """Scores by attribute, if the videos have at least three."""
    key = evaluation.key
    values = {
        tracker: {attribute: of[key] for attribute, of in found.attributes.items()}
        for tracker, found in scores.items()
    }
    if len(drawable(values)) > LEAST_AXES:  # one of them is ALL
        label = METRICS[key].label
        title = f"{label} by attribute"
        names = {"ALL": "Overall"}
        figure = draw_radar(values, f"{title} on {evaluation.dataset.name}", names)
        yield Plot("attributes", title, figure)


def _by_video(scores: Trackers, curve: str) -> dict[str, dict[str, NDArray]]:
    """Curves by tracker and video, as PySOT's drawing functions take them."""
    return {tracker: of.measures.of_videos(curve) for tracker, of in scores.items()}


def _metric(scores: Trackers, metric: str) -> dict[str, float]:
    return {tracker: of.metrics[metric] for tracker, of in scores.items()}


def _curves(scores: Trackers, curve: str) -> dict[str, tuple]:
    found = {tracker: of.curves[curve] for tracker, of in scores.items()}
    return {tracker: (of.x, of.y) for tracker, of in found.items()}
