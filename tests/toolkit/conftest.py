import gzip
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "toolkit"


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """Small made-up sets with results and the console output recorded for them."""
    folder = tmp_path_factory.mktemp("mini")
    with tarfile.open(GOLDEN / "mini.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def mini_numbers():
    with gzip.open(GOLDEN / "mini_numbers.json.gz", "rt") as file:
        return json.load(file)


@pytest.fixture
def make_set(tmp_path):
    """Write a set of two videos, changed by a function of its records, and return its folder."""

    def make(change=lambda records: None, name="Tiny", num_frames=3, raw=None):
        records = {
            video: {
                "video_dir": video,
                "init_rect": [10, 20, 30, 40],
                "img_names": [f"{video}/img/{i:04d}.png" for i in range(num_frames)],
                "gt_rect": [[10 + i, 20, 30, 40] for i in range(num_frames)],
                "attr": ["Fast Motion"] if video == "b" else [],
            }
            for video in ("b", "a")
        }
        change(records)
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / f"{name}.json").write_text(json.dumps(records) if raw is None else raw)
        return root

    return make


@pytest.fixture
def with_images(make_set):
    """A set whose frames are on disk: 40 pixels wide, 30 high, grey level = frame number."""
    import cv2

    root = make_set()
    for video in ("a", "b"):
        (root / video / "img").mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(
                str(root / video / "img" / f"{i:04d}.png"), np.full((30, 40, 3), i, np.uint8)
            )
    return root


@pytest.fixture(scope="session")
def mini_protocols(tmp_path_factory):
    """Small made-up sets of the other protocols with results."""
    folder = tmp_path_factory.mktemp("mini_protocols")
    with tarfile.open(GOLDEN / "mini_protocols.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def protocol_numbers():
    """Scores and tables recorded for `mini_protocols`."""
    with gzip.open(GOLDEN / "mini_protocols.json.gz", "rt") as file:
        return json.load(file)


@pytest.fixture(scope="session")
def load_protocol(mini_protocols):
    """Function ``(name)`` that loads one of these sets with its trackers."""
    from toolkit.datasets import DatasetFactory

    def load(name):
        root = mini_protocols / "testing_dataset" / name
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
        results = mini_protocols / "results" / name
        dataset.set_tracker(results, sorted(path.name for path in results.iterdir()))
        return dataset

    return load
