"""How a tracker is run over a video.

A protocol is a class that takes the frames of one video in order: `OnePass.run` shows them to one
tracker, `toolkit.protocols.runner.run_together` to many at once, so that frames are decoded once.
"""

from toolkit.protocols.masks import Masks, frame_names, merge_masks
from toolkit.protocols.one_pass import (
    DEFAULT_OPTIONS,
    OnePass,
    ProtocolOptions,
    StaticTracker,
    Tracker,
)
from toolkit.protocols.reset import Reset

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
]

#: Protocols by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
PROTOCOLS: dict[str, type[OnePass]] = {
    "one_pass": OnePass,
    "reset": Reset,
    "long_term": OnePass,
    "masks": Masks,
}
