"""A benchmark's videos."""

import os
from collections.abc import Iterator, Sequence
from operator import index as as_index
from pathlib import Path

from toolkit.datasets.benchmarks import find_benchmark
from toolkit.datasets.loading import load_videos
from toolkit.datasets.video import Video


class Dataset:
    """The videos of one benchmark in sorted order, by name or by position.

    Attributes:
        name: Name of the set, also that of its JSON.
        dataset_root: Folder of the JSON that image names are relative to.
        benchmark: Its row of `toolkit.datasets.benchmarks.BENCHMARKS`.
        videos: Video by name.
        attr: Video names by attribute; ``"ALL"`` holds all.
        tags: Names of the per-frame tags: ``all``, those of the set, ``empty``.
        tracker_path: Folder of the results, after `set_tracker`.
        tracker_names: Trackers to score, after `set_tracker`.
    """

    def __init__(self, name: str, dataset_root: str | os.PathLike) -> None:
        self.name, self.dataset_root = name, Path(dataset_root)
        self.benchmark = find_benchmark(name)
        self.videos = load_videos(dataset_root, name)
        self.attr = {"ALL": list(self.videos)}
        for video in self.videos.values():
            for attribute in video.attr:
                self.attr.setdefault(attribute, []).append(video.name)
        self.tags = ["all", *self.benchmark.tags, "empty"]
        self.tracker_path: Path | None = None
        self.tracker_names: list[str] = []

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Video]:
        return iter(self.videos.values())

    def __getitem__(self, key: str | int) -> Video:
        """Video by name, or by position in sorted order (negative counts from the end)."""
        if isinstance(key, str):
            return self.videos[key]
        return list(self.videos.values())[as_index(key)]

    def set_tracker(self, path: str | os.PathLike, tracker_names: Sequence[str]) -> None:
        """Name the trackers to score: folders below ``path``."""
        self.tracker_path, self.tracker_names = Path(path), list(tracker_names)
