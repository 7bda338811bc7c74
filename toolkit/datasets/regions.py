"""Shapes of a ground truth: boxes x, y, w, h and polygons x1, y1, x2, y2, ... in pixels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")
ABSENT = [NAN] * 4
Region = Sequence[float]


def box_around(region: Region) -> Region:
    """Box x, y, w, h around a polygon; a box is returned as it is, NaN makes all NaN."""
    if len(region) == 4:
        return region
    if any(map(math.isnan, region)):
        return ABSENT
    xs, ys = region[::2], region[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def boxes_around(regions: NDArray) -> NDArray:
    """Boxes (N, 4) around polygons (N, 8); boxes (N, 4) are returned as they are."""
    if regions.shape[1] == 4:
        return regions
    low, high = (f(regions.reshape(len(regions), -1, 2), axis=1) for f in (np.min, np.max))
    boxes = np.hstack([low, high - low])
    boxes[np.isnan(boxes).any(axis=1)] = NAN
    return boxes


def vot_corners(region: Region) -> list[float]:
    """Corners of a ground truth as the failure test of VOT's reset protocol takes them.

    A box x, y, w, h covers w by h pixels there, so its far corners are at ``x + w - 1`` and
    ``y + h - 1``: (x, y), (x, y + h - 1), (x + w - 1, y + h - 1), (x + w - 1, y). A polygon is
    returned as it is.
    """
    if len(region) != 4:
        return list(region)
    x, y, w, h = region
    right, bottom = x + w - 1, y + h - 1
    return [x, y, x, bottom, right, bottom, right, y]


def widened(regions: NDArray, width: int) -> NDArray:
    """Regions (N, K) as polygons of ``width`` numbers, unless they have them; see `as_regions`."""
    if regions.shape[1] == width:
        return regions
    if regions.shape[1] == 4:
        regions = corners(regions)
    last = [regions[:, -2:]] * ((width - regions.shape[1]) // 2)
    return np.concatenate([regions, *last], axis=1)


def corners(boxes: NDArray) -> NDArray:
    """Corners (N, 8) of boxes (N, 4) x, y, w, h, clockwise from the top left."""
    x, y, w, h = boxes.T
    return np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)


def as_regions(trajectory: Sequence[Sequence[float]]) -> NDArray:
    """Regions of differing length, boxes or polygons, as one array (N, 4) or (N, 2K).

    Where both occur, boxes become polygons. Short polygons repeat their last corner, which changes
    neither their area nor their pixels. A region of fewer than 4 numbers becomes NaN.
    """
    counts = np.array([len(region) for region in trajectory])
    sizes = sorted({count for count in counts.tolist() if count >= 4})
    if sizes == [4] and len(counts) and (counts == 4).all():
        return np.array(trajectory, np.float64)
    width = max([4, *sizes])
    regions = np.full((len(counts), width), np.nan)
    for size in sizes:
        frames = np.flatnonzero(counts == size)
        block = np.array([trajectory[frame] for frame in frames], np.float64)
        regions[frames] = widened(block, width)
    return regions
