"""Tracking with a mask of the target (SiamMask)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import Target
from pysot.tracker.network import select
from pysot.tracker.siamrpn_tracker import Candidates, SiamRPNTracker

MIN_AREA = 100
"""Area in pixels that a mask must exceed to give a polygon."""


@dataclass(frozen=True)
class MaskCandidates(Candidates):
    """Candidates, and the prediction for their masks."""

    prediction: Any


@TRACKERS.register("SiamMaskTracker")
class SiamMaskTracker(SiamRPNTracker):
    """Moves as :class:`SiamRPNTracker`; its network refines masks.

    Results also have ``mask``, probabilities (H, W) float32, and ``polygon``, corners
    [x1, y1, ..., x4, y4] of the smallest rectangle around the mask's largest part, or of the box
    where no part exceeds ``MIN_AREA``.
    """

    tuned = (*SiamRPNTracker.tuned, "MASK_THERSHOLD")

    def predict(self, kernels: Any, crops: NDArray) -> Any:
        """See :meth:`SiameseTracker.predict`."""
        return self.network.search(kernels, crops, masks=True)

    def decode(self, prediction: Any) -> list[MaskCandidates]:
        """Decode a prediction for B search images; masks stay on the device."""
        found = super().decode(prediction)
        samples = [select(prediction, number) for number in range(len(found))]
        return [MaskCandidates(c.scores, c.boxes, s) for c, s in zip(found, samples, strict=True)]

    def update(
        self, candidates: MaskCandidates, scale: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """See :meth:`SiamRPNTracker.update`; adds the mask of the chosen candidate."""
        search_center, side = (self.state.target.cx, self.state.target.cy), self.search_side()
        step = self.step(candidates, scale)
        result = self.update_state(step, frame_shape)
        position = self._position(step.index, candidates.scores.size)
        size = self.params.mask_output_size
        mask = self.network.refine(candidates.prediction, position).reshape(size, size)
        plane = self._frame_in_mask(position, search_center, side, frame_shape)
        pasted, window = paste_mask(mask, plane, (frame_shape[1], frame_shape[0]))
        corners = largest_part(pasted, window, self.params.mask_thershold)
        if corners is None:
            corners = box_corners(self.state.target)
        return {**result, "mask": pasted, "polygon": corners.ravel().tolist()}

    def _position(self, index: int, count: int) -> tuple[int, int]:
        """Return row and column of a candidate's cell."""
        cells = count // self.anchor_num
        return divmod(index % cells, math.isqrt(cells))

    def _frame_in_mask(
        self,
        position: tuple[int, int],
        center: tuple[float, float],
        side: int,
        frame_shape: tuple[int, ...],
    ) -> tuple[float, float, float, float]:
        """Return the frame as x, y, w, h in the pixels of a cell's mask."""
        p = self.params
        scale = side / p.instance_size  # frame pixels per crop pixel, and per mask pixel
        row, column = position
        left = center[0] - side / 2 + (column - p.base_size / 2) * p.stride * scale
        top = center[1] - side / 2 + (row - p.base_size / 2) * p.stride * scale
        mask_scale = scale * p.exemplar_size / p.mask_output_size
        height, width = frame_shape[:2]
        return tuple(value / mask_scale for value in (-left, -top, width, height))


def paste_mask(
    mask: NDArray, plane: Sequence[float], frame_size: tuple[int, int], fill: float = 0.0
) -> tuple[NDArray, tuple[int, int, int, int]]:
    """Warp a mask (M, M) into the frame.

    Args:
        mask: Probabilities.
        plane: x, y, w, h of the frame in pixels of the mask. Published numbers require that w
            mask pixels are ``width - 1`` frame pixels.
        frame_size: (width, height).
        fill: Value outside of the mask, blended in at its border.

    Returns:
        (height, width) float32, and the window x1, y1, x2, y2 outside of which it is ``fill``.
    """
    x, y, w, h = plane
    width, height = frame_size
    scale_x, scale_y = (width - 1) / w, (height - 1) / h
    rows, columns = mask.shape
    x1, x2 = _reach(x, columns, scale_x, width)
    y1, y2 = _reach(y, rows, scale_y, height)
    frame = np.full((height, width), fill, np.float32)
    if x1 < x2 and y1 < y2:
        matrix = np.array([[scale_x, 0, -scale_x * x - x1], [0, scale_y, -scale_y * y - y1]])
        frame[y1:y2, x1:x2] = cv2.warpAffine(
            mask.astype(np.float32), matrix, (x2 - x1, y2 - y1), borderValue=fill
        )
    return frame, (x1, y1, x2, y2)


def _reach(start: float, count: int, scale: float, limit: int) -> tuple[int, int]:
    """Return the range of frame pixels that ``count`` mask pixels and their blend may touch."""
    first = math.floor(scale * (-1 - start)) - 1
    last = math.ceil(scale * (count - start)) + 1
    return min(max(first, 0), limit), min(max(last + 1, 0), limit)


def largest_part(
    mask: NDArray, window: tuple[int, int, int, int], threshold: float
) -> NDArray | None:
    """Return the corners (4, 2) of the smallest rectangle around a mask's largest part, or None.

    No pixel outside of the window x1, y1, x2, y2 exceeds the threshold.
    """
    x1, y1, x2, y2 = window
    inside = (mask[y1:y2, x1:x2] > threshold).astype(np.uint8)
    if not inside.any():
        return None
    contours, _ = cv2.findContours(
        inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x1, y1)
    )
    areas = [cv2.contourArea(contour) for contour in contours]
    if max(areas) <= MIN_AREA:
        return None
    return cv2.boxPoints(cv2.minAreaRect(contours[int(np.argmax(areas))]))


def box_corners(target: Target) -> NDArray:
    """Return the corners of a box, (4, 2) as x, y, clockwise from the upper left one."""
    x, y, w, h = target.to_xywh()
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], dtype=np.float64)
