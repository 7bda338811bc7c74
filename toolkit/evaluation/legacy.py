"""PySOT's classes of evaluation: its names, values and printed tables; nothing else uses them.

Arguments that all have: ``eval_trackers`` is a name, several, or None for all of the data set.
``show_result`` prints the table of the ``top`` trackers, best first, from what the methods ``eval``
return; with ``show_video_level`` and fewer than 10 trackers that of the videos too, with values
below ``helight_threshold`` (PySOT's spelling) in red if ``color``, or None and in a terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.metrics import best_f1, score_of_curve
from toolkit.evaluation.one_pass import LongTermEvaluation, OnePassEvaluation
from toolkit.evaluation.reset import BURNIN, SKIPPING, ResetEvaluation
from toolkit.evaluation.tables import (
    Cell,
    TableColumn,
    format_table,
    metric_table,
    one_pass_table,
    print_tables,
)
from toolkit.utils.statistics import box_centers, norm_centers

AR = ("accuracy", "robustness", "lost_number")
#: Most common length in frames of a year's videos, by the window that was chosen around it.
PEAKS = {(108, 371): 168, (100, 356): 160, (46, 291): 128}

Curves = dict[str, NDArray]  # by video
Trackers = str | Sequence[str] | None  # a name, several, or all of the data set


class OPEBenchmark(OnePassEvaluation):
    """One-pass evaluation; see `Evaluation` for its arguments."""

    def eval_success(self, eval_trackers: Trackers = None) -> dict[str, Curves]:
        """Success plots, (21,) per tracker and video."""
        return self._curves_of("success", eval_trackers)

    def eval_precision(self, eval_trackers: Trackers = None) -> dict[str, Curves]:
        """Precision plots over 0-50 pixels, (51,) per tracker and video."""
        return self._curves_of("precision", eval_trackers)

    def eval_norm_precision(self, eval_trackers: Trackers = None) -> dict[str, Curves]:
        """Precision plots over 0-0.5 target sizes, (51,) per tracker and video."""
        return self._curves_of("norm_precision", eval_trackers)

    def show_result(
        self,
        success_ret: Mapping[str, Curves],
        precision_ret: Mapping[str, Curves] | None = None,
        norm_precision_ret: Mapping[str, Curves] | None = None,
        show_video_level: bool = False,
        helight_threshold: float = 0.6,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the tables; a metric that is not given prints as 0.000, and videos need precision.

        Raises:
            ValueError: If a tracker has no video.
        """
        given = {
            "success": success_ret,
            "norm_precision": norm_precision_ret,
            "precision": precision_ret,
        }
        scores = {
            name: {metric: _mean_score(metric, of[name]) for metric, of in given.items() if of}
            for name in success_ret
        }
        videos = None
        if show_video_level and precision_ret is not None:
            videos = {n: _curve_means(of, precision_ret[n]) for n, of in success_ret.items()}
        columns = _with_threshold(self.video_columns, helight_threshold)
        print_tables(one_pass_table(scores, (), top), videos, columns, self.name_width, color)

    def convert_bb_to_center(self, bboxes: NDArray) -> NDArray:
        """Centers (N, 2) of boxes (N, 4) x, y, w, h; see `box_centers`."""
        return box_centers(np.asarray(bboxes))

    def convert_bb_to_norm_center(self, bboxes: NDArray, gt_wh: NDArray) -> NDArray:
        """Centers (N, 2) in units of ground-truth sizes (N, 2); see `norm_centers`."""
        return norm_centers(np.asarray(bboxes), np.asarray(gt_wh))

    def _curves_of(self, metric: str, trackers: Trackers) -> dict[str, Curves]:
        return {
            name: self.scores(name).measures.of_videos(metric)
            for name in _names(self.dataset, trackers)
        }


class F1Benchmark(LongTermEvaluation):
    """Long-term evaluation; see `Evaluation` for its arguments."""

    def eval(self, eval_trackers: Trackers = None) -> dict[str, dict[str, Curves]]:
        """Curves (100,) by tracker, metric and video, from the highest threshold to the lowest."""
        metrics = [metric.key for metric in self.metrics]
        measures = {n: self.scores(n).measures for n in _names(self.dataset, eval_trackers)}
        return {name: {m: of.of_videos(m) for m in metrics} for name, of in measures.items()}

    def show_result(
        self,
        result: Mapping[str, Mapping[str, Curves]],
        show_video_level: bool = False,
        helight_threshold: float = 0.5,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the tables."""
        scores = {name: _long_term_scores(of) for name, of in result.items()}
        best = sorted(scores, key=lambda name: scores[name]["f1"], reverse=True)[:top]
        metrics = [metric.key for metric in self.metrics]
        table = metric_table({name: scores[name] for name in best}, metrics)
        videos = _by_video(_long_term_scores, result) if show_video_level else None
        columns = _with_threshold(self.video_columns, helight_threshold)
        print_tables(table, videos, columns, color=color)


class AccuracyRobustnessBenchmark:
    """Accuracy and robustness of VOT2016-2019; see `ResetEvaluation`.

    Accuracy leaves out ``burnin`` frames from each start on. (PySOT always took 10.)
    """

    def __init__(self, dataset: Dataset, burnin: int = BURNIN) -> None:
        self.dataset, self.burnin = dataset, burnin
        self.evaluation = ResetEvaluation(dataset, burnin=burnin)

    def eval(self, eval_trackers: Trackers = None) -> dict[str, dict[str, Any]]:
        """Overlaps and failures by tracker.

        Returns:
            ``overlaps``, by video a list with the mean over repetitions of each frame, NaN where
            there is none, and ``failures``, by video their number per repetition.
        """
        result = {}
        for name in _names(self.dataset, eval_trackers):
            measured = self.evaluation.scores(name).measures.by_video
            result[name] = {
                part: {video: values.tolist() for video, values in measured[part].items()}
                for part in ("overlaps", "failures")
            }
        return result

    def show_result(
        self,
        result: Mapping[str, Mapping[str, Any]],
        eao_result: Mapping[str, Mapping[str, float]] | None = None,
        show_video_level: bool = False,
        helight_threshold: float = 0.5,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the tables; failures are red whatever the threshold.

        ``eao_result`` adds a column and ranks the trackers; without it all are shown, in the order
        given.
        """
        scores = {name: _accuracy_robustness(of) for name, of in result.items()}
        order, metrics = list(scores), AR
        if eao_result is not None:
            metrics = (*AR, "eao")
            for name, of in scores.items():
                of["eao"] = eao_result[name]["all"]
            order = sorted(order, key=lambda name: scores[name]["eao"], reverse=True)[:top]
        table = metric_table({name: scores[name] for name in order}, metrics)
        videos = _by_video(_accuracy_robustness, result) if show_video_level else None
        accuracy, lost = self.evaluation.video_columns
        columns = [*_with_threshold([accuracy], helight_threshold), lost]
        print_tables(table, videos, columns, color=color)


class EAOBenchmark:
    """Expected average overlap (EAO) of VOT2016-2019, by tag of the frames; see `ResetEvaluation`.

    It averages over sequences of ``low`` to ``high`` frames; ``peak`` is the most common length, or
    None. An unknown tag raises ValueError.
    """

    def __init__(
        self, dataset: Dataset, skipping: int = SKIPPING, tags: Sequence[str] = ("all",)
    ) -> None:
        for tag in tags:
            if tag not in dataset.tags:
                raise ValueError(f"unknown tag {tag!r}; there are: {', '.join(dataset.tags)}")
        self.dataset, self.skipping, self.tags = dataset, skipping, list(tags)
        self.evaluation = ResetEvaluation(dataset, skipping=skipping)
        self.low, self.high = dataset.benchmark.eao_window
        self.peak = PEAKS.get((self.low, self.high))

    def eval(self, eval_trackers: Trackers = None) -> dict[str, dict[str, float]]:
        """EAO by tracker and tag."""
        return {
            name: {tag: self.evaluation.scores(name).attributes[tag]["eao"] for tag in self.tags}
            for name in _names(self.dataset, eval_trackers)
        }

    def show_result(self, result: Mapping[str, Mapping[str, float]], topk: int = 10) -> None:
        """Print the table of EAO by tag of the ``topk`` trackers, best of tag ``all`` first."""
        best = sorted(result, key=lambda name: result[name]["all"], reverse=True)[:topk]
        tags = list(result[best[0]]) if best else []
        width = max([20, *(len(name) + 2 for name in best)])
        header = [("Tracker Name", width), *((tag, max(len(tag) + 2, 7)) for tag in tags)]
        rows = [[Cell(n), *(Cell(f"{result[n][tag]:.3f}") for tag in tags)] for n in best]
        print(format_table([header], rows))


def _names(dataset: Dataset, trackers: Trackers) -> list[str]:
    if trackers is None:
        return dataset.tracker_names
    return [trackers] if isinstance(trackers, str) else list(trackers)


def _with_threshold(columns: Sequence[TableColumn], low: float) -> list[TableColumn]:
    return [(metric, replace(column, low=low)) for metric, column in columns]


def _mean_score(key: str, curves: Curves) -> float:
    if not curves:
        raise ValueError(f"no video to average {key} over")
    return score_of_curve(key, np.mean(list(curves.values()), axis=0))


def _curve_means(success: Curves, precision: Curves) -> dict[str, dict[str, float]]:
    """What PySOT's table of the videos shows."""
    return {
        video: {"success": np.mean(curve), "precision": np.mean(precision[video])}
        for video, curve in success.items()
    }


def _long_term_scores(curves: Mapping[str, Curves]) -> dict[str, float]:
    means = (np.mean(list(curves[m].values()), axis=0)[None] for m in ("precision", "recall"))
    return {metric: float(value[0]) for metric, value in best_f1(*means).items()}


def _accuracy_robustness(result: Mapping[str, Any]) -> dict[str, float]:
    """Scores of what `AccuracyRobustnessBenchmark.eval` returns for a tracker."""
    overlaps = np.concatenate([np.asarray(of, np.float64) for of in result["overlaps"].values()])
    known = overlaps[~np.isnan(overlaps)]
    failures = sum(float(np.mean(values)) for values in result["failures"].values())
    return {
        "accuracy": float(known.mean()) if len(known) else float("nan"),
        "robustness": 100 * failures / len(overlaps),
        "lost_number": failures,
    }


def _by_video(
    score: Callable[[Mapping], dict[str, float]], result: Mapping[str, Mapping[str, Mapping]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Score each video of each tracker alone."""
    return {
        name: {
            video: score({part: {video: values[video]} for part, values in of.items()})
            for video in next(iter(of.values()))
        }
        for name, of in result.items()
    }
