"""A plain evaluation of result files, to measure the package's own against.

Written from the definitions alone, without any care for speed: files are read line by line, boxes
compared frame by frame, regions drawn pixel by pixel, and the expected overlap is averaged anew for
every length. Each function reads the results of one tracker and returns its headline figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Regions = list[list[float]]
SKIPPING = 5  # frames from a failure to the next start
BURN_IN = 10


def read_lines(path: Path) -> Regions:
    """Numbers of every line; an empty line is NaN."""
    with open(path) as file:
        return [
            [float(token) for token in line.split(",")] if line.strip() else [math.nan]
            for line in file
        ]


def read_annotations(path: Path) -> dict[str, Any]:
    """Records of the videos, in sorted order."""
    return dict(sorted(json.loads(path.read_text()).items()))


def box_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    union = a[2] * a[3] + b[2] * b[3] - width * height
    return min(1.0, max(0.0, width * height / union)) if union else math.nan


def center_error(gt: Sequence[float], pred: Sequence[float], unit: Sequence[float]) -> float:
    """Distance of the centers in units of (w, h); -1 where the ground truth has none."""
    centers = [[(box[k] + (box[k + 2] - 1) / 2) / unit[k] for k in (0, 1)] for box in (gt, pred)]
    if not (centers[0][0] > 0 and centers[0][1] > 0):
        return -1
    return math.hypot(centers[0][0] - centers[1][0], centers[0][1] - centers[1][1])


def one_pass(annotations: dict[str, Any], folder: Path) -> dict[str, float]:
    """Success, precision and normalized precision of a tracker."""
    curves: dict[str, list] = {"success": [], "precision": [], "norm_precision": []}
    for name, video in annotations.items():
        frames = list(zip(video["gt_rect"], read_lines(folder / f"{name}.txt"), strict=True))
        num_frames = len(frames)
        if "absent" in video:
            frames = [f for f, present in zip(frames, video["absent"], strict=True) if present]
        hits = {metric: np.zeros(51) for metric in curves}
        for gt, pred in frames:
            if gt[2] > 0 and gt[3] > 0:
                hits["success"][:21] += box_overlap(gt, pred) > np.arange(0, 1.05, 0.05)
            hits["precision"] += center_error(gt, pred, (1, 1)) <= np.arange(51)
            size = gt[2] + 1e-16, gt[3] + 1e-16
            hits["norm_precision"] += center_error(gt, pred, size) <= np.arange(51) / 100
        for metric, count in hits.items():
            curves[metric].append(count / num_frames)
    return {
        "success": float(np.mean([curve[:21] for curve in curves["success"]])),
        "precision": float(np.mean(curves["precision"], axis=0)[20]),
        "norm_precision": float(np.mean(curves["norm_precision"], axis=0)[20]),
    }


def corners(region: Sequence[float]) -> NDArray:
    """Corners (K, 2) of a box or polygon in single precision."""
    if len(region) == 4:
        x, y, w, h = region
        region = [x, y, x + w, y, x + w, y + h, x, y + h]
    return np.array(region, np.float32).reshape(-1, 2)


def draw(points: NDArray, shape: tuple[int, int]) -> NDArray:
    """Fill a polygon of whole pixels: a bool image of the given height and width."""
    image = np.zeros(shape, bool)
    for y in range(shape[0]):
        nodes = []
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, 1, axis=0), strict=True):
            if y0 != y1 and min(y0, y1) <= y <= max(y0, y1):
                nodes.append(int(x0 + (y - y0) / (y1 - y0) * (x1 - x0)))
        nodes.sort()
        while len(nodes) > 1:
            if nodes[0] == nodes[1]:
                nodes = nodes[1:]
                continue
            if nodes[1] >= 0:
                image[y, max(nodes[0], 0) : nodes[1] + 1] = True
            nodes = nodes[2:]
    return image


def region_overlap(a: Sequence[float], b: Sequence[float], size: tuple[float, float]) -> float:
    """Overlap of two regions as drawn in a frame of the given width and height."""
    if len(a) == 1 or len(b) == 1:
        return math.nan
    polygons = corners(a), corners(b)
    if not all(np.isfinite(polygon).all() for polygon in polygons):
        return 0.0
    low = [np.maximum(np.floor(polygon.min(0)), 0) for polygon in polygons]
    high = [np.minimum(np.ceil(polygon.max(0)), size) for polygon in polygons]
    areas = [np.prod(h - w) for w, h in zip(low, high, strict=True)]
    origin, end = np.minimum(*low).astype(np.float32), np.maximum(*high)
    width, height = (int(side) + 1 for side in end - origin)
    if width < 1 or height < 1:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        inter = np.prod(np.minimum(*high) - np.maximum(*low))
        ratio = inter / (areas[0] + areas[1] - inter)
        if areas[0] / areas[1] < 1e-10 or areas[1] / areas[0] < 1e-10 or ratio <= 0:
            return 0.0
    moved = [(polygon - origin).astype(np.float64) for polygon in polygons]
    whole = [np.trunc(polygon + np.copysign(0.5, polygon)) for polygon in moved]
    one, two = (draw(polygon, (height, width)) for polygon in whole)
    union = np.count_nonzero(one | two)
    return np.count_nonzero(one & two) / union if union else math.nan


def run_overlaps(
    run: Regions, gt: Regions, size: tuple[float, float], burn_in: int = 0
) -> list[float]:
    """Overlap per frame of a reset-based run; NaN for codes and after each start."""
    run = list(run)
    for start in [i for i, region in enumerate(run) if region == [1]]:
        for i in range(start, min(start + burn_in, len(run))):
            run[i] = [0]
    return [region_overlap(a, b, size) for a, b in zip(run, gt, strict=False)]


def fragments_of(values: list[float], failures: list[int], longest: int) -> list[tuple]:
    """Overlaps (longest,) and weight of every stretch of a run, NaN where one has ended."""
    if not failures:
        rest = [math.nan] * (longest - len(values))
        return [(np.array(values + rest), 1.0)]
    starts = [0] + [f + SKIPPING for f in failures if f + SKIPPING <= len(values)]
    values = list(np.nan_to_num(values))
    found = []
    for start, end in pairwise(starts):
        piece = values[start : end + 1]
        weight = len(piece) / (end - start + 1)
        found.append((np.array(piece + [0.0] * (longest - len(piece))), weight))
    piece = values[starts[-1] :]
    weight = len(piece) / (len(values) - starts[-1] + 1e-16)
    found.append((np.array(piece + [math.nan] * (longest - len(piece))), weight))
    return found


def expected_overlap(fragments: list[tuple[NDArray, float]], window: tuple[int, int]) -> float:
    """Expected average overlap over sequence lengths low to high."""
    pieces = np.array([piece for piece, _ in fragments])
    weights = np.array([weight for _, weight in fragments])
    curve = np.zeros(pieces.shape[1])
    for length in range(1, len(curve)):
        alive = ~np.isnan(pieces[:, length])
        if alive.any():
            means = np.mean(pieces[alive, 1 : length + 1], axis=1)
            curve[length] = np.sum(weights[alive] * means) / np.sum(weights[alive])
    low, high = window
    return float(np.nanmean(curve[low - 1 : high]))


def reset(annotations: dict[str, Any], folder: Path, window: tuple[int, int]) -> dict[str, float]:
    """Accuracy, robustness, lost number and expected average overlap of a tracker."""
    runs = {
        name: [read_lines(path) for path in sorted((folder / "baseline" / name).glob("*.txt"))]
        for name in annotations
    }
    pooled, lost, frames, stretches = [], [], [], []
    for name, video in annotations.items():
        gt, size = video["gt_rect"], (video["width"], video["height"])
        with np.errstate(invalid="ignore"):
            accuracies = np.array([run_overlaps(run, gt, size, BURN_IN) for run in runs[name]])
        known = ~np.isnan(accuracies).all(axis=0)
        pooled.extend(np.nanmean(accuracies[:, known], axis=0))
        frames.append(accuracies.shape[1])
        failures = [[i for i, region in enumerate(run) if region == [2]] for run in runs[name]]
        lost.append([len(each) for each in failures])
        tight = size[0] - 1, size[1] - 1
        for run, failed in zip(runs[name], failures, strict=True):
            stretches.append((run_overlaps(run, gt, tight), failed))
    longest = max(len(values) for values, _ in stretches)
    fragments = [f for values, failed in stretches for f in fragments_of(values, failed, longest)]
    total = np.sum(lost, axis=0)
    return {
        "accuracy": float(np.mean(pooled)),
        "robustness": float(np.mean(total / sum(frames)) * 100),
        "lost_number": float(np.mean(total)),
        "eao": expected_overlap(fragments, window),
    }


def long_term(annotations: dict[str, Any], folder: Path) -> dict[str, float]:
    """Precision, recall and F1 of a tracker at its best threshold."""
    overlaps, scores = {}, {}
    for name, video in annotations.items():
        path = folder / "longterm" / name / f"{name}_001.txt"
        gt = [[0.0] if math.isnan(box[0]) else box for box in video["gt_rect"]]
        size = video["width"], video["height"]
        values = [region_overlap(a, b, size) for a, b in zip(read_lines(path), gt, strict=True)]
        overlaps[name] = np.nan_to_num(values)
        found = read_lines(path.with_name(f"{name}_001_confidence.value"))
        scores[name] = np.array([math.nan] + [line[0] for line in found[1:]])
    thresholds = confidence_thresholds(np.concatenate(list(scores.values())))
    precision, recall = np.zeros((2, len(annotations), len(thresholds)))
    for v, (name, video) in enumerate(annotations.items()):
        visible = sum(not math.isnan(box[0]) for box in video["gt_rect"])
        score = np.nan_to_num(scores[name])
        for k, threshold in enumerate(thresholds):
            chosen = score > 0 if threshold == -math.inf else score >= threshold
            precision[v, k] = np.mean(overlaps[name][chosen]) if chosen.any() else 1
            recall[v, k] = np.sum(overlaps[name][chosen]) / visible
    p, r = precision.mean(axis=0), recall.mean(axis=0)
    f1 = 2 * p * r / (p + r)
    best = int(np.argmax(f1))
    return {"precision": float(p[best]), "recall": float(r[best]), "f1": float(f1[best])}


def confidence_thresholds(scores: NDArray) -> list[float]:
    """The 100 thresholds from +inf to -inf that split the scores evenly."""
    ordered = sorted(score for score in scores if not math.isnan(score))
    delta = len(ordered) // 98
    index = np.floor(np.linspace(delta - 1, len(ordered) - delta, 98) + 0.5).astype(int)
    return [math.inf, *[ordered[i] for i in index[::-1]], -math.inf]
