"""Siamese single-object tracking.

``Tracker`` follows one target, ``MultiTracker`` many with one network.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pysot.tracker.api import Tracker, TrackResult
    from pysot.tracker.multi import MultiTracker

__version__ = "0.1.0"
__all__ = ["MultiTracker", "TrackResult", "Tracker"]

# imported on first use, so that ``import pysot.core.config`` does not load PyTorch and OpenCV
_HOMES = {"Tracker": "api", "TrackResult": "api", "MultiTracker": "multi"}


def __getattr__(name: str) -> Any:
    """Import a class of the package's own interface."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pysot.tracker.{_HOMES[name]}"), name)
