import sys

import cv2
import numpy as np
import pytest

import pysot
from pysot import MultiTracker, Session, Tracker
from pysot.tracker.tracker_builder import build_tracker, load_network
from toolkit.io.video import FrameSource, open_source
from toolkit.io.video_writer import VideoSink

BOX = (20, 15, 24, 18)


@pytest.fixture
def frames(draw_frame):
    return [draw_frame((20 + 3 * i, 15, 24, 18), seed=i) for i in range(6)]


@pytest.fixture
def tracker(tiny_config, tiny_snapshot):
    return Tracker.from_config(tiny_config, tiny_snapshot)


@pytest.fixture
def multi(tiny_config, tiny_snapshot):
    return MultiTracker.from_config(tiny_config, tiny_snapshot)


class Masks:
    """Finds a mask and a polygon in every frame, and loses the target from the third one on."""

    def __init__(self):
        self.calls = 0

    def init(self, image, bbox):
        self.calls = 0

    def track(self, image):
        self.calls += 1
        mask = np.zeros(image.shape[:2], np.float32)
        mask[10:20, 30:50] = 0.31
        mask[12, 12] = 0.3
        corners = [30, 10, 50, 10, 50, 20, 30, 20]
        found = {"bbox": [30, 10, 20, 10], "mask": mask, "polygon": corners}
        return {**found, "best_score": 0.5, "lost": self.calls > 1}


def boxes(results):
    return np.array([result.box for result in results])


def test_one_box_gives_what_the_tracker_gives(tracker, frames):
    results = list(pysot.track(frames, BOX, tracker))
    tracker.init(frames[0], BOX)
    found = [tracker.track(frame) for frame in frames[1:]]
    np.testing.assert_array_equal(boxes(results), [BOX, *[f.bbox for f in found]])
    assert [result.score for result in results[1:]] == [f.score for f in found]
    assert np.isnan(results[0].score)
    assert [result.index for result in results] == list(range(6))
    assert results[2].image is frames[2]
    assert (results[1].polygon, results[1].mask, results[1].lost) == (None, None, False)
    assert results[1].box.dtype == np.float64


def test_masks_are_where_the_probability_exceeds_the_threshold(frames):
    first, second, third, *_ = pysot.track(frames, BOX, Masks())
    assert (first.mask, first.polygon, first.lost) == (None, None, False)
    assert (
        second.mask.dtype == bool and second.mask.sum() == 200 and second.mask[10:20, 30:50].all()
    )
    np.testing.assert_array_equal(second.polygon, [[30, 10], [50, 10], [50, 20], [30, 20]])
    assert (second.lost, third.lost) == (False, True)


@pytest.mark.parametrize("kind", ["multi", "tracker"])
def test_several_boxes_are_followed_at_once(kind, multi, tracker, frames):
    both = [BOX, (50, 30, 20, 20)]
    results = list(pysot.track(frames, both, {"multi": multi, "tracker": tracker}[kind]))
    numbers = [multi.add(frames[0], box) for box in both]
    expected = [multi.track(frame) for frame in frames[1:]]
    for result, found in zip(results[1:], expected, strict=True):
        assert list(result.targets) == numbers
        for number in numbers:
            np.testing.assert_array_equal(result.targets[number].box, found[number].bbox)
    with pytest.raises(ValueError, match=r"frame 3 has 2 targets: take result\.targets\[number\]"):
        _ = results[3].box


def test_every_kind_of_source_gives_the_same(tracker, frames, tmp_path):
    with VideoSink(tmp_path / "a.avi") as sink:
        for frame in frames:
            sink.write(frame)
    (tmp_path / "images").mkdir()
    decoded = [frame.image for frame in open_source(tmp_path / "a.avi")]
    for i, frame in enumerate(decoded):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), frame)
    sources = [str(tmp_path / "a.avi"), tmp_path / "images", iter(decoded), np.stack(decoded)]
    sources.append(FrameSource("made", ((str(i), f) for i, f in enumerate(decoded)), 25, 6))
    found = [boxes(pysot.track(source, BOX, tracker)) for source in sources]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_callback_sees_each_result_and_may_end_it(tracker, frames):
    seen = []

    def callback(result):
        seen.append(result)
        return result.index < 2

    results = list(pysot.track(frames, BOX, tracker, callback=callback))
    assert [result.index for result in results] == [0, 1, 2]
    assert seen == results


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([], r"four finite numbers x, y, w, h; found \[\]"),
        ("20,15,24,18", "four finite numbers"),
        ((20, 15, 24), "four finite numbers"),
        ([(20, 15, 24, 18), (1, 2)], r"four finite numbers .* found \(1, 2\)"),
        (None, "four finite numbers"),
        ((20, 15, float("nan"), 18), "four finite numbers"),
    ],
)
def test_what_is_no_box_is_an_error_at_once(box, message, tracker, frames):
    with pytest.raises(ValueError, match=message):
        pysot.track(frames, box, tracker)


def test_what_cannot_be_opened_is_an_error_at_once(tracker):
    with pytest.raises(OSError, match="no such video file"):
        pysot.track("none.mp4", BOX, tracker)


def test_frames_of_no_use_are_named(tracker, frames):
    with pytest.raises(ValueError, match="a frame must be BGR uint8"):
        list(pysot.track(frames[0], BOX, tracker))
    with pytest.raises(ValueError, match="not list"):
        list(pysot.track([[1, 2]], BOX, tracker))
    with pytest.raises(ValueError, match="frame 1 is 40 x 72 pixels, those before it 96 x 72"):
        list(pysot.track([frames[0], frames[1][:, :40]], BOX, tracker))


def test_a_tracker_of_one_target_is_not_given_two(frames):
    with pytest.raises(ValueError, match="Masks follows one target, and there are 2 boxes"):
        pysot.track(frames, [BOX, BOX], Masks())


def test_rows_of_numpy(multi, frames):
    results = list(pysot.track(frames, [BOX, BOX], multi))
    rows = pysot.to_numpy(results)
    assert rows.dtype.names == ("frame", "target", "x", "y", "w", "h", "score", "lost")
    assert rows["frame"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rows["target"].tolist() == [0, 1] * 6
    np.testing.assert_array_equal(results[4].to_numpy(), rows[8:10])
    target = results[4].targets[1]
    assert rows[9].item()[2:7] == (*target.box.tolist(), target.score)
    assert len(pysot.to_numpy([])) == 0


def test_a_missing_pandas_is_named(tracker, frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        next(pysot.track(frames, BOX, tracker)).to_pandas()


@pytest.mark.extras
def test_pandas_has_the_columns(tracker, frames):
    """Needs pip install pandas."""
    pytest.importorskip("pandas")
    table = pysot.to_pandas(pysot.track(frames, BOX, tracker))
    assert list(table.columns) == ["frame", "target", "x", "y", "w", "h", "score", "lost"]
    assert (len(table), table.x[0], table.lost.dtype) == (6, 20, bool)


@pytest.mark.extras
def test_supervision_has_boxes_and_masks(frames):
    """Needs pip install supervision."""
    pytest.importorskip("supervision")
    _, result, *_ = pysot.track(frames, BOX, Masks())
    found = result.to_supervision()
    np.testing.assert_array_equal(found.xyxy, [[30, 10, 50, 20]])
    np.testing.assert_array_equal(found.mask, [result.mask])
    assert (found.tracker_id.tolist(), found.confidence.tolist()) == ([0], [0.5])


def test_targets_come_go_and_are_corrected(multi, frames):
    session = Session(multi)
    source = iter(FrameSource("made", ((str(i), f) for i, f in enumerate(frames)), 25, 6))
    with pytest.raises(ValueError, match=r"call step\(frame\) first"):
        session.add(BOX)
    assert session.step(next(source)).targets == {}
    assert session.add(BOX) == 0
    np.testing.assert_array_equal(session.result.box, BOX)
    session.step(next(source))
    assert session.add((50, 30, 20, 20)) == 1
    assert list(session.result.targets) == [0, 1]
    session.restart(0, (23, 15, 24, 18))
    np.testing.assert_array_equal(session.result.targets[0].box, (23, 15, 24, 18))
    session.step(next(source))
    session.drop(0)
    assert list(session.result.targets) == list(session.step(next(source)).targets) == [1]
    for wrong in (lambda: session.drop(0), lambda: session.restart(7, BOX)):
        with pytest.raises(ValueError, match=r"no target \d; there are \[1\]"):
            wrong()


def test_the_searched_window_is_that_of_the_crop(tiny_config, tiny_snapshot, frames):
    tracker = build_tracker(*load_network(tiny_config, tiny_snapshot))
    results = list(pysot.track(frames, BOX, tracker))
    x, y, w, h = results[1].targets[0].search
    assert (w, h) == (w, w)
    assert x + w / 2 == pytest.approx(20 + 23 / 2, abs=1)
    assert y + h / 2 == pytest.approx(15 + 17 / 2, abs=1)
    assert w == pytest.approx(np.sqrt((24 + 21) * (18 + 21)) * 255 / 127, abs=1)
    assert results[0].targets[0].search is None
