"""What tools/test.py writes for benchmarks that are not plain one-pass sets."""

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from box_files import read_boxes

from golden import fill
from pysot.cli import test as tool
from pysot.core import RunFailed
from pysot.core.config import load_config
from pysot.core.registry import TRACKERS
from pysot.models.model_builder import build_model
from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from toolkit.datasets import BENCHMARKS, DatasetFactory
from toolkit.evaluation import build_evaluation
from toolkit.io.images import label_colors, read_labels, write_labels
from toolkit.io.video import open_source
from toolkit.results.store import ResultStore

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
TENNIS = SHARED / "data" / "sequences" / "golden_clips" / "tennis"
SAMPLE = ROOT / "tests" / "golden" / "toolkit" / "sample"
SIX_DECIMALS = re.compile(r"\d+\.\d{6}(,\d+\.\d{6})*")


@pytest.fixture
def make_set(otb_set):
    """Rename the drawn set and change its records; return the command line of a run."""

    def make(name, change=lambda video, record: None):
        records = json.loads((otb_set / "Tiny.json").read_text())
        for video, record in records.items():
            change(video, record)
        (otb_set / f"{name}.json").write_text(json.dumps(records))
        results = str(otb_set.parent / "results")
        return ["--dataset", name, "--dataset-root", str(otb_set), "--results", results]

    return make


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def tiny(tiny_config, tiny_snapshot):
    return ["--config", str(tiny_config), "--snapshot", str(tiny_snapshot)]


def files(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".runs")


# ------------------------------------------------------------------------------------------- VOT


def rule_snapshot(name, folder):
    """Write weights made by the rule of the recorded runs; return the arguments that name them."""
    config = ROOT / "experiments" / name / "config.yaml"
    model = build_model(load_config(config))
    shapes = [(key, value.shape) for key, value in model.state_dict().items()]
    path = folder / f"model_{name}.pth"
    torch.save({k: torch.from_numpy(v) for k, v in fill.fill(shapes).items()}, path)
    return ["--config", str(config), "--snapshot", str(path)]


def corner_set(polygon):
    """Corners of a polygon in an order that does not depend on where it begins."""
    return np.array(sorted(np.reshape(polygon, (-1, 2)).tolist()))


@pytest.mark.data
@pytest.mark.skipif(not TENNIS.is_dir(), reason=f"needs the clip in {TENNIS}")
@pytest.mark.parametrize(
    ("name", "lost"), [("siamrpn_alex_dwxcorr", (1, 1)), ("siammask_r50_l3", (1, 2))]
)
def test_vot_files_equal_those_of_the_original(name, lost, tmp_path, results, capsys):
    root = tmp_path / "VOT2018"
    for video in ("tennis", "corner"):
        (root / video).mkdir(parents=True)
        for image in sorted(TENNIS.glob("*.jpg"))[:12]:
            shutil.copy(image, root / video)
    shutil.copy(SAMPLE / "VOT2018.json", root)
    command = ["--dataset", "VOT2018", "--dataset-root", str(root), "--results", str(results)]
    tool.main([*command, *rule_snapshot(name, tmp_path)])
    tracker = f"model_{name}"
    expected = SAMPLE / "results" / "VOT2018" / tracker
    found = results / "VOT2018" / tracker
    assert files(found) == [".run.json", *files(expected)]
    for path in files(expected):
        assert_lines_equal((found / path).read_text(), (expected / path).read_text())
    # widths of numbers depend on the machine
    printed = re.sub(r" +\d+\.\d", " 0", capsys.readouterr().out).splitlines()
    assert printed == [
        f"(  1) Video: corner       Time: 0s Speed: 0fps Lost: {lost[0]}",
        f"(  2) Video: tennis       Time: 0s Speed: 0fps Lost: {lost[1]}",
        f"{tracker} total lost: {sum(lost)}",
    ]


def assert_lines_equal(found, expected):
    for pair in zip(found.split(), expected.split(), strict=True):
        ours, theirs = ([float(x) for x in line.split(",")] for line in pair)
        if len(ours) == len(theirs) == 8:
            ours, theirs = corner_set(ours), corner_set(theirs)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def jump(video, record):
    """Let the target of B leave the first box for good in frame 1."""
    if video == "B":
        record["gt_rect"][1:] = [[70, 50, 20, 15]] * 5


def test_a_static_box_fails_and_starts_again(make_set, results, capsys):
    command = make_set("VOT2019", jump)
    tool.main([*command, "--static"])
    folder = results / "VOT2019" / "static"
    assert files(folder) == [".run.json", *(f"baseline/{v}/{v}_001.txt" for v in "ABC")]
    lines = (folder / "baseline" / "B" / "B_001.txt").read_text().splitlines()
    assert lines == ["1", "2", "0", "0", "0", "0"]
    # four corner pixels (20, 15) to (43, 32); sides grow by one pixel, as the protocol has it
    lines = (folder / "baseline" / "A" / "A_001.txt").read_text().splitlines()
    assert lines == ["1", *["20.0000,15.0000,24.0000,18.0000"] * 5]
    printed = capsys.readouterr().out.splitlines()
    assert [line[-7:] for line in printed[:3]] == ["Lost: 0", "Lost: 1", "Lost: 0"]
    assert printed[3] == "static total lost: 1"
    tool.main([*command, "--static"])  # finished videos count with what they lost
    assert capsys.readouterr().out == "static total lost: 1\n"


def test_vot_results_are_complete_without_ground_truth(make_set, results, capsys):
    def forget(video, record):
        if video == "C":
            record["gt_rect"][3:] = [[float("nan")] * 4] * 3

    tool.main([*make_set("VOT2018", forget), "--static"])
    lines = (results / "VOT2018" / "static" / "baseline" / "C" / "C_001.txt").read_text().split()
    assert [line if len(line) == 1 else "box" for line in lines] == [
        "1",
        "box",
        "box",
        "2",
        "0",
        "0",
    ]
    assert "error" not in capsys.readouterr().err


# ----------------------------------------------------------------------- repetitions and GOT-10k


@pytest.fixture
def nervous(monkeypatch):
    """Register a tracker whose runs differ, for one test."""
    counter = itertools.count()

    class Nervous:
        deterministic = False

        def __init__(self, model, params):
            self.number = next(counter)

        def init(self, image, bbox):
            self.bbox = list(bbox)

        def track(self, image):
            return {"bbox": [*self.bbox[:3], self.number], "best_score": 0.5}

    monkeypatch.setitem(TRACKERS._entries, "Nervous", Nervous)
    return "TRACK.TYPE", "Nervous"


def test_got10k_layout(make_set, tiny, results):
    tool.main([*make_set("GOT-10k"), *tiny])
    folder = results / "GOT-10k" / "tiny"
    both = [f"{v}/{v}_{kind}.txt" for v in "ABC" for kind in ("001", "time")]
    assert files(folder) == [".run.json", *both]
    assert len(read_boxes(folder / "A" / "A_001.txt")) == 6
    lines = (folder / "A" / "A_time.txt").read_text().splitlines()
    assert len(lines) == 6 and all(SIX_DECIMALS.fullmatch(line) for line in lines)


def test_a_deterministic_tracker_runs_once(make_set, results, capsys):
    tool.main([*make_set("GOT-10k"), "--static", "--repetitions", "3"])
    assert "is deterministic: it runs once" in capsys.readouterr().err
    assert not (results / "GOT-10k" / "static" / "A" / "A_002.txt").exists()


def test_a_stochastic_tracker_runs_three_times(make_set, tiny, nervous, results, capsys):
    command = [*make_set("GOT-10k"), *tiny, *nervous]
    tool.main(command)
    folder = results / "GOT-10k" / "tiny" / "B"
    assert files(folder) == ["B_001.txt", "B_002.txt", "B_003.txt", "B_time.txt"]
    runs = ResultStore(folder.parent, "got10k").find("B")
    assert len({tuple(read_boxes(run.regions)[1]) for run in runs}) == 3
    assert all(line.count(",") == 2 for line in (folder / "B_time.txt").read_text().splitlines())
    assert len(capsys.readouterr().out.splitlines()) == 9  # a line per run

    before = (folder / "B_001.txt").read_text()
    (folder / "B_003.txt").write_text("1,2,3,4\n")  # as a killed run may leave it
    tool.main(command)
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert len(read_boxes(folder / "B_003.txt")) == 6
    assert (folder / "B_001.txt").read_text() == before
    # without the times the run counts as missing, and with it the later columns
    (folder / "B_time.txt").unlink()
    tool.main(command)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert all(line.count(",") == 2 for line in (folder / "B_time.txt").read_text().splitlines())


def test_fewer_repetitions_may_be_asked_for(make_set, tiny, nervous, results, capsys):
    command = [*make_set("VOT2016"), *tiny, *nervous]
    tool.main([*command, "--repetitions", "2"])
    folder = results / "VOT2016" / "tiny" / "baseline" / "A"
    assert files(folder) == ["A_001.txt", "A_002.txt"]
    tool.main([*command, "--repetitions", "1", "--overwrite"])
    assert files(folder) == ["A_001.txt"]
    for number in ("0", "16"):
        with pytest.raises(ValueError, match=f"expected 1 to 15 for this benchmark, got {number}"):
            tool.main([*command, "--repetitions", number])


# ------------------------------------------------------------------------- long term, TrackingNet


def test_long_term_files(make_set, tiny, results):
    def absent(video, record):
        record["gt_rect"][2] = [float("nan")] * 4

    tool.main([*make_set("VOT2018-LT", absent), *tiny])
    folder = results / "VOT2018-LT" / "tiny" / "longterm" / "A"
    assert files(folder) == ["A_001.txt", "A_001_confidence.value", "A_time.txt"]
    boxes, scores, times = ((folder / name).read_text().split("\n") for name in files(folder))
    assert (boxes[0], scores[0]) == ("1", "")
    assert boxes.pop() == scores.pop() == times.pop() == ""
    assert len(boxes) == len(scores) == len(times) == 6
    assert all(line.count(",") == 3 for line in boxes[1:])
    assert all(SIX_DECIMALS.fullmatch(line) for line in scores[1:] + times)
    store = ResultStore(results / "VOT2018-LT" / "tiny", "longterm")
    run = store.read(store.files("A"))
    assert len(run.scores) == 6 and np.isnan(run.regions[0]).all()


def test_a_long_term_run_without_its_scores_is_not_finished(make_set, tiny, results, capsys):
    command = [*make_set("VOT2018-LT"), *tiny]
    tool.main(command)
    (results / "VOT2018-LT" / "tiny" / "longterm" / "B" / "B_001_confidence.value").unlink()
    capsys.readouterr()
    tool.main(command)
    assert [line[:16] for line in capsys.readouterr().out.splitlines()] == ["(  2) Video: B  "]


@pytest.mark.parametrize("later", [[], [[float("nan")] * 4] * 5, [None] * 5])
def test_only_the_first_box_is_needed(later, make_set, tiny, results):
    tool.main([*make_set("TrackingNet"), *tiny])
    full = (results / "TrackingNet" / "tiny" / "A.txt").read_text()

    def forget(video, record):
        record["gt_rect"][1:] = later

    command = [*make_set("TrackingNet", forget), *tiny, "--name", "blind"]
    tool.main([*command, "--vis-dir", str(results / "vis")])
    assert (results / "TrackingNet" / "blind" / "A.txt").read_text() == full
    assert len(list(open_source(results / "vis" / "A.mp4"))) == 6


def test_a_folder_of_frames_and_one_box_is_enough(make_set, otb_set, tiny, results, tmp_path):
    tool.main([*make_set("OTB100"), *tiny, "--video", "A"])
    shutil.copytree(otb_set / "A" / "img", tmp_path / "Mine" / "A")
    (tmp_path / "Mine" / "A" / "groundtruth.txt").write_text("20,15,24,18\n")
    command = ["--dataset", "Mine", "--dataset-root", str(tmp_path / "Mine")]
    tool.main([*command, "--results", str(results), *tiny])
    known, own = (read_boxes(results / name / "tiny" / "A.txt") for name in ("OTB100", "Mine"))
    np.testing.assert_array_equal(own, known)


def test_an_interrupted_run_leaves_no_half_results(make_set, tiny, results, monkeypatch, capsys):
    command = [*make_set("VOT2018-LT"), *tiny]
    tool.main([*command, "--name", "whole"])
    track, calls = SiamRPNTracker.track, itertools.count()

    def interrupted(self, image):
        if next(calls) == 8:  # in the second video
            raise KeyboardInterrupt
        return track(self, image)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SiamRPNTracker, "track", interrupted)
        tool.main(command)
    folder = results / "VOT2018-LT" / "tiny"
    assert {path.split("/")[1] for path in files(folder) if "/" in path} == {"A"}
    capsys.readouterr()
    tool.main(command)
    assert len(capsys.readouterr().out.splitlines()) == 2
    whole = results / "VOT2018-LT" / "whole"
    for path in files(whole):
        if not path.endswith("_time.txt"):
            assert (folder / path).read_text() == (whole / path).read_text()


# ------------------------------------------------------------------------------------------ masks


@pytest.fixture
def mask_set(make_set, otb_set):
    """The drawn set with masks: two objects in A, one (0 and 255) in B and C."""
    for video in "ABC":
        labels = np.zeros((72, 96), np.uint8)
        labels[15:33, 20:44] = 1 if video == "A" else 255
        if video == "A":
            labels[50:60, 70:90] = 3
            write_labels(otb_set / f"{video}.png", labels)
        else:
            cv2.imwrite(str(otb_set / f"{video}.png"), labels)
    return make_set("DAVIS2017", lambda v, record: record.update(mask_names=[f"{v}.png"] * 6))


def test_masks_are_written_as_images(mask_set, results, capsys):
    tool.main([*mask_set, "--static"])
    folder = results / "DAVIS2017" / "static"
    assert files(folder) == [".run.json", *(f"{v}/{i:04d}.png" for v in "ABC" for i in range(1, 7))]
    labels = read_labels(folder / "A" / "0006.png")
    assert {n: int((labels == n).sum()) for n in np.unique(labels)} == {0: 6280, 1: 432, 3: 200}
    assert read_labels(folder / "B" / "0001.png").sum() == 432
    assert len(capsys.readouterr().out.splitlines()) == 3
    (folder / "C" / "0003.png").unlink()
    tool.main([*mask_set, "--static"])
    assert capsys.readouterr().out == "(  3) Video: C\n"
    assert (folder / "C" / "0003.png").exists()


def test_masks_can_be_watched(mask_set, tmp_path):
    vis = tmp_path / "vis"
    tool.main([*mask_set, "--static", "--video", "A", "--vis-dir", str(vis)])
    frame = list(open_source(vis / "A.mp4"))[5].image
    tint = frame[55, 72:88].astype(int).mean(axis=0)  # BGR of label 3: (0, 128, 128)
    plain = frame[62:70, 72:88].astype(int).mean(axis=(0, 1))
    assert tint[2] - tint[0] > plain[2] - plain[0] + 15
    assert tuple(label_colors()[3]) == (128, 128, 0)


def test_a_set_without_masks_says_so(make_set, capsys):
    with pytest.raises(RunFailed):
        tool.main([*make_set("DAVIS2016"), "--static"])
    assert "error: A: the video has no annotation masks" in capsys.readouterr().err


# --------------------------------------------------------------------------------- every benchmark


@pytest.mark.parametrize("name", [*BENCHMARKS, "own"])
def test_every_benchmark_is_run_and_its_results_are_scored(name, mask_set, otb_set, results):
    records = json.loads((otb_set / "DAVIS2017.json").read_text())
    for record in records.values():
        record["absent"] = [1] * 6
    (otb_set / f"{name}.json").write_text(json.dumps(records))
    command = ["--dataset", name, "--dataset-root", str(otb_set), "--results", str(results)]
    tool.main([*command, "--static"])
    dataset = DatasetFactory.create_dataset(name=name, dataset_root=otb_set)
    dataset.set_tracker(results / name, ["static"])
    scores = build_evaluation(dataset).scores("static")
    assert scores.problems == []
    assert set(dataset.benchmark.metrics) <= scores.metrics.keys()


# ----------------------------------------------------------------------------------- the record


def test_results_of_other_settings_are_not_mixed(make_set, tiny, results):
    command = [*make_set("OTB100"), *tiny]
    tool.main(command)
    path = results / "OTB100" / "tiny" / ".run.json"
    record = json.loads(path.read_text())
    with pytest.raises(ValueError, match="or of other settings"):
        tool.main([*command, "TRACK.PRECISION", "bf16"])
    record["settings"]["TRACK"]["FORGOTTEN"] = 1
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="or of other settings"):
        tool.main(command)
