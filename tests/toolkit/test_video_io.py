import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.io import video as video_io
from toolkit.io.video import (
    CutShortError,
    FrameSource,
    VideoSink,
    Window,
    open_source,
    window_available,
)


def gray(value, size=(32, 24)):
    return np.full((size[1], size[0], 3), value, np.uint8)


def write_clip(path, count=10, size=(32, 24)):
    with VideoSink(path, 10) as sink:
        for i in range(count):
            sink.write(gray(20 * i, size))
    return path


def test_folder_gives_its_images_in_natural_order(tmp_path):
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), gray(number))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    source = open_source(tmp_path)
    frames = list(source)
    assert (source.num_frames, source.live, source.fps) == (3, False, 25)
    assert [(f.index, f.name) for f in frames] == [(0, "f1.png"), (1, "f2.png"), (2, "f10.png")]
    assert [f.image[0, 0, 0] for f in frames] == [1, 2, 10]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 5), 77, np.uint8), (77, 77, 77)),  # gray
        (np.full((4, 5, 4), (1, 2, 3, 99), np.uint8), (1, 2, 3)),  # alpha
        (np.full((4, 5), 0x1234, np.uint16), (128, 128, 128)),  # 16 bits
        (np.full((4, 5, 3), (0x0100, 0x8200, 0xFE00), np.uint16), (1, 0x82, 0xFE)),
    ],
)
def test_any_image_becomes_bgr_uint8(tmp_path, pixels, expected):
    cv2.imwrite(str(tmp_path / "1.png"), pixels)
    (frame,) = open_source(tmp_path)
    assert frame.image.shape == (4, 5, 3)
    assert frame.image.dtype == np.uint8
    np.testing.assert_array_equal(frame.image[0, 0], expected)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "clip.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"no images in this folder .*jpg.*png"):
        open_source(tmp_path)


def test_a_damaged_image_is_named_after_those_before_it(tmp_path):
    cv2.imwrite(str(tmp_path / "1.jpg"), gray(9))
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) - 40])
    frames = iter(open_source(tmp_path))
    next(frames)
    with pytest.raises(ValueError, match=r"cannot decode .*2\.jpg"):
        next(frames)


def test_a_change_of_size_is_an_error(tmp_path):
    for number, width in ((1, 32), (2, 32), (3, 30)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), gray(0, (width, 24)))
    with pytest.raises(ValueError, match=r"3\.png is 30 x 24 pixels, those before it 32 x 24"):
        list(open_source(tmp_path))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".MP4"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = write_clip(tmp_path / "new" / f"clip{suffix}")
    source = open_source(str(path))
    frames = list(source)
    assert (source.fps, source.num_frames, source.live) == (10, 10, False)
    assert [f.name for f in frames] == [str(i) for i in range(10)]
    for i, frame in enumerate(frames):
        assert abs(int(frame.image.mean()) - 20 * i) <= 6
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_odd_side_loses_its_last_pixel(tmp_path):
    path = write_clip(tmp_path / "odd.mp4", 3, (33, 25))
    assert next(iter(open_source(path))).image.shape == (24, 32, 3)


def test_a_video_cut_short_gives_its_frames_and_then_an_error(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "clip.avi"
    with VideoSink(path, 25) as sink:
        for _ in range(20):
            sink.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    seen = []
    with pytest.raises(CutShortError, match=r"clip\.avi ends after \d+ of 20 frames"):
        for frame in open_source(path):
            seen.append(frame.index)
    assert seen == list(range(len(seen)))
    assert 5 <= len(seen) <= 15


@pytest.mark.parametrize("name", ["junk.mp4", "empty.mp4", "text.txt"])
def test_what_is_no_video_is_named(tmp_path, name):
    content = {"junk.mp4": bytes(range(256)) * 20, "empty.mp4": b"", "text.txt": b"hello"}[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=rf"cannot open .*{name}"):
        open_source(tmp_path / name)


def test_opencv_adds_no_message_of_its_own(tmp_path):
    (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 20)
    # in a process of its own: FFmpeg reads its log level once, perhaps in an earlier test
    code = "from toolkit.io.video import open_source; open_source('junk.mp4')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines()[0].startswith("Traceback")
    assert "cannot open" in done.stderr.splitlines()[-1]


def test_a_missing_source_is_named():
    with pytest.raises(FileNotFoundError, match="'no/such/clip'"):
        open_source("no/such/clip")


def test_a_missing_camera_is_named():
    with pytest.raises(OSError, match="cannot open camera 97"):
        open_source("97")


def test_a_stream_that_does_not_answer_is_named():
    with pytest.raises(OSError, match=r"cannot open http://127\.0\.0\.1:9/x"):
        open_source("http://127.0.0.1:9/x")


def test_a_file_named_by_a_number_is_no_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(str(tmp_path / "1.png"), gray(5))
    (tmp_path / "0").mkdir()
    (tmp_path / "1.png").rename(tmp_path / "0" / "1.png")
    assert len(list(open_source("0"))) == 1


class FakeCamera:
    def __init__(self, target):
        self.target, self.given, self.released = target, 0, False

    def isOpened(self):
        return True

    def get(self, key):
        return 0.0

    def read(self):
        self.given += 1
        return (True, gray(self.given)) if self.given <= 8 else (False, None)

    def release(self):
        self.released = True


def test_a_camera_is_live_and_its_first_five_frames_are_dropped(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    source = open_source(0)
    assert (source.name, source.live, source.fps) == ("camera 0", True, 25)
    seen = []
    with pytest.raises(OSError, match="camera 0 delivers no more frames"):
        seen.extend((f.index, int(f.image[0, 0, 0])) for f in source)
    frames = iter(open_source(0))
    assert [(f.index, int(f.image[0, 0, 0])) for f in (next(frames), next(frames))] == [
        (0, 6),
        (1, 7),
    ]


def test_a_stream_that_ends_just_ends(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    source = open_source("rtsp://host/x")
    assert source.live
    assert len(list(source)) == 8


def test_a_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), VideoSink(path) as sink:
        sink.write(gray(1))
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_no_frame_no_file(tmp_path):
    with VideoSink(tmp_path / "clip.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_sink_refuses_another_size(tmp_path):
    with (
        pytest.raises(ValueError, match=r"clip\.mp4: a frame of 40 x 24 .* 32 x 24"),
        VideoSink(tmp_path / "clip.mp4") as sink,
    ):
        sink.write(gray(1))
        sink.write(gray(1, (40, 24)))
    assert list(tmp_path.iterdir()) == []


def test_sink_names_the_formats_it_knows(tmp_path):
    with pytest.raises(ValueError, match=r"clip\.gif: a video's name must end in \.mp4 or \.avi"):
        VideoSink(tmp_path / "clip.gif")


def test_sink_refuses_a_folder_it_cannot_make(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*clip\.mp4"):
        VideoSink(tmp_path / "file" / "clip.mp4")


def test_sink_refuses_to_replace_a_folder(tmp_path):
    (tmp_path / "x.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        VideoSink(tmp_path / "x.mp4")


def test_a_missing_encoder_is_an_error(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(video_io.CODECS, ".mp4", "zzzz")
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda self: False, raising=False)
    with (
        pytest.raises(OSError, match="no encoder 'zzzz' for frames of 32 x 24"),
        VideoSink(tmp_path / "clip.mp4") as sink,
    ):
        sink.write(gray(1))
    assert list(tmp_path.iterdir()) == []


def test_lost_frames_are_an_error(tmp_path):
    with (
        pytest.raises(OSError, match="only 3 of 4 frames arrived; is the disk full"),
        VideoSink(tmp_path / "clip.mp4") as sink,
    ):
        for i in range(3):
            sink.write(gray(i))
        sink.num_frames += 1  # as if one write had failed without a word
    assert list(tmp_path.iterdir()) == []


def test_frames_of_any_generator_can_be_a_source():
    source = FrameSource("made", ((str(i), gray(i)) for i in range(3)), 25, 3)
    assert [frame.image[0, 0, 0] for frame in source] == [0, 1, 2]


@pytest.mark.parametrize(
    ("variables", "platform", "gui", "expected"),
    [
        ({}, "linux", "QT5", False),
        ({"DISPLAY": ":0"}, "linux", "QT5", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", "GTK3", True),
        ({"DISPLAY": ":0"}, "linux", "NONE", False),  # opencv-python-headless
        ({}, "darwin", "COCOA", True),
        ({}, "win32", "NONE", False),
    ],
)
def test_a_window_needs_a_display_and_a_toolkit(variables, platform, gui, expected, monkeypatch):
    report = f"  Media I/O:\n\n  GUI:                           {gui}\n    QT: NO\n"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: report)
    assert window_available(variables.get, platform) is expected


@pytest.mark.parametrize(
    ("key", "go_on"), [(-1, True), (ord("a"), True), (27, False), (113, False)]
)
def test_q_and_escape_end_the_show(monkeypatch, key, go_on):
    waits = []
    monkeypatch.setattr(cv2, "namedWindow", lambda *a: None)
    monkeypatch.setattr(cv2, "imshow", lambda *a: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: waits.append(ms) or key)
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    with Window("w") as window:
        assert window.write(gray(0)) is go_on
    assert waits == [1]  # 0 would wait for ever


def test_a_window_keeps_the_speed_of_the_video(monkeypatch):
    waits = []
    monkeypatch.setattr(cv2, "imshow", lambda *a: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: waits.append(ms) or -1)
    window = Window("w", 2)
    window.write(gray(0))
    window.write(gray(0))
    assert waits[0] == 1
    assert 300 < waits[1] <= 500


def test_drawing_no_box_is_an_error(monkeypatch):
    monkeypatch.setattr(cv2, "selectROI", lambda *a: (0, 0, 0, 0))
    with pytest.raises(ValueError, match="no box was drawn"):
        Window("w").select_box(gray(0))
    monkeypatch.setattr(cv2, "selectROI", lambda *a: np.array([3, 4, 5, 6]))
    assert Window("w").select_box(gray(0)) == (3, 4, 5, 6)


def test_the_message_of_a_full_disk_is_kept(tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(OSError, match=r"cannot write .*clip\.mp4: No space left"):
        VideoSink(tmp_path / "clip.mp4")
