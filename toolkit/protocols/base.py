"""What all protocols share: trackers, rules, and what is noted of a video."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from toolkit.datasets.regions import box_around

SKIPPED, STARTED, LOST = [0], [1], [2]
"""Regions of the reset protocol that are codes."""


class Tracker(Protocol):
    """What a protocol needs of a tracker; frames are BGR uint8, (H, W, 3).

    An attribute ``deterministic`` that is false tells that two runs may differ.
    """

    def init(self, image: NDArray, bbox: Sequence[float]) -> Any:
        """Start on the box x, y, w, h in 0-based pixels."""

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return ``bbox`` (x, y, w, h).

        There may be ``best_score``, ``polygon`` (x1, y1, ..., x4, y4) and ``mask``, the
        probability of each pixel (H, W).
        """


class StaticTracker:
    """The baseline that any tracker must beat: the target never moves."""

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Take over the first box (x, y, w, h); the frame is not looked at."""
        self.bbox = list(bbox)

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return the first box again, with full confidence."""
        return {"bbox": self.bbox, "best_score": 1.0}


@dataclass(frozen=True)
class Rules:
    """What a protocol leaves to its user.

    Attributes:
        start: Box x, y, w, h to start a tracker on, of the ground truth of that frame: a box or
            the four corners of a polygon. The default is the box around it.
        mask_threshold: Probability above which a pixel belongs to an object.
    """

    start: Callable[[Sequence[float]], Sequence[float]] = box_around
    mask_threshold: float = 0.5


DEFAULT_RULES = Rules()


@dataclass
class Run:
    """What a tracker said of a video, one entry per frame.

    Attributes:
        regions: Boxes x, y, w, h or polygons x1, y1, ..., x4, y4 in 0-based pixels, the numbers as
            the tracker gave them, or the codes of the reset protocol. The first is the box that
            the tracker was started on. Empty for the protocol of masks.
        scores: Confidence; NaN where the tracker did not track, or gives none.
        seconds: Time spent in the tracker; the reading of the frame is not in it.
        labels: Label images (H, W) uint8, only for the protocol of masks.
        frame_names: Names of their files, without suffix.
    """

    regions: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    labels: list[NDArray] = field(default_factory=list)
    frame_names: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Tracked frames per second (the first frame is not tracked but its time counts)."""
        return (len(self.seconds) - 1) / max(sum(self.seconds), 1e-9)

    @property
    def lost(self) -> int:
        """Number of failures in the reset protocol."""
        return self.regions.count(LOST)


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Result of a call, and the seconds that it took."""
    begin = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - begin


def score(output: Mapping[str, Any]) -> float:
    """Confidence in the output of a tracker; NaN if there is none."""
    return float(output.get("best_score", math.nan))


def size_text(shape: Sequence[int]) -> str:
    """Width and height for messages, of (H, W, ...)."""
    return f"{shape[1]}x{shape[0]}"
