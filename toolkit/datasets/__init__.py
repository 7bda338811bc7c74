"""Benchmarks: their table, their videos, and PySOT's names for both."""

from toolkit.datasets.benchmarks import BENCHMARKS, Benchmark, find_benchmark, find_root
from toolkit.datasets.dataset import Dataset, DatasetFactory
from toolkit.datasets.loading import load_videos
from toolkit.datasets.regions import vot_corners
from toolkit.datasets.video import Labels, Video

# One class reads them all; what differs is in the table.
OTBDataset = UAVDataset = LaSOTDataset = NFSDataset = Dataset
VOTDataset = VOTLTDataset = GOT10kDataset = TrackingNetDataset = Dataset
OTBVideo = UAVVideo = LaSOTVideo = NFSVideo = Video
VOTVideo = VOTLTVideo = GOT10kVideo = TrackingNetVideo = Video

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Dataset",
    "DatasetFactory",
    "GOT10kDataset",
    "GOT10kVideo",
    "LaSOTDataset",
    "LaSOTVideo",
    "Labels",
    "NFSDataset",
    "NFSVideo",
    "OTBDataset",
    "OTBVideo",
    "TrackingNetDataset",
    "TrackingNetVideo",
    "UAVDataset",
    "UAVVideo",
    "VOTDataset",
    "VOTLTDataset",
    "VOTLTVideo",
    "VOTVideo",
    "Video",
    "find_benchmark",
    "find_root",
    "load_videos",
    "vot_corners",
]
