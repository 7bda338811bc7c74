"""Tracking in three lines: ``Tracker.from_config``, ``init``, ``track``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pysot.tracker.tracker_builder import build_tracker, load_network


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Where a target is in one frame, in 0-based pixels."""

    bbox: tuple[float, float, float, float]
    """x, y, w, h."""
    score: float
    """Confidence in [0, 1]."""
    polygon: tuple[float, ...] | None = None
    """Corners x1, y1, ..., x4, y4 of a rotated box, from trackers with masks."""
    mask: NDArray | None = None
    """Probability of each pixel, (H, W) float32 in [0, 1], from trackers with masks."""
    lost: bool = False
    """Whether the target is not in sight; the box is where it was last, or a guess."""

    @classmethod
    def from_dict(cls, result: dict[str, Any]) -> TrackResult:
        """Take over what the ``track`` of a registered tracker returns."""
        polygon = result.get("polygon")
        return cls(
            bbox=tuple(float(value) for value in result["bbox"]),
            score=float(result["best_score"]),
            polygon=None if polygon is None else tuple(float(value) for value in polygon),
            mask=result.get("mask"),
            lost=bool(result.get("lost", False)),
        )


class Tracker:
    """Follows one target through a video.

    Example::

        tracker = Tracker.from_config("experiments/siamrpn_r50_l234_dwxcorr/config.yaml", "r50.pth")
        tracker.init(first_frame, (x, y, w, h))
        for frame in frames:
            print(tracker.track(frame).bbox)

    Args:
        tracker: What ``build_tracker`` returns.
    """

    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker

    @classmethod
    def from_config(
        cls,
        config: str | Path,
        weights: str | Path,
        device: str = "auto",
        opts: Sequence[Any] = (),
    ) -> Tracker:
        """Build the tracker that a YAML file describes.

        Args:
            config: YAML file.
            weights: Checkpoint of its network, made by this package or by PySOT.
            device: ``auto`` for what the configuration says, which is the best there is unless it
                names one; or a name that ``torch.device`` takes.
            opts: Overrides of the configuration, ``[KEY, VALUE, ...]``.

        Raises:
            OSError: If a file is missing or cannot be read.
            ValueError: If configuration, weights or device are unusable.
        """
        return cls(build_tracker(*load_network(config, weights, device, opts)))

    def init(self, frame: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target; whatever was tracked before is forgotten.

        Args:
            frame: BGR uint8, (H, W, 3).
            bbox: x, y, w, h in 0-based pixels.

        Raises:
            ValueError: If the frame or the box is unusable.
        """
        self.tracker.init(frame, bbox)

    def track(self, frame: NDArray) -> TrackResult:
        """Find the target in the next frame, BGR uint8 (H, W, 3).

        Raises:
            ValueError: If :meth:`init` was not called, or the frame is unusable.
        """
        return TrackResult.from_dict(self.tracker.track(frame))
