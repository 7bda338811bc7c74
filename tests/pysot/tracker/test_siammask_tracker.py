from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from recorded_model import (
    GOLDEN,
    RecordedModel,
    check_result,
    cyclic_distance,
    recorded,
    samples,
    start,
)

from golden import fill
from pysot.core.settings import TrackParams
from pysot.tracker.base_tracker import Target
from pysot.tracker.siammask_tracker import (
    SiamMaskTracker,
    box_corners,
    largest_part,
    paste_mask,
)

# siammask_r50_l3
PARAMS = TrackParams(penalty_k=0.1, window_influence=0.41, lr=0.32, mask_thershold=0.15)
RECORDED = recorded("tracker/stub_mask.json")
RUNS = [pytest.param(run, id=str(i)) for i, run in enumerate(RECORDED["runs"])]
# pixels so close to the threshold that another interpolation may put them on its other side
EDGE = 5e-5
EXACT_WARPS = int(cv2.__version__.split(".")[0]) >= 5


@pytest.mark.parametrize("run", RUNS)
def test_a_free_run_equals_the_recorded_one(run):
    tracker = SiamMaskTracker(RecordedModel(), PARAMS)
    image = start(tracker, run)
    for step in run["steps"]:
        tracker.model.step = step
        result = tracker.track(image)
        check_result(result, step)
        assert tracker.model.position == tuple(step["position"])
        np.testing.assert_allclose(samples(tracker.model.x), step["x_crop"], atol=1)


@pytest.mark.parametrize("run", RUNS)
def test_masks_and_polygons_equal_recorded_ones(run):
    tracker = SiamMaskTracker(RecordedModel(), PARAMS)
    image = start(tracker, run)
    for step in run["steps"]:
        pre = Target(*step["pre"]["center_pos"], *step["pre"]["size"])
        tracker.state = replace(tracker.state, target=pre)
        tracker.model.step = step
        result = tracker.track(image)
        mask, expected = result["mask"], step["mask"]
        assert (mask.dtype, list(mask.shape)) == (np.float32, expected["shape"])
        # OpenCV 4 interpolates in steps of 1/32 pixel, where a mask rises by up to 0.1 per pixel
        exact = EXACT_WARPS
        np.testing.assert_allclose(samples(mask), expected["samples"], atol=1e-4 if exact else 0.02)
        assert mask.mean() == pytest.approx(expected["mean"], rel=1e-4 if exact else 1e-2)
        count = int((mask > PARAMS.mask_thershold).sum())
        slack = 0 if exact and step["mask_threshold_margin"] > EDGE else 3 if exact else 20
        assert abs(count - step["mask_count"]) <= slack
        limit = 1e-3 if exact and slack == 0 else 5
        assert cyclic_distance(result["polygon"], step["polygon"]) <= limit


@pytest.mark.parametrize("number", [0, 1])
def test_pasting_equals_recorded_maps(number):
    case = RECORDED["crop_back"][number]
    expected = np.load(GOLDEN / "tracker" / "crop_back.npz")[f"crop_back_{number}"]
    logits = fill.refine_logits(6550 + number).astype(np.float32)
    pasted, _ = paste_mask(logits, case["bbox"], case["out_sz_w_h"], fill=case["padding"])
    # logits change by up to 0.5 per pixel; see above for OpenCV 4
    np.testing.assert_allclose(pasted, expected, atol=0.05 if EXACT_WARPS else 0.25)
    assert np.abs(pasted - expected).mean() < 5e-3


def test_only_the_window_is_computed_and_nothing_is_missed():
    """Against bilinear interpolation as it is defined, on the whole frame."""
    rng = np.random.default_rng(0)
    mask = rng.random((9, 9)).astype(np.float32)
    for _ in range(20):
        plane = (*rng.uniform(-30, 5, 2), *rng.uniform(20, 60, 2))
        pasted, (x1, y1, x2, y2) = paste_mask(mask, plane, (64, 48))
        np.testing.assert_allclose(pasted, _interpolated(mask, plane, (64, 48)), atol=0.05)
        outside = pasted.copy()
        outside[y1:y2, x1:x2] = 0
        assert not outside.any()


def _interpolated(mask, plane, size):
    padded = np.pad(mask, 1)
    rows = np.arange(size[1]) * plane[3] / (size[1] - 1) + plane[1] + 1
    columns = np.arange(size[0]) * plane[2] / (size[0] - 1) + plane[0] + 1
    ends = np.arange(len(padded))
    along_y = np.array([np.interp(rows, ends, c, left=0, right=0) for c in padded.T]).T
    return np.array([np.interp(columns, ends, r, left=0, right=0) for r in along_y])


def test_a_mask_outside_of_the_frame_leaves_it_empty():
    pasted, (x1, _, x2, _) = paste_mask(np.ones((9, 9), np.float32), (50, 0, 64, 48), (64, 48))
    assert not pasted.any()
    assert x1 == x2


@pytest.mark.parametrize("case", RECORDED["mask_post"], ids=lambda case: case["kind"])
def test_polygons_of_drawn_masks_equal_recorded_ones(case):
    mask = fill.blob(case["seed"], case["kind"])
    corners = largest_part(mask, (0, 0, 160, 120), PARAMS.mask_thershold)
    if case["kind"] in ("empty", "small"):
        assert corners is None
        corners = box_corners(Target(50.5, 40.25, 20, 10.5))
    assert cyclic_distance(corners, case["polygon"]) < 1e-3


def test_the_window_of_a_mask_does_not_change_its_polygon():
    mask = fill.blob(6563, "ellipse")
    rows, columns = np.nonzero(mask)
    window = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    whole = largest_part(mask, (0, 0, 160, 120), 0.15)
    np.testing.assert_array_equal(largest_part(mask, window, 0.15), whole)


class OneAnchorModel(RecordedModel):
    """Sees the target in row 3, column 20 of a response with any number of anchors."""

    def __init__(self, anchors):
        super().__init__()
        self.anchors = anchors

    def predict_with_mask(self, kernels, x):
        cls = torch.zeros(1, 2 * self.anchors, 25, 25)
        cls[0, -1, 3, 20] = 5
        return cls, torch.zeros(1, 4 * self.anchors, 25, 25)

    step = {"seed": 0}


@pytest.mark.parametrize(("ratios", "scales"), [((1,), (8,)), ((0.5, 1, 2), (4, 8))])
def test_any_number_of_anchors_gives_the_cell_of_the_mask(ratios, scales):
    params = replace(PARAMS, window_influence=0.0, penalty_k=0.0, ratios=ratios, scales=scales)
    tracker = SiamMaskTracker(OneAnchorModel(len(ratios) * len(scales)), params)
    image = np.zeros((120, 160, 3), np.uint8)
    tracker.init(image, (60, 40, 30, 24))
    assert len(tracker.track(image)["polygon"]) == 8
    assert tracker.model.position == (3, 20)
