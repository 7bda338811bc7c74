"""Long-term evaluation (VOT2018-LT): precision, recall and F1 over confidence thresholds.

Definitions follow Lukezic et al., "Now you see me" (2018), as PySOT computes them: at the lowest
threshold, minus infinity, only frames with a confidence above 0 count. Where neither precision nor
recall is above 0, F1 is 0 when thresholds are compared (in PySOT its NaN wins).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import VIDEO_TABLE_LIMIT, Evaluation, wants_color
from toolkit.evaluation.gathering import Gathered
from toolkit.evaluation.report import Column, metric_table, video_table
from toolkit.evaluation.scores import Curve, Measures
from toolkit.results.trajectory import Code, Trajectory
from toolkit.utils.region import overlaps
from toolkit.utils.statistics import calculate_f1, determine_thresholds

Curves = dict[str, NDArray]  # by video

METRICS = ("precision", "recall", "f1")
COLUMNS = (
    Column("Precision", 11, "precision", low=0.5),
    Column("Recall", 8, "recall", low=0.5),
    Column("F1", 7, "f1", low=0.5),
)


class F1Benchmark(Evaluation):
    """Precision, recall and F1 of long-term trackers at the threshold of the best F1.

    Args:
        dataset: The videos and the trackers' names and folder.
        incomplete: See `Evaluation`; with ``lost`` a frame without a result is one in which the
            tracker reports nothing, and a video without any has precision and recall 0.
        strict: Changes nothing here.
    """

    key = "f1"
    headlines = METRICS
    columns = COLUMNS

    def eval(
        self, eval_trackers: str | Sequence[str] | None = None
    ) -> dict[str, dict[str, Curves]]:
        """Curves (100,) by tracker, metric and video, from the highest threshold to the lowest."""
        return {
            name: {metric: self._by_video(name, metric) for metric in METRICS}
            for name in self.names(eval_trackers)
        }

    def measure(self, results: Gathered) -> Measures:
        """Precision and recall of each video, (V, 100), at thresholds (100,) of the tracker."""
        scores = np.concatenate([run.scores for (run, *_) in results.runs.values()])
        if np.isnan(scores).all():  # any threshold will do: every frame is lost
            scores = np.zeros(1)
        thresholds = determine_thresholds(scores)
        rows: dict[str, list[NDArray]] = {metric: [] for metric in METRICS}
        for name, (run, *_) in results.runs.items():
            curves = np.zeros((3, len(thresholds)))
            if name not in results.missing:
                curves = _video_curves(self.dataset.videos[name], run, thresholds)
            for metric, curve in zip(("f1", "precision", "recall"), curves, strict=True):
                rows[metric].append(curve)
        sums = {metric: np.array(values) for metric, values in rows.items()}
        return Measures(list(results.runs), sums, {"thresholds": thresholds[::-1]})

    def combine(self, measures: Measures, weights: NDArray) -> dict[str, NDArray]:
        """Precision, recall and F1 (B,) of the mean curves where their F1 is highest."""
        total = weights.sum(axis=1, keepdims=True)
        return best_f1(*(weights @ measures.sums[m] / total for m in ("precision", "recall")))

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Mean precision over mean recall, and F1 over the threshold, descending."""
        precision, recall = (measures.sums[m].mean(axis=0) for m in ("precision", "recall"))
        return {
            "precision_recall": Curve(recall, precision),
            "f1": Curve(measures.shared["thresholds"], f1_of(precision, recall)),
        }

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame of a video, NaN where the target is absent; read anew."""
        found = self.dataset.videos[video]
        values = _overlaps(found, self.read(tracker, video)[0])
        return np.where(np.isnan(found.boxes[:, 0]), np.nan, values)

    def show_result(
        self,
        result: Mapping[str, Mapping[str, Curves]],
        show_video_level: bool = False,
        helight_threshold: float = 0.5,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the table of the trackers and, below it, that of the videos, as PySOT does.

        Args:
            result: As `eval` returns it.
            show_video_level: Print the table of the videos too, for fewer than 10 trackers.
            helight_threshold: Values of the video table below it are red (PySOT's spelling).
            top: Number of trackers shown, best F1 first.
            color: Use red; None only if the output is a terminal.
        """
        scores = {name: _scores_of(of) for name, of in result.items()}
        best = sorted(scores, key=lambda name: scores[name]["f1"], reverse=True)[:top]
        print(metric_table({name: scores[name] for name in best}, METRICS))
        if show_video_level and len(result) <= VIDEO_TABLE_LIMIT:
            videos = {
                name: {
                    video: _scores_of({metric: {video: of[metric][video]} for metric in METRICS})
                    for video in of["precision"]
                }
                for name, of in result.items()
            }
            columns = [column._replace(low=helight_threshold) for column in COLUMNS]
            print("\n\n", video_table(videos, columns, color=wants_color(color)), sep="\n")

    def _by_video(self, tracker: str, metric: str) -> Curves:
        measures = self.scores(tracker).measures
        return dict(zip(measures.videos, measures.sums[metric], strict=True))


def f1_of(precision: NDArray, recall: NDArray) -> NDArray:
    """F1 of precisions and recalls of any shape; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * precision * recall / (precision + recall)


def best_f1(precision: NDArray, recall: NDArray) -> dict[str, NDArray]:
    """Precision, recall and F1 (B,) of curves (B, T) at the first threshold of the highest F1."""
    f1 = np.nan_to_num(f1_of(precision, recall))
    best = np.argmax(f1, axis=1)[:, None]
    values = {"precision": precision, "recall": recall, "f1": f1}
    return {name: np.take_along_axis(of, best, axis=1)[:, 0] for name, of in values.items()}


def _scores_of(curves: Mapping[str, Curves]) -> dict[str, float]:
    means = (np.mean(list(curves[m].values()), axis=0)[None] for m in ("precision", "recall"))
    return {metric: float(value[0]) for metric, value in best_f1(*means).items()}


def _overlaps(video: Video, run: Trajectory) -> NDArray:
    """Overlap (N,) of each frame; 0 where there is no target, no region or a code."""
    truth = video.regions[: len(run)]
    values = np.zeros(len(run))
    frames = np.flatnonzero((run.codes == Code.REGION) & ~np.isnan(truth[:, 0]))
    size = (video.width, video.height)
    values[frames] = np.nan_to_num(overlaps(run.regions[frames], truth[frames], size))
    return values


def _video_curves(video: Video, run: Trajectory, thresholds: NDArray) -> NDArray:
    """F1, precision and recall (3, T) of one video."""
    visible = int(np.count_nonzero(~np.isnan(video.boxes[: len(run), 0])))
    return np.nan_to_num(
        calculate_f1(_overlaps(video, run), run.scores, None, thresholds, max(visible, 1))
    )
