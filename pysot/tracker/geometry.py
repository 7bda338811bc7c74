"""Geometry that trackers share: targets, crops, penalties, windows.

Boxes and centers are in 0-based pixels of the frame; ``size`` is (w, h), ``shape`` is (h, w).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_SIDE = 10
"""Smallest side in pixels that a tracker reports."""


@dataclass(frozen=True)
class Target:
    """Center and size of the tracked object."""

    cx: float
    cy: float
    w: float
    h: float

    @classmethod
    def from_xywh(cls, bbox: Sequence[float]) -> Target:
        """Make a target of a first box, whose center counts whole pixels: x + (w - 1) / 2."""
        x, y, w, h = bbox
        return cls(float(x + (w - 1) / 2), float(y + (h - 1) / 2), float(w), float(h))

    def to_xywh(self) -> list[float]:
        """Return [x, y, w, h] with x = cx - w / 2, as results are written."""
        return [self.cx - self.w / 2, self.cy - self.h / 2, self.w, self.h]

    def moved(self, offset: Sequence[float], size: Sequence[float], rate: float) -> Target:
        """Move the center by ``offset`` and the size a share ``rate`` of the way to ``size``."""
        return Target(
            float(self.cx + offset[0]),
            float(self.cy + offset[1]),
            float(self.w * (1 - rate) + size[0] * rate),
            float(self.h * (1 - rate) + size[1] * rate),
        )

    def clipped(self, frame_shape: tuple[int, ...]) -> Target:
        """Keep the center inside a frame (H, W, ...) and the sides between 10 and the frame's.

        A value that meets a limit becomes that integer: result files show ``10``, not ``10.0``.
        """
        height, width = frame_shape[:2]
        return Target(
            max(0, min(self.cx, width)),
            max(0, min(self.cy, height)),
            max(MIN_SIDE, min(self.w, width)),
            max(MIN_SIDE, min(self.h, height)),
        )


def context_side(size: Sequence[float], context_amount: float) -> float:
    """Return the side sqrt((w + p)(h + p)) of a crop, p = amount * (w + h) (SiamFC, 2.2)."""
    pad = context_amount * (size[0] + size[1])
    return math.sqrt((size[0] + pad) * (size[1] + pad))


def crop_window(
    image: NDArray, center: Sequence[float], side: int, out_size: int, fill: Sequence[float]
) -> NDArray:
    """Cut a square window and scale it; only the window is copied, not the padded frame.

    Published weights expect this crop pixel for pixel: integer window, then bilinear resizing.

    Args:
        image: BGR uint8, (H, W, 3).
        center: cx, cy of the window, which may lie outside of the image.
        side: Side of the window in pixels of the image, at least 1.
        out_size: Side of the result in pixels.
        fill: Color of pixels outside the image, BGR; truncated to integers.

    Returns:
        BGR uint8, (out_size, out_size, 3).
    """
    height, width = image.shape[:2]
    left = math.floor(center[0] - (side + 1) / 2 + 0.5)
    top = math.floor(center[1] - (side + 1) / 2 + 0.5)
    x1, x2 = max(left, 0), min(left + side, width)
    y1, y2 = max(top, 0), min(top + side, height)
    if (x1, y1, x2, y2) == (left, top, left + side, top + side):
        window = image[y1:y2, x1:x2]
    else:
        window = np.empty((side, side, 3), dtype=np.uint8)
        window[:] = np.asarray(fill).astype(np.uint8)
        if x1 < x2 and y1 < y2:
            window[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
    if side != out_size:
        return cv2.resize(window, (out_size, out_size))
    return np.ascontiguousarray(window)


def change_penalty(sizes: NDArray, reference: Sequence[float], penalty_k: float) -> NDArray:
    """Penalize candidates whose scale or aspect ratio changes much (SiamRPN, section 4.3).

    Args:
        sizes: (N, 2) widths and heights of the candidates.
        reference: Width and height of the last box, in the same unit.
        penalty_k: Strength; 0 gives no penalty.

    Returns:
        (N,) in (0, 1].
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    scale = _change(_padded_side(*sizes.T) / _padded_side(*reference))
    ratio = _change((reference[0] / reference[1]) / (sizes[:, 0] / sizes[:, 1]))
    return np.exp(-(ratio * scale - 1) * penalty_k)


def _change(r: NDArray) -> NDArray:
    return np.maximum(r, 1.0 / r)


def _padded_side(w: NDArray | float, h: NDArray | float) -> NDArray | float:
    pad = (w + h) * 0.5
    return np.sqrt((w + pad) * (h + pad))


def cosine_window(size: int, anchors: int) -> NDArray:
    """Return a Hanning window per anchor, (anchors * size * size,)."""
    row = np.hanning(size)
    return np.tile(np.outer(row, row).ravel(), anchors)


def check_frame(image: NDArray) -> None:
    """Refuse anything but a BGR uint8 frame (H, W, 3).

    Raises:
        ValueError: Naming what was found instead.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"a frame must be a NumPy array (H, W, 3), not {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            "a frame must be BGR uint8 of shape (H, W, 3), found "
            f"{image.dtype} of shape {image.shape}; cv2.cvtColor makes BGR of gray and alpha images"
        )


def check_box(bbox: Sequence[float], frame_shape: tuple[int, ...]) -> None:
    """Refuse a first box (x, y, w, h) that cannot be tracked in a frame (H, W, ...).

    Raises:
        ValueError: If it has not four finite numbers, no area, or lies outside of the frame.
    """
    box = np.asarray(bbox, dtype=np.float64).ravel()
    if box.size != 4 or not np.isfinite(box).all():
        raise ValueError(f"the first box must be four finite numbers x, y, w, h; found {bbox}")
    x, y, w, h = box
    if w <= 0 or h <= 0:
        raise ValueError(f"the first box has no area: width {w:g}, height {h:g}")
    height, width = frame_shape[:2]
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(
            f"the first box ({x:g}, {y:g}, {w:g}, {h:g}) lies outside the {width} x {height} frame"
        )
