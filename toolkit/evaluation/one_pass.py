"""Evaluation of runs without resets: one-pass sets, GOT-10k and long-term sets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import Evaluation, Gathered
from toolkit.evaluation.metrics import CURVES, METRICS_OF, Curve, Measures, f1_of
from toolkit.evaluation.tables import one_pass_table
from toolkit.results.trajectory import Code, Trajectory
from toolkit.utils.region import overlaps
from toolkit.utils.statistics import calculate_f1, determine_thresholds, overlap_ratio

THRESHOLDS = np.linspace(0, 1, 101)  # of GOT-10k's success plot
RATES = {"sr50": 0.5, "sr75": 0.75}


class OnePassEvaluation(Evaluation):
    """Success, precision and normalized precision (OTB, UAV123, NFS, LaSOT, TrackingNet, ...).

    Unless ``strict``, frames without ground truth are precision hits as in PySOT, because published
    numbers contain that.
    """

    key = "success"
    metrics = METRICS_OF["ope"]
    name_width = 21

    def measure(self, results: Gathered) -> Measures:
        """What each metric measures: curves (V, 21) of success, (V, 51) of the two precisions."""
        measured = [metric for metric in self.metrics if metric.measure]
        rows: dict[str, list[NDArray]] = {metric.key: [] for metric in measured}
        for name, (run, *_) in results.runs.items():
            gt, pred, num_frames = _scored(self.dataset.videos[name], run.boxes)
            for metric in measured:
                rows[metric.key].append(metric.measure(gt, pred, num_frames, self.strict))
        return Measures(list(results.runs), {key: np.array(of) for key, of in rows.items()})

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Mean curves over all videos."""
        return {
            name: Curve(axes.thresholds, measures.sums[name].mean(axis=0))
            for name, axes in CURVES.items()
            if name in measures.sums
        }

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame of a video, NaN where it is not scored; read anew."""
        run = self.read(tracker, video)[0]
        gt = self.dataset.videos[video].boxes[: len(run)]
        return np.where((gt[:, 2:4] > 0).all(axis=1), overlap_ratio(gt, run.boxes), np.nan)

    def tracker_table(self, trackers: Sequence[str], top: int) -> str:
        """PySOT's table of the best trackers, with all of its metrics on every benchmark."""
        scores = {name: self.scores(name).metrics for name in trackers}
        return one_pass_table(scores, self.table_metrics, top)

    def video_scores(self, trackers: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """Values of PySOT's table of the videos, whose precision is the mean of the curve."""
        curves = {name: self.scores(name).measures.of_videos("precision") for name in trackers}
        return {
            name: {
                video: {**of, "precision": curves[name][video].mean()}
                for video, of in found.items()
            }
            for name, found in super().video_scores(trackers).items()
        }


class LongTermEvaluation(Evaluation):
    """Precision, recall and F1 at the threshold of the best F1 (VOT2018-LT).

    Definitions follow Lukezic et al., "Now you see me" (2018), as PySOT computes them: at the
    lowest threshold, minus infinity, only frames with a confidence above 0 count. With the policy
    ``lost`` a frame without a result is one in which the tracker reports nothing, and a video
    without any has precision and recall 0.
    """

    key = "f1"
    metrics = METRICS_OF["longterm"]

    def measure(self, results: Gathered) -> Measures:
        """F1, precision and recall of each video, (V, 100), at thresholds (100,) of the tracker."""
        scores = np.concatenate([run.scores for (run, *_) in results.runs.values()])
        if np.isnan(scores).all():  # any threshold will do: every frame is lost
            scores = np.zeros(1)
        thresholds = determine_thresholds(scores)
        curves = np.zeros((len(results.runs), 3, len(thresholds)))
        for row, (name, (run, *_)) in zip(curves, results.runs.items(), strict=True):
            if name not in results.missing:
                row[:] = _video_curves(self.dataset.videos[name], run, thresholds)
        sums = {metric: curves[:, i] for i, metric in enumerate(("f1", "precision", "recall"))}
        return Measures(list(results.runs), sums, {"thresholds": thresholds[::-1]})

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


class GOT10kEvaluation(Evaluation):
    """Average overlap (AO) and success rates (SR) of GOT-10k's training and validation sets.

    Definitions follow Huang et al., "GOT-10k" (PAMI 2019) and its toolkit: the first frame and
    those with cover 0 are left out, all repetitions count, frames of all videos are pooled, and
    both boxes are limited to the frame: first their position, then, by what remains, their size.
    (A box that sticks out on the left or at the top is thus pushed in, not cut. Published numbers
    contain it.) With the policy ``lost`` a frame without a result has overlap 0.
    """

    key = "ao"
    metrics = METRICS_OF["got10k"]

    def measure(self, results: Gathered) -> Measures:
        """Sum of overlaps, frames (V,), and frames above the thresholds of ``THRESHOLDS``."""
        sums: dict[str, list] = {"overlap": [], "frames": [], "above": [], "sr50": [], "sr75": []}
        for name, runs in results.runs.items():
            values = np.concatenate(
                [_visible_overlaps(self.dataset.videos[name], run.boxes) for run in runs]
            )
            values = values[~np.isnan(values)]
            sums["overlap"].append(values.sum())
            sums["frames"].append(len(values))
            ordered = np.sort(values)
            sums["above"].append(len(values) - np.searchsorted(ordered, THRESHOLDS, side="right"))
            for rate, threshold in RATES.items():
                sums[rate].append(np.count_nonzero(values > threshold))
        return Measures(list(results.runs), {name: np.array(rows) for name, rows in sums.items()})

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Share of the frames whose overlap exceeds each of 101 thresholds."""
        frames = max(int(measures.sums["frames"].sum()), 1)
        return {"success": Curve(THRESHOLDS, measures.sums["above"].sum(axis=0) / frames)}

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame of the first run, NaN where it is not scored; read anew."""
        found = self.dataset.videos[video]
        return _visible_overlaps(found, self.read(tracker, video)[0].boxes)


def _scored(video: Video, pred: NDArray) -> tuple[NDArray, NDArray, int]:
    """Ground truth and boxes of the frames that are scored, and the number to divide by."""
    num_frames = len(pred)
    gt = video.boxes[:num_frames]
    if video.absent is None:
        return gt, pred, num_frames
    present = video.absent[:num_frames] == 1
    return gt[present], pred[present], num_frames


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


def _visible_overlaps(video: Video, boxes: NDArray) -> NDArray:
    """Overlap (N,) of boxes (N, 4) with the ground truth, both limited to the frame.

    NaN in the first frame and where the target is not visible, 0 where there is no box.
    """
    truth = video.boxes[: len(boxes)]
    values = np.nan_to_num(overlap_ratio(limited(truth, video), limited(boxes, video)))
    visible = (truth[:, 2:] > 0).all(axis=1)
    if video.cover is not None:
        visible &= np.array(video.cover[: len(boxes)]) > 0
    visible[:1] = False
    return np.where(visible, values, np.nan)


def limited(boxes: NDArray, video: Video) -> NDArray:
    """Boxes (N, 4) limited to the frame of a video, position before size."""
    size = np.array([video.width, video.height], np.float64)
    corner = np.clip(boxes[:, :2], 0, size)
    return np.concatenate([corner, np.clip(boxes[:, 2:4], 0, size - corner)], axis=1)
