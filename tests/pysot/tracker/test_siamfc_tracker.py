import numpy as np
import pytest
import torch
import torch.nn.functional as F

from golden import fill
from pysot.core.settings import TrackParams
from pysot.core.xcorr import xcorr_fast
from pysot.tracker.siamfc_tracker import (
    SiamFCTracker,
    choose_scale,
    peak_of,
    upsampled,
)

PARAMS = TrackParams(window_influence=0.176, lr=0.59)  # siamfc_alex


class FixedModel:
    """Gives the same responses whatever it sees."""

    def __init__(self, responses):
        self.responses = np.asarray(responses, np.float32)

    def encode_template(self, z):
        return z

    def predict(self, kernels, x):
        self.x = x
        return torch.from_numpy(self.responses)[:, None], None


def cubic(distance, a=-0.75):
    """Keys' kernel (1981), with the parameter that OpenCV uses."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def enlarged(response):
    """Sixteen times as large, from the definition; the border repeats."""
    count = len(response)
    weights = np.zeros((16 * count, count))
    for pixel in range(16 * count):
        at = (pixel + 0.5) / 16 - 0.5
        for cell in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            weights[pixel, min(max(cell, 0), count - 1)] += cubic(at - cell)
    return weights @ response @ weights.T


def expected_step(responses, target, scale, growth, first_size):
    """The rule of SiamFC's tracker, written out once more."""
    steps = [1.0375**-1, 1, 1.0375]
    large = [enlarged(np.asarray(response, float)) for response in responses]
    heights = [r.max() * (1 if i == 1 else 0.9745) for i, r in enumerate(large)]
    best = heights.index(max(heights))
    heat = large[best] - large[best].min()
    heat /= heat.sum()
    hann = np.array([0.5 - 0.5 * np.cos(2 * np.pi * i / 271) for i in range(272)])
    window = np.outer(hann, hann) / np.outer(hann, hann).sum()
    mixture = 0.824 * heat + 0.176 * window
    row, column = divmod(int(mixture.argmax()), 272)
    side = 255 / scale * steps[best]  # of the search region, in pixels of the frame
    cx = target.cx + (column - 135.5) / 16 * 8 * side / 255
    cy = target.cy + (row - 135.5) / 16 * 8 * side / 255
    growth *= 0.41 + 0.59 * steps[best]
    w, h = first_size[0] * growth, first_size[1] * growth
    return [cx - w / 2, cy - h / 2, w, h], 1 / (1 + np.exp(-large[best][row, column]))


@pytest.mark.parametrize("seed", range(6))
def test_a_step_is_what_the_formulas_say(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:17, :17]
    centers = rng.uniform(5, 11, (3, 2))
    bumps = [3 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) for a, b in centers]
    responses = np.array(bumps) * rng.uniform(0.9, 1.1, (3, 1, 1)) + rng.normal(0, 0.1, (3, 17, 17))
    tracker = SiamFCTracker(FixedModel(responses), PARAMS)
    image = fill.rule_image(seed, 240, 320)
    tracker.init(image, (120, 90, 50, 40))
    state = tracker.state
    _, scale = tracker.search_crop(image)
    expected, score = expected_step(responses, state.target, scale, state.growth, (50, 40))
    result = tracker.track(image)
    np.testing.assert_allclose(result["bbox"], expected, atol=1e-3)
    assert result["best_score"] == pytest.approx(score, abs=1e-5)


def test_enlarging_is_bicubic():
    response = np.random.default_rng(0).normal(size=(17, 17)).astype(np.float32)
    np.testing.assert_allclose(upsampled(response), enlarged(response), atol=1e-5)


@pytest.mark.parametrize(
    ("peaks", "best"),
    [
        ([1.02, 1.0, 0.0], 1),  # 1.02 * 0.9745 < 1
        ([1.03, 1.0, 0.0], 0),
        ([0.0, 1.0, 1.03], 2),
        ([-1.0, -1.01, -1.0], 1),  # below zero a penalty lowers, too
        ([-1.0, -1.1, -1.5], 0),
    ],
)
def test_another_scale_must_be_clearly_better(peaks, best):
    assert choose_scale(peaks, 0.9745) == best


def test_the_window_decides_where_the_response_is_flat():
    row, column = peak_of(np.ones((31, 31), np.float32), influence=0.2)
    assert (row, column) == (15, 15)
    spike = np.zeros((31, 31), np.float32)
    spike[3, 20] = 1
    assert peak_of(spike, influence=0.2) == (3, 20)


def test_search_regions_of_all_scales_are_one_batch():
    tracker = SiamFCTracker(FixedModel(np.zeros((3, 17, 17))), PARAMS)
    image = fill.rule_image(1, 240, 320)
    tracker.init(image, (120, 90, 50, 40))
    tracker.track(image)
    assert tracker.model.x.shape == (3, 3, 255, 255)


def test_growth_stays_within_its_limits():
    responses = np.zeros((3, 17, 17))
    responses[2, 8, 8] = 5
    tracker = SiamFCTracker(FixedModel(responses), PARAMS)
    image = np.zeros((240, 320, 3), np.uint8)
    tracker.init(image, (150, 110, 20, 20))
    for _ in range(90):
        tracker.track(image)
    assert tracker.state.growth == 5.0


class ColorModel:
    """Correlates colors; a real, if simple, Siamese network."""

    def encode_template(self, z):
        features = F.avg_pool2d(z, 8)[:, :, 3:12, 3:12] - 128
        return features / features.norm()

    def predict(self, kernels, x):
        features = F.pad(F.avg_pool2d(x, 8) - 128, (1, 1, 1, 1))
        norm = F.conv2d(features**2, torch.ones(1, 3, 9, 9)).clamp(min=1).sqrt()
        return 60 * xcorr_fast(features, kernels) / norm - 57, None


def test_it_follows_a_square_that_moves_and_grows(draw_frame):
    tracker = SiamFCTracker(ColorModel(), PARAMS)
    sides = [round(40 * 1.03**i) for i in range(16)]
    boxes = [[60 + 4 * i, 90 - i, side, side] for i, side in enumerate(sides)]
    frames = [draw_frame(box, seed=i, size=(320, 240)) for i, box in enumerate(boxes)]
    tracker.init(frames[0], boxes[0])
    for frame, box in zip(frames[1:], boxes[1:], strict=True):
        x, y, w, h = tracker.track(frame)["bbox"]
        assert abs(x + w / 2 - box[0] - box[2] / 2) < 8
        assert abs(y + h / 2 - box[1] - box[3] / 2) < 8
    assert w == pytest.approx(sides[-1], rel=0.15)


def test_nan_responses_and_a_missing_start_are_reported():
    tracker = SiamFCTracker(FixedModel(np.full((3, 17, 17), np.nan)), PARAMS)
    image = np.zeros((240, 320, 3), np.uint8)
    with pytest.raises(ValueError, match="init"):
        tracker.track(image)
    tracker.init(image, (150, 110, 20, 20))
    with pytest.raises(ValueError, match="NaN"):
        tracker.track(image)
