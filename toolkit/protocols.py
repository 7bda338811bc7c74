"""How a tracker is run over a video.

A protocol is a class that is shown the frames of one video in order: `run_protocol` shows them to
one tracker, `toolkit.running.run_together` to many at once, so that frames are decoded once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.regions import box_around, vot_corners
from toolkit.utils.region import vot_overlap

SKIPPED, STARTED, LOST = [0], [1], [2]
"""Regions of the reset protocol that are codes."""

RESTART = 5
"""Frames between a failure and the new start in the reset protocol (VOT 2013 to 2019)."""


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


class OnePass:
    """Start on the first frame and run to the end: OPE of the OTB benchmark.

    Long-term benchmarks are run the same way; only their files differ. The ground truth of later
    frames is not looked at.

    Args:
        build: Makes a tracker.
        rules: See `Rules`.
    """

    restarts = False
    """Whether failures are counted."""

    def __init__(self, build: Callable[[], Tracker], rules: Rules) -> None:
        self.build, self.rules, self.run = build, rules, Run()
        self._size: tuple[int, ...] | None = None
        self._tracker: Tracker | None = None

    @staticmethod
    def frames(video: Iterable[tuple[NDArray, Any]]) -> Iterator[tuple[NDArray, Any]]:
        """Frames of a video with what `see` is told of each."""
        return iter(video)

    def see(self, image: NDArray, truth: Sequence[float]) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its ground truth.

        Raises:
            ValueError: If the first box is not finite or has no size, or if the frame differs in
                size from the first.
        """
        self._check_size(image)
        if self._tracker is None:
            self._note(*self._start(image, truth))
            return
        output, seconds = _timed(self._tracker.track, image)
        self._note(list(output["bbox"]), seconds, _score(output))

    def finish(self, video: Any) -> Run:
        """All that was said of the video.

        Raises:
            ValueError: If it had no frame.
        """
        if not self.run.seconds:
            raise ValueError("the video has no frame")
        return self.run

    def _start(self, image: NDArray, truth: Sequence[float]) -> tuple[list[float], float]:
        box = list(self.rules.start(truth))
        _check_box(box)
        self._tracker = self._tracker or self.build()
        _, seconds = _timed(self._tracker.init, image, box)
        return box, seconds

    def _note(self, region: Sequence[float], seconds: float, score: float = math.nan) -> None:
        self.run.regions.append(region)
        self.run.seconds.append(seconds)
        self.run.scores.append(score)

    def _check_size(self, image: NDArray) -> None:
        size = image.shape[:2]
        self._size = self._size or size
        if size != self._size:
            raise ValueError(
                f"frame {len(self.run.seconds)} is {_size_text(size)} but the video began with "
                f"{_size_text(self._size)}"
            )


class Reset(OnePass):
    """Start again after each failure: the supervised experiment of VOT 2013 to 2019.

    A failure is a frame where region and ground truth do not overlap; it is marked 2, the next
    four frames 0, and the tracker starts on the fifth, marked 1. The overlap is that of
    `toolkit.utils.region` within the frame. A tracker that gives polygons is judged by those.
    """

    restarts = True

    def __init__(self, build: Callable[[], Tracker], rules: Rules) -> None:
        super().__init__(build, rules)
        self._next_start = 0

    def see(self, image: NDArray, truth: Sequence[float]) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its ground truth, a box or a polygon.

        Raises:
            ValueError: As `OnePass.see`, and if the frame has no ground truth.
        """
        self._check_size(image)
        index = len(self.run.seconds)
        if not all(map(math.isfinite, truth)):
            raise ValueError(
                f"frame {index} has no ground truth, which this protocol needs to see failures"
            )
        corners = vot_corners(truth)
        if index < self._next_start:
            self._note(SKIPPED, 0.0)
        elif index == self._next_start:
            _, seconds = self._start(image, corners)
            self._note(STARTED, seconds)
        else:
            self._judge(image, corners)

    def _judge(self, image: NDArray, corners: Sequence[float]) -> None:
        output, seconds = _timed(self._tracker.track, image)
        region = list(output.get("polygon", output["bbox"]))
        if not vot_overlap(region, corners, (image.shape[1], image.shape[0])) > 0:
            self._next_start = len(self.run.seconds) + RESTART
            region = LOST
        self._note(region, seconds, _score(output))


class Masks(OnePass):
    """Give every object a tracker of its own, and merge what they see (DAVIS, YouTube-VOS).

    A tracker starts where its object is annotated first, on the box around its mask, which is its
    result for that frame; later annotation of an object is not looked at. In the frames that
    follow a pixel belongs to the object that finds it most probable, to the one of the lower
    number where two agree, and to none if no probability exceeds the threshold. A tracker without
    masks stands for the area of its polygon or box, as probable as its score.
    """

    def __init__(self, build: Callable[[], Tracker], rules: Rules) -> None:
        super().__init__(build, rules)
        self._trackers: dict[int, Tracker] = {}

    @staticmethod
    def frames(video: Any) -> Iterator[tuple[NDArray, NDArray | None]]:
        """Frames of a `toolkit.datasets.Video` with their label images, None where there is none.

        Raises:
            ValueError: If the video has no masks.
        """
        if not any(video.mask_names or ()):
            raise ValueError("the video has no annotation masks, which this protocol starts from")
        for index, (image, _) in enumerate(video):
            yield image, annotated_labels(video, index)

    def see(self, image: NDArray, truth: NDArray | None) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its labels (H, W) uint8 if it has any.

        Raises:
            ValueError: If the labels do not fit the frame, or if it differs in size from the first.
        """
        self._check_size(image)
        outputs, total = {}, 0.0
        for label, tracker in self._trackers.items():
            outputs[label], seconds = _timed(tracker.track, image)
            total += seconds
        merged = merge_masks(outputs, image.shape[:2], self.rules.mask_threshold)
        if truth is not None:
            total += self._start_new(image, truth, merged)
        self.run.labels.append(merged)
        self.run.seconds.append(total)

    def finish(self, video: Any) -> Run:
        """All that was said of the video, with the names of its frames.

        Raises:
            ValueError: If it had no object, or if two frames have the same name.
        """
        if not self._trackers:
            raise ValueError("no mask of the video holds an object")
        self.run.frame_names = frame_names(video)
        return super().finish(video)

    def _start_new(self, image: NDArray, truth: NDArray, merged: NDArray) -> float:
        """Start on the objects that were not seen before and enter their masks; the seconds."""
        from toolkit.utils.masks import mask_box

        if truth.shape != image.shape[:2]:
            raise ValueError(
                f"the mask of frame {len(self.run.seconds)} is {_size_text(truth.shape)}, the "
                f"frame {_size_text(image.shape)}"
            )
        total = 0.0
        for label in sorted(set(np.unique(truth).tolist()) - {0} - self._trackers.keys()):
            tracker, inside = self.build(), truth == label
            total += _timed(tracker.init, image, mask_box(inside))[1]
            merged[inside] = label
            self._trackers[label] = tracker
        self._trackers = dict(sorted(self._trackers.items()))
        return total


#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: dict[str, type[OnePass]] = {
    "one_pass": OnePass,
    "reset": Reset,
    "long_term": OnePass,
    "masks": Masks,
}


def run_protocol(
    protocol: str, build: Callable[[], Tracker], video: Any, rules: Rules = DEFAULT_RULES
) -> Run:
    """Run a tracker over a video.

    Args:
        protocol: Key of ``PROTOCOLS``.
        build: Makes a tracker; called once, or once for each object of a mask.
        video: A `toolkit.datasets.Video`, or any pairs of a BGR uint8 frame (H, W, 3) and its
            ground truth.
        rules: See `Rules`.

    Raises:
        OSError: If a frame cannot be read.
        ValueError: If frames, ground truth or first box are unusable.
    """
    session = PROTOCOLS[protocol](build, rules)
    for image, truth in session.frames(video):
        session.see(image, truth)
    return session.finish(video)


def annotated_labels(video: Any, index: int) -> NDArray | None:
    """Label image (H, W) uint8 that a frame was annotated with; None if it has none.

    Args:
        video: A `toolkit.datasets.Video`; its ``mask_value`` names the only object, if it has one.
        index: Number of the frame.

    Raises:
        FileNotFoundError: If the mask is not there.
        ValueError: If it is damaged.
    """
    from toolkit.utils.masks import read_labels

    path = video.mask_names[index]
    if path is None:
        return None
    labels = read_labels(path)
    if video.mask_value in (None, 255):  # 255 is read as 1
        return labels
    return (labels == video.mask_value).astype(np.uint8)


def frame_names(video: Any) -> list[str]:
    """Names for one file per frame: those of the images without folder and suffix.

    Raises:
        ValueError: If two frames have the same name.
    """
    names = [Path(name).stem for name in video.img_names]
    if len(set(names)) != len(names):
        raise ValueError("two frames have the same file name, as would their masks")
    return names


def merge_masks(
    outputs: Mapping[int, Mapping[str, Any]], shape: tuple[int, int], threshold: float
) -> NDArray:
    """Label image (H, W) uint8 of what the trackers of several objects see; see `Masks`.

    Args:
        outputs: Output of a tracker by the number of its object, in rising order.
        shape: (H, W) of the frame.
        threshold: Probability that a pixel of an object exceeds.
    """
    labels = np.zeros(shape, np.uint8)
    best = np.full(shape, threshold, np.float32)
    for label, output in outputs.items():
        mask = output.get("mask")
        if mask is None:
            mask = _filled(output, shape, threshold)
        nearer = mask > best
        labels[nearer] = label
        best[nearer] = mask[nearer]
    return labels


def _filled(output: Mapping[str, Any], shape: tuple[int, int], threshold: float) -> NDArray:
    """Polygon or box as a mask whose value rises with the score from above the threshold to 1."""
    import cv2

    region = np.asarray(output.get("polygon", output["bbox"]), np.float64)
    mask = np.zeros(shape, np.float32)
    if not np.isfinite(region).all():
        return mask
    if len(region) == 4:
        x, y, w, h = region
        region = np.array([x, y, x + w - 1, y, x + w - 1, y + h - 1, x, y + h - 1])
    score = _score(output)
    share = 1.0 if math.isnan(score) else min(max(score, 1e-3), 1.0)
    points = np.rint(region.reshape(-1, 2).clip(-32000, 32000)).astype(np.int32)
    cv2.fillPoly(mask, [points], threshold + (1 - threshold) * share)
    return mask


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - begin


def _score(output: Mapping[str, Any]) -> float:
    return float(output.get("best_score", math.nan))


def _check_box(box: Sequence[float]) -> None:
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise ValueError(
            f"cannot start on the box {list(box)}: expected finite x, y and positive w, h"
        )


def _size_text(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
