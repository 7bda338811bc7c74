"""Siamese single-object tracking.

``track`` follows objects through a video in one line; ``Tracker`` follows one target frame by
frame, ``MultiTracker`` many with one network, ``Session`` those that come and go in a video.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pysot.tracker.api import MultiTracker, Tracker, TrackResult
    from pysot.tracker.session import (
        FrameResult,
        Session,
        TargetResult,
        to_numpy,
        to_pandas,
        track,
    )

__version__ = "0.1.0"
__all__ = [
    "FrameResult",
    "MultiTracker",
    "Session",
    "TargetResult",
    "TrackResult",
    "Tracker",
    "to_numpy",
    "to_pandas",
    "track",
]
_IN_API = ("MultiTracker", "TrackResult", "Tracker")


def __getattr__(name: str) -> Any:
    """Import the package's own interface on use: PyTorch and OpenCV are slow to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from toolkit.io.packages import explain_opencv

    home = "api" if name in _IN_API else "session"
    with explain_opencv():
        return getattr(import_module(f"pysot.tracker.{home}"), name)
