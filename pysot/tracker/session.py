"""Tracking through a whole video: :func:`track` in one line, :class:`Session` frame by frame."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.tracker.api import MultiTracker, Tracker, TrackResult
from pysot.tracker.base_tracker import SiameseTracker, as_box, check_frame, window_corner
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.zoo import DEFAULT, find_pretrained
from toolkit.io.packages import load_package
from toolkit.io.video import DEFAULT_FPS, Frame, FrameSource, open_source

#: Anything that gives frames: what `open_source` takes, or the frames, BGR uint8 (H, W, 3).
Source = str | os.PathLike | int | FrameSource | Iterable[NDArray]

_PACE_MEMORY = 0.9  # share of the past, so that a speed on screen can be read
_MASK_THRESHOLD = 0.3  # of trackers that state none
_ROW = [
    *(("frame", np.int64), ("target", np.int64)),
    *((name, np.float64) for name in ("x", "y", "w", "h", "score")),
    ("lost", np.bool_),
]


@dataclass(frozen=True, eq=False)
class TargetResult:
    """A target in one frame, in 0-based pixels."""

    box: NDArray
    """x, y, w, h, (4,) float64."""
    score: float = math.nan
    """Confidence in [0, 1]; NaN where the box was given, or the tracker has none."""
    polygon: NDArray | None = None
    """Corners of a rotated box, (4, 2) float64 as x, y, from trackers with masks."""
    mask: NDArray | None = None
    """Pixels of the target, (H, W) bool, from trackers with masks."""
    lost: bool = False
    """Whether the target is out of sight, and the box the last one or a guess."""
    search: NDArray | None = None
    """The window that was searched, x, y, w, h, (4,) float64; None for trackers of other kinds."""

    @classmethod
    def from_result(
        cls, result: TrackResult, threshold: float, search: NDArray | None = None
    ) -> TargetResult:
        """Convert what a tracker found; a mask is where its probability exceeds the threshold."""
        polygon, mask = result.polygon, result.mask
        return cls(
            box=np.array(result.bbox, np.float64),
            score=result.score,
            polygon=None if polygon is None else np.array(polygon, np.float64).reshape(-1, 2),
            mask=None if mask is None else mask > threshold,
            lost=result.lost,
            search=search,
        )


@dataclass(frozen=True, eq=False)
class FrameResult:
    """All targets in one frame.

    With one target, as is usual, ``box``, ``polygon``, ``mask``, ``score`` and ``lost`` are those
    of it; with none or several they raise ``ValueError``, and ``targets`` has them by number.
    """

    index: int
    """Number of the frame, from 0."""
    image: NDArray
    """The frame, BGR uint8 (H, W, 3)."""
    targets: Mapping[int, TargetResult]
    """Results by the number of the target: from 0, in the order of the boxes."""
    name: str = ""
    """File name of the frame, or its index."""
    time: float | None = None
    """Seconds on the clock of the source, if it has one."""
    seconds: float = 0.0
    """How long tracking took."""

    @property
    def box(self) -> NDArray:
        """x, y, w, h in 0-based pixels, (4,) float64."""
        return self._only.box

    @property
    def score(self) -> float:
        """Confidence in [0, 1]; NaN in the first frame."""
        return self._only.score

    @property
    def polygon(self) -> NDArray | None:
        """Corners of a rotated box, (4, 2) float64, from trackers with masks."""
        return self._only.polygon

    @property
    def mask(self) -> NDArray | None:
        """Pixels of the target, (H, W) bool, from trackers with masks."""
        return self._only.mask

    @property
    def lost(self) -> bool:
        """Whether the target is out of sight."""
        return self._only.lost

    @property
    def _only(self) -> TargetResult:
        if len(self.targets) != 1:
            raise ValueError(
                f"frame {self.index} has {len(self.targets)} targets: take result.targets[number]"
            )
        return next(iter(self.targets.values()))

    def to_numpy(self) -> NDArray:
        """Return a row per target, as `to_numpy` does."""
        return to_numpy([self])

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` of a row per target; see `to_pandas`."""
        return to_pandas([self])

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``; see `pysot.tracker.adapters.detections`.

        Raises:
            ModuleNotFoundError: If supervision is not installed.
        """
        from pysot.tracker.adapters import detections

        found = {
            number: TrackResult(
                tuple(target.box.tolist()), target.score, None, target.mask, target.lost
            )
            for number, target in self.targets.items()
        }
        return detections(found)


def to_numpy(results: Iterable[FrameResult]) -> NDArray:
    """Return a row per frame and target, with the fields frame, target, x, y, w, h, score, lost.

    ``rows["x"]`` is a column; boxes are in 0-based pixels.
    """
    rows = [
        (result.index, number, *target.box.tolist(), target.score, target.lost)
        for result in results
        for number, target in result.targets.items()
    ]
    return np.array(rows, dtype=_ROW)


def to_pandas(results: Iterable[FrameResult]) -> Any:
    """Return the rows of `to_numpy` as a ``pandas.DataFrame``.

    Raises:
        ModuleNotFoundError: If pandas is not installed.
    """
    return load_package("pandas", "pandas", "a data frame needs").DataFrame(to_numpy(results))


class Session:
    """Follows targets through the frames of one video; they may come, go and be corrected.

    Example::

        session = Session(MultiTracker.from_pretrained())
        for frame in open_source("clip.mp4"):
            result = session.step(frame)
            if frame.index == 0:
                session.add((x, y, w, h))
            show(session.result)
    """

    def __init__(self, multi: MultiTracker) -> None:
        self.multi = multi
        self.result: FrameResult | None = None
        """What is known of the latest frame."""

    def step(self, frame: Frame) -> FrameResult:
        """Find all targets in the next frame; ``ValueError`` if it is unusable."""
        trackers = self.multi.trackers
        begin = perf_counter()
        windows = {number: _search_window(tracker) for number, tracker in trackers.items()}
        found = self.multi.track(frame.image)
        seconds = perf_counter() - begin
        targets = {
            number: TargetResult.from_result(result, _threshold(trackers[number]), windows[number])
            for number, result in found.items()
        }
        self.result = FrameResult(
            frame.index, frame.image, targets, frame.name, frame.time, seconds
        )
        return self.result

    def add(self, box: Sequence[float]) -> int:
        """Start on one more target, x, y, w, h in the latest frame; return its number."""
        number = self.multi.add(self._latest().image, box)
        self._set(number, box)
        return number

    def restart(self, number: int, box: Sequence[float]) -> None:
        """Correct a target: it starts anew on a box in the latest frame."""
        image = self._latest().image
        self.multi.find(number).init(image, box)
        self._set(number, box)

    def drop(self, number: int) -> None:
        """Stop following a target; ``ValueError`` if there is none of that number."""
        self.multi.remove(number)
        result = self._latest()
        targets = {other: found for other, found in result.targets.items() if other != number}
        self.result = replace(result, targets=targets)

    def _latest(self) -> FrameResult:
        if self.result is None:
            raise ValueError("call step(frame) first: there is no frame yet")
        return self.result

    def _set(self, number: int, box: Sequence[float]) -> None:
        result = self._latest()
        target = TargetResult(as_box(box).astype(np.float64))
        self.result = replace(result, targets={**result.targets, number: target})


def smoothed(pace: float, seconds: float) -> float:
    """Return the mean seconds of the last frames from that before, 0 or NaN at first."""
    return _PACE_MEMORY * pace + (1 - _PACE_MEMORY) * seconds if pace > 0 else seconds


def _search_window(tracker: Any) -> NDArray | None:
    """Return where the next frame is searched, x, y, w, h in its 0-based pixels."""
    if not hasattr(tracker, "search_side"):
        return None
    side, target = tracker.search_side(), tracker.state.target
    return np.array([*window_corner((target.cx, target.cy), side), side, side], np.float64)


def _threshold(tracker: Any) -> float:
    return getattr(getattr(tracker, "params", None), "mask_thershold", _MASK_THRESHOLD)


def track(
    source: Source,
    box: Sequence[float] | Sequence[Sequence[float]] | NDArray,
    tracker: str | Path | Tracker | MultiTracker | Any = DEFAULT,
    callback: Callable[[FrameResult], Any] | None = None,
    device: str = "auto",
) -> Iterator[FrameResult]:
    """Track one object, or several, through a video.

    Example::

        for result in pysot.track("clip.mp4", (x, y, w, h)):
            print(result.index, result.box, result.score)

    Args:
        source: Video or image file, folder of images, camera (its number), URL of a stream, or
            frames, BGR uint8 (H, W, 3), all of one size.
        box: x, y, w, h in 0-based pixels of the first frame, or a list of such boxes, whose targets
            have the numbers 0, 1, ...
        tracker: Name of weights that ``pysot models`` lists, or the path of a safetensors file with
            a card; or a tracker, which starts anew.
        callback: Called with each result; tracking ends where it returns False.
        device: Where the weights of a name run, as in :meth:`Tracker.from_config`.

    Yields:
        A result per frame; the first one has the given boxes, and no score.

    Raises:
        ValueError: If a box or frame is unusable.
        OSError: If the source cannot be opened, or the weights cannot be had.
    """
    boxes = _boxes(box)
    frames = _open(source)
    session = Session(_multi(tracker, device, len(boxes)))
    return _results(frames, boxes, session, callback or _ignore)


def _ignore(result: FrameResult) -> None:
    """Take a result for which there is no callback."""


def _results(
    frames: Iterable[Frame],
    boxes: Sequence[NDArray],
    session: Session,
    callback: Callable[[FrameResult], Any],
) -> Iterator[FrameResult]:
    for frame in frames:
        result = session.step(frame)
        if frame.index == 0:
            for box in boxes:
                session.add(box)
            result = session.result
        end = callback(result) is False
        yield result
        if end:
            return


def _boxes(box: Any) -> list[NDArray]:
    """Return one box or several as a list of arrays (4,)."""
    several = [*box] if hasattr(box, "__iter__") and not isinstance(box, str) else []
    if several and all(np.ndim(value) for value in several):
        return [as_box(value) for value in several]
    return [as_box(box)]


def _open(source: Source) -> FrameSource:
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, (str, os.PathLike, int)):
        return open_source(source)
    return FrameSource("frames", _named(source), DEFAULT_FPS, 0)


def _named(images: Iterable[NDArray]) -> Iterator[tuple[str, NDArray]]:
    for index, image in enumerate(images):
        check_frame(image)
        yield str(index), image


def _multi(tracker: Any, device: str, count: int) -> MultiTracker:
    """Return what starts trackers of ``count`` targets."""
    if isinstance(tracker, (str, Path)):
        # one thread: sharing the work of one target costs more than it saves
        model, cfg = load_network(*find_pretrained(tracker), device, threads=1)
        return MultiTracker(lambda: build_tracker(model, cfg))
    if isinstance(tracker, MultiTracker):
        return MultiTracker(tracker.build, tracker.max_batch)
    single = tracker.tracker if isinstance(tracker, Tracker) else tracker
    if isinstance(single, SiameseTracker):
        return MultiTracker(lambda: copy.copy(single))  # which shares the network
    if count > 1:
        raise ValueError(
            f"{type(single).__name__} follows one target, and there are {count} boxes: give a "
            "MultiTracker"
        )
    return MultiTracker(lambda: single)
