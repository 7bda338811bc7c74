import gzip
import json
import tarfile
from dataclasses import replace
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
    """A set whose frames are on disk: 40 pixels wide, 30 high, gray level = frame number."""
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


GOOD, BAD = "good", "<b>bad & _co"  # a name that HTML and LaTeX must escape


@pytest.fixture(scope="session")
def scored_set(tmp_path_factory):
    """Function ``(name)`` that evaluates two trackers on a drawn set of a benchmark's protocol.

    The set has three videos of 24 frames with images; one tracker follows the target, the other
    stays where it is (mask sets: finds nothing after a while).
    """

    def make(name):
        from toolkit.datasets import DatasetFactory
        from toolkit.evaluation import build_evaluation

        root = tmp_path_factory.mktemp("scored")
        _draw_set(root, name)
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
        if dataset.benchmark.eao_window:  # of lengths that these videos have
            dataset.benchmark = replace(dataset.benchmark, eao_window=(2, 20))
        dataset.set_tracker(root / "results", [GOOD, BAD])
        for video in dataset:
            _write_results(root / "results", dataset.benchmark.layout, video)
        return build_evaluation(dataset)

    return make


def _draw_set(root, name, num_frames=24, size=(96, 72)):
    import cv2

    records = {}
    for number, video in enumerate(("A", "B", "C<i>")):
        boxes = [[10 + 2 * i, 12 + 5 * number, 20, 18] for i in range(num_frames)]
        paths = [f"{number}/{i:04d}.jpg" for i in range(num_frames)]
        masks = [path.replace(".jpg", "_mask.png") for path in paths]
        (root / str(number)).mkdir()
        for (x, y, w, h), path, mask in zip(boxes, paths, masks, strict=True):
            frame, label = np.full((size[1], size[0], 3), 60, np.uint8), np.zeros(size[::-1], "u1")
            frame[y : y + h, x : x + w] = (200, 120, 90)
            label[y : y + h, x : x + w] = 255
            cv2.imwrite(str(root / path), frame)
            cv2.imwrite(str(root / mask), label)
        records[video] = {
            "video_dir": video,
            "init_rect": boxes[0],
            "img_names": paths,
            "gt_rect": boxes,
            "mask_names": masks,
            "width": size[0],
            "height": size[1],
            "attr": [["Fast Motion"], ["Occlusion"], ["Scale <b>"]][number],
            "camera_motion": [1] * num_frames,
            "occlusion": [i % 2 for i in range(num_frames)],
            "size_change": [number % 2] * num_frames,
        }
    (root / f"{name}.json").write_text(json.dumps(records))


def _write_results(results, layout, video):
    """What `scored_set` says of its trackers, written as the layout has it."""
    from toolkit.results.store import ResultStore

    first = list(video.boxes[0])
    regions = {GOOD: video.boxes.tolist(), BAD: [first] * len(video)}
    for tracker, boxes in regions.items():
        path = ResultStore(results / tracker, layout).files(video.name).regions
        lines = [",".join(f"{value:g}" for value in box) for box in boxes]
        if layout == "masks":
            _write_masks(path, video, tracker == BAD)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if layout == "vot":
            lines[0] = "1"
            if tracker == BAD:
                lines[12:18] = ["2", "0", "0", "0", "0", "1"]
        path.write_text("\n".join(lines) + "\n")
        if layout == "longterm":
            path.write_text("\n".join(["1", *lines[1:]]) + "\n")
            scores = [f"{1 - i / 50:g}" for i in range(1, len(video))]
            path.with_name(path.name.replace(".txt", "_confidence.value")).write_text(
                "\n".join(["", *scores]) + "\n"
            )


def _write_masks(folder, video, loses):
    from toolkit.io.images import read_labels, write_labels

    folder.mkdir(parents=True)
    for i, name in enumerate(video.mask_names):
        labels = read_labels(name)
        stem = Path(video.img_names[i]).stem
        write_labels(folder / f"{stem}.png", labels * 0 if loses and i > 5 else labels)
