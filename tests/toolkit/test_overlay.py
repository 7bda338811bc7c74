import numpy as np
import pytest

from toolkit.visualization import overlay

NAN = float("nan")


@pytest.fixture
def frame():
    return np.full((60, 80, 3), 100, np.uint8)


def changed(frame):
    return (frame != 100).any(axis=2)


def test_a_box_is_outlined_in_place(frame):
    assert overlay.draw_box(frame, (10, 20, 30, 15), (1, 2, 3), linewidth=1) is frame
    outline = np.zeros((60, 80), bool)
    outline[20:36, [10, 40]] = outline[[20, 35], 10:41] = True
    assert (changed(frame) == outline).all()
    assert frame[20, 10].tolist() == [1, 2, 3]


def test_a_polygon_is_outlined(frame):
    overlay.draw_box(frame, [10, 10, 40, 10, 40, 30], linewidth=1)
    assert changed(frame)[10, 10:41].all() and changed(frame)[10:31, 40].all()
    assert not changed(frame)[30, 10]


@pytest.mark.parametrize("region", [[NAN] * 4, [1, 2, float("inf"), 4], [0], []])
def test_what_is_no_region_is_not_drawn(frame, region):
    assert not changed(overlay.draw_box(frame, region)).any()


@pytest.mark.parametrize("region", [[-1e12, 5, 2e12, 9], [-50, -50, 10, 10]])
def test_regions_outside_the_frame_do_no_harm(frame, region):
    overlay.draw_box(frame, region, label="far")
    assert frame.shape == (60, 80, 3)


def test_a_label_stands_above_the_box(frame):
    overlay.draw_box(frame, (20, 40, 30, 10), linewidth=1, label="gt")
    assert changed(frame)[24:38].any()
    assert not changed(frame)[:20].any()


def test_score_and_speed_are_written_into_the_corner(frame):
    assert overlay.draw_status(frame, score=0.93, fps=41.6) is frame
    assert changed(frame)[:30].any()


def test_without_score_and_speed_nothing_is_written(frame):
    assert not changed(overlay.draw_status(frame)).any()
    assert not changed(overlay.draw_status(frame, score=NAN)).any()


def test_a_mask_tints_its_pixels_only(frame):
    mask = np.zeros((60, 80))
    mask[5:10, 5:10] = 1
    overlay.blend_mask(frame, mask, color=(0, 255, 0))
    assert frame[7, 7].tolist() == [77, 136, 77]  # 0.77 * 100 + 0.23 * (0, 255, 0)
    assert changed(frame).sum() == 25


def test_a_mask_of_another_size_is_refused(frame):
    with pytest.raises(ValueError, match=r"\(9, 9\) does not fit a frame \(60, 80\)"):
        overlay.blend_mask(frame, np.zeros((9, 9)))
