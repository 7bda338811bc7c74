"""Benchmarks: their table and their videos; PySOT's names for both come from `toolkit.legacy`."""

from importlib import import_module
from typing import Any

from toolkit.datasets.benchmarks import BENCHMARKS as BENCHMARKS
from toolkit.datasets.benchmarks import Benchmark as Benchmark
from toolkit.datasets.benchmarks import find_benchmark as find_benchmark
from toolkit.datasets.benchmarks import find_root as find_root
from toolkit.datasets.dataset import Dataset as Dataset
from toolkit.datasets.dataset import load_videos as load_videos
from toolkit.datasets.video import Labels as Labels
from toolkit.datasets.video import Video as Video


def __getattr__(name: str) -> Any:
    """Find PySOT's names, whose classes need results and drawing and so stand above this package.

    Raises:
        AttributeError: If there is no such name.
    """
    if name.startswith("_") or not name.endswith(("Dataset", "DatasetFactory", "Video")):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("toolkit.legacy"), name)
