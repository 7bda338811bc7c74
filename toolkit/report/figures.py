"""All plots that apply to an evaluation, whatever its protocol."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import NDArray

from toolkit.evaluation import METRICS, Evaluation
from toolkit.evaluation.metrics import CURVES, Scores
from toolkit.visualization import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plot(NamedTuple):
    """A plot and what to call it."""

    name: str  # part of a file name
    title: str
    figure: "Figure"


Trackers = Mapping[str, Scores]  # in the order that decides their colors


def main_plots(evaluation: Evaluation, trackers: Sequence[str]) -> Iterator[Plot]:
    """Draw the plots over the whole data set; trackers have the same color in all of them.

    Raises:
        ImportError: If matplotlib is not installed, or broken.
    """
    scores = {name: evaluation.scores(name) for name in trackers}
    yield from _PLOTTERS[evaluation.dataset.benchmark.evaluation](evaluation, scores)
    if more := [metric.key for metric in evaluation.metrics if metric.always_shown]:
        yield _bars(evaluation, scores, more, "more_scores")


def attribute_plots(
    evaluation: Evaluation, trackers: Sequence[str], metrics: Sequence[str] = ("success",)
) -> Iterator[Plot]:
    """Draw success, and precision if wanted, over the videos of each attribute (one-pass sets).

    Attributes for which a tracker has no result are left out.

    Raises:
        ImportError: If matplotlib is not installed, or broken.
    """
    if evaluation.dataset.benchmark.evaluation != "ope":
        return
    scores = {name: evaluation.scores(name) for name in trackers}
    success, precision = (_by_video(scores, metric) for metric in ("success", "precision"))
    for attribute, videos in evaluation.dataset.attr.items():
        having = {name: set(videos) & set(of) for name, of in success.items()}
        if attribute == "ALL" or not all(having.values()):
            continue
        given = precision if "precision" in metrics else None
        figures = plots.draw_success_precision(
            success, evaluation.dataset.name, videos, attribute, given, show=False
        )
        counted = f"{len(videos)} video" + ("" if len(videos) == 1 else "s")
        for metric, figure in figures.items():
            title = f"{CURVES[metric].title}, {attribute} ({counted})"
            yield Plot(f"{metric}_{file_part(attribute)}", title, figure)


def file_part(name: str) -> str:
    """A name as part of a file name: letters, digits, dots and dashes, the rest underscores."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "_"


def _one_pass(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    dataset = evaluation.dataset
    success, *precisions = (
        _by_video(scores, metric) for metric in ("success", "precision", "norm_precision")
    )
    figures = plots.draw_success_precision(
        success, dataset.name, list(dataset.videos), "ALL", *precisions, show=False
    )
    for metric, figure in figures.items():
        yield Plot(metric, CURVES[metric].title, figure)
    yield from _radar(evaluation, scores)


def _reset(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    name, eao = evaluation.dataset.name, _metric(scores, "eao")
    bounds = {tracker: of.intervals["eao"] for tracker, of in scores.items() if of.intervals}
    figure = plots.draw_rank(eao, f"Expected average overlap on {name}", "EAO", bounds)
    yield Plot("eao_rank", "EAO by rank", figure)
    curves, window = _curves(scores, "expected_overlap"), evaluation.dataset.benchmark.eao_window
    figure = plots.draw_expected_overlap(curves, eao, window, name)
    yield Plot("expected_overlap", "Expected overlap", figure)
    accuracy, robustness = _metric(scores, "accuracy"), _metric(scores, "robustness")
    points = {tracker: (accuracy[tracker], robustness[tracker]) for tracker in scores}
    figure = plots.draw_accuracy_robustness(points, name)
    yield Plot("accuracy_robustness", "Accuracy and robustness", figure)
    by_tag = _by_attribute(scores, "eao")
    if len(plots.drawable(by_tag)) >= plots.LEAST_AXES:
        yield Plot("eao", "EAO by tag", plots.draw_eao(by_tag, show=False))


def _long_term(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    name = evaluation.dataset.name
    curves = {metric: _by_video(scores, metric) for metric in ("precision", "recall")}
    result = {tracker: {metric: of[tracker] for metric, of in curves.items()} for tracker in scores}
    figure = plots.draw_f1(result, name=name, show=False)
    yield Plot("f1", "Precision over recall", figure)
    curves, f1, labels = _curves(scores, "f1"), _metric(scores, "f1"), _labels("f1")
    figure = plots.draw_curves(curves, f1, f"F1 on {name}", labels, CURVES["f1"].corner)
    yield Plot("f1_threshold", "F1 over the confidence threshold", figure)
    yield from _radar(evaluation, scores)


def _got10k(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    curves, title = _curves(scores, "success"), f"Success plots on {evaluation.dataset.name}, by AO"
    figure = plots.draw_curves(curves, _metric(scores, "ao"), title, _labels("success"))
    yield Plot("success", CURVES["success"].title, figure)
    yield from _masks(evaluation, scores)


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
    values = {tracker: of.metrics for tracker, of in scores.items()}
    return Plot(name, title, plots.draw_bars(values, title, names))


def _radar(evaluation: Evaluation, scores: Trackers) -> Iterator[Plot]:
    """Scores by attribute, if the videos have at least three."""
    values = _by_attribute(scores, evaluation.key)
    if len(plots.drawable(values)) > plots.LEAST_AXES:  # one of them is ALL
        title = f"{METRICS[evaluation.key].label} by attribute"
        subject = f"{title} on {evaluation.dataset.name}"
        yield Plot("attributes", title, plots.draw_radar(values, subject, {"ALL": "Overall"}))


def _by_video(scores: Trackers, curve: str) -> dict[str, dict[str, NDArray]]:
    """Curves by tracker and video, as PySOT's drawing functions take them."""
    return {tracker: of.measures.of_videos(curve) for tracker, of in scores.items()}


def _metric(scores: Trackers, metric: str) -> dict[str, float]:
    return {tracker: of.metrics[metric] for tracker, of in scores.items()}


def _by_attribute(scores: Trackers, metric: str) -> dict[str, dict[str, float]]:
    return {
        tracker: {attribute: values[metric] for attribute, values in of.attributes.items()}
        for tracker, of in scores.items()
    }


def _labels(curve: str) -> tuple[str, str]:
    return CURVES[curve].x, CURVES[curve].y


def _curves(scores: Trackers, curve: str) -> dict[str, tuple]:
    return {tracker: (of.curves[curve].x, of.curves[curve].y) for tracker, of in scores.items()}
