"""Anchor boxes: A shapes repeated on a grid of R x R cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pysot.utils.bbox import center2corner

# largest change of a side, as a logarithm: boxes of an untrained network must stay numbers
_MAX_DELTA = 10.0


@dataclass(frozen=True)
class Grid:
    """The R x R cells of a network's response, placed on a search image."""

    size: int
    """R."""
    stride: int
    """Pixels between two cells."""
    search_size: int
    """Side of the search image in pixels."""

    @property
    def line(self) -> NDArray:
        """Pixel coordinates of the cells of one row or column, (R,)."""
        cells = np.arange(self.size) - self.size // 2
        return self.search_size // 2 + cells * float(self.stride)


def anchor_shapes(stride: int, ratios: Sequence[float], scales: Sequence[float]) -> NDArray:
    """Width and height of each anchor in pixels, (A, 2) float32, ratios outermost.

    An anchor of scale 1 covers about stride^2 pixels; ratios are height over width. Sides are
    truncated to whole pixels before scaling, which published weights expect.

    Raises:
        ValueError: If that leaves an anchor without width or height.
    """
    shapes = []
    for ratio in ratios:
        width = int(np.sqrt(stride * stride / ratio))
        height = int(width * ratio)
        if not (width and height):
            raise ValueError(
                f"ANCHOR.RATIOS: an anchor of ratio {ratio} at ANCHOR.STRIDE {stride} would be "
                f"{width} x {height} pixels"
            )
        shapes += [(width * scale, height * scale) for scale in scales]
    return np.array(shapes, dtype=np.float32)


def _anchor_grid(shapes: NDArray, stride: int, size: int, origin: float) -> NDArray:
    """Place every shape on every cell: (A, R, R, 4) float32 cx, cy, w, h; axis 1 is the row.

    ``origin`` is x and y of the center of cell (0, 0).
    """
    center = (origin + stride * np.arange(size)).astype(np.float32)
    grid = np.empty((len(shapes), size, size, 4), dtype=np.float32)
    grid[..., 0] = center[None, None, :]
    grid[..., 1] = center[None, :, None]
    grid[..., 2:] = shapes[:, None, None, :]
    return grid


def tracking_anchors(shapes: NDArray, stride: int, size: int) -> NDArray:
    """Anchors in pixels from a search crop's center, (A * R * R, 4) float32 as cx, cy, w, h.

    Their order, anchor, row, column, is that of the channels of the network's output.
    """
    return _anchor_grid(shapes, stride, size, origin=-(size // 2) * stride).reshape(-1, 4)


def training_anchors(shapes: NDArray, grid: Grid) -> NDArray:
    """Anchors in pixels of a training search image, (A, R, R, 4) float32 as cx, cy, w, h."""
    return _anchor_grid(shapes, grid.stride, grid.size, origin=grid.line[0])


def decode_boxes(deltas: NDArray, anchors: NDArray) -> NDArray:
    """Apply dx, dy, dw, dh (4, N) to anchors cx, cy, w, h (N, 4) (SiamRPN, equation 12)."""
    boxes = np.empty_like(anchors)
    boxes[:, :2] = deltas[:2].T * anchors[:, 2:] + anchors[:, :2]
    boxes[:, 2:] = np.exp(deltas[2:].T.clip(-_MAX_DELTA, _MAX_DELTA)) * anchors[:, 2:]
    return boxes


class Anchors:
    """Anchors in the form PySOT's users know; the functions above are what the package uses.

    ``anchors`` has (A, 4) corners x1, y1, x2, y2 around 0; ``all_anchors`` corners and centers,
    (4, A, R, R) each, after :meth:`generate_all_anchors`.
    """

    def __init__(self, stride: int, ratios: Sequence[float], scales: Sequence[float]) -> None:
        self.stride, self.ratios, self.scales = stride, ratios, scales
        self.shapes = anchor_shapes(stride, ratios, scales)
        self.anchor_num = len(self.shapes)
        self.anchors = np.concatenate([-self.shapes / 2, self.shapes / 2], axis=1)
        self.all_anchors: tuple[NDArray, NDArray] | None = None
        self._grid: tuple[int, int] | None = None

    def generate_all_anchors(self, im_c: int, size: int) -> bool:
        """Place the anchors on size x size cells around ``im_c``; return whether they are new."""
        if self._grid == (im_c, size):
            return False
        grid = _anchor_grid(self.shapes, self.stride, size, im_c - size // 2 * self.stride)
        center = grid.transpose(3, 0, 1, 2)
        self.all_anchors = np.stack(center2corner(center)), center
        self._grid = (im_c, size)
        return True
