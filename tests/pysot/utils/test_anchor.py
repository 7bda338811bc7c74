import numpy as np

from golden import fill
from pysot.utils.anchor import Anchors, Grid, anchor_shapes, tracking_anchors, training_anchors


def test_anchors_equal_recorded_ones(geometry):
    for case in geometry[0]["anchors"]:
        anchors = Anchors(case["stride"], case["ratios"], case["scales"])
        np.testing.assert_array_equal(anchors.anchors, case["anchors_x1y1x2y2"])
        for grid in case["grids"]:
            assert anchors.generate_all_anchors(grid["im_c"], grid["size"]) is grid["returned"]
            assert not anchors.generate_all_anchors(grid["im_c"], grid["size"])
            for name, array in zip(("corner", "center"), anchors.all_anchors, strict=True):
                assert fill.digest(array) == grid[name]
                assert array.dtype == np.float32


def test_shapes_of_the_published_anchors():
    # ratio 0.33: int(sqrt(64 / 0.33)) = 13, int(13 * 0.33) = 4, times scale 8
    np.testing.assert_array_equal(
        anchor_shapes(8, [0.33, 0.5, 1, 2, 3], [8]),
        [[104, 32], [88, 40], [64, 64], [40, 80], [32, 96]],
    )


def test_scales_vary_fastest():
    np.testing.assert_array_equal(
        anchor_shapes(8, [1, 4], [8, 16]), [[64, 64], [128, 128], [32, 128], [64, 256]]
    )


def test_tracking_grid_is_centered_and_runs_along_rows():
    anchors = tracking_anchors(np.array([[64.0, 64.0]]), stride=8, size=3)
    np.testing.assert_array_equal(anchors[:4, :2], [[-8, -8], [0, -8], [8, -8], [-8, 0]])
    np.testing.assert_array_equal(anchors[4], [0, 0, 64, 64])


def test_training_grid_is_centered_on_the_search_image():
    grid = training_anchors(np.array([[64.0, 64.0]]), Grid(size=17, stride=8, search_size=255))
    assert grid.shape == (1, 17, 17, 4)
    np.testing.assert_array_equal(grid[0, 8, 8], [127, 127, 64, 64])
    np.testing.assert_array_equal(grid[0, 0, 16, :2], [191, 63])  # row 0, last column
