import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pysot.tracker.adapters import OpenCVTracker, detections, got10k_tracker
from pysot.tracker.api import Tracker, TrackResult

MASK = np.array([[0.2, 0.4], [0.9, 0.0]], np.float32)


class Sliding:
    """A registered tracker that moves by a third of a pixel and notes the frames it saw."""

    def init(self, image, bbox):
        self.box, self.frames = list(bbox), [image]

    def track(self, image):
        self.frames.append(image)
        self.box[0] += 1 / 3
        return {"bbox": self.box, "best_score": 0.5, "lost": self.box[0] > 10.5}


@pytest.fixture
def tracker():
    return Tracker(Sliding())


def fake_module(monkeypatch, name, **parts):
    """Put a module into the place of a package."""
    for end in range(1, name.count(".") + 2):
        monkeypatch.setitem(sys.modules, ".".join(name.split(".")[:end]), ModuleType(name))
    vars(sys.modules[name]).update(parts)


@dataclass
class FakeDetections:
    """The documented fields of ``supervision.Detections``."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: dict = field(default_factory=dict)


class FakeGot10kTracker:
    """The documented interface of ``got10k.trackers.Tracker``."""

    def __init__(self, name, is_deterministic=False):
        self.name, self.is_deterministic = name, is_deterministic

    def track(self, img_files, box, visualize=False):
        boxes = np.tile(np.array(box, float), (len(img_files), 1))
        for number, path in enumerate(img_files):
            image = Image.open(path).convert("RGB")
            if number == 0:
                self.init(image, boxes[0])
            else:
                boxes[number] = self.update(image)
        return boxes, np.zeros(len(img_files))


def test_opencv_s_interface_has_whole_pixels_and_a_flag(tracker):
    adapted, frame = OpenCVTracker(tracker), np.zeros((8, 8, 3), np.uint8)
    assert adapted.init(frame, (10, 2, 3, 4)) is None
    assert adapted.update(frame) == (True, (10, 2, 3, 4))
    assert adapted.update(frame) == (False, (11, 2, 3, 4))


def run_got10k(tracker, tmp_path):
    """Run a got10k tracker over two blue frames; return the boxes."""
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path in paths:
        Image.new("RGB", (9, 8), (1, 2, 255)).save(path)
    boxes, _ = tracker.track([str(path) for path in paths], np.array([1.0, 2.0, 3.0, 4.0]))
    return boxes


def check_got10k(tracker, tmp_path):
    adapted = got10k_tracker(tracker, "sliding")
    assert (adapted.name, adapted.is_deterministic) == ("sliding", True)
    boxes = run_got10k(adapted, tmp_path)
    assert boxes == pytest.approx(np.array([[1, 2, 3, 4], [4 / 3, 2, 3, 4]]))
    assert [frame[0, 0].tolist() for frame in tracker.tracker.frames] == [[255, 2, 1]] * 2


def test_got10k_s_experiments_give_rgb_images(tracker, tmp_path, monkeypatch):
    fake_module(monkeypatch, "got10k.trackers", Tracker=FakeGot10kTracker)
    check_got10k(tracker, tmp_path)


@pytest.mark.extras
def test_got10k_itself_runs_the_adapter(tracker, tmp_path):
    """pip install got10k."""
    check_got10k(tracker, tmp_path)


def check_detections():
    results = {
        3: TrackResult((1, 2, 3, 4), 0.5, mask=MASK),
        7: TrackResult((5, 6, 7, 8), 0.25, mask=MASK, lost=True),
    }
    found = detections(results)
    assert found.xyxy.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert found.confidence.tolist() == [0.5, 0.25] and found.tracker_id.tolist() == [3, 7]
    assert found.mask.tolist() == [[[False, True], [True, False]]] * 2
    assert found.data["lost"].tolist() == [False, True]
    assert detections({1: TrackResult((1, 2, 3, 4), 1.0)}).mask is None
    assert detections({}).xyxy.shape == (0, 4)


def test_results_of_many_targets_become_detections(monkeypatch):
    fake_module(monkeypatch, "supervision", Detections=FakeDetections)
    check_detections()


@pytest.mark.extras
def test_supervision_takes_the_detections():
    """pip install supervision."""
    import supervision

    check_detections()
    results = {3: TrackResult((1, 2, 3, 4), 0.5), 7: TrackResult((5, 6, 7, 8), 0.25, lost=True)}
    found = detections(results)
    assert len(found[~found.data["lost"]]) == 1
    annotator = supervision.BoxAnnotator(color_lookup=supervision.ColorLookup.TRACK)
    assert annotator.annotate(np.zeros((20, 20, 3), np.uint8), found).any()


@pytest.mark.parametrize(("package", "call"), [("got10k", got10k_tracker), ("supervision", None)])
def test_a_missing_package_is_named(tracker, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"needs {package}: pip install {package}"):
        got10k_tracker(tracker, "x") if call else detections({})
