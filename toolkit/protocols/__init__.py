"""How a tracker is run over a video.

A protocol is a class that takes the frames of one video in order: `run_protocol` shows them to one
tracker, `toolkit.protocols.runner.run_together` to many at once, so that frames are decoded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.protocols.masks import Masks, frame_names, merge_masks
from toolkit.protocols.one_pass import (
    DEFAULT_OPTIONS,
    OnePass,
    ProtocolOptions,
    StaticTracker,
    Tracker,
)
from toolkit.protocols.reset import Reset
from toolkit.results.trajectory import Trajectory

__all__ = [
    "DEFAULT_OPTIONS",
    "PROTOCOLS",
    "Masks",
    "OnePass",
    "ProtocolOptions",
    "Reset",
    "StaticTracker",
    "Tracker",
    "frame_names",
    "merge_masks",
    "run_protocol",
]

#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: dict[str, type[OnePass]] = {
    "one_pass": OnePass,
    "reset": Reset,
    "long_term": OnePass,
    "masks": Masks,
}


def run_protocol(
    protocol: str,
    build: Callable[[], Tracker],
    video: Any,
    options: ProtocolOptions = DEFAULT_OPTIONS,
) -> Trajectory:
    """Run a tracker over a video.

    Args:
        protocol: Key of ``PROTOCOLS``.
        build: Makes a tracker; called once, or once for each object of a mask.
        video: A `toolkit.datasets.Video`, or any pairs of a BGR uint8 frame (H, W, 3) and its
            ground truth.
        options: See `ProtocolOptions`.

    Raises:
        OSError: If a frame cannot be read.
        ValueError: If frames, ground truth or first box are unusable.
    """
    session = PROTOCOLS[protocol](build, options)
    for image, truth in session.frames(video):
        session.step(image, truth)
    return session.finish(video)
