"""Tracking aware of distractors, with a search for lost targets (DaSiamRPN; Zhu et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import Target, TrackState
from pysot.tracker.network import is_array, lerp, mixed, select
from pysot.tracker.siamrpn_tracker import Candidates, SiamRPNTracker, Step
from pysot.tracker.siamrpnlt_tracker import is_lost
from pysot.utils.bbox import IoU, center2corner

SMALL_TARGET = 0.004
"""Share of the first frame's area below which a target is small (authors' settings)."""


@dataclass(frozen=True)
class DistractorState(TrackState):
    """The target and its distractors."""

    template: Any = None
    """Running average of the target's kernels."""
    instance_size: int = 0
    """Side of the search crop of a target in sight."""
    average: Any = None
    """Running average of the kernels of ``count`` distractors, or None."""
    count: int = 0
    distractors: tuple[Target, ...] | None = None
    """Those of the last frame; None if its score is too low to update the template."""


@TRACKERS.register("DaSiamRPNTracker")
class DaSiamRPNTracker(SiamRPNTracker):
    """SiamRPN with distractors, and a search region that grows while the target is lost.

    **Distractors** (section 3.3) are boxes of high score beside the target. With the averages z
    and d of their *kernels*, class kernels become ``(z - a * d) / (1 - a)``, a the influence. As
    correlation is linear, this gives ``f(z, p) - a * f(d, p)`` in one pass: exactly with the
    paper's up-channel head, approximately with the depth-wise one. The division keeps the scale of
    scores. Averages start as plain means and end as exponential ones of rate ``template_lr``,
    which z has from the start.

    **Lost** (section 3.4): below ``confidence_low`` until above ``confidence_high``. Meanwhile the
    box is held and the region grows by ``lost_step`` per frame up to ``lost_instance_size``; a
    step of 16 keeps a cell in the middle of the response.

    With ``distractor_influence``, ``template_lr``, ``lost_step`` and ``small_instance_size`` at 0
    it is SiamRPNTracker. Results have the entry ``lost`` too.
    """

    state_type = DistractorState
    tuned = (*SiamRPNTracker.tuned, "DISTRACTOR_INFLUENCE", "DISTRACTOR_THRESHOLD")
    reads = (
        *SiamRPNTracker.reads,
        *("LOST_INSTANCE_SIZE", "SMALL_INSTANCE_SIZE", "LOST_STEP", "TEMPLATE_LR", "NMS_IOU"),
        *("DISTRACTOR_NUM", "CONFIDENCE_LOW", "CONFIDENCE_HIGH"),
    )

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """See :meth:`BaseTracker.init`."""
        super().init(image, bbox)
        p, state = self.params, self.state
        share = state.target.w * state.target.h / (image.shape[0] * image.shape[1])
        small = p.small_instance_size and share < SMALL_TARGET
        size = p.small_instance_size if small else p.instance_size
        self.state = replace(state, template=state.kernels, instance_size=size)

    @property
    def instance_size(self) -> int:
        """Larger while lost, and for a target that was small at first."""
        p, usual = self.params, self.state.instance_size
        grown = usual + p.lost_step * self.state.lost_frames
        return min(grown, max(p.lost_instance_size, usual))

    def update(
        self, candidates: Candidates, scale: float, frame_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """See :meth:`SiamRPNTracker.update`; keeps the distractors, too."""
        search_center = self.state.target.cx, self.state.target.cy
        step = self.step(candidates, scale)
        result = self.update_state(step, frame_shape)
        found = None
        if not result["lost"] and step.score >= self.params.distractor_threshold:
            found = self._distractors(candidates, step.index, search_center, scale, frame_shape)
        self.state = replace(self.state, distractors=found)
        return result

    def update_state(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step unless the target is lost."""
        p, state = self.params, self.state
        if p.lost_step and is_lost(
            state.lost_frames > 0, step.score, p.confidence_low, p.confidence_high
        ):
            self.state = replace(state, lost_frames=state.lost_frames + 1)
            return {"bbox": state.target.to_xywh(), "best_score": step.score, "lost": True}
        self.state = replace(state, lost_frames=0)
        return {**super().update_state(step, frame_shape), "lost": False}

    def _distractors(
        self,
        candidates: Candidates,
        best: int,
        search_center: tuple[float, float],
        scale: float,
        frame_shape: tuple[int, ...],
    ) -> tuple[Target, ...]:
        """Find the distractors of a frame; none is larger than it."""
        p, (cx, cy), (height, width) = self.params, search_center, frame_shape[:2]
        if not p.distractor_influence:
            return ()
        boxes, scores = candidates.boxes, candidates.scores
        kept = suppress(boxes, scores, best, p.distractor_threshold, p.nms_iou, p.distractor_num)
        found = boxes[kept].astype(np.float64) / scale
        return tuple(
            Target(cx + x, cy + y, float(min(w, width)), float(min(h, height)))
            for x, y, w, h in found
        )

    def update_template(self, image: NDArray) -> None:
        """Average target and distractors of a frame into the kernels."""
        p, state = self.params, self.state
        if state.distractors is None:
            return
        targets = [*([state.target] if p.template_lr else []), *state.distractors]
        if not targets:
            return
        batch = self.encode(image, targets, state.fill)
        samples = [select(batch, number) for number in range(len(targets))]
        template, average, count = state.template, state.average, state.count
        if p.template_lr:
            template = mixed(template, samples.pop(0), p.template_lr)
        for sample in samples:
            count += 1
            rate = max(p.template_lr, 1 / count)
            average = sample if count == 1 else mixed(average, sample, rate)
        kernels = template
        if average is not None:
            kernels = without(template, average, p.distractor_influence)
        self.state = replace(
            state, kernels=kernels, template=template, average=average, count=count
        )


def suppress(
    boxes: NDArray, scores: NDArray, first: int, threshold: float, iou: float, limit: int
) -> list[int]:
    """Return the best boxes beside ``first`` by non-maximum suppression, at most ``limit``.

    Boxes (N, 4) are cx, cy, w, h. Scores (N,) must exceed ``threshold``; a box that overlaps a
    better one by ``iou`` or more is dropped.
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

    Kernels are a pair for class and box, or a tuple of such pairs; else ``ValueError``.
    """
    if is_array(template):
        raise ValueError("TRACK.TYPE: DaSiamRPNTracker needs a head with class and box kernels")
    if len(template) == 2 and all(map(is_array, template)):
        share = influence / (1 - influence)
        return lerp(template[0], distractors[0], -share), template[1]
    return tuple(without(z, d, influence) for z, d in zip(template, distractors, strict=True))
