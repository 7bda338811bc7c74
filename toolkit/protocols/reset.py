"""Passes that begin again after each failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from numpy.typing import NDArray

from toolkit.datasets.regions import vot_corners
from toolkit.protocols.base import LOST, SKIPPED, STARTED, Rules, Tracker, score, timed
from toolkit.protocols.one_pass import OnePass
from toolkit.utils.region import vot_overlap

RESTART = 5
"""Frames between a failure and the new start in the reset protocol (VOT 2013 to 2019)."""


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
        output, seconds = timed(self._tracker.track, image)
        region = list(output.get("polygon", output["bbox"]))
        if not vot_overlap(region, corners, (image.shape[1], image.shape[0])) > 0:
            self._next_start = len(self.run.seconds) + RESTART
            region = LOST
        self._note(region, seconds, score(output))
