"""One pass, or passes that start again after failures; the tracker and options of all protocols."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from toolkit.io.boxes import box_around, vot_corners
from toolkit.results.trajectory import Code, Trajectory
from toolkit.utils.region import vot_overlap

_RESTART = 5  # frames between a failure and the new start


class Tracker(Protocol):
    """What a protocol needs of a tracker; frames are BGR uint8 (H, W, 3).

    An attribute ``deterministic`` that is false means that two runs may differ. One
    ``inside_only`` that is true means that ``init`` refuses a box outside of the frame; it is set
    to false for benchmarks that restart there.
    """

    def init(self, image: NDArray, bbox: Sequence[float]) -> Any:
        """Start on the box x, y, w, h in 0-based pixels."""

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return ``bbox`` (x, y, w, h), and if known ``best_score``, ``polygon`` and ``mask``.

        The polygon is x1, y1, ..., x4, y4; the mask (H, W) holds probabilities.
        """


class StaticTracker:
    """The baseline that any tracker must beat: the target never moves."""

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Keep the first box (x, y, w, h)."""
        self.bbox = list(bbox)

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return the first box again, with full confidence."""
        return {"bbox": self.bbox, "best_score": 1.0}


@dataclass(frozen=True)
class ProtocolOptions:
    """What a protocol leaves to its user."""

    # makes the box x, y, w, h to start on from a ground truth, a box or corners of a polygon
    start: Callable[[Sequence[float]], Sequence[float]] = box_around
    mask_threshold: float = 0.5  # probability above which a pixel belongs to an object


class OnePass:
    """Start on the first frame and run to the end: OPE of the OTB benchmark.

    Long-term benchmarks are run the same way; only their files differ. Other protocols derive from
    this one. An object takes the frames of one video in order; it builds a tracker once, or once
    for each object of a mask.
    """

    restarts = False  # whether failures are counted

    def __init__(self, build: Callable[[], Tracker], options: ProtocolOptions) -> None:
        self.build, self.options, self.trajectory = build, options, Trajectory()
        self._size: tuple[int, ...] | None = None
        self._tracker: Tracker | None = None

    def run(self, video: Any) -> Trajectory:
        """Run a tracker over a `toolkit.datasets.Video`, or any pairs of a frame and its truth.

        Raises:
            OSError: If a frame cannot be read.
            ValueError: If frames, ground truth or first box are unusable.
        """
        for image, truth in self.frames(video):
            self.step(image, truth)
        return self.finish(video)

    @staticmethod
    def frames(video: Iterable[tuple[NDArray, Any]]) -> Iterator[tuple[NDArray, Any]]:
        """Yield the frames of a video, each with the ground truth that `step` takes."""
        return iter(video)

    def step(self, image: NDArray, truth: Sequence[float]) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its ground truth.

        Raises:
            ValueError: If the first box is unusable, or the frame differs in size from the first.
        """
        self._check_size(image)
        if self._tracker is None:
            box = list(self.options.start(truth))
            self.trajectory.append(box, seconds=self._start(image, box))
            return
        output, seconds = timed(self._tracker.track, image)
        self.trajectory.append(list(output["bbox"]), seconds=seconds, score=score(output))

    def finish(self, video: Any) -> Trajectory:
        """Return what the tracker did; ValueError if the video had no frame."""
        if not len(self.trajectory):
            raise ValueError("the video has no frame")
        return self.trajectory

    def _start(self, image: NDArray, box: list[float]) -> float:
        """Start the tracker; return the seconds that it took."""
        if not _has_size(box):
            wanted = "finite x, y and positive w, h"
            raise ValueError(f"cannot start on the box {box}: expected {wanted}")
        self._tracker = self._tracker or self.build()
        if self.restarts and hasattr(self._tracker, "inside_only"):
            self._tracker.inside_only = False
        return timed(self._tracker.init, image, box)[1]

    def _check_size(self, image: NDArray) -> None:
        size = image.shape[:2]
        self._size = self._size or size
        if size != self._size:
            began = f"the video began with {size_text(self._size)}"
            raise ValueError(f"frame {len(self.trajectory)} is {size_text(size)} but {began}")


class Reset(OnePass):
    """Start again after each failure: the supervised experiment of VOT 2013 to 2019.

    A failure is a frame where region (polygon, if given) and ground truth do not overlap, by
    `toolkit.utils.region` within the frame. It is marked 2, the next four frames 0, and the
    tracker starts on the fifth, marked 1, also where the target is outside of the frame. Where
    there is no ground truth (NaN), a tracked frame is a failure, and a start waits, marked 0.
    """

    restarts = True
    _next_start = 0

    def step(self, image: NDArray, truth: Sequence[float]) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its ground truth, a box or a polygon.

        Raises:
            ValueError: As `OnePass.step`.
        """
        self._check_size(image)
        index, corners = len(self.trajectory), vot_corners(truth)
        known = all(map(math.isfinite, corners))
        if index > self._next_start:
            self._track(image, corners if known else [])
            return
        box = list(self.options.start(corners)) if known and index == self._next_start else []
        if _has_size(box):
            self.trajectory.append(code=Code.STARTED, seconds=self._start(image, box))
        else:
            self._next_start = max(self._next_start, index + 1)
            self.trajectory.append(code=Code.SKIPPED)

    def finish(self, video: Any) -> Trajectory:
        """Return what the tracker did; ValueError if there was no frame to start on."""
        if len(self.trajectory) and self._tracker is None:
            raise ValueError("no frame has a ground truth to start on")
        return super().finish(video)

    def _track(self, image: NDArray, corners: Sequence[float]) -> None:
        output, seconds = timed(self._tracker.track, image)
        region, code = list(output.get("polygon", output["bbox"])), Code.REGION
        size = image.shape[1], image.shape[0]
        if not (corners and vot_overlap(region, corners, size) > 0):
            self._next_start = len(self.trajectory) + _RESTART
            region, code = [], Code.LOST
        self.trajectory.append(region, code, seconds, score(output))


def _has_size(box: Sequence[float]) -> bool:
    """Return whether a box x, y, w, h is finite and w, h are positive."""
    return len(box) == 4 and all(map(math.isfinite, box)) and min(box[2:]) > 0


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Return the result of a call, and the seconds that it took."""
    begin = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - begin


def score(output: Mapping[str, Any]) -> float:
    """Return the confidence in the output of a tracker; NaN if there is none."""
    return float(output.get("best_score", math.nan))


def size_text(shape: Sequence[int]) -> str:
    """Return width and height of (H, W, ...) for messages."""
    return f"{shape[1]}x{shape[0]}"
