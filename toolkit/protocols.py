"""How a tracker is run over a video."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray


class Tracker(Protocol):
    """What a protocol needs of a tracker; frames are BGR uint8, (H, W, 3)."""

    def init(self, image: NDArray, bbox: Sequence[float]) -> Any:
        """Start on the box x, y, w, h in 0-based pixels."""

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return ``bbox`` (x, y, w, h) and ``best_score``."""


@dataclass
class Run:
    """What a tracker said of a video, one entry per frame.

    Attributes:
        boxes: x, y, w, h in pixels, the numbers as the tracker gave them; the first is the box
            it was started on.
        scores: Confidence; NaN for the first frame, and for a tracker that gives none.
        seconds: Time spent in the tracker, reading of the frame not included.
    """

    boxes: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Tracked frames per second (the first frame is not tracked but its time counts)."""
        return (len(self.boxes) - 1) / max(sum(self.seconds), 1e-9)


def one_pass(
    tracker: Tracker, frames: Iterable[tuple[NDArray, Any]], init_rect: Sequence[float]
) -> Run:
    """Start a tracker on the first frame and let it run to the end (OPE of the OTB benchmark).

    Args:
        tracker: The tracker.
        frames: Pairs of a BGR uint8 frame (H, W, 3) and its ground truth, which is not looked at.
        init_rect: Box x, y, w, h in 0-based pixels to start on; ints are kept as ints.

    Raises:
        ValueError: If there is no frame, if the box is not finite or has no size, or if a frame
            differs in size from the first.
    """
    _check_box(init_rect)
    run, size = Run(), None
    for index, (image, _) in enumerate(frames):
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            raise ValueError(
                f"frame {index} is {_size_text(image.shape)} but the video began with "
                f"{_size_text(size)}"
            )
        begin = time.perf_counter()
        if index:
            output = tracker.track(image)
        else:
            tracker.init(image, init_rect)
            output = {"bbox": init_rect}
        run.seconds.append(time.perf_counter() - begin)
        run.boxes.append(list(output["bbox"]))
        run.scores.append(float(output.get("best_score", math.nan)))
    if size is None:
        raise ValueError("the video has no frame")
    return run


#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: dict[str, Callable[..., Run]] = {"one_pass": one_pass}


def _check_box(box: Sequence[float]) -> None:
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise ValueError(
            f"cannot start on the box {list(box)}: expected finite x, y and positive w, h"
        )


def _size_text(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
