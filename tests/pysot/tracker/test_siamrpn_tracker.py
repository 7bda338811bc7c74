from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_model import RecordedModel, check_result, recorded, samples, start

from pysot.core.config import load_config
from pysot.core.settings import TrackParams
from pysot.models.model_builder import build_model
from pysot.tracker.base_tracker import Target
from pysot.tracker.siamrpn_tracker import (
    Candidates,
    SiamRPNTracker,
)
from pysot.tracker.tracker_builder import build_tracker, track_params
from pysot.utils.anchor import decode_boxes

ROOT = Path(__file__).parents[3]


def test_trackers_of_forks_cut_windows_as_in_pysot(tiny_config):
    cfg = load_config(tiny_config, ["DEVICE", "cpu"])
    tracker = build_tracker(build_model(cfg), cfg)
    frame = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    window = tracker.get_subwindow(frame, np.array([0.0, 20.0]), 9, 9.2, (1.5, 2.5, 3.5))
    assert (window.shape, window.dtype) == ((1, 3, 9, 9), torch.float32)
    np.testing.assert_array_equal(window[0, :, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(window[0, :, 5, 5], frame[20, 0])


def recorded_runs():
    for name in ("rpn21", "rpn25"):
        config = load_config(ROOT / "experiments" / "siamrpn_alex_dwxcorr" / "config.yaml")
        params = track_params(config)
        if name == "rpn25":
            params = TrackParams(lr=0.33)  # siamrpn_r50_l234_dwxcorr_8gpu
        for number, run in enumerate(recorded(f"models/tracker_stub_{name}.json")["runs"]):
            yield pytest.param(params, run, id=f"{name}-{number}")


@pytest.mark.parametrize(("params", "run"), list(recorded_runs()))
def test_a_free_run_equals_the_recorded_one(params, run):
    tracker = SiamRPNTracker(RecordedModel(params.base_size), params)
    image = start(tracker, run)
    np.testing.assert_allclose(tracker.state.fill, run["channel_average"], rtol=1e-12)
    np.testing.assert_allclose(samples(tracker.model.z), run["z_crop"], atol=1)
    for step in run["steps"]:
        tracker.model.step = step
        check_result(tracker.track(image), step)
        np.testing.assert_allclose(samples(tracker.model.x), step["x_crop"], atol=1)


@pytest.mark.parametrize(("params", "run"), list(recorded_runs()))
def test_single_steps_equal_recorded_ones(params, run):
    tracker = SiamRPNTracker(RecordedModel(params.base_size), params)
    image = start(tracker, run)
    for step in run["steps"]:
        pre = Target(*step["pre"]["center_pos"], *step["pre"]["size"])
        tracker.state = replace(tracker.state, target=pre)
        tracker.model.step = step
        crop, scale = tracker.search_crop(image)
        candidates = tracker.candidates(crop)
        np.testing.assert_allclose(
            tracker.update(candidates, scale, image.shape)["bbox"], step["bbox"], atol=1e-5
        )
        post = tracker.state.target
        np.testing.assert_allclose((post.cx, post.cy), step["post"]["center_pos"], atol=1e-5)
        np.testing.assert_allclose((post.w, post.h), step["post"]["size"], atol=1e-5)


def chosen(scores, window_influence):
    """Center that a tracker moves to when the boxes of a 3 x 3 grid have these scores."""
    params = TrackParams(window_influence=window_influence, ratios=(1,), penalty_k=0, lr=1.0)
    tracker = SiamRPNTracker(RecordedModel(8), params)
    tracker.init(np.zeros((240, 320, 3), np.uint8), (100, 80, 40, 40))
    y, x = (8 * (np.mgrid[:3, :3] - 1)).reshape(2, -1)
    boxes = np.stack([x, y, np.full(9, 64), np.full(9, 64)], axis=1).astype(np.float32)
    tracker.update(Candidates(np.asarray(scores, np.float32), boxes), 1.0, (240, 320, 3))
    return tracker.state.target.cx - 119.5, tracker.state.target.cy - 99.5


def test_window_breaks_ties_towards_the_center():
    assert chosen(np.ones(9), window_influence=0.4) == (0, 0)
    assert chosen(np.ones(9), window_influence=0.0) == (-8, -8)  # the first of equals


def test_a_much_better_score_beats_the_window():
    assert chosen([0.1, 0.1, 0.1, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1], window_influence=0.4) == (8, 0)


def test_target_pushed_out_of_the_image_stops_at_its_border():
    params = TrackParams(ratios=(1,), window_influence=0.0)
    tracker = SiamRPNTracker(RecordedModel(8), params)
    tracker.init(np.zeros((240, 320, 3), np.uint8), (200, 80, 40, 40))
    right = Candidates(np.ones(1, np.float32), np.array([[200, 0, 64, 64]], np.float32))
    for _ in range(3):
        result = tracker.update(right, 1.0, (240, 320, 3))
    assert result["bbox"][0] + result["bbox"][2] / 2 == 320


def test_nan_scores_are_reported():
    tracker = SiamRPNTracker(RecordedModel(8), TrackParams(ratios=(1,), window_influence=0.0))
    tracker.init(np.zeros((240, 320, 3), np.uint8), (200, 80, 40, 40))
    broken = Candidates(np.full(1, np.nan, np.float32), np.ones((1, 4), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        tracker.update(broken, 1.0, (240, 320, 3))


def test_boxes_of_an_untrained_network_stay_numbers():
    deltas = np.array([[0, 0], [0, 0], [1e3, -1e3], [-1e3, 1e3]], np.float32)
    boxes = decode_boxes(deltas, np.array([[0, 0, 64, 64], [8, 0, 64, 64]], np.float32))
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > 0).all()


def test_track_before_init_is_refused():
    with pytest.raises(ValueError, match="init"):
        SiamRPNTracker(RecordedModel(8), TrackParams()).track(np.zeros((9, 9, 3), np.uint8))


def test_unknown_tracker_lists_the_known_ones(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("TRACK: {TYPE: SiamTracker}")
    with pytest.raises(ValueError, match=r"TRACK\.TYPE: unknown tracker .*SiamRPNTracker"):
        build_tracker(None, load_config(path))
