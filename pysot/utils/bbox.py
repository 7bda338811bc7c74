"""Box formats and conversions.

All boxes are in 0-based pixels. ``xyxy`` is (x1, y1, x2, y2), ``cxcywh`` center and size,
``xywh`` left, top, width, height; x2 = x1 + w (no "+1") unless a docstring says otherwise.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Corner = namedtuple("Corner", "x1 y1 x2 y2")
"""Upper left and lower right corner; coordinates may be numbers or arrays."""

BBox = Corner

Center = namedtuple("Center", "x y w h")
"""Center and size; coordinates may be numbers or arrays."""


def corner2center(corner: Corner | NDArray | Sequence[float]) -> Center | tuple:
    """Return center and size of corners, (4, ...): a ``Center`` for a ``Corner``, else a tuple."""
    x1, y1, x2, y2 = corner[0], corner[1], corner[2], corner[3]
    values = (x1 + x2) * 0.5, (y1 + y2) * 0.5, x2 - x1, y2 - y1
    return Center(*values) if isinstance(corner, Corner) else values


def center2corner(center: Center | NDArray | Sequence[float]) -> Corner | tuple:
    """Return corners of center and size, (4, ...): a ``Corner`` for a ``Center``, else a tuple."""
    cx, cy, w, h = center[0], center[1], center[2], center[3]
    values = cx - w * 0.5, cy - h * 0.5, cx + w * 0.5, cy + h * 0.5
    return Corner(*values) if isinstance(center, Center) else values


def IoU(rect1: Sequence, rect2: Sequence) -> NDArray | float:
    """Return the overlap, in [0, 1], of x1, y1, x2, y2: numbers, or arrays that broadcast."""
    x1, y1, x2, y2 = rect1[0], rect1[1], rect1[2], rect1[3]
    tx1, ty1, tx2, ty2 = rect2[0], rect2[1], rect2[2], rect2[3]
    width = np.maximum(0, np.minimum(x2, tx2) - np.maximum(x1, tx1))
    height = np.maximum(0, np.minimum(y2, ty2) - np.maximum(y1, ty1))
    inter = width * height
    return inter / ((x2 - x1) * (y2 - y1) + (tx2 - tx1) * (ty2 - ty1) - inter)


def cxy_wh_2_rect(pos: Sequence[float], sz: Sequence[float]) -> NDArray:
    """Turn a center and a size into (4,) x, y, w, h."""
    return np.array([pos[0] - sz[0] / 2, pos[1] - sz[1] / 2, sz[0], sz[1]])


def rect_2_cxy_wh(rect: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Turn x, y, w, h into a center (2,) and a size (2,)."""
    center = np.array([rect[0] + rect[2] / 2, rect[1] + rect[3] / 2])
    return center, np.array([rect[2], rect[3]])


def cxy_wh_2_rect1(pos: Sequence[float], sz: Sequence[float]) -> NDArray:
    """Turn a 0-based center and a size into a 1-based rectangle, (4,) x, y, w, h."""
    return np.array([pos[0] - sz[0] / 2 + 1, pos[1] - sz[1] / 2 + 1, sz[0], sz[1]])


def rect1_2_cxy_wh(rect: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Turn a 1-based rectangle x, y, w, h into a 0-based center (2,) and a size (2,)."""
    center, size = rect_2_cxy_wh(rect)
    return center - 1, size


def get_axis_aligned_bbox(region: Sequence[float]) -> tuple[float, float, float, float]:
    """Upright box cx, cy, w, h of a region: of equal area for a polygon (VOT 2016 protocol).

    A region is x, y, w, h or x1, y1, ..., x4, y4. A polygon's sides are one pixel longer than its
    equal-area box; a rectangle's are as given: published VOT numbers were made that way.
    """
    region = np.asarray(region, dtype=float)
    if region.size != 8:
        x, y, w, h = region
        return x + w / 2, y + h / 2, w, h
    corners = region.reshape(4, 2)
    span = np.ptp(corners, axis=0)
    sides = np.linalg.norm(corners[:2] - corners[1:3], axis=1)
    scale = np.sqrt(sides.prod() / span.prod()) if span.all() else 1.0  # a point, or a line
    cx, cy = corners.mean(axis=0)
    w, h = scale * span + 1
    return cx, cy, w, h


def get_min_max_bbox(region: Sequence[float]) -> tuple[float, float, float, float]:
    """Smallest upright box cx, cy, w, h around x, y, w, h or a polygon x1, y1, ..., x4, y4.

    A polygon's center is the mean of its corners.
    """
    region = np.asarray(region, dtype=float)
    if region.size != 8:
        x, y, w, h = region
        return x + w / 2, y + h / 2, w, h
    corners = region.reshape(4, 2)
    cx, cy = corners.mean(axis=0)
    w, h = np.ptp(corners, axis=0)
    return cx, cy, w, h


def initial_rect(region: Sequence[float]) -> list[float]:
    """Rectangle x, y, w, h that a benchmark run hands to a tracker in the first frame.

    The size keeps its type (an integer box stays integer), and a rectangle moves by half a pixel,
    because the center counts (w - 1) / 2: both show in result files.
    """
    cx, cy, w, h = get_axis_aligned_bbox(region)
    if len(region) == 4:
        w, h = region[2], region[3]
    return [float(cx - (w - 1) / 2), float(cy - (h - 1) / 2), w, h]
