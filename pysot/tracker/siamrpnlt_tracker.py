"""Long-term tracking: a much larger search region while the target is lost (SiamRPN++)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pysot.core.registry import TRACKERS
from pysot.tracker.base_tracker import TrackState
from pysot.tracker.siamrpn_tracker import SiamRPNTracker, Step, TrackParams

LOST_WINDOW_INFLUENCE = 0.001
"""Share of the cosine window while lost: the target may be anywhere in the search region."""


@dataclass(frozen=True)
class LongTermParams(TrackParams):
    """Settings of a tracker that knows when it has lost its target; sizes in crop pixels."""

    lost_instance_size: int = 831
    confidence_low: float = 0.85
    confidence_high: float = 0.998


@dataclass(frozen=True)
class LongTermState(TrackState):
    """The target may lie outside of the frame."""

    lost: bool = False


def is_lost(was_lost: bool, score: float, low: float, high: float) -> bool:
    """Whether a target is lost: below ``low`` it is, above ``high`` not, between as before."""
    if score < low:
        return True
    return was_lost and score <= high


@TRACKERS.register("SiamRPNLTTracker")
class SiamRPNLTTracker(SiamRPNTracker):
    """Searches a region of ``lost_instance_size`` once the score falls below ``confidence_low``.

    It returns to the usual region when the score exceeds ``confidence_high``. The target moves to
    a candidate of score ``confidence_low`` or more and else stays. The state is kept as it is, only
    the reported box is clipped to the frame, so that a search may go on outside of the picture
    (PySOT's rule, on which published numbers rest).

    Results have the entry ``lost`` too.
    """

    params_type = LongTermParams
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

    def settle(self, step: Step, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """Follow a step if its score allows, and decide how to search next."""
        p = self.params
        target = self.state.target if step.score < p.confidence_low else step.target
        lost = is_lost(self.state.lost, step.score, p.confidence_low, p.confidence_high)
        self.state = replace(self.state, target=target, lost=lost)
        clipped = target.clipped((frame_shape[1], frame_shape[0]))
        return {"bbox": clipped.to_xywh(), "best_score": step.score, "lost": lost}
