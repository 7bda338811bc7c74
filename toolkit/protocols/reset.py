"""Passes that start again after each failure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import NDArray

from toolkit.io.boxes import vot_corners
from toolkit.protocols.one_pass import OnePass, score, timed
from toolkit.results.trajectory import Code
from toolkit.utils.region import vot_overlap

_RESTART = 5  # frames between a failure and the new start


class Reset(OnePass):
    """Start again after each failure: the supervised experiment of VOT 2013 to 2019.

    A failure is a frame where region (polygon, if given) and ground truth do not overlap, by
    `toolkit.utils.region` within the frame. It is marked 2, the next four frames 0, and the
    tracker starts on the fifth, marked 1.
    """

    restarts = True
    _next_start = 0

    def step(self, image: NDArray, truth: Sequence[float]) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its ground truth, a box or a polygon.

        Raises:
            ValueError: As `OnePass.step`, and if the frame has no ground truth.
        """
        self._check_size(image)
        index = len(self.trajectory)
        if not all(map(math.isfinite, truth)):
            raise ValueError(
                f"frame {index} has no ground truth, which this protocol needs to see failures"
            )
        corners = vot_corners(truth)
        if index < self._next_start:
            self.trajectory.append(code=Code.SKIPPED)
        elif index == self._next_start:
            _, seconds = self._start(image, corners)
            self.trajectory.append(code=Code.STARTED, seconds=seconds)
        else:
            self._track(image, corners)

    def _track(self, image: NDArray, corners: Sequence[float]) -> None:
        output, seconds = timed(self._tracker.track, image)
        region, code = list(output.get("polygon", output["bbox"])), Code.REGION
        if not vot_overlap(region, corners, (image.shape[1], image.shape[0])) > 0:
            self._next_start = len(self.trajectory) + _RESTART
            region, code = [], Code.LOST
        self.trajectory.append(region, code, seconds, score(output))
