"""Short-term tracking with a region proposal head (SiamRPN, SiamRPN++)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import SiameseTracker, TrackState
from pysot.tracker.geometry import (
    Target,
    change_penalty,
    context_side,
    cosine_window,
    crop_window,
)
from pysot.utils.anchor import anchor_shapes, tracking_anchors

MAX_DELTA = 10.0
"""Largest change of a side, as a logarithm: what an untrained network says must stay a number."""


@dataclass(frozen=True)
class TrackParams:
    """Settings of a tracker: the section ``TRACK`` of a configuration, and its anchors.

    Sizes are in pixels of a crop, ``ratios`` are height over width.
    """

    penalty_k: float = 0.04
    window_influence: float = 0.44
    lr: float = 0.4
    exemplar_size: int = 127
    instance_size: int = 255
    base_size: int = 8
    context_amount: float = 0.5
    stride: int = 8
    ratios: tuple[float, ...] = (0.33, 0.5, 1, 2, 3)
    scales: tuple[float, ...] = (8,)


@dataclass(frozen=True)
class Candidates:
    """What the network sees in one search crop, N = anchors * R * R boxes."""

    scores: NDArray
    """(N,) float32, probability of being the target."""
    boxes: NDArray
    """(N, 4) float32 as cx, cy, w, h, in crop pixels from the crop's centre."""


@dataclass(frozen=True)
class Step:
    """A candidate that was chosen, and what becomes of the target if it is followed."""

    index: int
    score: float
    """Probability of being the target, without penalty."""
    target: Target
    """Not clipped to the frame."""


@TRACKERS.register("SiamRPNTracker")
class SiamRPNTracker(SiameseTracker):
    """Follows one target; several trackers may share one model.

    ``track`` is made of steps that other trackers replace, and that several targets can share:
    :meth:`search_crop`, :meth:`predict`, :meth:`decode`, :meth:`update`, :meth:`learn`.

    Args:
        model: Network with ``encode_template(z)`` and ``predict(kernels, x)``.
        params: Settings.
    """

    params_type = TrackParams
    state_type = TrackState

    @property
    def instance_size(self) -> int:
        """Side of the next search crop in its own pixels."""
        return self.params.instance_size

    @property
    def window_influence(self) -> float:
        """Share of the cosine window in the choice of a candidate."""
        return self.params.window_influence

    def search_crop(self, image: NDArray) -> tuple[NDArray, float]:
        """Cut the search region around the last box.

        Returns:
            Crop (S, S, 3) BGR uint8 with S = ``instance_size``, and crop pixels per frame pixel.
        """
        if self.state is None:
            raise ValueError("call init(image, bbox) before track(image)")
        target, size = self.state.target, self.instance_size
        centre = target.cx, target.cy
        crop = crop_window(image, centre, self.search_side(), size, self.state.fill)
        template_side = context_side((target.w, target.h), self.params.context_amount)
        return crop, self.params.exemplar_size / template_side

    def search_side(self) -> int:
        """Side of the next search region in pixels of the frame."""
        p, target = self.params, self.state.target
        template_side = context_side((target.w, target.h), p.context_amount)
        return max(1, round(template_side * self.instance_size / p.exemplar_size))

    def decode(self, prediction: Any) -> list[Candidates]:
        """Read what the network says of B search images, in one transfer to the CPU.

        Args:
            prediction: From :meth:`predict`: class logits (B, 2A, R, R) and box deltas
                (B, 4A, R, R) come first.
        """
        cls, loc = prediction[:2]
        scores = torch.softmax(cls.float().reshape(len(cls), 2, -1), dim=1)[:, 1:]
        outputs = torch.cat([scores, loc.float().reshape(len(loc), 4, -1)], dim=1).cpu().numpy()
        anchors = _anchors(self.params, cls.shape[-1])
        return [Candidates(output[0], decode_boxes(output[1:], anchors)) for output in outputs]

    def update(
        self, candidates: Candidates, zoom: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Choose a candidate and move the target to it.

        Args:
            candidates: From :meth:`candidates`.
            zoom: Crop pixels per frame pixel.
            frame_shape: (H, W, ...) of the frame.

        Returns:
            As :meth:`track`.
        """
        return self.settle(self.step(candidates, zoom), frame_shape)

    def step(self, candidates: Candidates, zoom: float) -> Step:
        """Choose a candidate and smooth the size with the last one (SiamRPN, section 4.3).

        Raises:
            ValueError: If the scores are NaN.
        """
        p, target = self.params, self.state.target
        sizes = candidates.boxes[:, 2:]
        penalty = change_penalty(sizes, (target.w * zoom, target.h * zoom), p.penalty_k)
        best = self.choose(candidates.scores, penalty)
        score = candidates.scores[best]
        if not np.isfinite(score):
            raise ValueError(
                "the network returned NaN scores; are these the weights of this model?"
            )
        box = candidates.boxes[best].astype(np.float64) / zoom
        moved = target.moved(box[:2], box[2:], rate=penalty[best] * score * p.lr)
        return Step(best, float(score), moved)

    def settle(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step: store the target, clipped to the frame, and report it."""
        clipped = step.target.clipped((frame_shape[1], frame_shape[0]))
        self.state = replace(self.state, target=clipped)
        return {"bbox": clipped.to_xywh(), "best_score": step.score}

    def choose(self, scores: NDArray, penalty: NDArray) -> int:
        """Index of the best candidate by penalised score, mixed with the cosine window."""
        influence = self.window_influence
        window = _window(scores.size, len(self.params.ratios) * len(self.params.scales))
        return int(np.argmax(penalty * scores * (1 - influence) + window * influence))


def decode_boxes(deltas: NDArray, anchors: NDArray) -> NDArray:
    """Apply the network's deltas to the anchors (SiamRPN, equation 12).

    Args:
        deltas: (4, N) as dx, dy, dw, dh.
        anchors: (N, 4) as cx, cy, w, h.

    Returns:
        (N, 4) as cx, cy, w, h, in the anchors' unit.
    """
    boxes = np.empty_like(anchors)
    boxes[:, :2] = deltas[:2].T * anchors[:, 2:] + anchors[:, :2]
    boxes[:, 2:] = np.exp(deltas[2:].T.clip(-MAX_DELTA, MAX_DELTA)) * anchors[:, 2:]
    return boxes


@lru_cache(maxsize=32)
def _anchors(params: TrackParams, size: int) -> NDArray:
    shapes = anchor_shapes(params.stride, params.ratios, params.scales)
    return tracking_anchors(shapes, params.stride, size)


@lru_cache(maxsize=32)
def _window(count: int, anchors: int) -> NDArray:
    return cosine_window(round((count // anchors) ** 0.5), anchors)
