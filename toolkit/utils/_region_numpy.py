"""Overlap of regions in NumPy: what `toolkit.utils._region` compiles, for machines without it.

Both follow the rasterization rules in `toolkit.utils.region`, per row, never per pixel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST = (1 << 30, 65536)  # columns and rows of a canvas; larger ones are squeezed
ROWS_AT_ONCE = 1 << 16  # bounds the memory of one step
NOTHING = np.iinfo(np.int64).max // 4  # a column right of every canvas


class Canvas(NamedTuple):
    """Drawing area of N pairs: origin (N, 2) x, y, size (N, 2), and whether it is usable (N,)."""

    origin: NDArray
    size: NDArray
    usable: NDArray


def polygon_overlaps(polygons1: NDArray, polygons2: NDArray, bounds: NDArray, out: NDArray) -> None:
    """Overlap of polygons pair by pair, drawn row by row.

    Args:
        polygons1: (N, 2K) float32, x1, y1, ..., xK, yK in pixels.
        polygons2: (N, 2L) float32.
        bounds: (4,) float32, top, bottom, left, right.
        out: (N,) float32, filled with values in [0, 1] or NaN where nothing is drawn.
    """
    out[:] = 0
    points1, points2 = (p.reshape(len(p), -1, 2) for p in (polygons1, polygons2))
    canvas = _fit_canvas(_outer_box(points1, bounds), _outer_box(points2, bounds))
    todo = np.flatnonzero(canvas.usable)
    if not len(todo):
        return
    canvas = Canvas(*(field[todo] for field in canvas))
    vertices1 = _to_canvas(points1[todo], canvas)
    vertices2 = _to_canvas(points2[todo], canvas)
    width, height = np.minimum(canvas.size, LARGEST).astype(np.int64).T
    inter, total = _count_pixels(vertices1, vertices2, width, height)
    with np.errstate(invalid="ignore"):
        out[todo] = inter / (total - inter)


def rect_overlaps(rects1: NDArray, rects2: NDArray, bounds: NDArray, out: NDArray) -> None:
    """Overlap of rectangles (N, 4) float64 x, y, w, h, as if drawn; see `polygon_overlaps`."""
    corners1, corners2 = _corners(rects1), _corners(rects2)  # (N, 2, 2)
    canvas = _fit_canvas(_outer_box(corners1, bounds), _outer_box(corners2, bounds))
    filled1, filled2 = _filled(corners1, canvas), _filled(corners2, canvas)
    shared = np.concatenate(
        [np.maximum(filled1[:, :2], filled2[:, :2]), np.minimum(filled1[:, 2:], filled2[:, 2:])], 1
    )
    inter = _num_pixels(shared)
    with np.errstate(invalid="ignore", over="ignore"):
        overlap = inter / (_num_pixels(filled1) + _num_pixels(filled2) - inter)
    out[:] = np.where(canvas.usable, overlap, 0)


def _outer_box(points: NDArray, bounds: NDArray) -> NDArray:
    """Whole-pixel boxes (N, 4) left, top, right, bottom around (N, K, 2); NaN if not finite."""
    points = np.where(np.isfinite(points).all((1, 2), keepdims=True), points, np.nan)
    top, bottom, left, right = bounds.astype(np.float64)
    low = np.maximum(np.floor(points.min(1).astype(np.float64)), (left, top))
    high = np.minimum(np.ceil(points.max(1).astype(np.float64)), (right, bottom))
    return np.concatenate([low, high], axis=1)


def _fit_canvas(a: NDArray, b: NDArray) -> Canvas:
    with np.errstate(invalid="ignore", over="ignore"):
        origin = np.minimum(a, b)[:, :2].astype(np.float32)
        size = np.trunc(np.maximum(a, b)[:, 2:].astype(np.float32) - origin).astype(float) + 1
    drawable = (np.isfinite(size) & (size >= 1)).all(axis=1)
    return Canvas(origin, size, drawable & _may_overlap(a, b))


def _may_overlap(a: NDArray, b: NDArray) -> NDArray:
    """False where the boxes alone decide for an overlap of 0."""
    area_a, area_b = (np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (a, b))
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    inter = np.prod(sides, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        tiny = (area_a / area_b < 1e-10) | (area_b / area_a < 1e-10)
        ratio = inter / (area_a + area_b - inter)
    return ~tiny & ~(ratio <= 0)  # NaN (two boxes without area) goes on to the drawing


def _round_away(values: NDArray) -> NDArray:
    return np.where(values >= 0, np.floor(values + 0.5), np.ceil(values - 0.5))


def _to_canvas(points: NDArray, canvas: Canvas) -> NDArray:
    """Whole canvas pixels (N, K, 2), float64; large regions are squeezed."""
    scale = np.minimum(LARGEST / canvas.size, 1.0)
    moved = (points - canvas.origin[:, None]).astype(np.float64)
    return _round_away(moved * scale[:, None])


def _count_pixels(
    vertices1: NDArray, vertices2: NDArray, width: NDArray, height: NDArray
) -> tuple[NDArray, NDArray]:
    """Pixels in both and the sum of the pixels of each, (N,) int64, a slice of rows at a time."""
    rows = np.concatenate([vertices1[..., 1], vertices2[..., 1]], axis=1)
    first = np.clip(rows.min(1), 0, height).astype(np.int64)
    last = np.maximum(np.minimum(rows.max(1), height - 1), first - 1).astype(np.int64)
    ends = np.cumsum(last - first + 1)
    inter, total = np.zeros((2, len(ends)), np.int64)
    for start in range(0, int(ends[-1]), ROWS_AT_ONCE):
        row = np.arange(start, min(start + ROWS_AT_ONCE, int(ends[-1])))
        pair = np.searchsorted(ends, row, side="right")
        y = last[pair] - (ends[pair] - 1 - row)
        spans1 = _spans(vertices1[pair], y, width[pair])
        spans2 = _spans(vertices2[pair], y, width[pair])
        np.add.at(inter, pair, _shared(spans1, spans2))
        np.add.at(total, pair, _length(spans1).sum(1) + _length(spans2).sum(1))
    return inter, total


def _nodes(vertices: NDArray, y: NDArray) -> NDArray:
    """Sorted columns (R, K) in which outlines (R, K, 2) cross their row, padded with NOTHING."""
    x_i, y_i = vertices[..., 0], vertices[..., 1]
    x_j, y_j = np.roll(x_i, 1, axis=1), np.roll(y_i, 1, axis=1)
    y = y[:, None]
    crosses = (y_i != y_j) & (y >= np.minimum(y_i, y_j)) & (y <= np.maximum(y_i, y_j))
    with np.errstate(divide="ignore", invalid="ignore"):
        x = x_i + (y - y_i) / (y_j - y_i) * (x_j - x_i)
    limit = 2.0**60
    nodes = np.clip(np.where(crosses, x, 0), -limit, limit).astype(np.int64)
    return np.sort(np.where(crosses, nodes, NOTHING), axis=1)


def _spans(vertices: NDArray, y: NDArray, width: NDArray) -> NDArray:
    """Filled runs (R, K, 2) as first and last column; a run that ends before it starts is none."""
    nodes = _nodes(vertices, y)
    spans = np.full((*nodes.shape, 2), (0, -1), np.int64)
    held = np.zeros(len(nodes), bool)
    left, done = np.full((2, len(nodes)), -1, np.int64)
    for k, node in enumerate(nodes.T):
        valid = node != NOTHING
        ends = valid & held & (node != left)  # the first of two equal nodes is dropped
        spans[ends, k, 0] = np.maximum(left, done + 1)[ends]  # a shared column counts once
        spans[ends, k, 1] = np.minimum(node, width - 1)[ends]
        done = np.where(ends, np.maximum(done, spans[:, k, 1]), done)
        left = np.where(valid & ~held, node, left)
        held = valid & ~ends
    return spans


def _length(spans: NDArray) -> NDArray:
    return np.maximum(spans[..., 1] - spans[..., 0] + 1, 0)


def _shared(a: NDArray, b: NDArray) -> NDArray:
    """Pixels (R,) that the runs of both have in common."""
    a, b = a[:, :, None], b[:, None]
    low, high = np.maximum(a[..., 0], b[..., 0]), np.minimum(a[..., 1], b[..., 1])
    return np.maximum(high - low + 1, 0).sum(axis=(1, 2))


def _corners(rects: NDArray) -> NDArray:
    """Opposite corners (N, 2, 2) in single precision, smaller one first."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = rects[:, :2].astype(np.float32)
        far = (rects[:, :2] + rects[:, 2:]).astype(np.float32)
    return np.stack([np.minimum(near, far), np.maximum(near, far)], axis=1)


def _filled(corners: NDArray, canvas: Canvas) -> NDArray:
    """First column, first row, last column, last row (N, 4); no-size rectangles fill nothing."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = (corners - canvas.origin[:, None]).astype(np.float64)
        low, high = np.moveaxis(_round_away(moved), 1, 0)
    empty = (low == high).any(axis=1)
    box = np.concatenate([np.maximum(low, 0), np.minimum(high, canvas.size - 1)], axis=1)
    box[empty] = (0, 0, -1, -1)
    return box


def _num_pixels(boxes: NDArray) -> NDArray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2] + 1, 0), axis=1)
