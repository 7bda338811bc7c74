"""Shapes of a ground truth: boxes x, y, w, h and polygons x1, y1, x2, y2, ... in pixels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")
Region = Sequence[float]


def box_around(region: Region) -> Region:
    """Box x, y, w, h around a polygon; a box is returned as it is, NaN makes all NaN."""
    if len(region) == 4:
        return region
    if any(map(math.isnan, region)):
        return [NAN] * 4
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
