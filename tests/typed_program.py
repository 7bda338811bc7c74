"""What a program that uses the package looks like to a type checker, which test_wheel.py runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import pysot
from pysot import FrameResult, MultiTracker, Tracker, TrackResult
from pysot.core.config import Config, load_config
from pysot.zoo import Model, models
from toolkit.datasets import BENCHMARKS, Dataset, Video, load_videos
from toolkit.evaluation import EVALUATIONS, Evaluation, build_evaluation
from toolkit.io.video import Frame, open_source
from toolkit.io.video_writer import open_video_writer
from toolkit.utils.statistics import overlap_ratio, success_curve

Box = tuple[float, float, float, float]


def follow(frames: list[NDArray[np.uint8]], box: Box) -> list[TrackResult]:
    """Track by the class for one target."""
    tracker = assert_type(Tracker.from_pretrained(), Tracker)
    tracker.init(frames[0], box)
    return [assert_type(tracker.track(frame), TrackResult) for frame in frames[1:]]


def follow_many(frames: list[NDArray[np.uint8]], boxes: list[Box]) -> dict[int, Box]:
    """Track by the class for several targets."""
    tracker = MultiTracker.from_pretrained("siamrpn_lite0", device="cpu", max_batch=2)
    numbers = [assert_type(tracker.add(frames[0], box), int) for box in boxes]
    tracker.remove(numbers.pop())
    results = assert_type(tracker.track(frames[1]), dict[int, TrackResult])
    return {number: result.bbox for number, result in results.items()}


def follow_clip(path: Path, box: Box) -> float:
    """Track by the function for a whole video."""
    best = 0.0
    results = assert_type(pysot.track(path, box), Iterator[FrameResult])
    for result in results:
        image: NDArray[np.uint8] = result.image
        x, y, w, h = result.box
        if result.mask is not None and result.polygon is not None:
            print(result.mask.sum(), result.polygon.mean(), image.shape)
        if not assert_type(result.lost, bool):
            best = max(best, assert_type(result.score, float))
        print(assert_type(result.index, int), x + w, y + h)
    return best


def copy_video(path: str) -> None:
    """Read and write frames."""
    source = open_source(path)
    with open_video_writer("copy.mp4", fps=assert_type(source.fps, float)) as writer:
        for frame in source:
            assert_type(frame, Frame)
            writer.write(frame.image, frame.time)


def score(root: str) -> None:
    """Score results."""
    dataset = Dataset("OTB100", root)
    videos: list[Video] = list(load_videos(root, "OTB100").values())
    evaluation = assert_type(build_evaluation(dataset), Evaluation)
    for line in evaluation.evaluate(["mine"]):
        assert_type(line, str)
    print(evaluation.scores("mine"), len(videos), sorted(EVALUATIONS), sorted(BENCHMARKS))


named = assert_type(Tracker.from_config("siamrpn_alex_dwxcorr", "model.pth"), Tracker)
changed = Tracker.from_config("experiment.yaml", Path("model.pth"), opts=["TRACK.LR", 0.3])
exported = assert_type(Tracker.from_onnx("exported"), Tracker)
config = assert_type(load_config("siamrpn_alex_tiny"), Config)
table: dict[str, Model] = dict(models())
boxes = np.ones((3, 4))
print(success_curve(boxes, boxes, 3).mean(), overlap_ratio(boxes, boxes), pysot.__version__)
