import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot.datasets.crop import (
    crop_mask,
    crop_name,
    crop_pair,
    write_annotation,
    write_crops,
    write_image,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "crops"
SHARED = Path(os.environ.get("PYSOT_SHARED", Path(__file__).parents[3].parent / "shared"))
FRAME = SHARED / "data" / "sequences" / "golden_clips" / "tennis" / "00000.jpg"
# OpenCV 5 interpolates affine maps exactly, OpenCV 4 in steps of 1/32 pixel
TOLERANCE = 0 if cv2.__version__.startswith("5") else 4


def ramp(width=200, height=160):
    """An image whose red channel is x and whose green channel is y."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 2] = np.arange(width)
    image[:, :, 1] = np.arange(height)[:, None]
    return image


def box_around(cx, cy, side):
    return [cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2]


def test_square_box_is_seen_with_its_own_size_of_context():
    # w = h = 31.5: c = 31.5, the template shows a square of side 63 around the center (100, 80):
    # columns 68.5 ... 131.5, and 126 steps of 0.5 pixel lie between its corners
    template, _ = crop_pair(ramp(), box_around(100, 80, 31.5))
    assert template.shape == (127, 127, 3) and template.dtype == np.uint8
    np.testing.assert_allclose(template[63, ::2, 2], 68.5 + np.arange(64), atol=0.6)
    np.testing.assert_allclose(template[::2, 63, 1], 48.5 + np.arange(64), atol=0.6)


def test_search_crop_shows_511_127ths_of_the_template():
    template, search = crop_pair(ramp(), box_around(100, 80, 10))  # sides 20 and 80.47
    assert search.shape == (511, 511, 3)
    assert search[255, 0, 2] == pytest.approx(100 - 20 * 511 / 127 / 2, abs=1)
    assert search[255, -1, 2] == pytest.approx(100 + 20 * 511 / 127 / 2, abs=1)
    assert search[255, 255].tolist() == template[63, 63].tolist() == [0, 80, 100]


def test_sides_of_a_long_box_follow_from_the_geometric_mean_with_context():
    # w = 60, h = 20: c = 40, side = sqrt(100 * 60) = 77.46
    template, _ = crop_pair(ramp(), [70, 70, 130, 90])
    width = float(template[63, -1, 2]) - float(template[63, 0, 2])
    assert width == pytest.approx(77.46, abs=1)


def test_outside_of_the_image_has_its_mean_color():
    image = np.full((40, 60, 3), (10, 20, 30), np.uint8)
    image[:, :30] = (30, 60, 90)
    _, search = crop_pair(image, [0, 0, 20, 20])
    assert search[0, 0].tolist() == [20, 40, 60]
    given = crop_pair(image, [0, 0, 20, 20], padding=(1, 2, 3))[1]
    assert given[0, 0].tolist() == [1, 2, 3]


def test_a_mask_is_cut_as_its_search_crop():
    image = np.zeros((160, 200, 3), np.uint8)
    image[60:90, 85:130] = 255
    image[20:24, :] = 255  # far from the object
    box = [82.5, 61.25, 131, 92]
    _, search = crop_pair(image, box, padding=(0, 0, 0))
    mask = crop_mask(image[..., 0] > 0, box)
    assert mask.shape == (511, 511) and set(np.unique(mask)) == {0, 255}
    # between the two values there are only pixels that the image's interpolation has mixed
    assert ((search[..., 0] > 128) == (mask > 0)).mean() > 0.99
    assert (mask[search[..., 0] == 255] == 255).all() and (mask[search[..., 0] == 0] == 0).all()


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 9], [5, 5, 4, 9], [float("nan"), 1, 2, 3], [0, 0, float("inf"), 1]]
)
def test_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="has no area"):
        crop_pair(ramp(), box)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))]
)
def test_image_of_another_kind_is_refused(image):
    with pytest.raises(ValueError, match="uint8 image, got"):
        crop_pair(image, [1, 1, 5, 5])


@pytest.mark.data
@pytest.mark.skipif(not FRAME.is_file(), reason=f"no {FRAME}")
@pytest.mark.parametrize("case", range(3))
def test_crops_of_a_real_frame_are_the_recorded_ones(case):
    image = cv2.imread(str(FRAME))
    wanted = json.loads((GOLDEN / "crops.json").read_text())["cases"][case]
    crops = dict(zip(("z127", "x511"), crop_pair(image, wanted["bbox_x1y1x2y2"]), strict=True))
    for name, crop in crops.items():
        samples = crop.reshape(-1)[np.arange(64) * crop.size // 64]
        np.testing.assert_allclose(samples, wanted[name]["samples"], atol=TOLERANCE)
        assert crop.mean() == pytest.approx(wanted[name]["mean"], abs=1e-9 + TOLERANCE / 20)
        assert crop.std() == pytest.approx(wanted[name]["std"], abs=1e-9 + TOLERANCE / 20)


def test_file_names():
    assert crop_name(12, 3, "x") == "000012.03.x.jpg"


def test_written_crops_are_the_cut_ones_with_opencvs_default_quality(tmp_path):
    image = cv2.GaussianBlur(ramp(), (0, 0), 2)
    write_crops(tmp_path / "a" / "v", image, {0: [80, 60, 120, 90], 7: [10, 10, 40, 60]}, frame=25)
    names = sorted(path.name for path in (tmp_path / "a" / "v").iterdir())
    assert names == [
        "000025.00.x.jpg",
        "000025.00.z.jpg",
        "000025.07.x.jpg",
        "000025.07.z.jpg",
    ]
    _, search = crop_pair(image, [10, 10, 40, 60])
    encoded = cv2.imencode(".jpg", search)[1].tobytes()
    assert (tmp_path / "a" / "v" / "000025.07.x.jpg").read_bytes() == encoded


def test_annotation_is_indented_by_four_with_sorted_keys(tmp_path):
    write_annotation(
        tmp_path / "new" / "t.json", {"v": {"01": {"000002": [1, 2, 3, 4.5]}}, "a": {}}
    )
    text = (tmp_path / "new" / "t.json").read_text()
    assert text.startswith(
        '{\n    "a": {},\n    "v": {\n        "01": {\n            "000002": [\n'
    )
    assert json.loads(text)["v"]["01"]["000002"] == [1, 2, 3, 4.5]


def test_nothing_is_left_where_a_file_cannot_be_put(tmp_path):
    (tmp_path / "x.png").mkdir()  # a folder in the place of the file
    with pytest.raises(OSError):
        write_image(tmp_path / "x.png", np.zeros((4, 4), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
