"""What a tracker did over a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Code(IntEnum):
    """What a result has for a frame: a region, or why there is none."""

    REGION = -1
    SKIPPED = 0
    STARTED = 1
    LOST = 2


@dataclass
class Trajectory:
    """What a tracker did over a video, one entry per frame.

    A protocol appends to lists, so that an int is written as one; a file is read into arrays.
    Regions are boxes x, y, w, h or polygons x1, y1, ... in 0-based pixels, empty where there is
    none; from a file (N, 4) or (N, 2K) as `toolkit.io.boxes.as_regions` makes them.
    """

    codes: Sequence[int] | NDArray = field(default_factory=list)  # (N,) int8 from a file
    regions: Sequence[Sequence[float]] | NDArray = field(default_factory=list)
    # confidence, NaN where there is none; None if the layout has none
    scores: Sequence[float] | NDArray | None = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # in the tracker; not read from files
    masks: list[NDArray] = field(default_factory=list)  # label images (H, W), of masks alone
    frame_names: list[str] = field(default_factory=list)  # of their files, without suffix
    warnings: tuple[str, ...] = ()  # keys of `toolkit.results.formats.WARNINGS`

    def __len__(self) -> int:
        return len(self.codes)

    def append(
        self,
        region: Sequence[float] = (),
        code: Code = Code.REGION,
        seconds: float = 0.0,
        score: float = math.nan,
    ) -> None:
        """Add what the tracker did in the next frame."""
        self.codes.append(code)
        self.regions.append(region)
        self.scores.append(score)
        self.seconds.append(seconds)

    @property
    def boxes(self) -> NDArray:
        """The regions (N, 4) of a trajectory of boxes that was read from a file."""
        return self.regions[:, :4]

    @property
    def fps(self) -> float:
        """Tracked frames per second (the first frame is not tracked but its time counts)."""
        return (len(self.seconds) - 1) / max(sum(self.seconds), 1e-9)

    @property
    def lost(self) -> int:
        """Number of failures in the reset protocol."""
        return sum(code == Code.LOST for code in self.codes)

    def without_first(self, number: int) -> Trajectory:
        """Leave out the first frames of what was read from a file."""
        scores = None if self.scores is None else self.scores[number:]
        return replace(
            self, codes=self.codes[number:], regions=self.regions[number:], scores=scores
        )

    def resized(self, length: int, code: int = Code.REGION) -> Trajectory:
        """Cut what was read from a file, or lengthen it by frames without a region.

        The first of these has ``code``, the others ``SKIPPED``, or all ``REGION`` by default.
        """
        rest = max(0, length - len(self))
        codes = np.full(rest, code if code == Code.REGION else Code.SKIPPED, np.int8)
        codes[:1] = code
        nothing = np.full((rest, self.regions.shape[1]), np.nan)
        scores = self.scores
        if scores is not None:
            scores = np.append(scores[:length], np.full(rest, np.nan))
        return replace(
            self,
            codes=np.append(self.codes[:length], codes),
            regions=np.concatenate([self.regions[:length], nothing]),
            scores=scores,
        )


def empty_trajectory(scores: bool = False) -> Trajectory:
    """Return a trajectory of no frame, to be lengthened by `Trajectory.resized`."""
    return Trajectory(np.empty(0, np.int8), np.empty((0, 4)), np.empty(0) if scores else None)
