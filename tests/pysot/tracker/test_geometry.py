import math

import numpy as np
import pytest
import torch

from golden import fill
from pysot.tracker.base_tracker import (
    Target,
    as_box,
    change_penalty,
    check_box,
    check_frame,
    context_side,
    cosine_window,
    crop_window,
)


def test_crops_equal_recorded_ones(geometry):
    cases, arrays = geometry
    recorded = cases["get_subwindow"]
    image = fill.rule_image(recorded["seed"], recorded["H"], recorded["W"])
    for case in recorded["cases"]:
        crop = crop_window(
            image, case["pos"], case["original_sz"], case["model_sz"], recorded["avg_chans"]
        )
        expected = arrays[case["npz"]][0].transpose(1, 2, 0)
        # resizing may round differently by one gray level between OpenCV versions
        limit = 1 if case["resized"] else 0
        assert np.abs(crop.astype(float) - expected).max() <= limit


def test_a_window_off_the_image_is_filled():
    crop = crop_window(np.zeros((8, 8, 3), np.uint8), (100, 100), 4, 4, (9.9, 1.2, 3))
    assert (crop == (9, 1, 3)).all()  # truncated, not rounded


def test_context_is_half_the_mean_perimeter():
    # p = 0.5 * (30 + 10) = 20: sqrt(50 * 30)
    assert context_side((30, 10), 0.5) == pytest.approx(math.sqrt(1500))


def test_penalty_grows_with_the_change_of_scale_and_ratio():
    sizes = np.array([[20, 10], [40, 20], [10, 5], [10, 20], [14.142, 14.142]])
    same, twice, half, turned, square = change_penalty(sizes, (20, 10), penalty_k=0.1)
    assert same == 1
    assert twice == pytest.approx(half) == pytest.approx(math.exp(-0.1))
    assert turned == pytest.approx(math.exp(-0.1 * 3))  # ratio 2 -> 1/2: factor 4
    assert same > square > turned


def test_window_is_repeated_for_every_anchor():
    window = cosine_window(5, anchors=2).reshape(2, 5, 5)
    np.testing.assert_array_equal(window[0], window[1])
    assert window[0, 2, 2] == 1
    assert window[0, 0].max() == 0


def test_first_center_counts_whole_pixels():
    target = Target.from_xywh((10, 20, 5, 9))
    assert (target.cx, target.cy) == (12, 24)
    assert target.to_xywh() == [9.5, 19.5, 5, 9]


def test_limits_are_integers():
    clipped = Target(-3.5, 50.5, 4.2, 700.0).clipped((480, 640))
    assert repr(clipped) == "Target(cx=0, cy=50.5, w=10, h=480)"


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["none", "gray", "alpha", "16 bit", "float", "empty"],
)
def test_odd_frames_are_refused(image):
    with pytest.raises(ValueError, match="a frame must be"):
        check_frame(image)


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ((1, 2, 3), "four finite numbers"),
        ((1, 2, math.nan, 4), "four finite numbers"),
        ((1, 2, 0, 4), "no area"),
        ((1, 2, 3, -4), "no area"),
        ((64, 2, 3, 4), "outside the 64 x 48 frame"),
        ((-3, 2, 3, 4), "outside the 64 x 48 frame"),
    ],
)
def test_odd_boxes_are_refused(bbox, words):
    with pytest.raises(ValueError, match=words):
        check_box(bbox, (48, 64, 3))


@pytest.mark.parametrize(
    "bbox",
    [
        (20, 15.5, 24, 18),
        [[20, 15.5, 24, 18]],
        np.array([[20, 15.5, 24, 18]], np.float32),
        torch.tensor([20, 15.5, 24, 18], requires_grad=True),
        torch.tensor([[20, 15.5, 24, 18]]),
    ],
)
def test_a_first_box_may_be_an_array_of_one_or_a_tensor(bbox):
    assert Target.from_xywh(as_box(bbox)) == Target(31.5, 24.0, 24.0, 18.0)


@pytest.mark.parametrize(
    "bbox",
    [
        "20,15,24,18",
        ["20", "15", "24", "18"],
        b"1234",
        None,
        7,
        (1, 2, 3),
        (1, 2, 3, 4, 5),
        [[1, 2], [3, 4]],
        [[1, 2], [3]],
        [[1, 2, 3, 4], [1, 2, 3, 4]],
        (1, 2, None, 4),
        (1, 2, 3j, 4),
        (True, True, True, True),
        {"x": 1, "y": 2, "w": 3, "h": 4},
        np.zeros((4, 1)),
        torch.zeros(4, dtype=torch.bfloat16),
    ],
)
def test_what_is_no_first_box_gets_the_usual_message(bbox):
    with pytest.raises(ValueError, match="the first box must be four finite numbers x, y, w, h"):
        as_box(bbox)
