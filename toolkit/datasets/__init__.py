"""Benchmarks: their table and their videos; PySOT's names for both come from `toolkit.legacy`."""

from importlib import import_module
from typing import Any

from toolkit.datasets.benchmarks import BENCHMARKS, Benchmark, find_benchmark, find_root
from toolkit.datasets.dataset import Dataset, load_videos
from toolkit.datasets.video import Labels, Video
from toolkit.io.boxes import vot_corners

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Dataset",
    "Labels",
    "Video",
    "find_benchmark",
    "find_root",
    "load_videos",
    "vot_corners",
]


def __getattr__(name: str) -> Any:
    """Find PySOT's names, whose classes need results and drawing and so stand above this package.

    Raises:
        AttributeError: If there is no such name.
    """
    if name.startswith("_") or not name.endswith(("Dataset", "DatasetFactory", "Video")):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("toolkit.legacy"), name)
