"""Long-term tracking: a much larger search region while the target is lost (SiamRPN++)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pysot.core.registry import TRACKERS
from pysot.tracker.siamrpn_tracker import SiamRPNTracker, Step


def is_lost(was_lost: bool, score: float, low: float, high: float) -> bool:
    """Return whether a target is lost: below ``low`` it is, above ``high`` not, else as before."""
    if score < low:
        return True
    return was_lost and score <= high


@TRACKERS.register("SiamRPNLTTracker")
class SiamRPNLTTracker(SiamRPNTracker):
    """Searches a region of ``lost_instance_size`` while the target is lost.

    The target moves only to candidates of score ``confidence_low`` or more. Only the reported box
    is clipped to the frame: a search may go on outside of it, as published numbers require.
    Results have the entry ``lost`` too.
    """

    tuned = (*SiamRPNTracker.tuned, "CONFIDENCE_LOW", "CONFIDENCE_HIGH")
    reads = (*SiamRPNTracker.reads, "LOST_INSTANCE_SIZE")

    @property
    def instance_size(self) -> int:
        """Larger while lost."""
        p = self.params
        return p.lost_instance_size if self.state.lost_frames else p.instance_size

    def update_state(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step if its score allows, and choose the next search region."""
        p, state = self.params, self.state
        target = state.target if step.score < p.confidence_low else step.target
        lost = is_lost(state.lost_frames > 0, step.score, p.confidence_low, p.confidence_high)
        self.state = replace(state, target=target, lost_frames=state.lost_frames + 1 if lost else 0)
        bbox = target.clipped(frame_shape).to_xywh()
        return {"bbox": bbox, "best_score": step.score, "lost": lost}
