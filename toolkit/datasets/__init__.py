"""Benchmarks: their table, their videos, and PySOT's names for both."""

from toolkit.datasets.benchmarks import BENCHMARKS, Benchmark, find_benchmark, find_root
from toolkit.datasets.dataset import Dataset, DatasetFactory
from toolkit.datasets.video import Video, load_videos

# One class reads them all; what differs is in the table.
OTBDataset = UAVDataset = LaSOTDataset = NFSDataset = Dataset
OTBVideo = UAVVideo = LaSOTVideo = NFSVideo = Video

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Dataset",
    "DatasetFactory",
    "LaSOTDataset",
    "LaSOTVideo",
    "NFSDataset",
    "NFSVideo",
    "OTBDataset",
    "OTBVideo",
    "UAVDataset",
    "UAVVideo",
    "Video",
    "find_benchmark",
    "find_root",
    "load_videos",
]
