"""Siamese single-object tracking.

``Tracker`` follows one target, ``MultiTracker`` many with one network.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pysot.tracker.api import MultiTracker, Tracker, TrackResult

__version__ = "0.1.0"
__all__ = ["MultiTracker", "TrackResult", "Tracker"]


def __getattr__(name: str) -> Any:
    """Import the package's own interface on use: PyTorch and OpenCV are slow to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from toolkit.io.packages import explain_opencv

    with explain_opencv():
        return getattr(import_module("pysot.tracker.api"), name)
