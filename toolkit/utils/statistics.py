"""Metrics of tracking benchmarks: pure functions of boxes, scores and overlaps.

One-pass definitions follow the OTB benchmark (Wu et al., PAMI 2015, section 3) and TrackingNet
(normalized precision); reset-based ones the VOT2016-2019 challenges; long-term ones VOT2018-LT.
Where published numbers depend on a quirk, the docstring names it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.utils.region import vot_overlap_traj

IOU_THRESHOLDS = np.arange(0, 1.05, 0.05)  # (21,)
ERROR_THRESHOLDS = np.arange(0, 51, 1.0)  # (51,) pixels
NORM_ERROR_THRESHOLDS = np.arange(0, 51) / 100  # (51,) target sizes

_START, _FAILURE, _SKIPPED = 1, 2, 0  # codes in reset-based result files


def overlap_ratio(rect1: NDArray, rect2: NDArray) -> NDArray:
    """Intersection over union (N,), in [0, 1], of boxes (N, 4) x, y, w, h with continuous areas.

    One box (4,) is taken as (1, 4). NaN where a box has NaN or both are empty.
    """
    rect1, rect2 = np.atleast_2d(rect1), np.atleast_2d(rect2)
    with np.errstate(all="ignore"):  # empty, infinite and immeasurably large boxes
        low = np.maximum(rect1[:, :2], rect2[:, :2])
        high = np.minimum(rect1[:, :2] + rect1[:, 2:4], rect2[:, :2] + rect2[:, 2:4])
        inter = np.prod(np.maximum(high - low, 0), axis=1)
        union = rect1[:, 2] * rect1[:, 3] + rect2[:, 2] * rect2[:, 3] - inter
        return np.clip(inter / union, 0, 1)


def success_overlap(gt_bb: NDArray, result_bb: NDArray, n_frame: int) -> NDArray:
    """Fraction of frames whose overlap exceeds each threshold (the OTB success plot).

    A frame without a valid ground-truth box, and a NaN result, are misses. The comparison is
    strict, so a perfect tracker scores 20/21.

    Args:
        gt_bb: (N, 4) ground truth x, y, w, h in pixels.
        result_bb: (N, 4) predictions.
        n_frame: Number of frames to divide by (more than N if some were left out).

    Returns:
        (21,) values in [0, 1], one per ``IOU_THRESHOLDS``; their mean is the AUC.
    """
    _check_lengths(gt_bb, result_bb)
    annotated = (gt_bb[:, 2] > 0) & (gt_bb[:, 3] > 0)
    iou = np.where(annotated, overlap_ratio(gt_bb, result_bb), np.nan)
    iou = np.sort(iou[~np.isnan(iou)])
    return (len(iou) - np.searchsorted(iou, IOU_THRESHOLDS, side="right")) / n_frame


def success_error(
    gt_center: NDArray,
    result_center: NDArray,
    thresholds: NDArray,
    n_frame: int,
    strict: bool = False,
) -> NDArray:
    """Fraction (T,) of frames whose center error is within thresholds (the OTB precision plot).

    As in PySOT, a frame whose ground-truth center is NaN or not positive counts as a *hit* at
    every threshold: published UAV123 and NFS numbers contain it.

    Args:
        gt_center: (N, 2) ground-truth centers.
        result_center: (N, 2) predicted centers in the same unit.
        thresholds: (T,) largest distances.
        n_frame: Number of frames to divide by.
        strict: Count frames without ground truth as misses instead.
    """
    _check_lengths(gt_center, result_center)
    dx, dy = (gt_center - result_center).T  # column by column: NumPy's sum of two is slow
    error = np.sqrt(dx**2 + dy**2)
    error[~((gt_center[:, 0] > 0) & (gt_center[:, 1] > 0))] = np.inf if strict else -1
    error = np.sort(error[~np.isnan(error)])
    return np.searchsorted(error, thresholds, side="right") / n_frame


def box_centers(boxes: NDArray) -> NDArray:
    """Centers (N, 2) of boxes x, y, w, h as the mean of their outer pixels, x + (w - 1) / 2."""
    return boxes[:, :2] + (boxes[:, 2:4] - 1) / 2


def norm_centers(boxes: NDArray, gt_sizes: NDArray) -> NDArray:
    """Centers (N, 2) in units of the ground-truth size (N, 2) of their frame."""
    return box_centers(boxes) / (gt_sizes + 1e-16)


def success_curve(gt: NDArray, pred: NDArray, n_frame: int, strict: bool = False) -> NDArray:
    """Success plot (21,) of boxes (N, 4); see `success_overlap` (``strict`` changes nothing)."""
    return success_overlap(gt, pred, n_frame)


def precision_curve(gt: NDArray, pred: NDArray, n_frame: int, strict: bool = False) -> NDArray:
    """Precision plot (51,) over 0-50 pixels of boxes (N, 4); see `success_error`."""
    centers = box_centers(gt), box_centers(pred)
    return success_error(*centers, ERROR_THRESHOLDS, n_frame, strict)


def norm_precision_curve(gt: NDArray, pred: NDArray, n_frame: int, strict: bool = False) -> NDArray:
    """Precision plot (51,) over 0-0.5 target sizes of boxes (N, 4); see `success_error`."""
    _check_lengths(gt, pred)
    centers = norm_centers(gt, gt[:, 2:4]), norm_centers(pred, gt[:, 2:4])
    return success_error(*centers, NORM_ERROR_THRESHOLDS, n_frame, strict)


def calculate_failures(trajectory: Sequence[Sequence[float]]) -> tuple[int, list[int]]:
    """Count the failures (code 2) of a reset-based run and list their frames."""
    frames = [i for i, region in enumerate(trajectory) if _is_code(region, _FAILURE)]
    return len(frames), frames


def calculate_accuracy(
    pred_trajectory: Sequence[Sequence[float]],
    gt_trajectory: Sequence[Sequence[float]],
    burnin: int = 0,
    ignore_unknown: bool = True,
    bound: Sequence[float] | None = None,
) -> tuple[float, list[float]]:
    """Mean overlap of a reset-based run (VOT accuracy).

    Args:
        pred_trajectory: Regions or codes, one per frame.
        gt_trajectory: Ground-truth regions; the longer of the two is cut.
        burnin: Frames left out from each (re)start on, the start included.
        ignore_unknown: Leave out frames without an overlap; False counts them as 0.
        bound: Limits of the frame, as in `toolkit.utils.region.overlaps`.

    Returns:
        The mean, and the overlap of each frame (NaN if unknown).
    """
    length = min(len(pred_trajectory), len(gt_trajectory))
    if not length:
        return 0, []
    pred = _without_burnin(pred_trajectory[:length], burnin)
    overlaps = np.array(vot_overlap_traj(pred, gt_trajectory[:length], bound))
    if not ignore_unknown:
        overlaps = np.nan_to_num(overlaps, nan=0.0)
    known = overlaps[~np.isnan(overlaps)]
    return float(known.mean()) if len(known) else float("nan"), overlaps.tolist()


def determine_thresholds(scores: NDArray, resolution: int = 100) -> NDArray:
    """Confidence thresholds that split the scores (N,) of a tracker evenly (VOT long-term).

    They ascend from -inf to +inf, ``resolution`` in number; with fewer scores some repeat. NaN
    scores are left out.

    Raises:
        ValueError: If there is no score at all.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        raise ValueError("no confidence scores to take thresholds from")
    inner = resolution - 2
    delta = max(1, len(scores) // inner)
    index = np.floor(np.linspace(delta - 1, len(scores) - delta, inner) + 0.5).astype(int)
    return np.concatenate([[-np.inf], scores[index], [np.inf]])


def calculate_f1(
    overlaps: NDArray, score: NDArray, bound: object, thresholds: NDArray, N: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Long-term F1, precision and recall (T,) of one video, for descending thresholds (VOT2018-LT).

    As in PySOT, at the threshold -inf only frames with a score above 0 count.

    Args:
        overlaps: (M,) overlap per frame; NaN is 0.
        score: (M,) confidence per frame; NaN is 0.
        bound: Unused, kept for callers of PySOT.
        thresholds: (T,) ascending thresholds.
        N: Number of frames in which the target is visible.
    """
    overlaps, score = (np.nan_to_num(np.asarray(a, np.float64)) for a in (overlaps, score))
    order = np.argsort(-score, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(overlaps[order])])
    ascending = score[order][::-1]
    descending = np.asarray(thresholds)[::-1]
    count = len(score) - np.searchsorted(ascending, descending, side="left")
    count[descending == -np.inf] = np.count_nonzero(score > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(count == 0, 1.0, sums[count] / count)
        recall = sums[count] / N
        f1 = 2 * precision * recall / (precision + recall)
    return f1, precision, recall


def calculate_expected_overlap(fragments: NDArray, fweights: NDArray) -> NDArray:
    """Expected average overlap curve of sequence fragments (VOT2015 and later).

    Args:
        fragments: (F, M) overlap by frames since the start; NaN where a fragment has ended.
        fweights: (F,) weights.

    Returns:
        (M,) float32: entry i is the weighted mean, over fragments that reach frame i, of their
        mean overlap over the frames 1 to i; entry 0 is 1.
    """
    weights = np.asarray(fweights, np.float64)[None]
    return expected_overlap_curve(*expected_overlap_sums(fragments, weights))[0]


def expected_overlap_sums(fragments: NDArray, weights: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Sums of which the expected overlap is made; those of several sequences may be added.

    Args:
        fragments: (F, M), see `calculate_expected_overlap`.
        weights: (T, F) weights of the fragments, in each of T averages.

    Returns:
        Weighted sum (T, M) of the mean overlap over the frames 1 to i, sum (T, M) of the weights
        of the fragments that reach frame i, and their number (M,); all are 0 at frame 0.
    """
    fragments = np.asarray(fragments, np.float64)
    length = fragments.shape[1]
    alive = ~np.isnan(fragments)
    alive[:, 0] = False
    values = np.where(alive, fragments, 0)
    means = np.where(alive, np.cumsum(values, axis=1) / np.maximum(np.arange(length), 1), 0)
    return weights @ means, weights @ alive, alive.sum(axis=0)


def expected_overlap_curve(weighted: NDArray, total: NDArray, reached: NDArray) -> NDArray:
    """Expected overlap (T, M) float32 from `expected_overlap_sums`; entry 0 is 1.

    Entries that no fragment reaches are 0; NaN where the weights of all that do are 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = np.where(reached > 0, weighted / total, 0).astype(np.float32)
    curve[:, :1] = 1
    return curve


def _check_lengths(gt: NDArray, pred: NDArray) -> None:
    if len(gt) != len(pred):
        raise ValueError(f"{len(pred)} predictions for {len(gt)} ground-truth frames")


def _is_code(region: Sequence[float], code: int) -> bool:
    return len(region) == 1 and region[0] == code


def _without_burnin(trajectory: Sequence[Sequence[float]], burnin: int) -> list[Sequence[float]]:
    """Replace the first ``burnin`` frames from each start on by the code of a skipped frame."""
    result = list(trajectory)
    for start in (i for i, region in enumerate(trajectory) if _is_code(region, _START)):
        end = min(start + burnin, len(result))
        result[start:end] = [[_SKIPPED]] * (end - start)
    return result
