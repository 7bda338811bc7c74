from dataclasses import replace

import numpy as np
import pytest
from recorded_model import RecordedModel, check_result, recorded, samples, start

from pysot.core.settings import TrackParams
from pysot.tracker.base_tracker import Target
from pysot.tracker.siamrpnlt_tracker import SiamRPNLTTracker, is_lost

# siamrpn_r50_l234_dwxcorr_lt
PARAMS = TrackParams(penalty_k=0.05, window_influence=0.28, lr=0.22, confidence_low=0.8)
RUNS = [
    pytest.param(run, id=str(i)) for i, run in enumerate(recorded("tracker/stub_lt.json")["runs"])
]


@pytest.mark.parametrize("run", RUNS)
def test_a_free_run_equals_the_recorded_one(run):
    tracker = SiamRPNLTTracker(RecordedModel(), PARAMS)
    image = start(tracker, run)
    for step in run["steps"]:
        tracker.model.step = step
        result = tracker.track(image)
        check_result(result, step)
        assert tracker.model.x.shape[-1] == step["x_side"]
        np.testing.assert_allclose(samples(tracker.model.x), step["x_crop"], atol=1)
        target, post = tracker.state.target, step["post"]
        np.testing.assert_allclose((target.cx, target.cy), post["center_pos"], atol=1e-3)
        assert result["lost"] == post["longterm_state"]


@pytest.mark.parametrize("run", RUNS)
def test_single_steps_equal_recorded_ones(run):
    tracker = SiamRPNLTTracker(RecordedModel(), PARAMS)
    image = start(tracker, run)
    for step in run["steps"]:
        pre = step["pre"]
        target = Target(*pre["center_pos"], *pre["size"])
        tracker.state = replace(
            tracker.state, target=target, lost_frames=int(pre["longterm_state"])
        )
        tracker.model.step = step
        np.testing.assert_allclose(tracker.track(image)["bbox"], step["bbox"], atol=1e-5)


@pytest.mark.parametrize(
    ("was_lost", "score", "expected"),
    [
        (False, 0.79, True),
        (False, 0.8, False),
        (True, 0.8, True),
        (True, 0.9, True),  # the upper limit must be exceeded
        (True, 0.91, False),
        (False, 0.99, False),
    ],
)
def test_between_the_limits_a_target_stays_what_it_was(was_lost, score, expected):
    assert is_lost(was_lost, score, low=0.8, high=0.9) is expected


def test_a_new_target_is_not_lost():
    run = recorded("tracker/stub_lt.json")["runs"][0]
    tracker = SiamRPNLTTracker(RecordedModel(), PARAMS)
    image = start(tracker, run)
    tracker.model.step = {"seed": 1, "gain": 1, "bias": -6}
    assert tracker.track(image)["lost"]
    start(tracker, run)
    assert not tracker.state.lost_frames
    assert tracker.instance_size == 255
