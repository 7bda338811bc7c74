import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import pysot
from pysot import MultiTracker, Tracker, TrackResult
from pysot.core import config as configuration
from pysot.models.model_builder import ModelBuilder
from pysot.tracker.tracker_builder import build_tracker
from pysot.utils.model_load import load_weights
from toolkit.protocols.one_pass import StaticTracker

BOX = (20, 15, 24, 18)


@pytest.fixture
def frames(draw_frame):
    return [draw_frame((20 + 3 * i, 15, 24, 18), seed=i) for i in range(4)]


def test_three_lines_give_what_pysots_way_gives(tiny_config, tiny_snapshot, frames, monkeypatch):
    ours = Tracker.from_config(tiny_config, tiny_snapshot, device="cpu")
    monkeypatch.setattr(configuration, "cfg", configuration.default_config())
    configuration.cfg.merge_from_file(tiny_config)
    theirs = build_tracker(load_weights(ModelBuilder(), tiny_snapshot).eval())
    ours.init(frames[0], BOX)
    theirs.init(frames[0], BOX)
    for frame in frames[1:]:
        result, expected = ours.track(frame), theirs.track(frame)
        # the one is made fast, which rounds differently
        np.testing.assert_allclose(result.bbox, expected["bbox"], atol=1e-3)
        assert result.score == pytest.approx(expected["best_score"], abs=1e-5)
    assert (result.polygon, result.mask, result.lost) == (None, None, False)


def test_a_result_cannot_be_changed_and_takes_over_all_entries():
    mask = np.zeros((4, 5), np.float32)
    result = TrackResult.from_dict(
        {
            "bbox": [1, 2.5, 10, 4],
            "best_score": 0.5,
            "polygon": range(8),
            "mask": mask,
            "lost": True,
        }
    )
    assert (result.bbox, result.score, result.lost) == ((1.0, 2.5, 10.0, 4.0), 0.5, True)
    assert result.polygon == (0, 1, 2, 3, 4, 5, 6, 7)
    assert result.mask is mask
    with pytest.raises(FrozenInstanceError):
        result.score = 1.0


def test_overrides_and_devices_reach_the_tracker(tiny_config, tiny_snapshot):
    tracker = Tracker.from_config(tiny_config, tiny_snapshot, opts=["TRACK.LR", 0.1])
    assert tracker.tracker.params.lr == 0.1
    with pytest.raises(ValueError, match=r"unknown device 'gpu'"):
        Tracker.from_config(tiny_config, tiny_snapshot, device="gpu")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        Tracker.from_config(tiny_config, "nowhere.pth")


def test_targets_come_and_go(tiny_config, tiny_snapshot, frames):
    many = MultiTracker.from_config(tiny_config, tiny_snapshot, device="cpu")
    assert many.track(frames[0]) == {}
    first, second = many.add(frames[0], BOX), many.add(frames[0], (50, 30, 20, 20))
    assert list(many.track(frames[1])) == [first, second]
    many.remove(first)
    third = many.add(frames[1], BOX)
    assert list(many.track(frames[2])) == [second, third]
    assert len({id(tracker.model) for tracker in many.trackers.values()}) == 1
    with pytest.raises(ValueError, match=r"no target 0; there are \[1, 2\]"):
        many.remove(first)
    with pytest.raises(ValueError, match="max_batch"):
        MultiTracker(lambda: None, max_batch=0)


def test_trackers_that_share_no_network_are_followed_one_by_one(tiny_config, tiny_snapshot, frames):
    siamese = MultiTracker.from_config(tiny_config, tiny_snapshot, device="cpu").build
    kinds = iter([StaticTracker, siamese, StaticTracker, siamese])
    many = MultiTracker(lambda: next(kinds)())
    boxes = [BOX, (50, 30, 20, 20), (1, 2, 3, 4), (20, 15, 24, 18)]
    assert [many.add(frames[0], box) for box in boxes] == [0, 1, 2, 3]
    found = many.track(frames[1])
    assert list(found) == [0, 1, 2, 3]
    assert found[0].bbox == boxes[0] and found[2].bbox == boxes[2]
    assert found[1].bbox != boxes[1] and found[3].bbox != boxes[3]


def test_the_package_loads_its_interface_on_use():
    code = (
        "import pysot, sys; assert 'cv2' not in sys.modules; pysot.Tracker; sys.modules['cv2']; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=configuration.REPOSITORY)
    with pytest.raises(AttributeError, match="Traker"):
        _ = pysot.Traker
