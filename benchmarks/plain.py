"""A plain tracker and a plain training step, to measure the package's own against.

The tracker, of SiamRPN or SiamMask, is written from the formulas alone, without any care for speed:
every frame is padded whole, the template passes through the network again, gradients are recorded,
anchors, windows and penalties are computed anew, and of a network with masks all coarse masks are
computed. Convolutions are those of the network's own modules.

The training step is built as PySOT's: images whose channels come first in memory, correlations as
convolutions with a group per sample or channel, and no batch norm folded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pysot.core.config import Config
from pysot.models.head import rpn, unit


class PlainTracker:
    """SiamRPN: ``init`` and ``track`` as the package's trackers have them.

    Args:
        model: Network as it was built, in evaluation mode, on the CPU.
        cfg: Its configuration.
    """

    def __init__(self, model: nn.Module, cfg: Config) -> None:
        self.model, self.p, self.anchor = model, cfg.TRACK, cfg.ANCHOR

    def init(self, image: NDArray, bbox: tuple[float, ...]) -> None:
        """Start on a box x, y, w, h of a BGR uint8 frame (H, W, 3)."""
        x, y, w, h = bbox
        self.cx, self.cy, self.w, self.h = x + (w - 1) / 2, y + (h - 1) / 2, w, h
        self.mean = image.mean(axis=(0, 1))
        side = round(math.sqrt(self.context(w, h)))
        self.z = self.crop(image, side, self.p.EXEMPLAR_SIZE)

    def track(self, image: NDArray) -> dict[str, Any]:
        """Find the target in the next frame."""
        p = self.p
        side = math.sqrt(self.context(self.w, self.h))
        scale = p.EXEMPLAR_SIZE / side
        x = self.crop(image, round(side * p.INSTANCE_SIZE / p.EXEMPLAR_SIZE), p.INSTANCE_SIZE)
        cls, loc = self.outputs(x)
        score = F.softmax(cls.reshape(2, -1), dim=0)[1].detach().numpy()
        boxes = self.boxes(loc)
        penalty = self.penalty(boxes, self.w * scale, self.h * scale)
        window = np.outer(np.hanning(cls.shape[-1]), np.hanning(cls.shape[-1])).ravel()
        window = np.tile(window, len(score) // len(window))
        best = np.argmax(penalty * score * (1 - p.WINDOW_INFLUENCE) + window * p.WINDOW_INFLUENCE)
        self.move(boxes[:, best] / scale, penalty[best] * score[best] * p.LR, image.shape)
        result = [self.cx - self.w / 2, self.cy - self.h / 2, self.w, self.h]
        return {"bbox": result, "best_score": float(score[best])}

    def context(self, w: float, h: float) -> float:
        """Area of the template's crop."""
        pad = self.p.CONTEXT_AMOUNT * (w + h)
        return (w + pad) * (h + pad)

    def crop(self, image: NDArray, side: int, size: int) -> Tensor:
        """Pad the frame by a whole window on every side, cut the window, scale it."""
        fill = [int(value) for value in self.mean]
        padded = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_CONSTANT, value=fill)
        left = math.floor(self.cx - (side + 1) / 2 + 0.5) + side
        top = math.floor(self.cy - (side + 1) / 2 + 0.5) + side
        window = padded[top : top + side, left : left + side]
        window = cv2.resize(window, (size, size))
        return torch.from_numpy(window.astype(np.float32).transpose(2, 0, 1)[None].copy())

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network on template and search image."""
        model = self.model
        zf, xf = model.backbone(self.z), model.backbone(x)
        if model.has_masks:
            zf, xf = zf[-1], xf[-1]
        if hasattr(model, "neck"):
            zf, xf = model.neck(zf, extra=0), model.neck(xf, extra=None)
        if model.has_masks:
            model.mask_head(zf, xf)
        return model.rpn_head(zf, xf)

    def boxes(self, loc: Tensor) -> NDArray:
        """Decode deltas (1, 4A, R, R) to (4, A * R * R) as cx, cy, w, h."""
        stride, count = self.anchor.STRIDE, loc.shape[-1]
        position = (np.arange(count) - count // 2) * stride
        deltas = loc.detach().reshape(4, -1, count, count).numpy()
        boxes = np.empty_like(deltas)
        shapes = [(r, s) for r in self.anchor.RATIOS for s in self.anchor.SCALES]
        for number, (ratio, factor) in enumerate(shapes):
            width = int(math.sqrt(stride**2 / ratio))
            w, h = width * factor, int(width * ratio) * factor
            dx, dy, dw, dh = deltas[:, number]
            boxes[0, number] = dx * w + position
            boxes[1, number] = dy * h + position[:, None]
            boxes[2:, number] = np.exp(dw) * w, np.exp(dh) * h
        return boxes.reshape(4, -1).astype(np.float64)

    def penalty(self, boxes: NDArray, w: float, h: float) -> NDArray:
        """Penalty on changes of scale and aspect ratio."""

        def side(w: Any, h: Any) -> Any:
            return np.sqrt((w + (w + h) / 2) * (h + (w + h) / 2))

        scale = side(boxes[2], boxes[3]) / side(w, h)
        ratio = (w / h) / (boxes[2] / boxes[3])
        change = np.maximum(scale, 1 / scale) * np.maximum(ratio, 1 / ratio)
        return np.exp(-(change - 1) * self.p.PENALTY_K)

    def move(self, box: NDArray, rate: float, shape: tuple[int, ...]) -> None:
        """Move to a box, relative to the last center, and stay in the frame."""
        height, width = shape[:2]
        self.cx = float(np.clip(self.cx + box[0], 0, width))
        self.cy = float(np.clip(self.cy + box[1], 0, height))
        self.w = float(np.clip(self.w * (1 - rate) + box[2] * rate, 10, width))
        self.h = float(np.clip(self.h * (1 - rate) + box[3] * rate, 10, height))


@contextmanager
def plain_correlations() -> Iterator[None]:
    """Let heads correlate by grouped convolutions."""
    with (
        patch.object(rpn, "xcorr_fast", xcorr_fast),
        patch.object(rpn, "xcorr_depthwise", xcorr_depthwise),
        patch.object(unit, "xcorr_fast", xcorr_fast),
        patch.object(unit, "xcorr_depthwise", xcorr_depthwise),
    ):
        yield


def xcorr_fast(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate x (B, C, H, W) with kernels (B, O * C, h, w) over all channels, a group each."""
    batch, channels = x.shape[:2]
    filters = kernel.reshape(-1, channels, *kernel.shape[2:])
    out = F.conv2d(x.reshape(1, -1, *x.shape[2:]), filters, groups=batch)
    return out.reshape(batch, -1, *out.shape[2:])


def xcorr_depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate each channel of x (B, C, H, W) with its own kernel of (B, C, h, w)."""
    flat, filters = x.reshape(1, -1, *x.shape[2:]), kernel.reshape(-1, 1, *kernel.shape[2:])
    out = F.conv2d(flat, filters, groups=len(filters))
    return out.reshape(*x.shape[:2], *out.shape[2:])


def make_plain(model: nn.Module) -> None:
    """Undo in a network what makes its training fast, once its frozen parts are known."""
    model.frozen_backbone = []
    model.to(memory_format=torch.contiguous_format)
