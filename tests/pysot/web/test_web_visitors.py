"""Places of visitors, what they may open, and what they may send."""

import asyncio
import time

import cv2
import pytest

from pysot.tracker.api import MultiTracker
from pysot.web import visitors as module
from pysot.web.session import State
from pysot.web.visitors import Offer, Upload, UploadRefused, Visitors, clips_in, is_video
from toolkit.io.video_writer import VideoSink

BOX = (20, 15, 24, 18)


@pytest.fixture
def visitors(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    with_two = Visitors(folder, lambda: MultiTracker(lambda: None), most=2, idle_seconds=60)
    yield with_two
    with_two.close()
    assert list(folder.iterdir()) == []


@pytest.fixture
def clip(tmp_path, draw_frame):
    path = tmp_path / "clip.mp4"
    with VideoSink(path) as sink:
        for i in range(3):
            sink.write(draw_frame(BOX, seed=i))
    return path


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def send(visitor, data, name="clip.mp4", most=10**6, size=1000):
    """Send a file in pieces, as the server receives it."""

    async def pieces():
        for begin in range(0, len(data), size):
            yield data[begin : begin + size]

    with Upload(visitor, name, most) as file:
        asyncio.run(file.receive(pieces()))


def test_there_are_only_so_many_places(visitors):
    first, second = visitors.enter(), visitors.enter()
    assert visitors.enter() is None
    visitors.leave(first.key)
    assert not first.folder.exists() and second.folder.exists()
    third = visitors.enter()
    assert len({first.key, second.key, third.key}) == 3
    assert min(len(key) for key in (first.key, third.key)) >= 32
    assert visitors.find(first.key) is None and visitors.find(third.key) is third


def test_sessions_do_not_mix(visitors, clip):
    first, second = visitors.enter(), visitors.enter()
    first.open(Offer("one", str(clip)))
    second.open(Offer("two", str(clip)))
    until(lambda: first.session.view and second.session.view)
    assert first.session.view.number != second.session.view.number
    assert first.session.json_path.is_relative_to(first.folder)
    visitors.leave(first.key)
    assert first.session is None and second.session.status.state == State.READY


def test_the_idle_leave_and_those_who_track_stay(visitors, clip, monkeypatch):
    first, second = visitors.enter(), visitors.enter()
    second.open(Offer("two", str(clip)))
    until(lambda: second.session.view)
    visitors.leave_idle()
    assert visitors.find(first.key)
    later = time.monotonic() + 61
    monkeypatch.setattr(module, "monotonic", lambda: later)
    second.session._steps = 1e9
    second.session._present()
    visitors.leave_idle()
    assert visitors.find(first.key) is None and visitors.find(second.key) is second
    second.session.live = True  # nobody may watch a camera that never ends
    visitors.leave_idle()
    assert visitors.find(second.key) is None


def test_beginning_again_removes_what_was_made(visitors, clip):
    visitor = visitors.enter()
    visitor.reopen()
    assert visitor.session is None
    visitor.open(Offer("clip", str(clip)))
    before = visitor.session
    visitor.reopen()
    assert not before._thread.is_alive()
    assert not before.json_path.parent.exists()
    until(lambda: visitor.session.view)


# ------------------------------------------------------------------------------------- uploads


def test_a_video_that_is_sent_is_opened(visitors, clip):
    visitor = visitors.enter()
    send(visitor, clip.read_bytes(), "C:\\films\\my film.mp4")
    assert visitor.session.label == "my film.mp4"
    until(lambda: visitor.session.view)
    send(visitor, clip.read_bytes(), "../../second.mp4")
    assert visitor.session.label == "second.mp4"
    assert len(list(visitor.folder.glob("upload*"))) == 1  # the first one is gone


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"I am no video.\n" * 100,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
    ],
)
def test_what_is_no_video_never_reaches_a_decoder(visitors, monkeypatch, data):
    monkeypatch.setattr(module, "open_source", lambda path: pytest.fail("it was opened"))
    visitor = visitors.enter()
    with pytest.raises(UploadRefused, match=r"clip\.mp4 is no video"):
        send(visitor, data, size=100)
    assert list(visitor.folder.iterdir()) == [] and visitor.session is None


def test_a_damaged_video_is_refused_and_the_session_goes_on(visitors, clip):
    visitor = visitors.enter()
    send(visitor, clip.read_bytes())
    before = visitor.session
    with pytest.raises(UploadRefused, match=r"bad\.mp4 is damaged"):
        send(visitor, clip.read_bytes()[:40] + bytes(2000), "bad.mp4")
    assert visitor.session is before and len(list(visitor.folder.glob("upload*"))) == 1


def test_a_file_that_is_too_large_is_refused(visitors, clip):
    visitor = visitors.enter()
    data = clip.read_bytes()
    with pytest.raises(UploadRefused, match=r"clip\.mp4 is too large: at most 0\.001 MB"):
        send(visitor, data, most=1000)
    assert list(visitor.folder.iterdir()) == []
    send(visitor, data, most=len(data))


def test_one_file_at_a_time(visitors):
    visitor = visitors.enter()
    with Upload(visitor, "a", 10), pytest.raises(UploadRefused, match="on its way"):
        Upload(visitor, "b", 10)
    with Upload(visitor, "b", 10):
        pass


def test_who_left_opens_nothing_more(visitors, clip):
    visitor = visitors.enter()
    with Upload(visitor, "late.mp4", 10**6) as upload:
        upload.write(clip.read_bytes())
        visitors.leave(visitor.key)
        with pytest.raises(UploadRefused):
            upload.open()
    visitor.open(Offer("clip", str(clip)))
    assert visitor.session is None and not visitor.folder.exists()


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_videos_are_known_by_their_content(tmp_path, draw_frame, suffix):
    path = tmp_path / f"clip{suffix}"
    with VideoSink(path) as sink:
        sink.write(draw_frame(BOX))
    assert is_video(path.read_bytes()[: module.HEAD_BYTES])


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x00\x00\x14ftypqt  ",
        b"\x1a\x45\xdf\xa3" + bytes(20),
        b"\x00\x00\x01\xba\x44",
        (b"\x47" + bytes(187)) * 3,
    ],
)
def test_heads_of_videos(head):
    assert is_video(head) and not is_video(b" " + head)


# -------------------------------------------------------------------------------------- offers


@pytest.mark.parametrize(
    ("text", "label", "source"),
    [
        ("0", "camera 0", "0"),
        (
            "door=rtsp://me:secret@10.0.0.5/live?key=2",
            "door",
            "rtsp://me:secret@10.0.0.5/live?key=2",
        ),
        ("rtsp://me:secret@10.0.0.5/live?key=2", "rtsp://10.0.0.5/live", None),
        ("http://cam/a=b", "http://cam/a", None),
        ("/data/private/clip.mp4", "clip.mp4", None),
        ("a clip=/data/clip.mp4", "a clip", "/data/clip.mp4"),
    ],
)
def test_offers_have_labels_that_tell_no_secrets(text, label, source):
    offer = Offer.parse(text)
    assert offer.source == (source or text)
    assert "secret" not in offer.label
    if "a=b" not in text:
        assert offer.label == label


@pytest.mark.parametrize("text", ["", "label="])
def test_an_offer_without_a_source_is_refused(text):
    with pytest.raises(ValueError, match="expected SOURCE or LABEL=SOURCE"):
        Offer.parse(text)


def test_a_folder_offers_its_videos_and_folders_of_images(tmp_path, clip, draw_frame):
    for name in ("frames", "empty", ".hidden"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "1.png"), draw_frame(BOX))
    (tmp_path / "notes.txt").write_text("no video")
    assert [offer.label for offer in clips_in(tmp_path)] == ["clip.mp4", "frames"]
