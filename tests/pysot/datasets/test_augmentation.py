import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from golden import fill
from pysot.core.config import default_config
from pysot.datasets.augmentation import (
    Augmentation,
    VideoAugmentation,
    draw_window,
    mirror,
    motion_blur,
)
from pysot.utils.bbox import Corner
from toolkit.io.images import mask_box

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


VIDEO = {
    "shift": 72,
    "scale": 0.22,
    "aspect": 0.12,
    "light": 0.7,
    "color": 0.4,
    "gray": 0.08,
    "blur": 0.15,
    "low_resolution": 0.2,
    "noise": 0.1,
    "jpeg": 0.15,
}


def _photo(side=511):
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def test_augmentation_for_video_is_deterministic_and_draws_the_same_with_a_mask():
    change, image, box = VideoAugmentation(**VIDEO), _photo(), Corner(220, 200, 290, 310)
    mask = np.zeros((511, 511), np.uint8)
    mask[200:310, 220:290] = 255
    for seed in range(40):
        runs = [
            change.in_bytes(image, box, given, 255, np.random.default_rng(seed))
            for given in (None, mask)
        ]
        np.testing.assert_array_equal(runs[0][0], runs[1][0])
        assert runs[0][0].dtype == np.uint8 and runs[0][0].shape == (255, 255, 3)
        assert runs[0][2] == runs[1][2] and not runs[0][1].any()
        x, y, w, h = mask_box(runs[1][3])
        np.testing.assert_allclose([x, y, x + w, y + h], runs[1][2], atol=1.5)


def test_augmentation_for_video_reaches_its_limits_and_not_beyond():
    change = VideoAugmentation(shift=72, scale=0.22, aspect=0.12, near=0.0)
    box, found = Corner(223, 223, 287, 287), []
    for seed in range(400):
        _, _, (x1, y1, x2, y2), _ = change.in_bytes(
            _SMOOTH, box, None, 255, np.random.default_rng(seed)
        )
        found.append(((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 64, (y2 - y1) / 64))
    x, y, w, h = np.array(found).T
    assert 66 < np.abs([x - 127, y - 127]).max() <= 72 + 1e-9
    assert 0.2 < np.abs(np.log(w * h) / 2).max() <= 0.22 + 1e-9
    assert 0.1 < np.abs(np.log(w / h)).max() <= 0.12 + 1e-9


_SMOOTH = _photo()


@pytest.mark.parametrize(
    "name", ["light", "color", "gray", "blur", "low_resolution", "noise", "jpeg"]
)
def test_every_change_for_video_has_a_probability_of_its_own(name):
    box = Corner(223, 223, 287, 287)
    plain, changed = (
        VideoAugmentation(**({name: 1.0} if wanted else {})).in_bytes(
            _SMOOTH, box, None, 127, np.random.default_rng(3)
        )
        for wanted in (False, True)
    )
    assert (plain[0] != changed[0]).any() and plain[2] == changed[2]
    np.testing.assert_array_equal(plain[0], _SMOOTH[192:319, 192:319])
    if name == "gray":
        assert np.ptp(changed[0], axis=2).max() == 0


def test_augmentation_for_video_mirrors_image_box_and_mask():
    box, mask = Corner(220, 223, 260, 287), np.zeros((511, 511), np.uint8)
    mask[223:287, 220:260] = 255
    image, _, box, mask = VideoAugmentation(flip=1.0).in_bytes(
        _SMOOTH, box, mask, 127, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(image, _SMOOTH[192:319, 192:319][:, ::-1])
    assert box == Corner(126 - (260 - 192), 31, 126 - (220 - 192), 95)
    assert mask[40].nonzero()[0][[0, -1]].tolist() == [59, 98]


def test_keys_of_the_augmentation_for_video_are_checked():
    cfg = default_config()
    cfg.merge_from_list(["DATASET.AUGMENTATION", "video", "DATASET.SEARCH.ASPECT", 0.12])
    assert cfg.DATASET.SEARCH.ASPECT == 0.12
    with pytest.raises(ValueError, match=r"DATASET.SEARCH.LIGHT is 2.0; expected a number from 0"):
        cfg.merge_from_list(["DATASET.SEARCH.LIGHT", 2])


def test_augmentation_for_video_may_reflect_what_is_beyond_the_original():
    crop = np.full((511, 511, 3), 90, np.uint8)
    crop[180:330, 200:320] = _SMOOTH[180:330, 200:320]
    box = Corner(223, 223, 287, 287)
    plain, reflected = (
        VideoAugmentation(reflect=share).in_bytes(crop, box, None, 255, np.random.default_rng(0))
        for share in (0.0, 1.0)
    )
    assert (plain[0][0] == 90).all() and (reflected[0][0] != 90).any()
    inner = slice(60, 195), slice(80, 185)
    np.testing.assert_array_equal(plain[0][inner], reflected[0][inner])
    assert plain[2] == reflected[2] == Corner(95, 95, 159, 159)
