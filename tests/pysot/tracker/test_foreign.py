import json
import math
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from pysot.cli import run
from pysot.cli import test as tool
from pysot.tracker import opencv
from pysot.tracker.base_tracker import BaseTracker
from pysot.tracker.foreign import ForeignSpec, ForeignTracker
from toolkit.io.pool import preloaded

FRAME = np.zeros((72, 96, 3), np.uint8)
TRACKERS = """
class Right:
    def init(self, image, bbox):
        self.box = list(bbox)

    def track(self, image):
        x, y, w, h = self.box
        self.box = [x + 3, y, w, h]
        return {"bbox": self.box, "best_score": 0.5}


class Failing(Right):
    def track(self, image):
        if 17 <= self.box[1] < 18:  # in video B
            return {}["box"]
        return super().track(image)


class NoInit:
    track = Right.track


class NoTrack:
    init = Right.init

    def track(self, images, box):
        "Of another toolkit."


def broken():
    raise KeyError("weights")


number = 5
"""


class Returns:
    """A tracker that returns the same in every frame."""

    def __init__(self, result):
        self.result = result

    def init(self, image, bbox):
        pass

    def update(self, image):
        return self.result


def tracked(result):
    tracker = ForeignTracker(Returns(result), "mine", Returns)
    tracker.init(FRAME, [1, 2, 3, 4])
    return tracker.track(FRAME)


@pytest.fixture
def module(plugin):
    return plugin(TRACKERS, "their_trackers.py")


@pytest.fixture
def arguments(module, otb_set, tmp_path):
    where = ("--dataset-root", str(otb_set), "--results", str(tmp_path / "results"))
    return lambda name: ["--dataset", "Tiny", *where, "--tracker", f"{module}:{name}"]


def fails(arguments, capsys):
    """Run the tool as its script does; return its exit code and message, which is one line."""
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main(arguments))
    *_, message = capsys.readouterr().err.splitlines()
    return stop.value.code, message.removeprefix("error: ")


# ----------------------------------------------------------------------------- pysot test --tracker


def test_any_tracker_runs_over_a_benchmark_and_goes_on_where_it_stopped(
    arguments, tmp_path, capsys
):
    tool.main(arguments("Right"))
    folder = tmp_path / "results" / "Tiny" / "Right"
    assert (folder / "B.txt").read_text().splitlines()[-1] == "35.5,17.5,24,18"
    (folder / "B.txt").unlink()
    tool.main(arguments("Right"))
    assert "2 finished videos skipped" in capsys.readouterr().err
    record = json.loads((folder / ".run.json").read_text())
    assert record["tracker"] == "their_trackers:Right"
    record["plugins"]["their_trackers"] = "of another file"
    (folder / ".run.json").write_text(json.dumps(record))
    code, message = fails(arguments("Right"), capsys)
    assert code == 2 and "holds results of another snapshot" in message


def test_a_pickled_tracker_is_built_in_another_process(module):
    spec = pickle.loads(pickle.dumps(ForeignSpec.read(f"{module}:Right")))
    assert "their_trackers" in preloaded  # what workers import
    spec().init(FRAME, [1, 2, 3, 4])


@pytest.mark.slow
def test_workers_import_the_tracker_and_keep_what_others_finished(arguments, tmp_path, capsys):
    code, message = fails([*arguments("Failing"), "--workers", "2"], capsys)
    assert (code, message) == (1, "1 of 3 videos failed: B")
    found = {path.name for path in (tmp_path / "results" / "Tiny" / "Failing").glob("*.txt")}
    assert found == {"A.txt", "C.txt"}


def test_the_reason_of_a_failure_names_tracker_and_method(arguments, capsys):
    with pytest.raises(SystemExit):
        run(lambda: tool.main(arguments("Failing")))
    reason = "error: B: their_trackers:Failing: track: KeyError: 'box'"
    assert reason in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoInit", "their_trackers:NoInit: NoInit has no method init(image, bbox)"),
        ("NoTrack", "NoTrack has no method track(image) or update(image)"),
        ("broken", "--tracker their_trackers:broken: KeyError: 'weights'"),
        ("number", "their_trackers.py:number: expected a function or class, found int"),
        ("Missing", "their_trackers.py has no Missing"),
    ],
)
def test_factories_that_do_not_fit_are_one_line(arguments, capsys, name, message, tmp_path):
    code, line = fails(arguments(name), capsys)
    assert code == 2 and message in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tracker", "--tracker tracker: expected module:factory or path/file.py:factory"),
        ("no_such_module:make", "No module named 'no_such_module'"),
        ("no_such_file.py:make", "not found: no_such_file.py"),
    ],
)
def test_a_factory_that_is_nowhere_is_an_error(source, message):
    with pytest.raises(ValueError, match=r"--tracker") as error:
        ForeignSpec.read(source)
    assert message in str(error.value)


def test_a_tracker_takes_no_configuration(arguments, capsys):
    for more in (["--static"], ["--config", "x.yaml"], ["TRACK.LR", "0.3"]):
        code, message = fails([*arguments("Right"), *more], capsys)
        assert code == 2 and "takes no --config, --snapshot, --model" in message


def test_our_own_trackers_pass_as_they_are(plugin):
    text = "from toolkit.protocols.one_pass import StaticTracker\n"
    text += "from pysot.tracker.base_tracker import BaseTracker\n"
    text += "class Ours(StaticTracker, BaseTracker): ...\n"
    tracker = ForeignSpec.read(f"{plugin(text)}:Ours")()
    assert type(tracker).__name__ == "Ours" and isinstance(tracker, BaseTracker)


# ----------------------------------------------------------------------------- what trackers return


@pytest.mark.parametrize(
    "result",
    [
        {"bbox": (5, 6, 7, 8)},
        np.array([5, 6, 7, 8]),
        (True, [5, 6, 7, 8]),
        (np.True_, np.array([5.0, 6.0, 7.0, 8.0])),
        torch.tensor([5, 6, 7, 8]),
        (number for number in (5, 6, 7, 8)),
    ],
)
def test_a_box_comes_as_a_dict_alone_or_after_a_flag(result):
    assert tracked(result) == {"bbox": [5, 6, 7, 8]}


def test_an_object_of_results_keeps_its_score_and_polygon():
    found = SimpleNamespace(bbox=(5, 6, 7, 8), score=0.25, polygon=(1, 2, 3, 4, 5, 6, 7, 8))
    expected = {"bbox": [5, 6, 7, 8], "best_score": 0.25, "polygon": [*range(1, 9)]}
    assert tracked(found) == expected


def test_a_target_out_of_sight_keeps_its_last_box():
    assert tracked((False, (0, 0, 0, 0))) == {"bbox": [1, 2, 3, 4], "best_score": 0.0, "lost": True}


@pytest.mark.parametrize(
    "result",
    [
        *(None, "box", (1, 2, 3), (1, 2, math.nan, 4), (1, 2, -3, 4), np.zeros((4, 4))),
        *((True, None), [True, [1, 2, 3, 4]], {"box": 1}, {"bbox": 5}, "1234"),
        *((np.array([1.0, 2.0, 3.0, 4.0]), 0.5), np.array([1, 2, 3, 4]) * 1j),  # a box, a score
    ],
)
def test_anything_else_is_an_error(result):
    with pytest.raises(RuntimeError, match=r"mine: update returned .*; expected a dict with bbox"):
        tracked(result)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"best_score": "high"}, "best_score to be a number"),
        ({"best_score": np.zeros(2)}, "best_score to be a number"),
        ({"best_score": "0.5"}, "best_score to be a number"),
        ({"polygon": [math.nan] * 8}, "polygon to be x1, y1"),
        ({"polygon": (1, 2, 3, 4)}, "polygon to be x1, y1"),
        ({"mask": np.zeros((2, 2))}, r"mask to have the frame's shape \(72, 96\)"),
    ],
)
def test_what_comes_with_a_box_is_checked(more, message):
    box = {"bbox": (1, 2, 3, 4)}
    assert tracked(box | dict.fromkeys(more)) == {"bbox": [1, 2, 3, 4]}  # None: not known
    with pytest.raises(RuntimeError, match=f"mine: update returned .*; expected {message}"):
        tracked(box | more)


def test_tensors_become_python_s_numbers_and_arrays():
    score = torch.tensor(0.5, requires_grad=True)
    found = tracked({"bbox": [1, 2, 3, 4], "best_score": score, "mask": torch.ones(72, 96)})
    assert type(found["best_score"]) is float and isinstance(found["mask"], np.ndarray)


def test_a_tracker_may_change_the_first_box_and_end_its_program():
    class Changing(Returns):
        def init(self, image, bbox):
            bbox[2] += bbox[0]

        def update(self, image):
            return self.result or exit("no license")

    tracker = ForeignTracker(Changing((False, None)), "mine", Changing)
    tracker.init(FRAME, [1, 2, 3, 4])
    assert tracker.track(FRAME)["bbox"] == [1, 2, 3, 4]
    tracker.tracker.result = None
    with pytest.raises(RuntimeError, match="mine: update: SystemExit: no license"):
        tracker.track(FRAME)


def test_a_method_that_takes_more_than_a_frame_is_not_the_one():
    class Got10kLike(Returns):
        def track(self, img_files, box, visualize=False):
            raise AssertionError

    assert ForeignTracker(Got10kLike((1, 2, 3, 4)), "mine", Returns).method == "update"


def test_trackers_say_whether_they_are_deterministic():
    theirs = Returns(())
    assert ForeignTracker(theirs, "mine", Returns).deterministic
    theirs.is_deterministic = False
    assert not ForeignTracker(theirs, "mine", Returns).deterministic


# ------------------------------------------------------------------------------------------- OpenCV


def test_opencv_s_mil_follows_a_square(draw_frame):
    tracker = ForeignSpec.read("pysot.tracker.opencv:MIL")()
    tracker.init(draw_frame((20, 15, 24, 18)), [20.2, 15.0, 24.0, 17.6])
    tracker.track(draw_frame((23, 15, 24, 18), seed=1))
    found = tracker.track(draw_frame((26, 15, 24, 18), seed=2))
    assert found["bbox"] == pytest.approx([26, 15, 24, 18], abs=4)
    assert not tracker.deterministic
    first = tracker.tracker
    tracker.init(draw_frame((20, 15, 24, 18)), [20, 15, 24, 18])
    assert tracker.tracker is not first  # OpenCV's KCF fails if it is started again


def test_records_name_the_version_of_opencv():
    record = ForeignSpec.read("pysot.tracker.opencv:MIL").record()
    assert record["tracker"] == "pysot.tracker.opencv:MIL" and record["opencv"] == cv2.__version__


def test_a_tracker_of_contrib_names_the_package(monkeypatch):
    monkeypatch.delattr(cv2, "TrackerCSRT_create", raising=False)
    with pytest.raises(ValueError, match="pip install opencv-contrib-python"):
        ForeignSpec.read("pysot.tracker.opencv:CSRT")()


def test_nano_needs_its_files(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backbone.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"neckhead of OpenCV's Nano tracker not found: neckhead"):
        ForeignSpec.read("pysot.tracker.opencv:Nano")()
    (tmp_path / "neckhead.onnx").write_bytes(b"1")
    before = opencv.Nano.record()
    (tmp_path / "neckhead.onnx").write_bytes(b"2")
    assert opencv.Nano.record() != before
