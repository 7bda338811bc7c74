"""A session tracked in its thread, by a tracker that moves each box by a pixel a frame."""

import json
import math
import time

import cv2
import numpy as np
import pytest

from pysot.tracker.api import MultiTracker
from pysot.web import session as module
from pysot.web.session import State, TrackingSession
from toolkit.io.video import FrameSource, open_source

BOX = (20, 15, 24, 18)


class Mover:
    """Moves its box to the right; its frames are noted by all."""

    mask = False

    def init(self, image, box):
        self.box = list(map(float, box))

    def track(self, image):
        self.box[0] += 1
        found = {"bbox": list(self.box), "best_score": 0.75}
        if self.mask:
            found["mask"] = np.zeros(image.shape[:2], np.float32)
            found["mask"][5:9, 7:9] = 1
        return found


@pytest.fixture
def images(draw_frame, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}.png"), draw_frame(BOX, seed=i))
    return folder


@pytest.fixture
def start(images, tmp_path):
    """Function that begins a session on the six images, or another source, at full speed."""
    begun = []

    def begin(source=images, label="a clip.mp4", tracker=Mover):
        folder = tmp_path / f"out{len(begun)}"
        folder.mkdir()
        session = TrackingSession(source, label, lambda: MultiTracker(tracker), folder)
        session.full_speed = True
        begun.append(session)
        return session

    yield begin
    for session in begun:
        session.close()


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def reach(session, state):
    until(lambda: session.status.state == state)


def objects_of(session):
    """The objects of each frame, by number."""
    frames = json.loads(session.json_path.read_text())["frames"]
    alone = [{0: frame} for frame in frames if "objects" not in frame]
    return alone or [{found["id"]: found for found in frame["objects"]} for frame in frames]


def boxes_of(session, number=0):
    return [objects[number]["bbox"] for objects in objects_of(session) if number in objects]


def test_it_waits_on_the_first_frame_for_boxes(start):
    session = start()
    reach(session, State.READY)
    assert session.status.frame == 0 and session.status.num_frames == 6
    before = session.view.number
    session.add(BOX)
    until(lambda: session.status.targets)
    assert session.status.targets[0].box.tolist() == [*BOX]
    assert session.view.number > before  # with the box drawn
    assert session.file("json") is None


def test_files_hold_every_frame_of_every_target(start):
    session = start()
    session.add(BOX)
    session.add((1, 2, 10, 12))
    session.play()
    reach(session, State.ENDED)
    record = json.loads(session.file("json").read_text())
    assert (record["video"], record["width"], record["height"]) == ("a clip.mp4", 96, 72)
    assert [frame["name"] for frame in record["frames"]] == [f"{i}.png" for i in range(6)]
    assert boxes_of(session, 0) == [[20 + i, 15, 24, 18] for i in range(6)]
    assert boxes_of(session, 1) == [[1 + i, 2, 10, 12] for i in range(6)]
    first, second = (objects[0] for objects in objects_of(session)[:2])
    assert first["score"] is None and second["score"] == 0.75
    video = [frame.image for frame in open_source(session.file("video"))]
    assert [image.shape for image in video] == [(72, 96, 3)] * 6
    assert session.name_of(session.video_path) == "a_clip_tracked.mp4"


def test_pause_step_and_a_corrected_box(start):
    session = start()
    session.add(BOX)
    session.step()
    until(lambda: session.status.frame == 1)
    reach(session, State.PAUSED)
    session.redraw(0, (40, 30, 20, 20))
    until(lambda: session.status.targets[0].box.tolist() == [40, 30, 20, 20])
    assert math.isnan(session.status.targets[0].score)  # nobody measured a drawn box
    session.play()
    reach(session, State.ENDED)
    assert boxes_of(session)[:3] == [[20, 15, 24, 18], [40, 30, 20, 20], [41, 30, 20, 20]]


def test_targets_come_and_go(start):
    session = start()
    session.step()
    until(lambda: session.status.frame == 1)
    session.add(BOX)
    session.step()
    until(lambda: session.status.frame == 2)
    session.drop(0)
    session.play()
    reach(session, State.ENDED)
    assert [len(objects) for objects in objects_of(session)] == [0, 1, 0, 0, 0, 0]


def test_masks_are_drawn_and_written(start):
    class Masker(Mover):
        mask = True

    session = start(tracker=Masker)
    session.add(BOX)
    session.step()
    until(lambda: session.status.frame == 1)
    plain = cv2.imread(session._source.joinpath("1.png").as_posix()).astype(int)
    change = session.view.image[5:9, 7:9] - plain[5:9, 7:9]
    assert np.abs(change).sum() > 0
    session.finish()
    reach(session, State.ENDED)
    first, second = objects_of(session)
    assert "mask" not in first[0] and second[0]["mask"]["size"] == [72, 96]


def test_finishing_early_keeps_what_there_is(start):
    session = start()
    session.add(BOX)
    session.step()
    until(lambda: session.status.frame == 1)
    session.finish()
    reach(session, State.ENDED)
    assert len(boxes_of(session)) == 2
    assert open_source(session.video_path).num_frames == 2


def test_closing_leaves_no_file_and_no_thread(start):
    session = start()
    session.add(BOX)
    session.step()
    until(lambda: session.status.frame == 1)
    session.close()
    assert not session._thread.is_alive()
    assert list(session.json_path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "box",
    [(5, 5, 2, 50), (500, 5, 50, 50), (math.nan,) * 4, (1, 2, 3), "text", None, (1, 2, {}, 4)],
)
def test_a_bad_box_is_a_message(start, box):
    session = start()
    reach(session, State.READY)
    session.add(box)
    until(lambda: session.status.message)
    assert not session.status.targets and session.status.state == State.READY
    session.add(BOX)
    until(lambda: session.status.targets)
    assert session.status.message == ""


def test_a_box_is_cut_at_the_border(start):
    session = start()
    session.add((-10, 60, 30, 40))
    until(lambda: session.status.targets)
    assert session.status.targets[0].box.tolist() == [0, 60, 20, 12]


def test_there_are_only_so_many_targets(start, monkeypatch):
    monkeypatch.setattr(module, "_MOST_TARGETS", 1)
    session = start()
    session.add(BOX)
    session.add(BOX)
    until(lambda: session.status.message)
    assert "remove one first" in session.status.message
    assert len(session.status.targets) == 1


def test_a_source_that_does_not_open_keeps_its_path_to_itself(start, tmp_path):
    session = start(tmp_path / "secret" / "no.mp4", label="holiday.mp4")
    reach(session, State.FAILED)
    assert "holiday.mp4" in session.status.message
    assert "secret" not in session.status.message


def test_the_number_of_a_camera_is_no_secret(start, monkeypatch):
    def fail(source):
        raise OSError("cannot open camera 0, 1000 x 20")

    monkeypatch.setattr(module, "open_source", fail)
    session = start("0", label="camera 0")
    reach(session, State.FAILED)
    assert session.status.message == "cannot open camera 0, 1000 x 20"


def test_an_error_of_the_program_ends_the_session(start, caplog):
    class Broken(Mover):
        def track(self, image):
            raise KeyError("secret")

    session = start(tracker=Broken)
    session.add(BOX)
    session.play()
    until(lambda: session.status.ended)
    assert session.status.state == State.FAILED
    assert "secret" not in session.status.message and "secret" in caplog.text


def test_an_error_amid_the_video_keeps_what_there_is(start):
    class Fragile(Mover):
        def track(self, image):
            if self.box[0] > 21:
                raise ValueError("the target is gone")
            return super().track(image)

    session = start(tracker=Fragile)
    session.add(BOX)
    session.play()
    reach(session, State.ENDED)
    assert session.status.message == "the target is gone"
    assert len(boxes_of(session)) == 3


def test_frames_that_are_too_large_are_refused(start, monkeypatch):
    monkeypatch.setattr(module, "_MOST_PIXELS", 1000)
    session = start()
    reach(session, State.FAILED)
    assert "96 x 72" in session.status.message


def test_a_clip_is_played_at_its_rate(start, monkeypatch, images):
    monkeypatch.setattr(module, "open_source", lambda source: at_rate(images, 50))
    session = start()
    session.full_speed = False
    begin = time.monotonic()
    session.play()
    reach(session, State.ENDED)
    assert time.monotonic() - begin > 4.9 / 50  # five frames follow the first one


def at_rate(images, fps):
    frames = [(frame.name, frame.image) for frame in open_source(images)]
    return FrameSource("clip", frames, fps, len(frames))


def test_a_paused_camera_goes_on_with_what_it_shows_then(start, monkeypatch, draw_frame):
    taken = []

    def pictures():
        for i in range(1000):
            taken.append(i)
            time.sleep(0.002)
            yield str(i), draw_frame(BOX, seed=0)

    monkeypatch.setattr(
        module, "open_source", lambda source: FrameSource("camera", pictures(), 25, None)
    )
    session = start()
    reach(session, State.READY)
    until(lambda: len(taken) > 5)
    session.step()
    until(lambda: session.status.frame > 4)
    assert session.live and session.status.num_frames is None
    session.finish()
    reach(session, State.ENDED)


def test_pictures_are_jpegs_of_bounded_width():
    view = module.View(1, np.zeros((300, 3000, 3), np.uint8))
    image = cv2.imdecode(np.frombuffer(view.jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (128, 1280, 3)
