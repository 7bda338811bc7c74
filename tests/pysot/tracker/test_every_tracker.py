"""What holds for every registered tracker, alone or with others on one network."""

import gc
import weakref
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from pysot.core.config import load_config
from pysot.core.registry import TRACKERS
from pysot.models.model_builder import build_model
from pysot.tracker.api import MultiTracker
from pysot.tracker.tracker_builder import build_tracker
from pysot.utils.bbox import initial_rect
from toolkit.protocols import PROTOCOLS
from toolkit.protocols.one_pass import ProtocolOptions

HEADS = {"SiamFCTracker": "{TYPE: FC, KWARGS: {}}"}
DEFAULT_HEAD = "{TYPE: DepthwiseRPN, KWARGS: {anchor_num: 5, in_channels: 12, out_channels: 12}}"
CONFIG = """
BACKBONE: {{TYPE: alexnet, KWARGS: {{width_mult: 0.05}}}}
ADJUST: {{ADJUST: false}}
RPN: {head}
TRACK: {{TYPE: {name}, BASE_SIZE: 0, CONFIDENCE_LOW: 0.578, CONFIDENCE_HIGH: 0.6, TEMPLATE_LR: 0.1,
    LOST_STEP: 32, LOST_INSTANCE_SIZE: 383, DISTRACTOR_THRESHOLD: 0.2}}
DEVICE: cpu
"""


class MaskPrediction(NamedTuple):
    cls: torch.Tensor
    loc: torch.Tensor
    x: torch.Tensor


class MaskNetwork(torch.nn.Module):
    """Gives a network masks that depend on what it is shown and on the cell."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.encode_template, self.predict = network.encode_template, network.predict

    def predict_with_mask(self, kernels, x):
        return MaskPrediction(*self.predict(kernels, x), x)

    def refine(self, prediction, position):
        row, column = (8 * index for index in position)
        window = prediction.x[:, 0, row : row + 127, column : column + 127]
        return (window / 32 - 4).flatten(1)


@pytest.fixture(params=list(TRACKERS))
def build(request, tmp_path):
    """Function that builds one more tracker on the same small network."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(name=request.param, head=HEADS.get(request.param, DEFAULT_HEAD)))
    config = load_config(path)
    torch.manual_seed(1)
    network = build_model(config)
    model = MaskNetwork(network) if request.param == "SiamMaskTracker" else network
    return lambda: build_tracker(model, config)


@pytest.fixture(scope="module")
def videos(draw_frame):
    boxes = [[[30 + 3 * i, 20 + i, 30, 24] for i in range(4)], [[80, 60, 20, 30]] * 4]
    return [
        ([draw_frame(box, seed=9 * v + i, size=(160, 120)) for i, box in enumerate(video)], video)
        for v, video in enumerate(boxes)
    ]


def flat(result):
    """All numbers of a result."""
    values = [np.ravel(np.asarray(value, float)) for _, value in sorted(result.items())]
    return np.concatenate(values)


def track_alone(tracker, frames, boxes):
    tracker.init(frames[0], boxes[0])
    return [flat(tracker.track(frame)) for frame in frames[1:]]


def test_two_trackers_on_one_model_do_not_disturb_each_other(build, videos):
    alone = [track_alone(build(), *video) for video in videos]
    trackers = [build() for _ in videos]
    for tracker, (frames, boxes) in zip(trackers, videos, strict=True):
        tracker.init(frames[0], boxes[0])
    for time in range(1, 4):
        for number, tracker in enumerate(trackers):
            result = flat(tracker.track(videos[number][0][time]))
            np.testing.assert_array_equal(result, alone[number][time - 1])
    assert not np.array_equal(alone[0][0], alone[1][0])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"exemplar_size": 2}, "TRACK.EXEMPLAR_SIZE: images of 2 x 2 pixels are too small"),
        ({"instance_size": 40}, "TRACK.INSTANCE_SIZE: images of 40 x 40 pixels are too small"),
        ({"context_amount": 1e5}, "TRACK.CONTEXT_AMOUNT"),
    ],
)
def test_sizes_that_the_network_cannot_take_are_named(build, videos, sizes, words):
    tracker = build()
    tracker.params = replace(tracker.params, **sizes)
    with pytest.raises(ValueError, match=words):
        track_alone(tracker, *videos[0])


def test_a_tracker_started_again_is_as_good_as_new(build, videos):
    tracker = build()
    track_alone(tracker, *videos[1])
    again, fresh = (track_alone(t, *videos[0]) for t in (tracker, build()))
    np.testing.assert_array_equal(again, fresh)


@pytest.mark.parametrize("max_batch", [1, 4, 16])
def test_many_targets_at_once_get_the_boxes_of_single_trackers(build, videos, max_batch):
    frames, _ = videos[0]
    boxes = [
        (30, 20, 30, 24),
        (80, 60, 20, 30),
        (100, 20, 40, 40),
        (10, 70, 12, 14),
        (60, 50, 25, 9),
    ]
    many = MultiTracker(build, max_batch)
    numbers = [many.add(frames[0], box) for box in boxes]
    single = [build() for _ in boxes]
    for tracker, box in zip(single, boxes, strict=True):
        tracker.init(frames[0], box)
    for frame in frames[1:]:
        results = many.track(frame)
        assert list(results) == numbers
        for tracker, number in zip(single, numbers, strict=True):
            expected, result = tracker.track(frame), results[number]
            np.testing.assert_allclose(result.bbox, expected["bbox"], atol=1e-3)
            assert result.score == pytest.approx(expected["best_score"], abs=1e-5)
            assert result.lost == expected.get("lost", False)
            if result.mask is not None:
                np.testing.assert_allclose(result.mask, expected["mask"], atol=1e-3)


def test_a_tracker_holds_no_frame(build, videos):
    frames, boxes = videos[0]
    tracker, seen = build(), []
    for number, frame in enumerate(frames):
        image = frame.copy()
        seen.append(weakref.ref(image))
        if number:
            tracker.track(image)
        else:
            tracker.init(image, boxes[0])
        del image
    gc.collect()
    assert all(reference() is None for reference in seen)


class Transfers(TorchFunctionMode):
    """Lists the calls that bring numbers from the network's device to the CPU, wherever it is."""

    ALLOWED = "cpu"
    OTHERS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__array__",
              "nonzero", "__contains__")  # fmt: skip

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        to_cpu = name == "to" and "cpu" in [str(value) for value in args[1:]]
        from_images = to_cpu and args[0].dtype == torch.uint8  # where the device is the CPU
        if name in (self.ALLOWED, *self.OTHERS) or (to_cpu and not from_images):
            self.calls.append(name)
        return func(*args, **(kwargs or {}))


def test_a_frame_takes_one_transfer_from_the_device_and_a_mask_another(build, videos):
    frames, boxes = videos[0]
    tracker = build()
    tracker.init(frames[0], boxes[0])
    for frame in frames[1:]:
        with Transfers() as transfers:
            result = tracker.track(frame)
        # a mask is computed for the cell that the first transfer lets the tracker choose
        assert transfers.calls == ["cpu"] * (2 if "mask" in result else 1)


def test_all_targets_of_a_batch_share_one_transfer(build, videos):
    frames, _ = videos[0]
    many = MultiTracker(build, max_batch=6)
    for box in ((30, 20, 30, 24), (80, 60, 20, 30)):
        many.add(frames[0], box)
    with Transfers() as transfers:
        results = many.track(frames[1])
    masks = sum(result.mask is not None for result in results.values())
    assert transfers.calls == ["cpu"] * (1 + masks)


def test_results_are_plain_numbers(build, videos):
    frames, boxes = videos[0]
    tracker = build()
    tracker.init(frames[0], boxes[0])
    result = tracker.track(frames[1])
    assert {type(value) for value in result["bbox"]} <= {int, float}
    assert type(result["best_score"]) is float
    assert 0 <= result["best_score"] <= 1


def test_unusable_input_is_refused(build, videos):
    frames, _ = videos[0]
    tracker = build()
    with pytest.raises(ValueError, match="call init"):
        tracker.track(frames[0])
    with pytest.raises(ValueError, match="no area"):
        tracker.init(frames[0], (5, 5, 0, 4))
    tracker.init(frames[0], (5, 5, 20, 20))
    with pytest.raises(ValueError, match="a frame must be"):
        tracker.track(frames[0][..., 0])


NAN = float("nan")
UNUSUAL = {
    "right of the frame": [300, 10, 20, 20],
    "above the frame": [10, -200, 20, 20],
    "polygon outside": [-90.5, -40, -60, -40, -60, -10, -90.5, -10],
    "polygon partly outside": [130, 90, 230, 90, 230, 180, 130, 180],
    "no size": [30, 30, 0, 0],
    "one pixel": [30, 30, 1, 1],
    "one row": [30, 30, 12, 1],
    "line": [30, 30, 50, 30, 50, 30, 30, 30],
    "absent": [NAN] * 4,
    "absent corner": [30, 20, NAN, 20, 60, 44, 30, 44],
}


def test_a_reset_run_is_complete_wherever_the_target_is(build, draw_frame):
    frame, away = draw_frame([30, 20, 30, 24], size=(160, 120)), [500, 10, 30, 24]
    for kind, truth in UNUSUAL.items():
        session = PROTOCOLS["reset"](build, ProtocolOptions(initial_rect))
        run = session.run([(frame, box) for box in (away, away, *[truth] * 6, [1, 2, 30, 24])])
        # a start waits where there is nothing to start on
        expected = [1, 2, 0, 0, 0, 0, 0, 0, 1] if "absent" in kind else [1, 2, 0, 0, 0, 0, 1]
        assert list(run.codes)[: len(expected)] == expected, kind
        assert len(run) == 9
        assert all(np.isfinite(region).all() for region in run.regions if region)


@pytest.mark.parametrize("box", [[300, 10, 20, 20]])
def test_a_first_box_of_a_user_lies_in_the_frame(build, draw_frame, box):
    with pytest.raises(ValueError, match="outside the 160 x 120 frame"):
        build().init(draw_frame([30, 20, 30, 24], size=(160, 120)), box)
