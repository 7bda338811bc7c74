from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded_model import RecordedModel, recorded, start
from similarity_model import SimilarityModel, run, scripted_scene

from pysot.core.config import default_config
from pysot.core.settings import TrackParams
from pysot.models.head.rpn import MultiRPN, UPChannelRPN
from pysot.tracker.dasiamrpn_tracker import DaSiamRPNTracker, suppress, without
from pysot.tracker.siamrpn_tracker import Candidates, SiamRPNTracker

# sizes stay as they are: the similarity has no opinion on them
FIXED_SIZE = TrackParams(penalty_k=0.0, window_influence=0.3, lr=0.0, ratios=(1,))
FOLLOWED = 24  # pixels from the target's center to that of the box: half the target's size


def tracker_like(params, model, **settings):
    values = {**vars(params), "distractor_influence": 0.0, **settings}
    return DaSiamRPNTracker(model, TrackParams(**values))


@pytest.mark.parametrize("name", ["rpn25", "rpn21"])
def test_without_influence_and_updates_it_is_siamrpn(name):
    base_size, instance_size = (8, 255) if name == "rpn25" else (0, 287)
    params = TrackParams(lr=0.33, instance_size=instance_size, base_size=base_size)
    for recording in recorded(f"models/tracker_stub_{name}.json")["runs"]:
        plain = SiamRPNTracker(RecordedModel(base_size), params)
        ours = tracker_like(params, RecordedModel(base_size))
        for tracker in (plain, ours):
            image = start(tracker, recording)
        for step in recording["steps"]:
            plain.model.step = ours.model.step = step
            expected = plain.track(image)
            assert ours.track(image) == {**expected, "lost": False}


def still(x, y):
    return lambda time: np.array([x, y], float)


@pytest.fixture(scope="module")
def lookalikes():
    """Scenes of a target that sways and turns, and of a sibling that stands beside it."""
    paths = [lambda time: np.array([110 + 20 * np.sin(time / 10), 120]), still(185, 120)]
    turns = [lambda time: 0.6 * np.sin(np.pi * time / 40), lambda time: 0.0]
    return [scripted_scene(seed, paths, turns, duration=44) for seed in range(10)]


def test_knowing_the_distractor_keeps_the_target(lookalikes):
    def followed(tracker):
        return [run(tracker, *scene)[1][-1] < FOLLOWED for scene in lookalikes]

    model = SimilarityModel()
    plain = followed(SiamRPNTracker(model, FIXED_SIZE))
    aware = followed(tracker_like(FIXED_SIZE, model, distractor_influence=0.5))
    assert all(np.array(aware) >= plain)  # it never loses what it would have kept
    assert sum(aware) >= sum(plain) + 3


def leaves_and_returns(time):
    """Out of the left border, then back in through the right one, higher up."""
    if time < 18:
        return np.array([60 - 14 * max(0, time - 10), 180.0])
    return np.array([420 - 14 * min(12, max(0, time - 28)), 50.0])


def test_a_growing_search_finds_the_target_elsewhere():
    model, plain_found, ours_found = SimilarityModel(), 0, 0
    for seed in (3, 4, 6, 7, 8, 10):  # nothing there looks like the target while it is gone
        scene = scripted_scene(seed, [leaves_and_returns], duration=52)
        _, plain_away = run(SiamRPNTracker(model, FIXED_SIZE), *scene)
        searching = tracker_like(
            FIXED_SIZE, model, lost_step=64, lost_instance_size=767,
            confidence_low=0.5, confidence_high=0.8,
        )  # fmt: skip
        results, away = run(searching, *scene)
        plain_found += plain_away[-3:].max() < FOLLOWED
        ours_found += away[-3:].max() < FOLLOWED
        gone = ~np.isfinite(scene[1][1:, 0])
        assert any(result["lost"] for result, out in zip(results, gone, strict=True) if out)
        assert not results[0]["lost"]
    assert plain_found == 0
    assert ours_found >= 4


def test_search_grows_by_steps_up_to_its_limit_and_shrinks_when_found():
    params = replace(FIXED_SIZE, window_influence=0.0)
    tracker = tracker_like(
        params, RecordedModel(), lost_step=64, lost_instance_size=400,
        confidence_low=0.5, confidence_high=0.9,
    )  # fmt: skip
    tracker.init(np.zeros((240, 320, 3), np.uint8), (100, 80, 40, 40))
    there = np.array([[30, 0, 40, 40]], np.float32)
    seen = []
    for score in (0.6, 0.4, 0.7, 0.4, 0.4, 0.95):
        candidates = Candidates(np.array([score], np.float32), there)
        result = tracker.update(candidates, 1.0, (240, 320, 3))
        seen.append((result["lost"], tracker.instance_size, tracker.state.target.cx))
    first = 119.5 + 30
    assert seen == [
        (False, 255, first),
        (True, 319, first),  # held
        (True, 383, first),  # between the limits: as before
        (True, 400, first),
        (True, 400, first),
        (False, 255, first + 30),
    ]


@pytest.mark.parametrize(
    ("size", "setting", "expected"),
    [
        ((20, 15), 287, 287),  # 300 of 76800 pixels
        ((20, 16), 287, 271),  # 0.417 %
        ((20, 15), 0, 271),
    ],
)
def test_small_targets_are_sought_in_a_larger_region(size, setting, expected):
    tracker = tracker_like(FIXED_SIZE, RecordedModel(0), instance_size=271, lost_step=16,
                           small_instance_size=setting)  # fmt: skip
    image = np.zeros((240, 320, 3), np.uint8)
    tracker.init(image, (100, 80, *size))
    assert tracker.search_crop(image)[0].shape == (expected, expected, 3)
    tracker.state = replace(tracker.state, lost_frames=1)
    assert tracker.instance_size == expected + 16
    tracker.init(image, (100, 80, 60, 60))  # forgotten with the target
    assert tracker.instance_size == 271


def test_a_new_target_is_not_lost_and_has_no_distractors():
    frames, boxes = scripted_scene(0, [still(100, 120), still(175, 120)], duration=3)
    tracker = tracker_like(FIXED_SIZE, SimilarityModel(), distractor_influence=0.5, lost_step=64)
    run(tracker, frames, boxes)
    assert tracker.state.count > 0
    tracker.state = replace(tracker.state, lost_frames=4)
    tracker.init(frames[0], boxes[0])
    assert (tracker.state.average, tracker.state.lost_frames) == (None, 0)
    assert tracker.state.kernels is tracker.state.template


class CountingModel(SimilarityModel):
    def __init__(self):
        self.searches, self.templates = [], []

    def encode_template(self, z):
        self.templates.append(len(z))
        return super().encode_template(z)

    def predict(self, kernels, x):
        self.searches.append((len(x), kernels[0].shape))
        return super().predict(kernels, x)


def test_the_cost_of_a_frame_does_not_grow_with_the_distractors():
    paths = [still(160, 120), still(85, 120), still(235, 120), still(160, 50), still(160, 190)]
    frames, boxes = scripted_scene(1, paths, duration=8)
    model = CountingModel()
    tracker = tracker_like(FIXED_SIZE, model, distractor_influence=0.5, distractor_num=2)
    run(tracker, frames, boxes)
    assert tracker.state.count > 2
    assert set(model.searches) == {(1, (1, 3, 7, 7))}
    assert max(model.templates) <= 2


def test_one_correlation_is_the_difference_of_two():
    torch.manual_seed(0)
    head = UPChannelRPN(anchor_num=2, feature_in=6).eval()
    target, rival, x = torch.randn(3, 1, 6, 6, 6).unbind()
    x = torch.nn.functional.pad(x, (5, 5, 5, 5), "reflect")
    with torch.no_grad():
        kernels = head.encode(target), head.encode(rival)
        (cls_z, loc_z), (cls_d, _) = (head.correlate(k, x) for k in kernels)
        cls, loc = head.correlate(without(*kernels, influence=0.4), x)
    torch.testing.assert_close(cls, (cls_z - 0.4 * cls_d) / 0.6)
    torch.testing.assert_close(loc, loc_z)


def test_levels_of_a_deep_head_are_treated_alike():
    head = MultiRPN(anchor_num=1, in_channels=[4, 6]).eval()
    with torch.no_grad():
        kernels = head.encode([torch.randn(1, c, 7, 7) for c in (4, 6)])
    same = without(kernels, kernels, influence=0.5)
    for ours, theirs in zip(same, kernels, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_heads_without_boxes_and_too_much_influence_are_refused():
    with pytest.raises(ValueError, match="class and box kernels"):
        without(torch.zeros(1, 3, 6, 6), torch.zeros(1, 3, 6, 6), influence=0.5)
    with pytest.raises(ValueError, match=r"TRACK\.DISTRACTOR_INFLUENCE is 1\.0.*below 1"):
        default_config().merge_from_list(["TRACK.DISTRACTOR_INFLUENCE", 1.0])


def test_the_template_is_a_running_average():
    frames, boxes = scripted_scene(3, [lambda time: np.array([100 + 2 * time, 120])], duration=3)
    model = SimilarityModel()
    tracker = tracker_like(FIXED_SIZE, model, template_lr=0.25)
    tracker.init(frames[0], boxes[0])
    first = tracker.state.kernels[0]
    tracker.track(frames[1])
    again = SiamRPNTracker(model, FIXED_SIZE)
    target = tracker.state.target
    again.init(frames[1], (target.cx - (target.w - 1) / 2, target.cy - (target.h - 1) / 2,
                           target.w, target.h))  # fmt: skip
    expected = 0.75 * first + 0.25 * again.state.kernels[0]
    torch.testing.assert_close(tracker.state.kernels[0], expected)


def test_the_mean_of_distractors_counts_each_alike():
    tracker = tracker_like(FIXED_SIZE, SimilarityModel(), distractor_influence=0.5)
    frames, boxes = scripted_scene(5, [still(160, 120), still(85, 120), still(235, 120)])
    tracker.init(frames[0], boxes[0])
    distractors = tuple(replace(tracker.state.target, cx=x) for x in (85.0, 235.0))
    class_kernels, _ = tracker.encode(frames[0], list(distractors), tracker.state.fill)
    tracker.state = replace(tracker.state, distractors=distractors)
    tracker.update_template(frames[0])
    torch.testing.assert_close(tracker.state.average[0], class_kernels.mean(dim=0, keepdim=True))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (9, [3, 1]),  # 2 overlaps 3, 4 scores too little, 5 overlaps the chosen box 0
        (1, [3]),
        (0, []),
    ],
)
def test_suppression_keeps_the_best_box_of_each_object(limit, expected):
    centers = [0, 100, 205, 200, 300, 5]
    boxes = np.array([[x, 0, 20, 20] for x in centers], np.float32)
    scores = np.array([0.2, 0.8, 0.85, 0.9, 0.6, 0.95], np.float32)
    kept = suppress(boxes, scores, first=0, threshold=0.7, iou=0.1, limit=limit)
    assert kept == expected


def test_a_distractor_is_never_larger_than_the_frame():
    tracker = tracker_like(FIXED_SIZE, None, distractor_influence=0.5, distractor_threshold=0.5)
    boxes = np.array([[0, 0, 20, 20], [60, 0, 1e6, 30]], np.float32)
    candidates = Candidates(np.array([0.9, 0.8], np.float32), boxes)
    (found,) = tracker._distractors(candidates, 0, (50.0, 50.0), 1.0, (100, 120, 3))
    assert (found.cx, found.cy, found.w, found.h) == (110, 50, 120, 30)
