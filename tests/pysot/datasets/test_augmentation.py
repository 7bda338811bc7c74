import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from golden import fill
from pysot.datasets.augmentation import Augmentation, draw_window, mirror, motion_blur
from pysot.utils.bbox import Corner

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "train" / "geometry.json").read_text())[
    "augmentation"
]
BOX = Corner(200.5, 210.25, 310.0, 300.75)


def check_image(image, expected, tolerance):
    found = fill.digest(image)
    assert found["shape"] == expected["shape"]
    np.testing.assert_allclose(found["samples"], expected["samples"], atol=tolerance)
    assert found["mean"] == pytest.approx(expected["mean"], abs=tolerance)


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_fixed_changes_are_those_of_pysot(case, rng):
    change = Augmentation(*case["args_shift_scale_blur_flip_color"])
    source = fill.rule_image(case["seed_image"], 511, 511)
    image, box = change(source, Corner(*case["bbox_in"]), case["size"], rng, case["gray"])
    assert box == pytest.approx(case["bbox_out"])
    check_image(image, case["out"], tolerance=1e-3)


@pytest.mark.parametrize("case", GOLDEN["legacy_rng_order_cases"])
def test_random_changes_are_those_of_pysot(case):
    legacy = np.random.RandomState(case["np_random_seed"])
    source = fill.rule_image(4401, 511, 511)
    image, box = Augmentation(*case["args"])(source, BOX, case["size"], legacy)
    assert box == pytest.approx(case["bbox_out"])
    # OpenCV 4 interpolates in steps of 1/32 pixel, which shows in noise
    exact = int(cv2.__version__.split(".")[0]) >= 5
    if exact:
        check_image(image, case["out"], tolerance=1e-3)
    assert image.dtype == np.float32


def test_the_box_stays_on_the_object(rng):
    source = np.zeros((511, 511, 3), np.uint8)
    source[235:276, 225:286] = 255
    change = Augmentation(shift=64, scale=0.18, flip=0.5)
    for _ in range(20):
        image, box = change(source, Corner(225, 235, 285, 275), 255, rng)
        rows, columns = np.nonzero(image[..., 0] > 127)
        found = columns.min(), rows.min(), columns.max(), rows.max()
        assert found == pytest.approx(box, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_window_never_leaves_the_crop(seed):
    rng = np.random.default_rng(seed)
    window = draw_window((300, 280), 255, scale=0.9, shift=500, rng=rng)
    assert min(window) >= -1e-9
    assert window.x2 <= 280 and window.y2 <= 300


def test_blur_is_the_cross_shaped_filter():
    image = fill.rule_image(1, 40, 50).astype(np.float32)
    blurred = motion_blur(image, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    size, weight = int(rng.choice(np.arange(5, 46, 2))), rng.random()
    kernel = np.zeros((size, size))
    kernel[:, size // 2] += weight / size
    kernel[size // 2, :] += (1 - weight) / size
    np.testing.assert_allclose(blurred, cv2.filter2D(image, -1, kernel), atol=1e-3)


def test_gray_has_equal_channels_and_color_shifts_them(rng):
    source = fill.rule_image(1, 511, 511)
    gray, _ = Augmentation()(source, BOX, 127, rng, gray=True)
    assert np.array_equal(gray[..., 0], gray[..., 2])
    plain, _ = Augmentation()(source, BOX, 127, rng)
    colored, _ = Augmentation(color=1.0)(source, BOX, 127, rng)
    offset = plain - colored
    assert np.ptp(offset, axis=(0, 1)) == pytest.approx(0, abs=1e-4)  # the same for every pixel
    assert abs(offset).max() > 0.1


@pytest.mark.parametrize("seed", range(8))
def test_bytes_less_the_offset_are_the_floats(seed):
    change = Augmentation(shift=64, scale=0.18, blur=0.5, flip=0.5, color=1.0)
    source = cv2.GaussianBlur(fill.rule_image(7, 511, 511), (0, 0), 2)
    mask = np.zeros((511, 511), np.uint8)
    mask[211:300, 201:310] = 255
    image, box = change(source, BOX, 255, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    part, offset, same_box, part_mask = change.in_bytes(source, BOX, mask, 255, rng)
    assert part.dtype == np.uint8 and box == same_box
    middle = np.argwhere(part_mask).mean(axis=0)[::-1] + 0.5  # of a mask that fills the box
    np.testing.assert_allclose(middle, (np.add(box[:2], box[2:]) / 2), atol=1)
    # a blur is rounded, and OpenCV 4 interpolates in steps of 1/32 pixel that depend on the origin
    assert np.abs(part - offset - image).max() <= 2
    assert np.abs(part - offset - image).mean() < 0.3


def test_mirroring_twice_changes_nothing():
    image = fill.rule_image(1, 8, 9)
    once = mirror(image, Corner(1, 2, 5, 6))
    assert once[1] == Corner(3, 2, 7, 6)
    twice = mirror(*once)
    assert np.array_equal(twice[0], image)
    assert twice[1] == Corner(1, 2, 5, 6)
