"""Reset-based evaluation of VOT2016-2019: accuracy, robustness, expected average overlap.

Definitions follow the VOT challenge as PySOT computes them. Its quirks that published numbers
contain are kept: accuracy bounds overlaps by the frame's (width, height), the expected overlap by
(width - 1, height - 1); a failure in the last frames, after which the tracker is not started
again, does not end a fragment; the frame of the next start belongs to the fragment before it.

Two things differ on purpose. A skipped frame (code 0) in a run without failure counts as overlap 0
in the expected overlap, where PySOT gives NaN for the whole tracker. And every repetition that is
there counts: weights are divided by the number of a video's own repetitions, not of the last one's.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.dataset import Dataset
from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import Evaluation, Gathered
from toolkit.evaluation.metrics import (
    METRICS_OF,
    Curve,
    Measures,
    Totals,
    average_expected_overlap,
    mean_known,
)
from toolkit.io.boxes import widened
from toolkit.results.trajectory import Code, Trajectory
from toolkit.utils.region import overlaps
from toolkit.utils.statistics import expected_overlap_curve, expected_overlap_sums

logger = logging.getLogger(__name__)

BURNIN = 10  # frames from a start on that accuracy leaves out
SKIPPING = 5  # frames from a failure to the next start
#: What `toolkit.utils.statistics.expected_overlap_sums` returns.
_FRAGMENTS = ("weighted", "total", "reached")


class ResetEvaluation(Evaluation):
    """Accuracy, robustness and expected average overlap; see ``BURNIN`` and ``SKIPPING``.

    Raises:
        ValueError: If ``incomplete`` is unknown or the data set's benchmark has no ``eao_window``.
    """

    key = "eao"
    metrics = METRICS_OF["vot"]

    def __init__(
        self,
        dataset: Dataset,
        incomplete: str = "lost",
        strict: bool = False,
        burnin: int = BURNIN,
        skipping: int = SKIPPING,
    ) -> None:
        super().__init__(dataset, incomplete, strict)
        if dataset.benchmark.eao_window is None:
            raise ValueError(f"{dataset.name} has no eao_window in the table of benchmarks")
        low = dataset.benchmark.eao_window[0]
        if max(map(len, dataset)) < low:
            logger.warning(
                "%s: no video has the %d frames from which EAO is defined", dataset.name, low
            )
        self.burnin, self.skipping = burnin, skipping
        self._truths = {video.name: video.regions for video in dataset}
        self._flags = {video.name: _tag_flags(video, dataset.tags) for video in dataset}

    def measure(self, results: Gathered) -> Measures:
        """Overlaps and failures per video, and the sums that the expected overlap is made of.

        Returns:
            ``sums``: overlap and number of frames with one, frames, failures per repetition (V,);
            ``_FRAGMENTS`` (V, M). ``shared``: the same with the weights of each tag, over all
            videos, (T, M). ``by_video``: overlaps (N,) for accuracy, mean over repetitions, and
            failures (R,).
        """
        runs = {name: self._measured(name, of, self.burnin) for name, of in results.runs.items()}
        length = max(len(run.raw) for of in runs.values() for run in of)
        frames = {name: mean_known(_padded([run.burnt for run in of])) for name, of in runs.items()}
        failures = {name: np.array([len(run.failures) for run in of]) for name, of in runs.items()}
        sums, tag_sums = self._expected_overlap(runs, length)
        sums["overlap"] = np.array([np.nansum(values) for values in frames.values()])
        sums["known"] = np.array([np.sum(~np.isnan(values)) for values in frames.values()])
        sums["frames"] = np.array([len(values) for values in frames.values()])
        sums["failures"] = np.array([values.mean() for values in failures.values()])
        by_video = {"overlaps": frames, "failures": failures}
        return Measures(list(runs), sums, tag_sums, by_video)

    def totals(self, measures: Measures, weights: NDArray) -> Totals:
        """Weighted sums, and the expected overlap (B, L) at the lengths that EAO averages."""
        last = self.dataset.benchmark.eao_window[1]  # the rest of the curve is not needed
        sums = {
            name: rows[:, :last] if name in _FRAGMENTS else rows
            for name, rows in measures.sums.items()
        }
        totals = super().totals(replace(measures, sums=sums), weights)
        return {**totals, **self._in_window(*(totals[name] for name in _FRAGMENTS))}

    def _in_window(self, weighted: NDArray, total: NDArray, reached: NDArray) -> Totals:
        low, high = self.dataset.benchmark.eao_window
        curve = expected_overlap_curve(weighted, total, reached)
        return {"expected_overlap": curve[:, low - 1 : high]}

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Expected overlap by sequence length, from 1 frame on."""
        sums = [measures.sums[name].sum(axis=0) for name in _FRAGMENTS]
        curve = expected_overlap_curve(sums[0][None], sums[1][None], sums[2])[0]
        return {"expected_overlap": Curve(np.arange(1, len(curve) + 1), curve)}

    def attributes(self, measures: Measures) -> dict[str, dict[str, float]]:
        """EAO by tag of the frames; NaN where the data set does not tell."""
        sums = self._in_window(*(measures.shared[name] for name in _FRAGMENTS))
        values = average_expected_overlap(sums)
        return {
            tag: {"eao": float(value)} for tag, value in zip(self.dataset.tags, values, strict=True)
        }

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame, mean over repetitions, NaN where there is none; read anew."""
        runs = self._measured(video, self.read(tracker, video), burnin=0)
        return mean_known(_padded([run.raw for run in runs]))

    def _measured(
        self, name: str, trajectories: Sequence[Trajectory], burnin: int
    ) -> list["_MeasuredRun"]:
        """Measure all repetitions of a video in one batch."""
        video = self.dataset.videos[name]
        pairs = [(run, np.flatnonzero(run.codes == Code.REGION)) for run in trajectories]
        width = max(run.regions.shape[1] for run in trajectories)
        predicted = np.concatenate([widened(run.regions[frames], width) for run, frames in pairs])
        expected = self._truths[name][np.concatenate([frames for _, frames in pairs])]
        size = np.array([video.width, video.height])
        wide, tight = _bounded_overlaps(predicted, expected, size)
        measured, begin = [], 0
        for run, frames in pairs:
            raw, burnt = np.full((2, len(run)), np.nan)
            raw[frames] = tight[begin : begin + len(frames)]
            burnt[frames] = wide[begin : begin + len(frames)]
            begin += len(frames)
            for start in np.flatnonzero(run.codes == Code.STARTED):
                burnt[start : start + burnin] = np.nan
            failures = np.flatnonzero(run.codes == Code.LOST).tolist()
            measured.append(_MeasuredRun(raw, burnt, failures))
        return measured

    def _expected_overlap(
        self, runs: dict[str, list["_MeasuredRun"]], length: int
    ) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Sums by video with the weights of the tag ``all``, and over all videos by tag."""
        by_video, by_tag = [], 0
        for name, of in runs.items():
            truth, flags = self._truths[name], self._flags[name]
            parts = [
                fragments(run.raw, run.failures, len(truth), flags, length, self.skipping)
                for run in of
            ]
            values = np.concatenate([values for values, _ in parts])
            weights = np.concatenate([weights for _, weights in parts], axis=1) / len(of)
            weighted, total, reached = expected_overlap_sums(values, weights)
            by_video.append((weighted[0], total[0], reached))
            by_tag = by_tag + np.stack([weighted, total, np.broadcast_to(reached, total.shape)])
        sums = dict(zip(_FRAGMENTS, map(np.array, zip(*by_video, strict=True)), strict=True))
        return sums, dict(zip(_FRAGMENTS, by_tag, strict=True))


class _MeasuredRun(NamedTuple):
    raw: NDArray  # (N,) overlaps bounded by (width - 1, height - 1), NaN where the line is a code
    burnt: NDArray  # (N,) overlaps bounded by (width, height), NaN during burn-in too
    failures: list[int]  # frames


def _bounded_overlaps(
    predicted: NDArray, expected: NDArray, size: NDArray
) -> tuple[NDArray, NDArray]:
    """Overlaps (N,) of regions (N, 4) or (N, 2K), bounded by (width, height), then a pixel less.

    Only regions that reach the right or lower border of the frame are drawn twice.
    """
    wide = overlaps(predicted, expected, size)
    reaches = _beyond(predicted, size) | _beyond(expected, size)
    tight = wide.copy()
    tight[reaches] = overlaps(predicted[reaches], expected[reaches], size - 1)
    return wide, tight


def _beyond(regions: NDArray, size: NDArray) -> NDArray:
    """Which regions (N, 4) or (N, 2K) reach the last two columns or rows of the frame."""
    if regions.shape[1] == 4:
        with np.errstate(invalid="ignore"):  # infinite boxes
            right, bottom = (regions[:, :2] + regions[:, 2:]).T
    else:
        right, bottom = regions[:, ::2].max(axis=1), regions[:, 1::2].max(axis=1)
    return ~((right <= size[0] - 2) & (bottom <= size[1] - 2))  # NaN is not inside


def fragments(
    overlaps: NDArray,
    failures: Sequence[int],
    num_frames: int,
    flags: NDArray,
    length: int,
    skipping: int = SKIPPING,
) -> tuple[NDArray, NDArray]:
    """Cut a run into the fragments that the expected overlap averages.

    A fragment goes from a start up to the frame of the next start, itself included, and on with
    overlap 0; the last one ends where the run ends.

    Args:
        overlaps: (m,) overlap per frame; NaN is 0.
        failures: Their frames; each but a late one makes a start ``skipping`` frames on.
        num_frames: Frames of the video.
        flags: (T, num_frames) 0 or 1, the frames that count in each of T averages.
        length: Number of columns M of the result, at least m.
        skipping: See ``SKIPPING``.

    Returns:
        (F, M) overlaps, NaN after the end of a fragment, and (T, F) weights.
    """
    known, end = np.nan_to_num(overlaps), len(overlaps)
    starts = [0, *(frame + skipping for frame in failures if frame + skipping <= end)]
    values = np.zeros((len(starts), length))
    weights = np.empty((len(flags), len(starts)))
    for i, (start, stop) in enumerate(pairwise(starts)):
        part = known[start : stop + 1]
        values[i, : len(part)] = part
        weights[:, i] = flags[:, start : stop + 1].sum(axis=1) / (stop - start + 1)
    last = starts[-1]
    values[-1] = np.nan
    values[-1, : end - last] = known[last:]
    whole = num_frames - last + 1e-16 if len(failures) else end
    weights[:, -1] = flags[:, last:end].sum(axis=1) / whole
    return values, weights


def _tag_flags(video: Video, tags: Sequence[str]) -> NDArray:
    """Flags (T, N) of a video's frames by tag; 0 where the data set does not tell."""
    flags = np.zeros((len(tags), len(video)))
    for row, tag in zip(flags, tags, strict=True):
        given = video.tags[tag]
        row[: len(given)] = given
    return flags


def _padded(rows: Sequence[NDArray]) -> NDArray:
    """Rows of differing length as one array (R, N), filled up with NaN."""
    stack = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(stack, rows, strict=True):
        row[: len(values)] = values
    return stack
