"""One pass over a video."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from toolkit.protocols.base import Rules, Run, Tracker, score, size_text, timed


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
        output, seconds = timed(self._tracker.track, image)
        self._note(list(output["bbox"]), seconds, score(output))

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
        _, seconds = timed(self._tracker.init, image, box)
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
                f"frame {len(self.run.seconds)} is {size_text(size)} but the video began with "
                f"{size_text(self._size)}"
            )


def _check_box(box: Sequence[float]) -> None:
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise ValueError(
            f"cannot start on the box {list(box)}: expected finite x, y and positive w, h"
        )
