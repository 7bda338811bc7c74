"""Our trackers behind the interfaces of OpenCV, got10k and supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.tracker.api import Tracker, TrackResult
from toolkit.io.packages import load_package


class OpenCVTracker:
    """A tracker with the methods of ``cv2.Tracker``; frames are BGR uint8 (H, W, 3)."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def init(self, image: NDArray, boundingBox: Sequence[float]) -> None:
        """Start anew on x, y, w, h; see `Tracker.init`."""
        self.tracker.init(image, boundingBox)

    def update(self, image: NDArray) -> tuple[bool, tuple[int, int, int, int]]:
        """Return whether the target is in sight, and x, y, w, h in whole pixels as in OpenCV."""
        found = self.tracker.track(image)
        x, y, w, h = map(round, found.bbox)
        return not found.lost, (x, y, w, h)


def got10k_tracker(tracker: Tracker, name: str) -> Any:
    """Return a ``got10k.trackers.Tracker``, which that toolkit's experiments run.

    They give it RGB images of Pillow; ``name`` is that of the folder of results. Boxes pass as
    they are.

    Raises:
        ModuleNotFoundError: If got10k is not installed.
    """
    base = load_package("got10k.trackers", "got10k", "this adapter needs").Tracker

    class Got10kTracker(base):
        def init(self, image: Any, box: Sequence[float]) -> None:
            tracker.init(_bgr(image), box)

        def update(self, image: Any) -> NDArray:
            return np.array(tracker.track(_bgr(image)).bbox)

    certain = getattr(tracker.tracker, "deterministic", True)
    return Got10kTracker(name, is_deterministic=certain)


def detections(results: Mapping[int, TrackResult], mask_threshold: float = 0.3) -> Any:
    """Return what ``MultiTracker.track`` found as ``supervision.Detections``.

    ``tracker_id`` holds the targets' numbers, ``confidence`` the scores and ``data["lost"]`` which
    of them are out of sight. ``mask`` is there if all targets have masks: where their probability
    is above the threshold.

    Raises:
        ModuleNotFoundError: If supervision is not installed.
    """
    kind = load_package("supervision", "supervision", "this adapter needs").Detections
    found = list(results.values())
    boxes = np.array([result.bbox for result in found]).reshape(-1, 4)
    masks = [result.mask for result in found if result.mask is not None]
    return kind(
        xyxy=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        mask=np.stack(masks) > mask_threshold if found and len(masks) == len(found) else None,
        confidence=np.array([result.score for result in found], dtype=float),
        tracker_id=np.array(list(results), dtype=int),
        data={"lost": np.array([result.lost for result in found], dtype=bool)},
    )


def _bgr(image: Any) -> NDArray:
    """Turn an RGB image of Pillow into a BGR frame."""
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
