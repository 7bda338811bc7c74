"""One-pass evaluation: success, precision and normalised precision over a data set."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.dataset import Dataset
from toolkit.datasets.video import Video
from toolkit.evaluation.report import ope_table, ope_video_table
from toolkit.results import read_boxes, result_path
from toolkit.utils.statistics import METRICS, box_centers, norm_centers

logger = logging.getLogger(__name__)

Curves = dict[str, NDArray]  # by video

#: What becomes of missing, unreadable, short and long results.
INCOMPLETE = {
    "lost": "frames without a result count as lost",
    "skip": "frames without a result are left out of the mean",
    "error": "any such thing is an error",
}


@dataclass(frozen=True)
class TrackerScores:
    """Curves of one tracker.

    Attributes:
        curves: Curve by metric and video; keys of `toolkit.utils.statistics.METRICS`.
        problems: What was wrong with its results and what was done about it, one line each.
    """

    curves: dict[str, Curves]
    problems: list[str]


class OPEBenchmark:
    """Scores the trackers that a data set was given by ``set_tracker``.

    Every result file is read once, whatever is asked for; what is wrong with the results of a
    tracker is logged once, as one warning.

    Args:
        dataset: The videos and the trackers' names and folder.
        incomplete: What to do about missing, unreadable, short and long results, a key of
            ``INCOMPLETE``. By default frames without a result count as lost, so that no tracker
            gains by being incomplete; ``skip`` scores each video over the frames it has, as the
            published numbers of some older archives do. Surplus lines are ignored.
        strict: Count frames without ground truth as precision misses; by default they are hits,
            as in PySOT, because published numbers contain that.

    Raises:
        ValueError: If ``incomplete`` is unknown or the set is not a one-pass one.
    """

    def __init__(self, dataset: Dataset, incomplete: str = "lost", strict: bool = False) -> None:
        if incomplete not in INCOMPLETE:
            raise ValueError(f"unknown policy {incomplete!r}; known: {', '.join(INCOMPLETE)}")
        self.dataset, self.incomplete, self.strict = dataset, incomplete, strict
        self._scores: dict[str, TrackerScores] = {}

    def eval_success(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, Curves]:
        """Success plots, (21,) per tracker and video; None means all trackers."""
        return self._curves("success", eval_trackers)

    def eval_precision(self, eval_trackers: str | Sequence[str] | None = None) -> dict[str, Curves]:
        """Precision plots over 0-50 pixels, (51,) per tracker and video."""
        return self._curves("precision", eval_trackers)

    def eval_norm_precision(
        self, eval_trackers: str | Sequence[str] | None = None
    ) -> dict[str, Curves]:
        """Precision plots over 0-0.5 target sizes, (51,) per tracker and video."""
        return self._curves("norm_precision", eval_trackers)

    def has_results(self, tracker: str) -> bool:
        """Tell whether a tracker has a result file for any video."""
        return any(self._find(self._folder(tracker), name) for name in self.dataset.videos)

    def evaluate(self, trackers: Sequence[str], num_workers: int = 1) -> Iterable[str]:
        """Score trackers, in several processes if wanted, and yield each name when it is done.

        Raises:
            ValueError: As `scores`.
        """
        todo = [name for name in trackers if name not in self._scores]
        num_workers = min(num_workers, len(todo))
        if num_workers <= 1:
            for name in todo:
                self.scores(name)
                yield name
            return
        # The data set travels once per worker, not once per tracker.
        with ProcessPoolExecutor(num_workers, initializer=_adopt, initargs=(self,)) as pool:
            for name, scores in zip(todo, pool.map(_score_adopted, todo), strict=True):
                self._keep(name, scores)
                yield name

    def scores(self, tracker: str) -> TrackerScores:
        """All curves of a tracker; read and computed the first time only.

        Raises:
            ValueError: If the tracker has no result for any video, or, with the policy
                ``error``, if anything is wrong with its results.
        """
        if tracker not in self._scores:
            self._keep(tracker, self._score(tracker))
        return self._scores[tracker]

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
        if color is None:
            color = sys.stdout.isatty()
        print(ope_table(success_ret, precision_ret, norm_precision_ret, top))
        if show_video_level and precision_ret is not None and len(success_ret) < 10:
            table = ope_video_table(success_ret, precision_ret, helight_threshold, color)
            print("\n\n", table, sep="\n")

    def convert_bb_to_center(self, bboxes: NDArray) -> NDArray:
        """Centres (N, 2) of boxes (N, 4) x, y, w, h; see `box_centers`."""
        return box_centers(np.asarray(bboxes))

    def convert_bb_to_norm_center(self, bboxes: NDArray, gt_wh: NDArray) -> NDArray:
        """Centres (N, 2) in units of ground-truth sizes (N, 2); see `norm_centers`."""
        return norm_centers(np.asarray(bboxes), np.asarray(gt_wh))

    def _curves(self, metric: str, trackers: str | Sequence[str] | None) -> dict[str, Curves]:
        if trackers is None:
            trackers = self.dataset.tracker_names
        names = [trackers] if isinstance(trackers, str) else trackers
        return {name: self.scores(name).curves[metric] for name in names}

    def _keep(self, tracker: str, scores: TrackerScores) -> None:
        self._scores[tracker] = scores
        if scores.problems:
            logger.warning("%s:%s", tracker, "\n  ".join(["", *scores.problems]))

    def _score(self, tracker: str) -> TrackerScores:
        predictions, problems = self._predictions(tracker)
        if problems and self.incomplete == "error":
            raise ValueError("\n  ".join([f"{tracker}:", *problems]))
        curves: dict[str, Curves] = {metric: {} for metric in METRICS}
        for name, pred in predictions.items():
            video, n_frame = self.dataset.videos[name], len(pred)
            gt = video.boxes[:n_frame]
            if video.absent is not None:
                present = video.absent[:n_frame] == 1
                gt, pred = gt[present], pred[present]
            for metric, curve in METRICS.items():
                curves[metric][name] = curve(gt, pred, n_frame, self.strict)
        return TrackerScores(curves, problems)

    def _predictions(self, tracker: str) -> tuple[dict[str, NDArray], list[str]]:
        """Boxes by video, one per frame to score, and what was wrong."""
        folder, fill = self._folder(tracker), self.incomplete == "lost"
        predictions, missing, faults = {}, [], []
        for video in self.dataset:
            path = self._find(folder, video.name)
            if path is None:
                missing.append(video.name)
            boxes, fault = (_NO_BOXES, None) if path is None else self._read(path, video)
            if fault:
                faults.append(fault)
            if fill:
                rest = np.full((len(video) - len(boxes), 4), np.nan)
                boxes = np.concatenate([boxes, rest])
            if len(boxes):
                predictions[video.name] = boxes
        if missing:
            faults.insert(0, self._describe_missing(missing))
        if not predictions or len(missing) == len(self.dataset):
            raise ValueError(_nothing_found(folder, self.dataset, faults))
        return predictions, faults

    def _folder(self, tracker: str) -> Path:
        return Path(self.dataset.tracker_path or ".") / tracker

    def _find(self, folder: Path, video: str) -> Path | None:
        benchmark = self.dataset.benchmark
        names = benchmark.result_names(video)
        paths = (result_path(benchmark.layout, folder, name) for name in names)
        return next((path for path in paths if path.is_file()), None)

    def _read(self, path: Path, video: Video) -> tuple[NDArray, str | None]:
        """Boxes of at most as many frames as the video has, and what was wrong with them."""
        outcome = "left out" if self.incomplete == "skip" else "counted as lost"
        try:
            boxes = read_boxes(path)
        except ValueError as error:
            return _NO_BOXES, f"{error}: {outcome}"
        lines, frames = len(boxes), len(video)
        if lines < frames:
            return boxes, f"{path.name} has {lines} lines for {frames} frames: the rest {outcome}"
        if lines == frames or video.name in self.dataset.benchmark.cut_results:
            return boxes[:frames], None
        return boxes[:frames], f"{path.name} has {lines} lines for {frames} frames: surplus ignored"

    def _describe_missing(self, names: Sequence[str]) -> str:
        outcome = "left out" if self.incomplete == "skip" else "counted as lost"
        count = f"{len(names)} of {len(self.dataset)} videos have no result"
        return f"{count} ({_shortened(names)}): {outcome}"


_NO_BOXES = np.empty((0, 4))


def _nothing_found(folder: Path, dataset: Dataset, faults: Sequence[str]) -> str:
    wanted = result_path(dataset.benchmark.layout, folder, dataset[0].name)
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    found = f"there is {_shortened(there)}" if there else "the folder is empty or missing"
    return (
        f"{folder.name}: no usable result for any of the {len(dataset)} videos of {dataset.name}; "
        f"looked for {wanted} and so on, {found}; {_shortened(faults, 3)}"
    )


def _shortened(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


_adopted: list[OPEBenchmark] = []


def _adopt(benchmark: OPEBenchmark) -> None:
    """Keep the benchmark in this worker process."""
    _adopted.append(benchmark)


def _score_adopted(tracker: str) -> TrackerScores:
    return _adopted[-1]._score(tracker)
