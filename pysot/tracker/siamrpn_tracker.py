"""Short-term tracking with a region proposal head (SiamRPN, SiamRPN++)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import (
    SiameseTracker,
    Target,
    change_penalty,
    check_scores,
    context_side,
    cosine_window,
    crop_window,
)
from pysot.utils.anchor import anchor_shapes, decode_boxes, tracking_anchors

LOST_WINDOW_INFLUENCE = 0.001
"""Share of the cosine window while lost: the target may be anywhere."""


@dataclass(frozen=True)
class Candidates:
    """The N = A * R * R boxes that the network finds in one search crop."""

    scores: NDArray
    """(N,) float32, probabilities."""
    boxes: NDArray
    """(N, 4) float32 as cx, cy, w, h, in crop pixels from the crop's center."""


@dataclass(frozen=True)
class Step:
    """The chosen candidate, its score without penalty, and the target moved to it, not clipped."""

    index: int
    score: float
    target: Target


@TRACKERS.register("SiamRPNTracker")
class SiamRPNTracker(SiameseTracker):
    """Follows one target by the best candidate of a region proposal head."""

    tuned = ("PENALTY_K", "WINDOW_INFLUENCE", "LR")

    @property
    def anchor_num(self) -> int:
        """Candidates per cell of the response."""
        return len(self.params.ratios) * len(self.params.scales)

    @property
    def instance_size(self) -> int:
        """Side of the next search crop in pixels."""
        return self.params.instance_size

    def search_crop(self, image: NDArray) -> tuple[NDArray, float]:
        """Return the search crop around the last box, and crop pixels per frame pixel."""
        target, size = self.state.target, self.instance_size
        center = target.cx, target.cy
        crop = crop_window(image, center, self.search_side(), size, self.state.fill)
        template_side = context_side((target.w, target.h), self.params.context_amount)
        return crop, self.params.exemplar_size / template_side

    def search_side(self) -> int:
        """Side of the next search region in pixels of the frame."""
        p, target = self.params, self.state.target
        template_side = context_side((target.w, target.h), p.context_amount)
        return max(1, round(template_side * self.instance_size / p.exemplar_size))

    def decode(self, prediction: Any) -> list[Candidates]:
        """Decode a prediction for B search images."""
        scores, deltas = self.network.outputs(prediction)
        side = math.isqrt(scores.shape[1] // self.anchor_num)
        return [
            Candidates(found, self.boxes(delta, side))
            for found, delta in zip(scores, deltas, strict=True)
        ]

    def boxes(self, deltas: NDArray, side: int) -> NDArray:
        """Turn deltas (4, A * R * R) of a response of ``side`` R into `Candidates.boxes`."""
        p = self.params
        return decode_boxes(deltas, _anchors(p.stride, p.ratios, p.scales, side))

    def update(
        self, candidates: Candidates, scale: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Move the target to the best candidate; ``scale`` is crop pixels per frame pixel."""
        return self.update_state(self.step(candidates, scale), frame_shape)

    def step(self, candidates: Candidates, scale: float) -> Step:
        """Choose a candidate and smooth the size with the last one (SiamRPN, section 4.3)."""
        p, target = self.params, self.state.target
        sizes = candidates.boxes[:, 2:]
        penalty = change_penalty(sizes, (target.w * scale, target.h * scale), p.penalty_k)
        best = self.choose(candidates.scores, penalty)
        score = candidates.scores[best]
        check_scores(score)
        box = candidates.boxes[best].astype(np.float64) / scale
        moved = target.moved(box[:2], box[2:], rate=penalty[best] * score * p.lr)
        return Step(best, float(score), moved)

    def update_state(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Store the target of a step, clipped to the frame, and report it."""
        clipped = step.target.clipped(frame_shape)
        self.state = replace(self.state, target=clipped)
        return {"bbox": clipped.to_xywh(), "best_score": step.score}

    def choose(self, scores: NDArray, penalty: NDArray) -> int:
        """Return the index of the best penalized score, mixed with the cosine window."""
        p = self.params
        influence = LOST_WINDOW_INFLUENCE if self.state.lost_frames else p.window_influence
        window = _window(scores.size, self.anchor_num)
        return int(np.argmax(penalty * scores * (1 - influence) + window * influence))


@lru_cache(maxsize=32)
def _anchors(
    stride: int, ratios: tuple[float, ...], scales: tuple[float, ...], size: int
) -> NDArray:
    return tracking_anchors(anchor_shapes(stride, ratios, scales), stride, size)


@lru_cache(maxsize=32)
def _window(count: int, anchors: int) -> NDArray:
    return cosine_window(round((count // anchors) ** 0.5), anchors)
