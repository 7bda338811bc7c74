"""Overlap over time in few characters, for the details of a video."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation import Evaluation

POINTS = 240  # at most, per video and tracker
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # 0 to 1
UNKNOWN = "-"

Overlaps = Mapping[str, Mapping[str, NDArray]]  # by tracker and video


def frame_overlaps(evaluation: Evaluation, trackers: Sequence[str]) -> Overlaps:
    """Overlap of each frame by tracker and video; empty where the protocol has none.

    Result files are read anew; a video whose result is missing or cannot be read is left out.
    """
    measure = getattr(evaluation, "frame_overlaps", None)
    if measure is None:
        return {name: {} for name in trackers}
    found: dict[str, dict[str, NDArray]] = {}
    for name in trackers:
        found[name] = {}
        for video in evaluation.scores(name).videos:
            try:
                found[name][video] = measure(name, video)
            except (OSError, ValueError, IndexError):
                continue  # told among the problems of the tracker
    return found


def encoded(overlaps: NDArray) -> str:
    """Overlaps (N,) as one letter per point, means of as many frames as it takes.

    NaN counts in no mean; a point of nothing else is ``UNKNOWN``.
    """
    values = np.asarray(overlaps, np.float64)
    parts = np.array_split(values, min(POINTS, len(values))) if len(values) else []
    letters = []
    for part in parts:
        known = part[~np.isnan(part)]
        level = round(float(np.clip(known.mean(), 0, 1)) * (len(LEVELS) - 1)) if len(known) else -1
        letters.append(LEVELS[level] if level >= 0 else UNKNOWN)
    return "".join(letters)
