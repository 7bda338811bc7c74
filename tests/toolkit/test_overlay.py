from types import SimpleNamespace

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


def test_a_mask_tints_its_pixels_only(frame):
    mask = np.zeros((60, 80))
    mask[5:10, 5:10] = 1
    overlay.blend_mask(frame, mask, color=(0, 255, 0))
    assert frame[7, 7].tolist() == [77, 136, 77]  # 0.77 * 100 + 0.23 * (0, 255, 0)
    assert changed(frame).sum() == 25


def test_a_mask_of_another_size_is_refused(frame):
    with pytest.raises(ValueError, match=r"\(9, 9\) does not fit a frame \(60, 80\)"):
        overlay.blend_mask(frame, np.zeros((9, 9)))


def target(box=(20, 30, 30, 20), **fields):
    known = {"score": 0.5, "polygon": None, "mask": None, "lost": False, "search": None}
    return SimpleNamespace(box=np.array(box, float), **{**known, **fields})


def drawn(*targets, size=(240, 320), **options):
    image = np.full((*size, 3), 100, np.uint8)
    result = SimpleNamespace(targets=dict(enumerate(targets)))
    return overlay.draw_result(image, result, **options)


def pixels_of(image, color):
    return (np.abs(image.astype(int) - color).max(axis=2) < 40).sum()


def test_each_target_has_a_box_in_a_color_of_its_own():
    image = drawn(target(), target((100, 100, 50, 50)))
    assert image[30, 30].tolist() == list(overlay.PALETTE[0])
    assert image[100, 120].tolist() == list(overlay.PALETTE[1])


def test_a_mask_is_tinted_and_a_polygon_replaces_the_box():
    mask = np.zeros((240, 320), bool)
    mask[80:120, 80:160] = True
    corners = np.array([[70, 70], [170, 70], [170, 130], [70, 130]], float)
    image = drawn(target((20, 150, 10, 10), mask=mask, polygon=corners))
    assert image[100, 100].tolist() == [60, 162, 60]  # 0.6 * 100 + 0.4 * (0, 255, 0)
    assert image[130, 100].tolist() == [0, 255, 0]
    assert image[160, 25].tolist() == [100, 100, 100]


def test_the_box_of_a_lost_target_is_dashed():
    found, lost = (
        drawn(target((40, 60, 150, 100), lost=lost))[160, 60:170] for lost in (False, True)
    )
    assert pixels_of(found[None], (0, 255, 0)) == 110
    assert 30 < pixels_of(lost[None], (0, 255, 0)) < 80


def test_what_was_asked_for_is_drawn_from_history():
    history = overlay.History(length=5)
    past = [target((20 + 20 * i, 150, 10, 10), score=0.1 * i) for i in range(9)]
    for one in past:
        history.add(SimpleNamespace(targets={0: one}))
    assert list(history.centers[0]) == [(105 + 20 * i, 155) for i in range(5)]
    plain = drawn(past[-1])
    trail = drawn(past[-1], style=overlay.Style(trail=3), history=history)
    changed = np.argwhere((trail != plain).any(axis=2))
    assert changed.min(axis=0)[1] in range(140, 148) and changed.max(axis=0)[1] <= 190
    curve = drawn(past[-1], style=overlay.Style(curve=True), history=history)
    assert (curve[200:, :110] != plain[200:, :110]).any(axis=2).all()
    assert pixels_of(curve[200:, :110], (0, 255, 0)) > 3
    window = target((20, 150, 10, 10), search=np.array([5, 100, 90, 90]))
    search = drawn(window, style=overlay.Style(search=True))
    assert search[100, 50].tolist() == [0, 170, 0]
    history.add(SimpleNamespace(targets={}))
    assert not history.centers and not history.scores


@pytest.mark.parametrize("size", [(1280, 720), (12, 16), (1, 1)])
def test_frames_of_any_size_and_boxes_anywhere(size):
    height, width = size
    mask = np.zeros(size, bool)
    boxes = [(0, 0, width, height), (-1e9, -1e9, 5, 5), (width, height, 1e7, 1), (NAN,) * 4]
    targets = [target(box, lost=lost, mask=mask) for box in boxes for lost in (False, True)]
    history = overlay.History()
    history.add(SimpleNamespace(targets=dict(enumerate(targets))))
    style = overlay.Style(trail=9, curve=True, search=True)
    image = drawn(*targets, size=size, style=style, history=history, status="7  25 fps")
    assert image.shape == (height, width, 3)


def test_text_grows_with_the_frame():
    heights = []
    for size in ((144, 176), (720, 720), (2160, 2160)):
        image = drawn(size=size, status="0")
        heights.append(np.argwhere((image != 100).any(axis=2))[:, 0].max() + 1)
    assert 10 <= heights[0] <= 20
    assert heights[2] == pytest.approx(3 * heights[1], abs=5)
