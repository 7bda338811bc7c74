import numpy as np
import pytest

from pysot.utils import bbox as boxes
from pysot.utils.bbox import Center, Corner, IoU, initial_rect

NAMED = {
    "corner2center(Corner)": lambda b: boxes.corner2center(Corner(*b)),
    "corner2center(array)": lambda b: boxes.corner2center(np.array(b)),
    "center2corner(Center)": lambda b: boxes.center2corner(Center(*b)),
    "center2corner(array)": lambda b: boxes.center2corner(np.array(b)),
    "cxy_wh_2_rect(pos=in[:2],sz=in[2:])": lambda b: boxes.cxy_wh_2_rect(b[:2], b[2:]),
    "rect_2_cxy_wh": boxes.rect_2_cxy_wh,
    "cxy_wh_2_rect1": lambda b: boxes.cxy_wh_2_rect1(b[:2], b[2:]),
    "rect1_2_cxy_wh": boxes.rect1_2_cxy_wh,
    "get_axis_aligned_bbox": boxes.get_axis_aligned_bbox,
    "get_min_max_bbox": boxes.get_min_max_bbox,
    "test_tool_init_rect": initial_rect,
}


def test_conversions_equal_recorded_ones(geometry):
    for case in geometry[0]["bbox"]:
        for name in case.keys() - {"in"}:
            np.testing.assert_allclose(NAMED[name](case["in"]), case[name], rtol=1e-12)


def test_overlaps_equal_recorded_ones(geometry):
    for case in geometry[0]["IoU"]:
        assert IoU(case["a"], case["b"]) == pytest.approx(case["iou"], abs=1e-12)


def test_overlap_broadcasts_over_arrays():
    grid = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]).T
    np.testing.assert_allclose(IoU(grid, (0, 0, 10, 10)), [1, 1 / 3, 0])


def test_named_boxes_stay_named():
    assert isinstance(boxes.corner2center(Corner(0, 0, 2, 2)), Center)
    assert isinstance(boxes.center2corner(Center(1, 1, 2, 2)), Corner)


def test_first_box_of_whole_numbers_keeps_them():
    assert repr(initial_rect([300, 110, 165, 250])) == "[300.5, 110.5, 165, 250]"
