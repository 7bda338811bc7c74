import errno
import math
import os
import struct
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.io import video as video_io
from toolkit.io.images import read_image
from toolkit.io.video import (
    CutShortError,
    FrameSource,
    Window,
    open_source,
    window_available,
)
from toolkit.io.video_writer import CODECS, VideoSink


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("img%d.png", [8, 9, 10]),
        ("img%02d.png", [8, 9, 10]),
        ("img9.png", [9, 10]),
        ("one.png", [0]),
    ],
)
def test_numbered_images_are_read_as_those_of_a_folder(tmp_path, name, expected, caplog):
    for number in (8, 9, 10):
        pixels = np.full((24, 32), 7000, np.uint16)
        pixels[:, 16:] = 7500 + 100 * number
        cv2.imwrite(str(tmp_path / f"img{number}.png"), pixels)
    cv2.imwrite(str(tmp_path / "one.png"), gray(0))
    frames = list(open_source(tmp_path / name))
    assert [f.name for f in frames] == [f"img{n}.png" if n else "one.png" for n in expected]
    for frame in frames if len(frames) > 1 else ():
        first = tmp_path / frames[0].name
        assert (frame.image == read_image(tmp_path / frame.name, first=first)).all()
    assert caplog.text.count("more than 8 bits") == (len(frames) > 1)


def test_a_video_file_of_16_bits_is_told(tmp_path, caplog):
    code, depth = cv2.VideoWriter_fourcc(*"FFV1"), [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U]
    path, gray_only = str(tmp_path / "a.mkv"), [cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, code, 25, (32, 24), depth + gray_only)
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no video of 16 bits")
    writer.write(np.full((24, 32), 7000, np.uint16))
    writer.release()
    list(open_source(path))
    assert "a.mkv has more than 8 bits, of which OpenCV gives the upper 8" in caplog.text
    list(open_source(write_clip(tmp_path / "b.mp4")))
    assert "b.mp4" not in caplog.text


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


def element(identifier, content):
    return bytes.fromhex(identifier) + struct.pack(">Q", 1 << 56 | len(content)) + content


def number(identifier, value):
    return element(identifier, value.to_bytes(8, "big"))


def write_matroska(path, milliseconds, rate):
    """Write JPEG frames with these time stamps, and a nominal rate."""
    image = cv2.imencode(".jpg", gray(90))[1].tobytes()
    size = element("E0", number("B0", 32) + number("BA", 24))
    track = number("D7", 1) + number("73C5", 1) + number("83", 1) + element("86", b"V_MJPEG") + size
    tracks = element("1654AE6B", element("AE", track + number("23E383", round(1e9 / rate))))
    duration = element("4489", struct.pack(">d", milliseconds[-1] + 33))
    info = element("1549A966", number("2AD7B1", 1_000_000) + duration)
    blocks = [struct.pack(">BhB", 0x81, ms, 0x80) + image for ms in milliseconds]
    frames = b"".join(element("A3", block) for block in blocks)
    cluster = element("1F43B675", number("E7", 0) + frames)
    head = element("1A45DFA3", element("4282", b"matroska"))
    path.write_bytes(head + element("18538067", info + tracks + cluster))
    return path


@pytest.mark.parametrize(("fps", "stored"), [(119.88, 119.88), (239.913, 239.91), (999.123, 999.1)])
def test_a_rate_that_mpeg4_cannot_hold_is_rounded(tmp_path, fps, stored):
    with VideoSink(tmp_path / "a.mp4", fps) as sink:
        sink.write(gray(0))
    assert rate_of(tmp_path / "a.mp4") == pytest.approx(stored, abs=1e-6)


def rate_of(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize(
    ("milliseconds", "rate"),
    [
        ([0, 161, 172, 183, 194, 205, 366, 377, 388, 399, 410, 571, 582, 593], 30),  # variable
        ([0, 33, 66, 5000, 9000, 9033], 30),  # long pauses: OpenCV guesses 272 frames
        ([35 * i for i in range(20)], 1000),  # as browsers record
    ],
)
def test_times_count_and_not_what_a_container_guesses(tmp_path, milliseconds, rate, caplog):
    source = open_source(write_matroska(tmp_path / "a.mkv", milliseconds, rate))
    with VideoSink(tmp_path / "o.mp4", source.fps) as sink:
        times = []
        for frame in source:  # to its end, which is no error
            times.append(frame.time)
            sink.write(frame.image, frame.time)
    np.testing.assert_allclose(times, np.array(milliseconds) / 1000, atol=1e-6)
    assert not caplog.messages
    average = (len(times) - 1) / (times[-1] - times[0])
    assert rate_of(tmp_path / "o.mp4") == pytest.approx(average, rel=0.01)
    assert len(list(open_source(tmp_path / "o.mp4"))) == len(times)


def test_a_matroska_file_that_ends_before_its_duration_is_named(tmp_path, caplog):
    path = write_matroska(tmp_path / "a.mkv", [40 * i for i in range(50)], 25)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 20 < len(list(open_source(path))) < 30
    assert "of 50 frames; others were trimmed or lost" in caplog.text


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
@pytest.mark.parametrize(
    ("fps", "step"),
    [
        *[(1000, 0.035), (25, 10.0), (25, 100.0), (30, 1 / 7), (29.97, 1 / 59.94), (25, 0.001)],
        (239.913, 1 / 120),  # of a phone; MPEG-4 has no such fraction
        *[(25, 60.0), (240, 7.0), (7.5, 3600.0)],  # time lapse
    ],
)
def test_a_wrong_rate_is_corrected(tmp_path, suffix, fps, step):
    path = tmp_path / f"clip.{suffix}"
    with VideoSink(path, fps) as sink:
        for i in range(40):
            sink.write(gray(i), 5 + step * i)
    source = open_source(path)
    assert rate_of(path) == pytest.approx(1 / step, rel=0.01)
    times = [frame.time for frame in source]
    assert (len(times), source.num_frames) == (40, 40)
    assert times[-1] - times[0] == pytest.approx(39 * step, rel=0.01)


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 0.04, 0.08, 0.12],
        [0.0, 0.033, 0.067, 0.1],  # less than a frame apart
        [0.0, 0.0, 0.0, 0.0],  # a backend without a clock
        [math.nan] * 4,
        [3.0, 2.0, 1.0, 0.0],
        [None] * 4,
    ],
)
def test_a_rate_that_is_right_or_unknown_keeps_every_byte(tmp_path, times):
    for name, given in (("a.mp4", times), ("b.mp4", [None] * 4)):
        with VideoSink(tmp_path / name, 25) as sink:
            for i, time in enumerate(given):
                sink.write(gray(i), time)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_a_clock_beyond_all_video_loses_no_frame(tmp_path, suffix):
    with VideoSink(tmp_path / f"a.{suffix}", 25) as sink:
        for i in range(3):
            sink.write(gray(i), 1e8 * i)
    assert len(list(open_source(tmp_path / f"a.{suffix}"))) == 3


def test_a_clock_that_starts_again_costs_one_step(tmp_path):
    with VideoSink(tmp_path / "a.avi", 25) as sink:
        for i in range(40):
            sink.write(gray(i), 0.1 * (i % 20))
    assert open_source(tmp_path / "a.avi").fps == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(("count", "end"), [(500, "whole"), (500, "cut"), (0, "whole")])
def test_a_wrong_count_is_an_error_only_where_bytes_are_missing(tmp_path, count, end, caplog):
    path = write_clip(tmp_path / "clip.avi", 12)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.find(b"strh") + 8 + 32, count)
    path.write_bytes(data if end == "whole" else data[:-200])
    with pytest.raises(CutShortError) if end == "cut" else nullcontext():
        assert len(list(open_source(path))) == 12
    assert ("12 of 500 frames; others were trimmed" in caplog.text) == (
        (count, end) == (500, "whole")
    )


@pytest.mark.parametrize("stated", [True, False])  # a last box without length ends the file
def test_an_mp4_of_which_a_part_was_trimmed_is_whole(tmp_path, stated):
    path = write_clip(tmp_path / "clip.mp4", 12)
    data = bytearray(path.read_bytes())
    list_, scale = data.find(b"elst"), struct.unpack_from(">I", data, data.find(b"mdhd") + 16)[0]
    struct.pack_into(">Ii", data, list_ + 12, 700, 5 * scale // 10)  # without the first 5 frames
    if not stated:
        struct.pack_into(">I", data, data.find(b"moov") - 4, 0)
    path.write_bytes(data)
    assert len(list(open_source(path))) == 7


def test_a_device_and_a_pipe_are_live(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    os.mkfifo(tmp_path / "pipe")
    camera, pipe = open_source("/dev/null"), open_source(tmp_path / "pipe")
    assert camera.live and pipe.live
    assert len(list(pipe)) == 8
    with pytest.raises(OSError, match="/dev/null delivers no more frames"):
        list(camera)


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
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    assert open_source(0).live  # as without --video


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
    monkeypatch.setitem(CODECS, ".mp4", "zzzz")
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
    monkeypatch.setattr(video_io, "_window_opens", lambda: True)
    assert window_available(variables.get, platform) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", True),
        ("raise SystemExit(1)", False),
        ("import os; os.abort()", False),  # as Qt does without a display
        ("import time; time.sleep(9)", False),  # a display that does not answer
    ],
)
def test_a_display_is_tried_once_in_a_process_of_its_own(code, expected, monkeypatch, caplog):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "GUI: QT5")
    monkeypatch.setattr(video_io, "_PROBE", code)
    monkeypatch.setattr(video_io, "_PROBE_SECONDS", 0.5 if "sleep" in code else 20)
    video_io._window_opens.cache_clear()
    display = {"DISPLAY": ":99"}.get
    assert window_available(display, "linux") is expected
    assert ("no window can be opened on the display :99" in caplog.text) is not expected
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("tried again"))
    assert window_available(display, "linux") is expected
    video_io._window_opens.cache_clear()


def test_a_window_that_the_user_closed_ends_the_show(monkeypatch):
    visible = iter([0.0, 1.0, 0.0])  # not yet, there, closed
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *a: next(visible))
    monkeypatch.setattr(cv2, "imshow", lambda *a: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: -1)
    window = Window("w")
    assert [window.write(gray(0)) for _ in range(3)] == [True, True, False]


def test_a_window_keeps_the_times_of_frames(monkeypatch):
    waits = []
    monkeypatch.setattr(cv2, "imshow", lambda *a: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: waits.append(ms) or -1)
    window = Window("w", 1000)
    for time in (0.0, 0.4, 0.4, 0.1):
        window.write(gray(0), time)
    assert [300 < wait <= 400 for wait in waits] == [False, True, False, False]


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


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((3840, 2160), (1632, 918)),  # 4K on a screen of full HD
        ((1080, 1920), (516, 918)),  # of a phone
        ((640, 480), (640, 480)),
        ((176, 144), (440, 360)),
        ((4000, 10), (1632, 4)),
    ],
)
def test_a_window_fits_the_screen_and_boxes_map_back(size, shown, monkeypatch):
    seen = []
    monkeypatch.setattr(video_io, "screen_size", lambda: (1920, 1080))
    monkeypatch.setattr(cv2, "imshow", lambda title, image: seen.append(image.shape[1::-1]))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: -1)

    def drawn(title, image, *options):
        seen.append(image.shape[1::-1])
        w, h = image.shape[1::-1]
        return w // 4, h // 2, w // 2, h // 4

    monkeypatch.setattr(cv2, "selectROI", drawn)
    window = Window("w")
    window.write(gray(0, size))
    box = window.select_box(gray(0, size))
    assert seen == [shown, shown]
    expected = (size[0] // 4, size[1] // 2, size[0] // 2, size[1] // 4)
    assert box == pytest.approx(expected, abs=size[0] / shown[0])


@pytest.mark.parametrize("output", ["1600 900\n", "", "error"])
def test_the_screen_is_asked_once_in_a_process_of_its_own(output, monkeypatch):
    monkeypatch.setattr(video_io, "_SCREEN", f"print({output!r}, end='')")
    video_io.screen_size.cache_clear()
    assert video_io.screen_size() == ((1600, 900) if output[:1] == "1" else (1280, 720))
    video_io.screen_size.cache_clear()


def test_a_window_says_which_key_was_pressed(monkeypatch):
    codes = iter([-1, ord("a"), 0x100000 | ord(" "), ord("q")])
    monkeypatch.setattr(cv2, "imshow", lambda *a: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: next(codes))
    window = Window("w")
    found = [(window.write(gray(0)), window.key), (window.pause(gray(0)), window.key)]
    found += [(window.pause(gray(0)), window.key) for _ in range(2)]
    assert found == [(True, ""), (True, "a"), (True, " "), (False, "q")]


def test_the_message_of_a_full_disk_is_kept(tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(OSError, match=r"cannot write .*clip\.mp4: No space left"):
        VideoSink(tmp_path / "clip.mp4")
