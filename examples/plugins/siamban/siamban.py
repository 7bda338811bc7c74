"""Anchor-free box head in the manner of SiamBAN (Chen et al., 2020): a plug-in, one file.

Every cell of the response says whether it lies on the target, and how far the target's four sides
are from it. The module registers a head, what the head learns from, its loss, and a tracker that
reads its boxes; ``config.yaml`` names the head and the tracker.

B batch, R response side. zf, xf template and search features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core.config import Config
from pysot.core.registry import LABELS, LOSSES, RPN_HEADS, TRACKERS
from pysot.core.settings import TrackParams, own
from pysot.datasets.dataset import Labeler
from pysot.models.head.rpn import DepthwiseXCorr, Kernels, SiameseHead
from pysot.models.loss import log_softmax_cls, select_cross_entropy_loss
from pysot.tracker.base_tracker import change_penalty, check_scores, cosine_window
from pysot.tracker.siamrpn_tracker import Candidates, SiamRPNTracker, Step
from pysot.utils.anchor import Grid

_USUAL = 4.0  # cells from center to side of a square target, in crops as PySOT cuts them
_LARGEST = 4.0  # logarithm of the largest distance over the usual one


@RPN_HEADS.register("BANHead")
class BANHead(SiameseHead):
    """Two branches of depth-wise cross-correlation (SiamBAN, section 3.2).

    ``out_channels`` counts the channels of the correlation.
    """

    channels_last = True
    anchor_num = None
    labels = loss = "ellipses"

    def __init__(self, in_channels: int = 256, out_channels: int = 256) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.cls = DepthwiseXCorr(in_channels, out_channels, 2)
        self.loc = DepthwiseXCorr(in_channels, out_channels, 4)

    def encode(self, zf: Tensor) -> Kernels:
        """Turn template features (B, C, Hz, Hz) into class and box kernels."""
        return self.cls.encode(zf), self.loc.encode(zf)

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare kernels with search features (B, C, Hx, Hx).

        Returns:
            Class logits (B, 2, R, R), background first, and the distances (B, 4, R, R), in cells,
            from each cell to the left, upper, right and lower side of the target.
        """
        distances = self.loc.correlate(kernels[1], xf).clamp(-_LARGEST, _LARGEST).exp()
        return self.cls.correlate(kernels[0], xf), distances * _USUAL


class EllipseTarget:
    """Labels cells by two ellipses around the target's center (SiamBAN, section 3.3).

    A cell is positive inside the ellipse with half the target's sides as its axes, negative outside
    of that with the target's sides, and between the two it counts for nothing.
    """

    def __init__(self, grid: Grid, pos_num: int, total_num: int, neg_num: int) -> None:
        self._line, self._stride = grid.line, grid.stride
        self._pos_num, self._total_num, self._neg_num = pos_num, total_num, neg_num

    def labels(
        self, target: Sequence[float], rng: np.random.Generator, neg: bool = False
    ) -> dict[str, NDArray]:
        """Label a search image with an object at x1, y1, x2, y2; see ``AnchorTarget.labels``.

        Returns:
            ``label_cls`` (1, R, R) int64: 1 target, 0 background, -1 ignored; ``label_loc``
            (4, R, R) float32, the head's distances.
        """
        x1, y1, x2, y2 = np.asarray(target, dtype=np.float64)
        x, y = self._line[None, :], self._line[:, None]
        reach = np.square((2 * x - x1 - x2) / (x2 - x1)) + np.square((2 * y - y1 - y2) / (y2 - y1))
        cls = np.full(reach.shape, -1, dtype=np.int64)
        if neg:
            cls[_some(reach < 1, self._neg_num, rng)] = 0
        else:
            cls[_some(reach < 0.25, self._pos_num, rng)] = 1
            cls[_some(reach > 1, self._total_num - self._pos_num, rng)] = 0
        sides = np.broadcast_arrays(x - x1, y - y1, x2 - x, y2 - y)
        return {"label_cls": cls[None], "label_loc": np.float32(sides) / np.float32(self._stride)}


def _some(cells: NDArray, limit: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return rows and columns of true cells, at most ``limit`` of them."""
    found = rng.permutation(np.argwhere(cells))[:limit]
    return found[:, 0], found[:, 1]


@LABELS.register("ellipses")
def _ellipse_labels(cfg: Config, grid: Grid) -> Labeler:
    train = cfg.TRAIN
    return EllipseTarget(grid, train.POS_NUM, train.TOTAL_NUM, train.NEG_NUM).labels


@LOSSES.register("ellipses")
def ellipse_losses(
    cls: Tensor, loc: Tensor, data: dict[str, Tensor], counts: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute ``cls_loss``, a cross entropy, and ``iou_loss``, the mean of 1 - IoU of positives.

    Args:
        cls: Class logits, (B, 2, R, R).
        loc: Distances, (B, 4, R, R).
        data: What ``EllipseTarget.labels`` made, in batches.
        counts: Positives and negatives to average over, in place of the batch's own.
    """
    positive = data["label_cls"][:, 0] == 1
    count = positive.sum().clamp(min=1) if counts is None else counts[0]
    lost = (1 - _overlaps(loc.float(), data["label_loc"])) * positive
    return {
        "cls_loss": select_cross_entropy_loss(log_softmax_cls(cls), data["label_cls"], counts),
        "iou_loss": lost.sum() / count,
    }


def _overlaps(found: Tensor, truth: Tensor) -> Tensor:
    """IoU of boxes that cells see at these distances, (B, 4, R, R) each: (B, R, R)."""
    truth = truth.clamp(min=0)  # a cell beyond the target is not positive
    sides = torch.minimum(found, truth)
    both = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    areas = [(d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (found, truth)]
    return both / (areas[0] + areas[1] - both)


@dataclass(frozen=True)
class BANParams(TrackParams):
    """The keys of ``TRACK`` and ``ANCHOR``, and one of its own."""

    votes: int = own(1, "SiamBAN: best cells whose boxes are averaged", ge=1, le=1024)


@TRACKERS.register("SiamBANTracker")
class SiamBANTracker(SiamRPNTracker):
    """Follows one target by the boxes that the best cells see around them."""

    params_type = BANParams
    anchor_num = 1

    def boxes(self, deltas: NDArray, side: int) -> NDArray:
        """Turn distances (4, R * R) of a response of ``side`` R into `Candidates.boxes`."""
        line = (np.arange(side, dtype=np.float32) - side // 2) * self.params.stride
        x, y = np.tile(line, side), np.repeat(line, side)
        left, top, right, bottom = deltas * self.params.stride
        middle = x + (right - left) / 2, y + (bottom - top) / 2
        return np.stack([*middle, left + right, top + bottom], axis=-1)

    def step(self, candidates: Candidates, scale: float) -> Step:
        """Choose the best cell by penalty and window, and average the best ones' boxes."""
        p, target = self.params, self.state.target
        scores, boxes = candidates.scores, candidates.boxes
        check_scores(scores)
        penalty = change_penalty(boxes[:, 2:], (target.w * scale, target.h * scale), p.penalty_k)
        window = cosine_window(round(scores.size**0.5), self.anchor_num)
        rank = penalty * scores * (1 - p.window_influence) + window * p.window_influence
        chosen = np.argsort(-rank, kind="stable")[: p.votes]
        box = np.average(boxes[chosen], axis=0, weights=rank[chosen]).astype(np.float64) / scale
        best = int(chosen[0])
        moved = target.moved(box[:2], box[2:], rate=penalty[best] * scores[best] * p.lr)
        return Step(best, float(scores[best]), moved)
