import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pysot import MultiTracker, Tracker
from pysot.cli import demo as tool
from pysot.cli import run
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.session import FrameResult
from pysot.tracker.tracker_builder import build_tracker, load_network
from toolkit.datasets.formats.coco import read_mask
from toolkit.io import files as files_module
from toolkit.io.images import read_labels
from toolkit.io.video import FrameSource, open_source
from toolkit.io.video_writer import VideoSink
from toolkit.results import tracks as tracks_module
from toolkit.results.tracks import Tracks

ROOT = Path(__file__).parents[2]
SIZE = (96, 72)
RECT = "20,15,24,18"


@pytest.fixture(autouse=True)
def headless(monkeypatch, tmp_path):
    """Run in an empty folder and never open a window, whatever the machine has."""
    monkeypatch.setattr(tool, "window_available", lambda: False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def images(draw_frame, tmp_path):
    """Folder ``clip.d`` of eight frames of a moving rectangle."""
    folder = tmp_path / "clip.d"
    folder.mkdir()
    for i in range(8):
        cv2.imwrite(str(folder / f"{i + 5}.jpg"), draw_frame((20 + 3 * i, 15, 24, 18), seed=i))
    return folder


@pytest.fixture
def arguments(tiny_config, tiny_snapshot, images):
    return [
        *("--config", str(tiny_config), "--snapshot", str(tiny_snapshot)),
        *("--video", str(images), "--init-rect", RECT),
    ]


def without_rect(arguments):
    return arguments[: arguments.index("--init-rect")]


def replaced(arguments, option, value):
    at = arguments.index(option)
    return [*arguments[: at + 1], str(value), *arguments[at + 2 :]]


def fails(arguments, capsys, code):
    """Run the tool as its script does; return its message, which is its last line."""
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main(arguments))
    assert stop.value.code == code
    message = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in message
    return message


def files(folder="."):
    return sorted(p.name for p in Path(folder).iterdir())


# ------------------------------------------------------------------------------- what comes out


def test_video_boxes_and_summary(arguments, capsys):
    tool.main([*arguments, "--output", "out/t.mp4", "--json", "out/t.json"])
    assert files("out") == ["t.json", "t.mp4"]
    frames = [frame.image for frame in open_source("out/t.mp4")]
    assert [frame.shape for frame in frames] == [(72, 96, 3)] * 8
    edge = frames[0][15, 22:42].astype(int).mean(axis=0)  # the first box is drawn in green
    assert edge[1] > max(edge[0], edge[2]) + 60
    record = json.loads(Path("out/t.json").read_text())
    assert (record["width"], record["height"]) == SIZE
    assert [frame["name"] for frame in record["frames"]] == [f"{i}.jpg" for i in range(5, 13)]
    assert record["frames"][0] == {"name": "5.jpg", "bbox": [20, 15, 24, 18], "score": None}
    assert all(0 <= frame["score"] <= 1 for frame in record["frames"][1:])
    scores = [frame["score"] for frame in record["frames"][1:]]
    summary, *written = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"8 frames, \d+\.\d fps \(tracker alone\), mean score 0\.\d\d", summary)
    assert summary.endswith(f"{np.mean(scores):.2f}")
    assert written == ["wrote out/t.mp4", "wrote out/t.json"]


def test_boxes_are_those_of_the_tracker(arguments, tiny_config, tiny_snapshot, images):
    tool.main([*arguments, "--json", "t.json"])
    tracker = build_tracker(*load_network(str(tiny_config), tiny_snapshot))
    frames = [frame.image for frame in open_source(images)]
    tracker.init(frames[0], (20, 15, 24, 18))
    expected = [tracker.track(frame)["bbox"] for frame in frames[1:]]
    record = json.loads(Path("t.json").read_text())
    # drawing on a frame must not change what the tracker sees next
    np.testing.assert_array_equal([f["bbox"] for f in record["frames"][1:]], expected)


def test_without_a_display_a_video_is_written_here(arguments, capsys):
    tool.main(arguments)
    assert files() == ["clip_tracked.mp4"]


@pytest.mark.parametrize("option", ["--video_name", "--video-name", "--video"])
def test_a_video_file_under_each_name_of_the_option(arguments, images, tmp_path, option):
    path = tmp_path / "a clip.avi"
    with VideoSink(path, 12) as sink:
        for frame in open_source(images):
            sink.write(frame.image)
    at = arguments.index("--video")
    tool.main([*arguments[:at], option, str(path), *arguments[at + 2 :]])
    written = open_source("a_clip_tracked.mp4")
    assert (written.fps, written.num_frames) == (12, 8)


@pytest.mark.parametrize("rect", ["-5,-5,30.5,30", "-.5,-5,30,30", "-5 -5 30 30"])
def test_a_box_may_begin_outside_of_the_frame(arguments, rect):
    tool.main([*replaced(arguments, "--init-rect", rect), "--json", "t.json", "TRACK.LR", "1e-3"])
    first = json.loads(Path("t.json").read_text())["frames"][0]["bbox"]
    assert first == [float(number) for number in rect.replace(",", " ").split()]


def test_no_window_is_tried_where_none_is_needed(arguments, monkeypatch):
    monkeypatch.setattr(tool, "window_available", lambda: pytest.fail("a window was tried"))
    tool.main([*arguments, "--output", "o.mp4"])
    assert files() == ["o.mp4"]


def test_max_frames_stops_early(arguments):
    tool.main([*arguments, "--max-frames", "3", "--json", "t.json"])
    assert len(json.loads(Path("t.json").read_text())["frames"]) == 3
    assert open_source("clip_tracked.mp4").num_frames == 3


def test_one_frame_has_no_speed_and_no_score(arguments, capsys):
    tool.main([*arguments, "--max-frames", "1"])
    assert "1 frames, 0.0 fps (tracker alone), mean score nan" in capsys.readouterr().out


def test_overrides_reach_the_tracker(arguments):
    tool.main([*arguments, "--json", "t.json", "TRACK.LR", "0.0"])
    boxes = [frame["bbox"] for frame in json.loads(Path("t.json").read_text())["frames"]]
    assert {tuple(box[2:]) for box in boxes} == {(24.0, 18.0)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/clip.mp4", "clip"),
        ("a/v1.2.mp4", "v1"),  # PySOT titles its window so
        ("frames/", "frames"),
        ("camera 0", "camera_0"),
        ("rtsp://host:554/live/main?x=1", "main"),
        ("http://host/", "host"),
        ("a/.hidden", "video"),
        ("C:\\clips\\b.avi", "b"),
    ],
)
def test_title_can_be_part_of_a_file_name(name, expected):
    assert tool._title_of(FrameSource(name, [], 25, 0)) == expected


# ------------------------------------------------------------------------ several objects, masks


def load(name):
    return json.loads(Path(name).read_text())


def test_several_boxes_are_followed_as_by_one_multi_tracker(
    arguments, tiny_config, tiny_snapshot, images
):
    tool.main([*arguments, "--init-rect", "50,30,20,20", "--json", "t.json"])
    multi = MultiTracker.from_config(tiny_config, tiny_snapshot)
    frames = [frame.image for frame in open_source(images)]
    for box in ((20, 15, 24, 18), (50, 30, 20, 20)):
        multi.add(frames[0], box)
    for frame, record in zip(frames[1:], load("t.json")["frames"][1:], strict=True):
        found = {one["id"]: one["bbox"] for one in record["objects"]}
        assert found == {n: list(result.bbox) for n, result in multi.track(frame).items()}


def test_objects_of_a_file_start_where_it_says(arguments):
    Path("first.txt").write_text("1,4,21,16,24,18,1,-1,-1,-1\n3,9,51,31,20,20,1,-1,-1,-1\n")
    tool.main([*without_rect(arguments), "--boxes", "first.txt", "--json", "t.json"])
    frames = load("t.json")["frames"]
    assert ids([frame["objects"] for frame in frames]) == [[0]] * 2 + [[0, 1]] * 6
    assert frames[2]["objects"][1] == {"id": 1, "bbox": [50, 30, 20, 20], "score": None}


def test_every_output_has_the_same_boxes(arguments):
    names = {name: f"t.{name}" for name in ("json", "mot", "coco", "gif")}
    tool.main([*arguments, *(part for n, f in names.items() for part in (f"--{n}", f))])
    boxes = np.array([frame["bbox"] for frame in load("t.json")["frames"]])
    mot = np.loadtxt("t.mot", delimiter=",")
    np.testing.assert_array_equal(mot[:, :2], [[i + 1, 1] for i in range(8)])
    np.testing.assert_allclose(mot[:, 2:6] - [1, 1, 0, 0], boxes, atol=0.006)
    coco = load("t.coco")
    np.testing.assert_allclose([found["bbox"] for found in coco["annotations"]], boxes)
    assert [image["file_name"] for image in coco["images"]] == [f"{i}.jpg" for i in range(5, 13)]
    with Image.open("t.gif") as gif:
        assert (gif.n_frames, gif.size) == (3, SIZE)  # of 0.32 seconds


@pytest.fixture
def mask_arguments(arguments, tmp_path):
    """The tool with the tiny SiamMask of ``experiments`` and random weights."""
    torch.manual_seed(0)
    config = load_config(ROOT / "experiments/siammask_r18_tiny/config.yaml")
    torch.save(build_model(config).state_dict(), tmp_path / "mask.pth")
    found = replaced(arguments, "--config", ROOT / "experiments/siammask_r18_tiny/config.yaml")
    return replaced(found, "--snapshot", tmp_path / "mask.pth")


def test_masks_and_polygons_are_those_of_the_tracker(mask_arguments, images, tmp_path):
    """In the video, in the JSON and its run lengths, in COCO's file and as label images."""
    files = ["--output", "t.avi", "--json", "t.json", "--coco", "c.json", "--masks", "masks"]
    settings = ["TRACK.MASK_THERSHOLD", "0.5"]  # of random weights about half of the pixels
    tool.main([*mask_arguments, *files, *settings])
    config, snapshot = (
        mask_arguments[mask_arguments.index(o) + 1] for o in ("--config", "--snapshot")
    )
    tracker = Tracker.from_config(config, snapshot, opts=settings)
    source, video = list(open_source(images)), list(open_source("t.avi"))
    tracker.init(source[0].image, (20, 15, 24, 18))
    records, annotations = load("t.json")["frames"], load("c.json")["annotations"]
    assert set(records[0]) == {"name", "bbox", "score"}
    for index in range(1, 8):
        found, record = tracker.track(source[index].image), records[index]
        inside = found.mask > 0.5
        assert 0 < inside.sum() < inside.size
        assert record["polygon"] == list(found.polygon) and record["bbox"] == list(found.bbox)
        np.testing.assert_array_equal(read_mask(record["mask"]).draw(inside.shape), inside)
        assert annotations[index]["segmentation"] == record["mask"]
        labels = read_labels(f"masks/clip/{index + 5}.png")
        np.testing.assert_array_equal(labels, inside)
        plain = source[index].image.astype(int)[inside].mean(axis=0)
        shown = video[index].image.astype(int)[inside].mean(axis=0)
        assert shown[1] - plain[1] > 30 > abs(shown[0] - plain[0])  # tinted green


def test_masks_that_no_tracker_gives_are_an_error(arguments, capsys):
    message = fails([*arguments, "--masks", "masks"], capsys, 1)
    assert (
        message == f"error: {Path('masks/clip')}: no masks were found; does the tracker have them?"
    )


# ------------------------------------------------------------------------------------- a window


class FakeWindow:
    """Stands for OpenCV's window: remembers what it was asked and presses q after a while."""

    log: list = []
    patience = 100
    key = ""

    def __init__(self, title, fps=0):
        self.log.append(title)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.log.append("closed")

    def select_box(self, image):
        self.log.append("asked")
        return 20, 15, 24, 18

    def write(self, image, time=None):
        self.log.append(image.shape)
        return self.log.count(image.shape) < self.patience


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setattr(tool, "window_available", lambda: True)
    monkeypatch.setattr(tool, "Window", FakeWindow)
    monkeypatch.setattr(FakeWindow, "log", [])
    monkeypatch.setattr(FakeWindow, "patience", 100)
    return FakeWindow


def test_the_mouse_chooses_and_the_window_shows(arguments, window, capsys):
    tool.main(without_rect(arguments))
    assert window.log == ["clip", "asked", "closed", "clip", *[(72, 96, 3)] * 8, "closed"]
    assert files() == []
    assert "8 frames" in capsys.readouterr().out


def test_q_ends_it(arguments, window, capsys):
    window.patience = 3
    tool.main([*arguments, "--json", "t.json"])
    assert window.log == ["clip", *[(72, 96, 3)] * 3, "closed"]
    assert "3 frames" in capsys.readouterr().out
    assert len(json.loads(Path("t.json").read_text())["frames"]) == 3


def test_a_box_can_be_drawn_for_a_video_that_is_written(arguments, window):
    tool.main([*without_rect(arguments), "--output", "o.mp4"])
    assert window.log == ["clip", "asked", "closed"]
    assert files() == ["o.mp4"]


class PressedKeys(FakeWindow):
    """Presses the keys of ``keys`` in turn, one per look at the window."""

    keys = ""

    def write(self, image, time=None):
        return self.press("shown")

    def pause(self, image):
        return self.press("paused")

    def press(self, what):
        self.log.append(what)
        first, PressedKeys.keys = self.keys[:1], self.keys[1:]
        self.key = first.strip("-")
        return self.key != "q"

    def select_box(self, image):
        self.log.append("asked")
        if self.keys[:1] == "x":  # nothing drawn
            PressedKeys.keys = self.keys[1:]
            raise ValueError("no box was drawn")
        return 50.0, 30.0, 20.0, 20.0


@pytest.fixture
def pressed(arguments, window, monkeypatch):
    """Function that runs the tool and presses keys; returns the objects of each frame."""

    def pressed(keys, *options):
        monkeypatch.setattr(tool, "Window", PressedKeys)
        monkeypatch.setattr(PressedKeys, "keys", keys)
        tool.main([*arguments, "--json", "t.json", *options])
        frames = json.loads(Path("t.json").read_text())["frames"]
        return [f.get("objects", [{"id": 0, **f}]) for f in frames]

    return pressed


def ids(frames):
    return [[found["id"] for found in frame] for frame in frames]


def test_keys_pause_and_go_on_by_one_frame(pressed, window):
    frames = pressed("- --n-n q")
    first = ["shown", "shown", "paused", "paused", "paused"]
    assert window.log[1:] == [*first, "shown", "paused", "shown", "shown", "closed"]
    assert ids(frames) == [[0]] * 5


def test_keys_add_and_drop_objects(pressed):
    frames = pressed("-a-d0d")
    assert ids(frames) == [[0], [0, 1], [0, 1], [0], [0], *[[]] * 3]
    assert frames[1][1] == {"id": 1, "bbox": [50, 30, 20, 20], "score": None}


def test_a_key_draws_a_box_again(pressed):
    frames = pressed("--r")
    assert frames[2][0]["bbox"] == [50, 30, 20, 20]
    assert ids(frames) == [[0]] * 8


def test_drawing_nothing_changes_nothing(pressed):
    assert ids(pressed("axrxxq")) == [[0]] * 4


def test_keys_without_meaning_do_no_harm(pressed):
    assert ids(pressed("z7tcs0 rq")) == [[0]] * 7


# ---------------------------------------------------------------------------- an end of its own


def interrupted(draw_frame, count, num_frames):
    def images():
        for i in range(count):
            yield str(i), draw_frame((20 + i, 15, 24, 18), seed=i)
        raise KeyboardInterrupt

    return FrameSource("camera 0", images(), 25, num_frames)


def test_ctrl_c_ends_a_camera_and_keeps_what_there_is(arguments, draw_frame, monkeypatch, capsys):
    monkeypatch.setattr(tool, "open_source", lambda source: interrupted(draw_frame, 4, None))
    tool.main([*arguments, "--json", "t.json"])
    assert "4 frames" in capsys.readouterr().out
    assert files() == ["camera_0_tracked.mp4", "t.json"]


def test_ctrl_c_in_a_file_keeps_what_there_is_but_fails(arguments, draw_frame, monkeypatch, capsys):
    monkeypatch.setattr(tool, "open_source", lambda source: interrupted(draw_frame, 4, 9))
    assert "stopped by SIGINT" in fails([*arguments, "--json", "t.json"], capsys, 1)
    assert kept("camera_0") == 4


def kept(title):
    """Count the frames that both outputs have."""
    assert files() == [f"{title}_tracked.mp4", "t.json"]
    count = len(json.loads(Path("t.json").read_text())["frames"])
    assert len(list(open_source(f"{title}_tracked.mp4"))) == count
    return count


def frames_until(end, draw_frame, num_frames):
    """Four frames, and then whatever ``end`` does."""

    def images():
        for i in range(4):
            yield str(i), draw_frame((20 + i, 15, 24, 18), seed=i)
        end()
        yield "late", draw_frame((24, 15, 24, 18))

    return FrameSource("clip", images(), 25, num_frames)


def signals(*numbers):
    def end():
        for number in numbers:
            os.kill(os.getpid(), number)

    return end


def raises(error):
    def end():
        raise error

    return end


@pytest.fixture
def without_nohup():
    """End nohup for a test, under which the whole suite may run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("without_nohup")
@pytest.mark.parametrize(
    ("end", "message"),
    [
        (signals(signal.SIGTERM), "stopped by SIGTERM"),
        (signals(signal.SIGTERM, signal.SIGTERM, signal.SIGINT), "stopped by SIGTERM"),
        (signals(signal.SIGHUP), "stopped by SIGHUP"),
        (raises(OSError("camera 0 delivers no more frames")), "camera 0 delivers no more frames"),
        (raises(cv2.error("bad frame")), "bad frame"),
        (raises(MemoryError()), "out of memory"),
        (raises(FileNotFoundError(2, "No such file", "a.jpg")), "error: a.jpg: No such file"),
    ],
)
@pytest.mark.parametrize("num_frames", [None, 9])
def test_whatever_ends_it_the_work_is_kept(
    end, message, num_frames, arguments, draw_frame, monkeypatch, capsys
):
    monkeypatch.setattr(tool, "open_source", lambda s: frames_until(end, draw_frame, num_frames))
    assert message in fails([*arguments, "--json", "t.json"], capsys, 1)
    assert kept("clip") == 4


@pytest.mark.parametrize(("num_frames", "code"), [(None, None), (9, 1)])
def test_sigint_ends_a_camera_well_and_a_file_not(
    num_frames, code, arguments, draw_frame, monkeypatch
):
    end = signals(signal.SIGINT, signal.SIGINT)
    monkeypatch.setattr(tool, "open_source", lambda s: frames_until(end, draw_frame, num_frames))
    with pytest.raises(SystemExit) if code else nullcontext():
        run(lambda: tool.main([*arguments, "--json", "t.json"]))
    assert kept("clip") == 4


def test_nohup_stays_in_force(arguments, draw_frame, monkeypatch):
    end = signals(signal.SIGHUP)
    monkeypatch.setattr(tool, "open_source", lambda s: frames_until(end, draw_frame, 5))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        tool.main([*arguments, "--json", "t.json"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert kept("clip") == 5


def test_a_mistake_in_a_tracker_keeps_the_work_and_its_traceback(arguments, images, monkeypatch):
    def build(model, cfg):
        tracker = build_tracker(model, cfg)
        track, calls = tracker.track, []

        def fail_later(image):
            calls.append(1)
            return track(image) if len(calls) < 4 else {}["no such key"]

        tracker.track = fail_later
        return tracker

    monkeypatch.setattr(tool, "build_tracker", build)
    with pytest.raises(KeyError):
        tool.main([*arguments, "--json", "t.json"])
    assert kept("clip") == 4


@pytest.mark.parametrize("harm", ["junk", "resized"])
def test_a_bad_image_keeps_the_frames_before_it(harm, arguments, images, capsys):
    if harm == "junk":
        (images / "8.jpg").write_bytes(b"junk")
        pattern = r"cannot decode the image .*8\.jpg"
    else:
        cv2.imwrite(str(images / "8.jpg"), np.zeros((50, 60, 3), np.uint8))
        pattern = r"frame 8\.jpg is 60 x 50 pixels, those before it 96 x 72"
    assert re.search(pattern, fails([*arguments, "--json", "t.json"], capsys, 1))
    assert kept("clip") == 3


def test_a_disk_that_fills_up_keeps_what_fits(arguments, monkeypatch, capsys):
    free = iter([1 << 30] * 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free, 0)))
    message = fails([*arguments, "--json", "t.json"], capsys, 1)
    assert message == "error: cannot write clip_tracked.mp4: No space left on device"
    assert len(list(open_source("clip_tracked.mp4"))) == 5
    assert len(json.loads(Path("t.json").read_text())["frames"]) == 6  # one was only tracked


def test_a_video_that_cannot_be_finished_costs_no_boxes(arguments, monkeypatch, capsys):
    monkeypatch.setattr(VideoSink, "_check", raises_in_method(OSError("cannot write the video")))
    assert "cannot write the video" in fails([*arguments, "--json", "t.json"], capsys, 1)
    assert files() == ["t.json"]
    assert len(json.loads(Path("t.json").read_text())["frames"]) == 8


def raises_in_method(error):
    def method(self):
        raise error

    return method


def test_boxes_that_cannot_be_written_cost_no_video(arguments, monkeypatch, capsys):
    def full(path):
        raise OSError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(tracks_module, "atomic_write", full)
    message = fails([*arguments, "--json", "t.json"], capsys, 1)
    assert message == "error: cannot write t.json: No space left on device"
    assert files() == ["clip_tracked.mp4"]


@pytest.mark.parametrize(("stated", "step"), [(1000, 0.035), (25, 0.04), (30, 0.5)])
def test_the_video_lasts_as_long_as_its_frames(stated, step, arguments, draw_frame, monkeypatch):
    times = iter(step * i for i in range(9))
    images = ((str(i), draw_frame((20 + i, 15, 24, 18), seed=i)) for i in range(8))
    source = FrameSource("clip", images, stated, 0, lambda: next(times))
    monkeypatch.setattr(tool, "open_source", lambda s: source)
    tool.main(arguments)
    written = open_source("clip_tracked.mp4")
    assert written.fps == pytest.approx(1 / step, rel=0.01)
    assert len(list(written)) == 8


def test_a_video_cut_short_is_tracked_to_its_end(arguments, draw_frame, tmp_path, capsys):
    path = tmp_path / "cut.avi"
    with VideoSink(path, 25) as sink:
        for i in range(20):
            sink.write(draw_frame((20 + i, 15, 24, 18), seed=i))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    message = fails([*replaced(arguments, "--video", path), "--json", "t.json"], capsys, 1)
    found = re.search(r"cut\.avi ends after (\d+) of 20 frames", message)
    count = int(found[1])
    assert 5 <= count <= 15
    assert open_source("cut_tracked.mp4").num_frames == count
    assert len(json.loads(Path("t.json").read_text())["frames"]) == count


# ------------------------------------------------------------------------------------- bad input


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def missing_config(arguments, images):
    return replaced(arguments, "--config", "none.yaml"), r"configuration file not found: none\.yaml"


def missing_snapshot(arguments, images):
    return replaced(arguments, "--snapshot", "none.pth"), r"checkpoint not found: none\.pth"


def damaged_snapshot(arguments, images):
    path = Path(arguments[arguments.index("--snapshot") + 1])
    path.write_bytes(path.read_bytes()[:1000])
    return arguments, r"tiny\.pth is damaged or no checkpoint"


def pickle_with_code(arguments, images):
    torch.save({"state_dict": Bomb()}, arguments[arguments.index("--snapshot") + 1])
    return arguments, r"tiny\.pth: refused"


def missing_video(arguments, images):
    return replaced(arguments, "--video", "none.mp4"), r"no such video file, .*'none\.mp4'"


def missing_video_and_box(arguments, images):
    return without_rect(missing_video(arguments, images)[0]), r"no such video file, .*'none\.mp4'"


def junk_video(arguments, images):
    (images.parent / "junk.mp4").write_bytes(b"junk" * 99)
    return replaced(arguments, "--video", images.parent / "junk.mp4"), r"cannot open .*junk\.mp4"


def empty_folder(arguments, images):
    (images.parent / "empty").mkdir()
    return replaced(arguments, "--video", images.parent / "empty"), r"empty: no images in this"


def damaged_first_frame(arguments, images):
    (images / "5.jpg").write_bytes(b"junk")
    return arguments, r"cannot decode the image .*5\.jpg"


def box_outside(arguments, images):
    return replaced(arguments, "--init-rect", "96,10,20,20"), r"lies outside the 96 x 72 frame"


def no_box(arguments, images):
    return without_rect(arguments), "there is no display to draw a box on: give --init-rect"


def box_of_words(arguments, images):
    return replaced(arguments, "--init-rect", "a,b,c,d"), r"'a,b,c,d': expected x,y,w,h"


def box_of_three(arguments, images):
    return replaced(arguments, "--init-rect", "1,2,3"), r"'1,2,3': expected x,y,w,h"


def empty_box(arguments, images):
    return replaced(arguments, "--init-rect", "20,15,0,18"), r"positive w and h"


def nan_box(arguments, images):
    return replaced(arguments, "--init-rect", "20,nan,24,18"), r"finite numbers"


def no_frames(arguments, images):
    return [*arguments, "--max-frames", "0"], r"--max-frames: 0: must be a whole number, at least 1"


def no_first_boxes(arguments, images):
    return [*arguments, "--boxes", "none.csv"], r"none\.csv: No such file"


def gif_of_another_name(arguments, images):
    return [*arguments, "--gif", "t.png"], r"t\.png: the name must end in \.gif"


def two_outputs_of_one_name(arguments, images):
    return [
        *arguments,
        "--json",
        "o.json",
        "--coco",
        "./o.json",
    ], "two of the outputs have the same"


def masks_over_other_files(arguments, images):
    folder = images.parent / "m" / "clip"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    return [*arguments, "--masks", str(images.parent / "m")], "it holds other files than masks"


def unknown_format(arguments, images):
    return [*arguments, "--output", "o.gif"], r"o\.gif: a video's name must end in \.mp4 or \.avi"


def output_below_a_file(arguments, images):
    return [*arguments, "--output", str(images / "5.jpg" / "o.mp4")], r"5\.jpg"


def json_in_no_folder(arguments, images):
    return [*arguments, "--json", str(images / "5.jpg" / "o.json")], r"5\.jpg"


def json_is_a_folder(arguments, images):
    return [*arguments, "--json", str(images.parent)], r"cannot write .*: it is a folder"


def unknown_key(arguments, images):
    return [*arguments, "TRACK.PENALTY", "1"], r"did you mean TRACK\.PENALTY_K"


@pytest.mark.parametrize(
    "harm",
    [
        missing_config,
        missing_snapshot,
        damaged_snapshot,
        pickle_with_code,
        missing_video,
        missing_video_and_box,
        junk_video,
        empty_folder,
        damaged_first_frame,
        box_outside,
        no_box,
        box_of_words,
        box_of_three,
        empty_box,
        nan_box,
        no_frames,
        no_first_boxes,
        gif_of_another_name,
        two_outputs_of_one_name,
        masks_over_other_files,
        unknown_format,
        output_below_a_file,
        json_in_no_folder,
        json_is_a_folder,
        unknown_key,
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(harm, arguments, images, capsys):
    command, pattern = harm(arguments, images)
    assert re.search(pattern, fails(command, capsys, 2))
    assert files() == []


def test_the_input_is_never_overwritten(arguments, draw_frame, tmp_path, capsys):
    path = tmp_path / "in.mp4"
    with VideoSink(path) as sink:
        sink.write(draw_frame((20, 15, 24, 18)))
    before = path.read_bytes()
    command = [*replaced(arguments, "--video", path), "--output", str(path)]
    assert "is the video itself" in fails(command, capsys, 2)
    assert path.read_bytes() == before


def test_grey_alpha_and_16_bit_frames_are_tracked(arguments, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    kinds = [((72, 96), np.uint8), ((72, 96, 4), np.uint8), ((72, 96, 3), np.uint16)]
    for i, (shape, kind) in enumerate(kinds):
        cv2.imwrite(str(folder / f"{i}.png"), np.full(shape, 90, kind))
    tool.main([*replaced(arguments, "--video", folder), "--json", "t.json"])
    assert len(json.loads(Path("t.json").read_text())["frames"]) == 3


def test_speed_counts_tracked_frames_only():
    tracks = Tracks("clip", (96, 72))
    for index, seconds in enumerate((100.0, 0.5, 0.5, 0.5, 0.5)):
        tracks.add(FrameResult(index, None, {}, str(index), None, seconds))
    assert tracks.fps == pytest.approx(2)


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_that_the_next_does_not_replace(arguments, images, monkeypatch):
    monkeypatch.setattr(tool, "_status", lambda *values: "")  # the speed always differs
    command = [*arguments, "--output", "out/t.mp4", "--json", "out/t.json"]
    tool.main(command)
    whole = {name: Path("out", name).read_bytes() for name in files("out")}
    shutil.rmtree("out")
    for i in range(8, 400):  # enough to be killed in the middle
        shutil.copy(images / "9.jpg", images / f"{i + 5}.jpg")
    script = [sys.executable, str(ROOT / "tools" / "demo.py"), *command]
    killed = subprocess.Popen(script, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not (Path("out").is_dir() and files("out")):
        assert killed.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    killed.kill()
    killed.wait()
    assert [name[:3] for name in files("out")] == [".t."]
    for i in range(8, 400):
        (images / f"{i + 5}.jpg").unlink()
    files_module.remove_leftovers.cache_clear()
    tool.main(command)
    assert {name: Path("out", name).read_bytes() for name in files("out")} == whole
