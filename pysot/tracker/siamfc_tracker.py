"""Tracking by a similarity map at several scales (SiamFC; Bertinetto et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import (
    SiameseTracker,
    TrackState,
    check_scores,
    context_side,
    cosine_window,
    crop_window,
)

UPSAMPLING = 16
"""Pixels of the enlarged response per cell."""

GROWTH_LIMITS = (0.2, 5.0)
"""Range of the target's size relative to that in the first frame."""


@dataclass(frozen=True)
class PyramidState(TrackState):
    """The target, its width and height in the first frame, and its growth since."""

    first_size: tuple[float, float] = (0.0, 0.0)
    growth: float = 1.0


@TRACKERS.register("SiamFCTracker")
class SiamFCTracker(SiameseTracker):
    """Follows one target of constant aspect ratio by the peak of the logits (B, 1, R, R)."""

    state_type = PyramidState
    tuned = ("WINDOW_INFLUENCE", "LR", "SCALE_STEP", "SCALE_PENALTY")
    reads = (*SiameseTracker.reads, "SCALE_NUM")

    @cached_property
    def factors(self) -> NDArray:
        """Relative sides of the K search regions, ascending."""
        p = self.params
        return p.scale_step ** (np.arange(p.scale_num) - (p.scale_num - 1) / 2)

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """See :meth:`BaseTracker.init`."""
        super().init(image, bbox)
        target = self.state.target
        self.state = replace(self.state, first_size=(target.w, target.h))

    def search_crop(self, image: NDArray) -> tuple[NDArray, float]:
        """Return crops (K, S, S, 3), and crop pixels per frame pixel at the middle scale."""
        p, state = self.params, self.state
        center = state.target.cx, state.target.cy
        scale = self._scale()
        sides = [max(1, round(side)) for side in self.factors * p.instance_size / scale]
        crops = [crop_window(image, center, side, p.instance_size, state.fill) for side in sides]
        return np.stack(crops), scale

    def search_side(self) -> int:
        """Side of the next search region at the middle scale, in pixels of the frame."""
        return max(1, round(self.params.instance_size / self._scale()))

    def _scale(self) -> float:
        """Crop pixels per frame pixel at the middle scale."""
        p, state = self.params, self.state
        return p.exemplar_size / (context_side(state.first_size, p.context_amount) * state.growth)

    def decode(self, prediction: Any) -> list[NDArray]:
        """Decode logits (T * K, 1, R, R) of T targets: (K, R, R) float32 for each."""
        logits, _ = self.network.outputs(prediction)
        return list(logits.reshape(-1, self.params.scale_num, *logits.shape[2:]))

    def update(
        self, responses: NDArray, scale: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Move the target to the peak of the best scale's response."""
        check_scores(responses)
        p, state = self.params, self.state
        enlarged = [upsampled(response) for response in responses]
        best = choose_scale([response.max() for response in enlarged], p.scale_penalty)
        peak = peak_of(enlarged[best], p.window_influence)
        cell = (np.array(peak[::-1]) - (len(enlarged[best]) - 1) / 2) / UPSAMPLING  # x, y
        factor = self.factors[best]
        offset = cell * p.stride * factor / scale
        growth = float(np.clip(state.growth * (1 - p.lr + p.lr * factor), *GROWTH_LIMITS))
        size = [side * growth for side in state.first_size]
        clipped = state.target.moved(offset, size, rate=1).clipped(frame_shape)
        self.state = replace(state, target=clipped, growth=growth)
        score = 1 / (1 + np.exp(-float(enlarged[best][peak])))
        return {"bbox": clipped.to_xywh(), "best_score": float(score)}


def upsampled(response: NDArray) -> NDArray:
    """Enlarge a response (R, R) bicubically to (16 R, 16 R); the middles coincide."""
    side = UPSAMPLING * len(response)
    return cv2.resize(response, (side, side), interpolation=cv2.INTER_CUBIC)


def choose_scale(peaks: Sequence[float], penalty: float) -> int:
    """Return the index of the highest peak, after a penalty on all but the middle one.

    The penalty divides negative logits, so that it is never an advantage.
    """
    middle = len(peaks) // 2
    paid = [peak * penalty if peak > 0 else peak / penalty for peak in peaks]
    paid[middle] = peaks[middle]
    return int(np.argmax(paid))


def peak_of(response: NDArray, influence: float) -> tuple[int, int]:
    """Return row and column of the peak of a response mixed with the cosine window.

    Both have the minimum 0 and the sum 1; ``influence`` is the window's share.
    """
    heat = response - response.min()
    total = heat.sum(dtype=np.float64)
    if total > 0:
        heat = heat / total
    mixture = (1 - influence) * heat + influence * _window(len(response))
    row, column = np.unravel_index(int(np.argmax(mixture)), mixture.shape)
    return int(row), int(column)


@lru_cache(maxsize=8)
def _window(side: int) -> NDArray:
    window = cosine_window(side, anchors=1).reshape(side, side)
    return window / window.sum()
