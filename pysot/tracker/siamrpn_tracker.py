"""Short-term tracking with a region proposal head (SiamRPN, SiamRPN++)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core.registry import TRACKERS
from pysot.tracker.geometry import (
    Target,
    change_penalty,
    check_box,
    check_frame,
    context_side,
    cosine_window,
    crop_window,
)
from pysot.utils.anchor import anchor_shapes, tracking_anchors


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
class TrackState:
    """All that a tracker knows of its target; the only thing that changes between frames."""

    target: Target
    fill: tuple[float, ...]
    """Mean colour of the first frame, BGR: stands for pixels outside the image."""
    kernels: Any
    """What the network computed from the template."""


@dataclass(frozen=True)
class Candidates:
    """What the network sees in one search crop, N = anchors * R * R boxes."""

    scores: NDArray
    """(N,) float32, probability of being the target."""
    boxes: NDArray
    """(N, 4) float32 as cx, cy, w, h, in crop pixels from the crop's centre."""


@TRACKERS.register("SiamRPNTracker")
class SiamRPNTracker:
    """Follows one target; several trackers may share one model.

    Args:
        model: Network with ``encode_template(z)`` and ``predict(kernels, x)``.
        params: Settings.
    """

    def __init__(self, model: Any, params: TrackParams) -> None:
        self.model = model
        self.params = params
        self.state: TrackState | None = None

    @torch.inference_mode()
    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target.

        Args:
            image: First frame, BGR uint8, (H, W, 3).
            bbox: x, y, w, h in 0-based pixels.

        Raises:
            ValueError: If the frame or the box is unusable.
        """
        check_frame(image)
        check_box(bbox, image.shape)
        target = Target.from_xywh(bbox)
        fill = tuple(image.mean(axis=(0, 1)))
        side = max(1, round(context_side((target.w, target.h), self.params.context_amount)))
        crop = crop_window(image, (target.cx, target.cy), side, self.params.exemplar_size, fill)
        kernels = self.model.encode_template(self._tensor(crop))
        self.state = TrackState(target, fill, kernels)

    @torch.inference_mode()
    def track(self, image: NDArray) -> dict[str, Any]:
        """Find the target in the next frame.

        Args:
            image: BGR uint8, (H, W, 3).

        Returns:
            ``bbox``, [x, y, w, h] in 0-based pixels, and ``best_score`` in [0, 1].

        Raises:
            ValueError: If :meth:`init` was not called, or the frame is unusable.
        """
        check_frame(image)
        crop, zoom = self.search_crop(image)
        candidates = self.candidates(crop)
        return self.update(candidates, zoom, image.shape)

    def search_crop(self, image: NDArray) -> tuple[NDArray, float]:
        """Cut the search region around the last box.

        Returns:
            Crop (S, S, 3) BGR uint8 with S = ``instance_size``, and crop pixels per frame pixel.
        """
        if self.state is None:
            raise ValueError("call init(image, bbox) before track(image)")
        p, target = self.params, self.state.target
        template_side = context_side((target.w, target.h), p.context_amount)
        side = max(1, round(template_side * p.instance_size / p.exemplar_size))
        crop = crop_window(image, (target.cx, target.cy), side, p.instance_size, self.state.fill)
        return crop, p.exemplar_size / template_side

    def candidates(self, crop: NDArray) -> Candidates:
        """Run the network on a search crop (S, S, 3) and decode its boxes."""
        cls, loc = self.model.predict(self.state.kernels, self._tensor(crop))
        scores = torch.softmax(cls.float().view(2, -1), dim=0)[1].cpu().numpy()
        deltas = loc.float().view(4, -1).cpu().numpy()
        return Candidates(scores, decode_boxes(deltas, _anchors(self.params, cls.shape[-1])))

    def update(
        self, candidates: Candidates, zoom: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Choose a candidate and move the target to it (SiamRPN, section 4.3).

        Args:
            candidates: From :meth:`candidates`.
            zoom: Crop pixels per frame pixel.
            frame_shape: (H, W, ...) of the frame.

        Returns:
            As :meth:`track`.
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
        clipped = moved.clipped((frame_shape[1], frame_shape[0]))
        self.state = replace(self.state, target=clipped)
        return {"bbox": clipped.to_xywh(), "best_score": float(score)}

    def choose(self, scores: NDArray, penalty: NDArray) -> int:
        """Index of the best candidate by penalised score, mixed with the cosine window."""
        influence = self.params.window_influence
        window = _window(scores.size, len(self.params.ratios) * len(self.params.scales))
        return int(np.argmax(penalty * scores * (1 - influence) + window * influence))

    def _tensor(self, crop: NDArray) -> Tensor:
        """Crop (S, S, 3) uint8 -> (1, 3, S, S) float32 on the model's device."""
        tensor = torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0)
        return tensor.to(_device(self.model)).float()


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
    boxes[:, 2:] = np.exp(deltas[2:].T) * anchors[:, 2:]
    return boxes


def _device(model: Any) -> torch.device:
    parameters = getattr(model, "parameters", tuple)
    first = next(iter(parameters()), None)
    return torch.device("cpu") if first is None else first.device


@lru_cache(maxsize=32)
def _anchors(params: TrackParams, size: int) -> NDArray:
    shapes = anchor_shapes(params.stride, params.ratios, params.scales)
    return tracking_anchors(shapes, params.stride, size)


@lru_cache(maxsize=32)
def _window(count: int, anchors: int) -> NDArray:
    return cosine_window(round((count // anchors) ** 0.5), anchors)
