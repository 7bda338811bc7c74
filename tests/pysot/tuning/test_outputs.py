import numpy as np
import pytest

from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.tuning.outputs import SharedOutputs

BOX = (20, 15, 24, 18)


@pytest.fixture
def spec(tiny_config, tiny_snapshot):
    return TrackerSpec.read(tiny_config, tiny_snapshot)


@pytest.fixture
def frames(draw_frame):
    return [draw_frame((20 + 2 * i, 15, 24, 18), seed=0) for i in range(8)]


def follow(tracker, frames):
    tracker.init(frames[0], BOX)
    return [tracker.track(frame) for frame in frames[1:]]


def test_trackers_with_shared_outputs_give_equal_boxes(spec, frames):
    shared = SharedOutputs(10**7)
    for lr in (0.1, 0.1, 0.11, 0.4):
        tuned = spec.with_settings("TRACK.LR", lr)
        assert follow(shared.attach(tuned()), frames) == follow(tuned(), frames)
    assert shared.hits >= 7 + 1 + 1  # all frames of the second, the first one of the others
    assert shared.hits + shared.misses == 4 * 7


def test_outputs_of_other_templates_and_parameters_are_not_taken(spec, frames):
    shared = SharedOutputs(10**7)
    shared.attach(spec()).init(frames[0], BOX)
    crop = np.zeros((255, 255, 3), np.uint8)
    for other, box in (((), BOX), (("TRACK.BASE_SIZE", 1), BOX), ((), (30, 15, 24, 18))):
        tracker = shared.attach(spec.with_settings(*other)())
        tracker.init(frames[0], box)
        tracker.candidates(crop)
    assert (shared.hits, shared.misses) == (0, 3)


def test_a_changed_template_and_a_tracker_of_a_plug_in_share_nothing(spec, frames):
    shared, crop = SharedOutputs(10**7), np.zeros((255, 255, 3), np.uint8)
    tracker = shared.attach(spec())
    tracker.init(frames[0], BOX)
    tracker.candidates(crop)
    tracker.state = type(tracker.state)(tracker.state.target, (0, 0, 0), (tracker.state.kernels,))
    tracker._compute = None
    with pytest.raises((TypeError, AttributeError, ValueError, RuntimeError)):
        tracker.candidates(crop)  # reaches the network, which cannot take such kernels

    class Own(SiamRPNTracker):
        calls = 0

        def candidates(self, crop):
            self.calls += 1  # which its boxes may depend on
            return super().candidates(crop)

    for _ in range(2):
        known = spec()
        own = shared.attach(Own(known.model, known.params))
        own.init(frames[0], BOX)
        own.candidates(crop)
        assert own.calls == 1


def test_memory_is_bounded():
    shared = SharedOutputs(5 * 1200)
    for number in range(50):
        shared.put(number, np.zeros(125))  # 1000 bytes
        assert shared.size <= 5 * 1200
    assert sum(shared.get(number) is not None for number in range(50)) == 5
    shared.put("large", np.zeros(10**4))
    assert shared.get("large") is None
