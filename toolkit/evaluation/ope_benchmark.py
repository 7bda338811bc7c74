"""One-pass evaluation: success, precision and normalised precision over a data set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import VIDEO_TABLE_LIMIT, Evaluation, wants_color
from toolkit.evaluation.gathering import Gathered
from toolkit.evaluation.report import ope_table, ope_video_table
from toolkit.evaluation.scores import Curve, Measures
from toolkit.utils.statistics import (
    ERROR_THRESHOLDS,
    FIGURES,
    IOU_THRESHOLDS,
    METRICS,
    NORM_ERROR_THRESHOLDS,
    box_centers,
    headline,
    norm_centers,
    overlap_ratio,
)

Curves = dict[str, NDArray]  # by video

THRESHOLDS = {
    "success": IOU_THRESHOLDS,
    "precision": ERROR_THRESHOLDS,
    "norm_precision": NORM_ERROR_THRESHOLDS,
}


class OPEBenchmark(Evaluation):
    """Scores the trackers that a data set was given by ``set_tracker``.

    Args:
        dataset: The videos and the trackers' names and folder.
        incomplete: See `Evaluation`.
        strict: Count frames without ground truth as precision misses; by default they are hits,
            as in PySOT, because published numbers contain that.

    Raises:
        ValueError: If ``incomplete`` is unknown.
    """

    key = "success"
    headlines = tuple(FIGURES)

    def eval_success(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, Curves]:
        """Success plots, (21,) per tracker and video; None means all trackers."""
        return self._curves_of("success", eval_trackers)

    def eval_precision(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, Curves]:
        """Precision plots over 0-50 pixels, (51,) per tracker and video."""
        return self._curves_of("precision", eval_trackers)

    def eval_norm_precision(
        self, eval_trackers: str | Sequence[str] | None = None
    ) -> dict[str, Curves]:
        """Precision plots over 0-0.5 target sizes, (51,) per tracker and video."""
        return self._curves_of("norm_precision", eval_trackers)

    def measure(self, results: Gathered) -> Measures:
        """Curves of each video: (V, 21) for success, (V, 51) for the two precisions."""
        curves: dict[str, list[NDArray]] = {metric: [] for metric in METRICS}
        for name, (run, *_) in results.runs.items():
            gt, pred, num_frames = self._scored(self.dataset.videos[name], run.boxes)
            for metric, curve in METRICS.items():
                curves[metric].append(curve(gt, pred, num_frames, self.strict))
        sums = {metric: np.array(rows) for metric, rows in curves.items()}
        return Measures(list(results.runs), sums)

    def combine(self, measures: Measures, weights: NDArray) -> dict[str, NDArray]:
        """Published figures (B,) of the mean curves; videos have equal weight."""
        total = weights.sum(axis=1, keepdims=True)
        curves = {metric: weights @ rows / total for metric, rows in measures.sums.items()}
        return {figure: headline(figure, curves[curve]) for figure, (curve, _) in FIGURES.items()}

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Mean curves over all videos."""
        return {
            metric: Curve(THRESHOLDS[metric], rows.mean(axis=0))
            for metric, rows in measures.sums.items()
        }

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame of a video, NaN where it is not scored; read anew."""
        run = self.read(tracker, video)[0]
        gt = self.dataset.videos[video].boxes[: len(run)]
        return np.where((gt[:, 2:4] > 0).all(axis=1), overlap_ratio(gt, run.boxes), np.nan)

    def show(
        self,
        trackers: Sequence[str],
        show_video_level: bool = False,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print PySOT's tables; see `Evaluation.show`."""
        shown = self.dataset.benchmark.metrics
        returns = [self._curves_of(m, trackers) if m in shown else None for m in METRICS]
        self.show_result(*returns, show_video_level, top=top, color=color)

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
        """Print the table of the trackers and, below it, that of the videos, as PySOT does.

        Args:
            success_ret: As `eval_success` returns it.
            precision_ret: Likewise; a metric that is not given prints as 0.000.
            norm_precision_ret: Likewise.
            show_video_level: Print the table of the videos too, for fewer than 10 trackers and
                if precision is given.
            helight_threshold: Values of the video table below it are red (PySOT's spelling).
            top: Number of trackers shown, best first.
            color: Use red; None only if the output is a terminal.
        """
        print(ope_table(success_ret, precision_ret, norm_precision_ret, top))
        if show_video_level and precision_ret is not None and len(success_ret) <= VIDEO_TABLE_LIMIT:
            red = wants_color(color)
            table = ope_video_table(success_ret, precision_ret, helight_threshold, red)
            print("\n\n", table, sep="\n")

    def convert_bb_to_center(self, bboxes: NDArray) -> NDArray:
        """Centres (N, 2) of boxes (N, 4) x, y, w, h; see `box_centers`."""
        return box_centers(np.asarray(bboxes))

    def convert_bb_to_norm_center(self, bboxes: NDArray, gt_wh: NDArray) -> NDArray:
        """Centres (N, 2) in units of ground-truth sizes (N, 2); see `norm_centers`."""
        return norm_centers(np.asarray(bboxes), np.asarray(gt_wh))

    def _scored(self, video: Video, pred: NDArray) -> tuple[NDArray, NDArray, int]:
        """Ground truth and boxes of the frames that are scored, and the number to divide by."""
        num_frames = len(pred)
        gt = video.boxes[:num_frames]
        if video.absent is None:
            return gt, pred, num_frames
        present = video.absent[:num_frames] == 1
        return gt[present], pred[present], num_frames

    def _curves_of(self, metric: str, trackers: str | Sequence[str] | None) -> dict[str, Curves]:
        measures = {name: self.scores(name).measures for name in self.names(trackers)}
        return {
            name: dict(zip(measure.videos, measure.sums[metric], strict=True))
            for name, measure in measures.items()
        }
