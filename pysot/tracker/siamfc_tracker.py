"""Tracking by a similarity map at several scales (SiamFC; Bertinetto et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import SiameseTracker, TrackState
from pysot.tracker.geometry import (
    context_side,
    cosine_window,
    crop_window,
)

UPSAMPLING = 16
"""Pixels of the enlarged response per cell."""

SCALE_LIMITS = (0.2, 5.0)
"""Range of the target's size relative to that in the first frame."""


@dataclass(frozen=True)
class PyramidParams:
    """Settings of SiamFC: the section ``TRACK`` of a configuration; sizes in crop pixels."""

    window_influence: float = 0.176
    lr: float = 0.59
    """Share of a new scale in the next size."""
    exemplar_size: int = 127
    instance_size: int = 255
    context_amount: float = 0.5
    stride: int = 8
    scale_num: int = 3
    scale_step: float = 1.0375
    scale_penalty: float = 0.9745
    """Factor on the responses of all scales but the last one."""

    @property
    def scales(self) -> NDArray:
        """Sides of the search regions relative to the usual one, (K,), ascending."""
        return self.scale_step ** (np.arange(self.scale_num) - (self.scale_num - 1) / 2)


@dataclass(frozen=True)
class PyramidState(TrackState):
    """The target, and its size relative to the first frame."""

    first_size: tuple[float, float] = (0.0, 0.0)
    """Width and height in the first frame."""
    scale: float = 1.0
    """Size of the target relative to the first frame."""


@TRACKERS.register("SiamFCTracker")
class SiamFCTracker(SiameseTracker):
    """Follows one target by the peak of a response; its aspect ratio stays as it was at first.

    All scales of a frame are one batch. The template stays that of the first frame.

    Args:
        model: Network with ``encode_template(z)`` and ``predict(kernels, x)``, whose first output
            are logits (B, 1, R, R).
        params: Settings.
    """

    params_type = PyramidParams
    state_type = PyramidState

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target; see :meth:`SiameseTracker.init`."""
        super().init(image, bbox)
        target = self.state.target
        self.state = replace(self.state, first_size=(target.w, target.h))

    def search_crop(self, image: NDArray) -> tuple[NDArray, float]:
        """Cut the search regions of all K scales around the last box.

        Returns:
            Crops (K, S, S, 3) BGR uint8 with S = ``instance_size``, and crop pixels per frame
            pixel at scale 1.
        """
        if self.state is None:
            raise ValueError("call init(image, bbox) before track(image)")
        p, state = self.params, self.state
        centre = state.target.cx, state.target.cy
        zoom = p.exemplar_size / (context_side(state.first_size, p.context_amount) * state.scale)
        sides = [max(1, round(side)) for side in p.scales * p.instance_size / zoom]
        crops = [crop_window(image, centre, side, p.instance_size, state.fill) for side in sides]
        return np.stack(crops), zoom

    def decode(self, prediction: Any) -> list[NDArray]:
        """Read logits (T * K, 1, R, R) of T targets: an array (K, R, R) float32 for each."""
        logits = prediction[0].float()
        return list(logits.reshape(-1, self.params.scale_num, *logits.shape[2:]).cpu().numpy())

    def update(
        self, responses: NDArray, zoom: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Move the target to the peak of the best scale's response.

        Args:
            responses: Logits, (K, R, R).
            zoom: Crop pixels per frame pixel at scale 1.
            frame_shape: (H, W, ...) of the frame.

        Returns:
            As :meth:`track`.

        Raises:
            ValueError: If the responses are NaN.
        """
        if not np.isfinite(responses).all():
            raise ValueError(
                "the network returned NaN scores; are these the weights of this model?"
            )
        p, state = self.params, self.state
        enlarged = [upsampled(response) for response in responses]
        best = choose_scale([response.max() for response in enlarged], p.scale_penalty)
        peak = peak_of(enlarged[best], p.window_influence)
        cell = (np.array(peak[::-1]) - (len(enlarged[best]) - 1) / 2) / UPSAMPLING  # x, y
        factor = p.scales[best]
        offset = cell * p.stride * factor / zoom
        scale = float(np.clip(state.scale * (1 - p.lr + p.lr * factor), *SCALE_LIMITS))
        size = [side * scale for side in state.first_size]
        moved = state.target.moved(offset, size, rate=1)
        clipped = moved.clipped((frame_shape[1], frame_shape[0]))
        self.state = replace(state, target=clipped, scale=scale)
        score = 1 / (1 + np.exp(-float(enlarged[best][peak])))
        return {"bbox": clipped.to_xywh(), "best_score": float(score)}


def upsampled(response: NDArray) -> NDArray:
    """Enlarge a response (R, R) bicubically to (16 R, 16 R); the middles coincide."""
    side = UPSAMPLING * len(response)
    return cv2.resize(response, (side, side), interpolation=cv2.INTER_CUBIC)


def choose_scale(peaks: Sequence[float], penalty: float) -> int:
    """Index of the scale with the highest peak; all but the middle one pay a penalty.

    A logit may be negative: there the penalty divides, so that it never is an advantage.
    """
    middle = len(peaks) // 2
    paid = [peak * penalty if peak > 0 else peak / penalty for peak in peaks]
    paid[middle] = peaks[middle]
    return int(np.argmax(paid))


def peak_of(response: NDArray, influence: float) -> tuple[int, int]:
    """Row and column of the peak, once the response is made a distribution and windowed.

    The response is shifted to start at 0 and scaled to the sum 1, as the cosine window is; their
    mixture with ``influence`` as the window's share decides.
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
