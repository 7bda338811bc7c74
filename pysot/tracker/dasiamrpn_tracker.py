"""Tracking that knows its distractors and looks for what it lost (DaSiamRPN; Zhu et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core.registry import TRACKERS
from pysot.inference import mixed, select
from pysot.tracker.base_tracker import TrackState, to_tensor
from pysot.tracker.geometry import Target, template_crop
from pysot.tracker.siamrpn_tracker import Candidates, SiamRPNTracker, Step
from pysot.tracker.siamrpnlt_tracker import LOST_WINDOW_INFLUENCE, LongTermParams, is_lost
from pysot.utils.bbox import IoU, center2corner

SMALL_TARGET = 0.004
"""Share of the first frame's area below which a target is small (the authors' settings)."""


@dataclass(frozen=True)
class DistractorParams(LongTermParams):
    """Settings of :class:`DaSiamRPNTracker`; sizes in crop pixels."""

    distractor_influence: float = 0.5
    """Weight of distractors against the target, in [0, 1); 0 ignores them."""
    distractor_threshold: float = 0.7
    """Score above which a box beside the target is a distractor, and the target is learnt from."""
    distractor_num: int = 3
    """Distractors to learn per frame, the best first; each costs one pass of a template."""
    nms_iou: float = 0.1
    """Overlap from which two boxes count as one object."""
    template_lr: float = 0.0
    """Share of a new frame in the running averages; 0 keeps the target as it was at first."""
    lost_step: int = 0
    """Growth of the search region per lost frame; 0: the target is never taken for lost."""
    small_instance_size: int = 0
    """``instance_size`` of targets that are small in their first frame; 0: that of all others."""

    def __post_init__(self) -> None:
        if not 0 <= self.distractor_influence < 1:
            raise ValueError(
                "TRACK.DISTRACTOR_INFLUENCE: expected a number from 0 to below 1, found "
                f"{self.distractor_influence}"
            )


@dataclass(frozen=True)
class DistractorState(TrackState):
    """The target, what it must not be taken for, and how long it is lost."""

    template: Any = None
    """Kernels of the target: a running average."""
    instance_size: int = 0
    """Side of the search crop while the target is not lost."""
    distractors: Any = None
    """Kernels of the distractors so far: a running average, or None."""
    distractor_count: int = 0
    """Distractors that went into it."""
    rivals: tuple[Target, ...] | None = None
    """Distractors in the last frame; None where the target was not sure enough to learn from."""
    lost_frames: int = 0


@TRACKERS.register("DaSiamRPNTracker")
class DaSiamRPNTracker(SiamRPNTracker):
    """SiamRPN with distractors in mind, and a search region that grows while the target is lost.

    **Distractors** (section 3.3): boxes that score high beside the target, after non-maximum
    suppression. Template and distractors are running averages of *kernels*, of which the class
    kernels become ``(z - a * d) / (1 - a)`` with the influence a. Correlation is linear in its
    kernel, so that one correlation gives ``f(z, p) - a * f(d, p)`` for all p, at the same cost for
    any number of distractors: exactly so with the up-channel head of the paper; the depth-wise head
    goes on with non-linear layers, for which it is an approximation. The division leaves the order
    of the candidates as it is, and scores on their scale: the kernels' biases cancel out of it.
    Box kernels are those of the target.

    **Averages** start as plain means and end as exponential ones of rate ``template_lr``; the
    target's has that rate from the start, so that the first frame counts for long.

    **Lost** (section 3.4): below ``confidence_low`` until above ``confidence_high``. Meanwhile the
    box is held, and the search region grows by ``lost_step`` per frame up to
    ``lost_instance_size``. A step of 16 keeps the response odd, with a cell in its middle.

    **Small targets**, of less than ``SMALL_TARGET`` of their first frame, are sought in crops of
    ``small_instance_size`` pixels: in a larger region, since they leave it sooner (the authors'
    released settings: 287 in place of 271).

    With ``distractor_influence``, ``template_lr``, ``lost_step`` and ``small_instance_size`` at 0
    it is SiamRPNTracker.
    Results have the entry ``lost`` too.
    """

    params_type = DistractorParams
    state_type = DistractorState

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target; see :meth:`SiamRPNTracker.init`."""
        super().init(image, bbox)
        p, state = self.params, self.state
        share = state.target.w * state.target.h / (image.shape[0] * image.shape[1])
        small = p.small_instance_size and share < SMALL_TARGET
        size = p.small_instance_size if small else p.instance_size
        self.state = replace(state, template=state.kernels, instance_size=size)

    @property
    def instance_size(self) -> int:
        """Side of the next search crop in its own pixels."""
        p, usual = self.params, self.state.instance_size
        grown = usual + p.lost_step * self.state.lost_frames
        return min(grown, max(p.lost_instance_size, usual))

    @property
    def window_influence(self) -> float:
        """Share of the cosine window in the choice of a candidate."""
        return LOST_WINDOW_INFLUENCE if self.state.lost_frames else self.params.window_influence

    def update(
        self, candidates: Candidates, zoom: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """Choose a candidate, move the target to it unless it is lost, and note distractors.

        Args:
            candidates: From :meth:`candidates`.
            zoom: Crop pixels per frame pixel.
            frame_shape: (H, W, ...) of the frame.

        Returns:
            As :meth:`track`.
        """
        searched = self.state.target
        step = self.step(candidates, zoom)
        result = self.settle(step, frame_shape)
        rivals = None
        if not result["lost"] and step.score >= self.params.distractor_threshold:
            rivals = self._rivals(candidates, step.index, searched, zoom)
        self.state = replace(self.state, rivals=rivals)
        return result

    def settle(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step unless the target is lost."""
        p, state = self.params, self.state
        if p.lost_step and is_lost(
            state.lost_frames > 0, step.score, p.confidence_low, p.confidence_high
        ):
            self.state = replace(state, lost_frames=state.lost_frames + 1)
            return {"bbox": state.target.to_xywh(), "best_score": step.score, "lost": True}
        self.state = replace(state, lost_frames=0)
        return {**super().settle(step, frame_shape), "lost": False}

    def _rivals(
        self, candidates: Candidates, best: int, searched: Target, zoom: float
    ) -> tuple[Target, ...]:
        """Distractors in pixels of the frame, of which ``searched`` was the crop's centre."""
        p = self.params
        if not p.distractor_influence:
            return ()
        boxes, scores = candidates.boxes, candidates.scores
        kept = suppress(boxes, scores, best, p.distractor_threshold, p.nms_iou, p.distractor_num)
        found = boxes[kept].astype(np.float64) / zoom
        return tuple(
            Target(searched.cx + x, searched.cy + y, float(w), float(h)) for x, y, w, h in found
        )

    @torch.inference_mode()
    def learn(self, image: NDArray) -> None:
        """Average target and distractors of the frame (H, W, 3) into the kernels."""
        p, state = self.params, self.state
        if state.rivals is None:
            return
        subjects = [*([state.target] if p.template_lr else []), *state.rivals]
        if not subjects:
            return
        samples = self._encode(image, subjects)
        template, distractors, count = state.template, state.distractors, state.distractor_count
        if p.template_lr:
            template = mixed(template, samples.pop(0), p.template_lr)
        for sample in samples:
            count += 1
            rate = max(p.template_lr, 1 / count)
            distractors = sample if count == 1 else mixed(distractors, sample, rate)
        kernels = template
        if distractors is not None:
            kernels = without(template, distractors, p.distractor_influence)
        self.state = replace(
            state,
            kernels=kernels,
            template=template,
            distractors=distractors,
            distractor_count=count,
        )

    def _encode(self, image: NDArray, subjects: list[Target]) -> list[Any]:
        """Kernels of each subject, in one pass of the network."""
        p = self.params
        crops = [
            template_crop(image, subject, p.context_amount, p.exemplar_size, self.state.fill)
            for subject in subjects
        ]
        batch = self.model.encode_template(to_tensor(np.stack(crops), self.model))
        return [select(batch, number) for number in range(len(subjects))]


def suppress(
    boxes: NDArray, scores: NDArray, first: int, threshold: float, iou: float, limit: int
) -> list[int]:
    """Find objects beside a chosen one by non-maximum suppression.

    Args:
        boxes: (N, 4) as cx, cy, w, h.
        scores: (N,).
        first: Index of the box that stands before all others, whatever its score.
        threshold: What the others' scores must exceed.
        iou: Boxes that overlap a better one by so much or more are dropped.
        limit: Most boxes to find.

    Returns:
        Indices of the others, the best first.
    """
    corners = np.stack(center2corner(boxes.T.astype(np.float64)))
    rest = np.flatnonzero(scores > threshold)
    rest = rest[np.argsort(-scores[rest], kind="stable")]
    kept, last = [], first
    while True:
        rest = rest[IoU(corners[:, rest], corners[:, last]) < iou]
        if not len(rest) or len(kept) == limit:
            return kept
        last = int(rest[0])
        kept.append(last)


def without(template: Any, distractors: Any, influence: float) -> Any:
    """Turn class kernels away from distractors; see :class:`DaSiamRPNTracker`.

    Args:
        template: Pair of class and box kernels, or a tuple of such pairs.
        distractors: The same.
        influence: Weight of the distractors, in [0, 1).

    Returns:
        Kernels of the same structure.

    Raises:
        ValueError: If there are no such pairs.
    """
    if isinstance(template, Tensor):
        raise ValueError("TRACK.TYPE: DaSiamRPNTracker needs a head with class and box kernels")
    if len(template) == 2 and all(isinstance(part, Tensor) for part in template):
        share = influence / (1 - influence)
        return torch.lerp(template[0], distractors[0], -share), template[1]
    return tuple(without(z, d, influence) for z, d in zip(template, distractors, strict=True))
