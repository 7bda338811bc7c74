"""Long-term tracking: a much larger search region while the target is lost (SiamRPN++)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import TrackState
from pysot.tracker.siamrpn_tracker import SiamRPNTracker, Step

LOST_WINDOW_INFLUENCE = 0.001
"""Share of the cosine window while lost: the target may be anywhere in the search region."""


@dataclass(frozen=True)
class LongTermState(TrackState):
    """The target may lie outside of the frame."""

    lost: bool = False


def is_lost(was_lost: bool, score: float, low: float, high: float) -> bool:
    """Return whether a target is lost: below ``low`` it is, above ``high`` not, else as before."""
    if score < low:
        return True
    return was_lost and score <= high


@TRACKERS.register("SiamRPNLTTracker")
class SiamRPNLTTracker(SiamRPNTracker):
    """Searches a region of ``lost_instance_size`` while the target is lost.

    The target moves only to a candidate of score ``confidence_low`` or more. Its state is not
    clipped to the frame, only the reported box, so that a search may go on outside of the image
    (PySOT's rule, on which published numbers rest).

    Results have the entry ``lost`` too.
    """

    state_type = LongTermState

    @property
    def instance_size(self) -> int:
        """Side of the next search crop in its own pixels."""
        p = self.params
        return p.lost_instance_size if self.state.lost else p.instance_size

    @property
    def window_influence(self) -> float:
        """Share of the cosine window in the choice of a candidate."""
        return LOST_WINDOW_INFLUENCE if self.state.lost else self.params.window_influence

    def update_state(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step if its score allows, and choose the next search region."""
        p = self.params
        target = self.state.target if step.score < p.confidence_low else step.target
        lost = is_lost(self.state.lost, step.score, p.confidence_low, p.confidence_high)
        self.state = replace(self.state, target=target, lost=lost)
        return {
            "bbox": target.clipped(frame_shape).to_xywh(),
            "best_score": step.score,
            "lost": lost,
        }
