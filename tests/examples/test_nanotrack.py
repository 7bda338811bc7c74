import hashlib
import json
import math
import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pysot.cli import export
from pysot.cli import test as tool
from pysot.core.config import load_config
from pysot.core.registry import RPN_HEADS, TRACKERS
from pysot.models.model_builder import build_model
from pysot.tracker.api import MultiTracker, Tracker
from pysot.tracker.tracker_builder import build_tracker, load_network, track_params
from pysot.utils.bbox import initial_rect
from toolkit.utils.statistics import overlap_ratio, success_overlap

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "nanotrack"
SHARED = Path(os.environ.get("PYSOT_SHARED", EXAMPLE.parents[3] / "shared"))
DATA = SHARED / "data"
WEIGHTS = DATA / "weights" / "nanotrackv3.pth"
# of names and shapes of the published weights, without counters of batch norm
NAMES = "5f92ecb49966e108c2c3f7ced3c63f2469644f86e9e35ef9544ef762b2bb3cc0"

published = [
    pytest.mark.data,
    pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the published weights"),
]


@pytest.fixture
def config(plugin):
    """The configuration beside its plug-in, in a folder as a user has it."""
    file = plugin((EXAMPLE / "nanotrack.py").read_text(), "nanotrack.py")
    return Path(shutil.copy(EXAMPLE / "config.yaml", file.parent))


@pytest.fixture
def snapshot(config, tmp_path):
    """Random weights in a file like the published one."""
    torch.manual_seed(0)
    weights = build_model(load_config(config)).state_dict()
    path = tmp_path / "nano.pth"
    named = {key.replace("rpn_head.", "ban_head."): value for key, value in weights.items()}
    torch.save({"epoch": 35, "state_dict": named}, path)
    return path


@pytest.fixture
def arguments(config, snapshot, otb_set, tmp_path):
    network = ("--config", str(config), "--snapshot", str(snapshot))
    results = ("--results", str(tmp_path / "results"))
    return ["--dataset", "Tiny", "--dataset-root", str(otb_set), *network, *results]


def test_names_and_shapes_are_those_of_the_published_weights(config):
    own = build_model(load_config(config)).state_dict().items()
    kept = [(k.replace("rpn_head", "ban_head"), v) for k, v in own if "num_batches" not in k]
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in kept)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == NAMES


def test_it_runs_over_a_benchmark_from_any_folder(arguments, tmp_path):
    tool.main([*arguments, "--video", "A"])
    folder = tmp_path / "results" / "Tiny" / "nano"
    boxes = np.loadtxt(folder / "A.txt", delimiter=",")
    assert boxes.shape == (6, 4) and np.isfinite(boxes).all() and boxes[1:].std() > 0
    record = json.loads((folder / ".run.json").read_text())
    assert list(record["plugins"]) == ["nanotrack"]
    assert record["settings"]["TRACK"]["POINT_STRIDE"] == 16


@pytest.mark.slow
def test_workers_write_the_same(arguments, tmp_path):
    for workers in ("1", "2"):
        tool.main([*arguments, "--workers", workers, "--name", workers])
    alone, together = (tmp_path / "results" / "Tiny" / workers for workers in ("1", "2"))
    for video in "ABC":
        assert (alone / f"{video}.txt").read_bytes() == (together / f"{video}.txt").read_bytes()


def test_two_targets_in_one_pass_are_found_as_alone(config, snapshot, draw_frame):
    frames = [draw_frame((20 + 2 * n, 15, 24, 18), seed=n) for n in range(2)]
    starts = [(20, 15, 24, 18), (40, 20, 30, 30)]
    network = load_network(config, snapshot)
    many = MultiTracker(lambda: build_tracker(*network))
    alone = [Tracker(build_tracker(*network)) for _ in starts]
    for tracker, start in zip(alone, starts, strict=True):
        many.add(frames[0], start)
        tracker.init(frames[0], start)
    for frame in frames[1:]:
        for found, tracker in zip(many.track(frame).values(), alone, strict=True):
            assert found.bbox == pytest.approx(tracker.track(frame).bbox, abs=1e-3)


def test_boxes_lie_around_points(config):
    cfg = load_config(config, ["TRACK.POINT_STRIDE", "8"])
    tracker = TRACKERS["NanoTracker"](None, track_params(cfg))
    deltas = np.zeros((4, 9), np.float32)
    deltas[:, 5] = np.log([1, 2, 4, 8])  # left, top, right and bottom of the last of row 1
    boxes = tracker.boxes(deltas, side=3)
    assert boxes[0].tolist() == [-8, -8, 2, 2]
    assert boxes[5] == pytest.approx([8 + 1.5, 3, 5, 10])


def test_a_template_of_other_than_64_cells_is_an_error(config):
    load_config(config)
    with pytest.raises(ValueError, match=r"TRACK\.EXEMPLAR_SIZE: NanoTrackV3 takes templates"):
        RPN_HEADS["NanoTrackHead"]().encode(torch.zeros(1, 96, 7, 7))


@pytest.mark.slow
def test_its_exported_networks_find_the_same_boxes(config, snapshot, draw_frame, tmp_path):
    folder = tmp_path / "exported"
    paths = ("--config", str(config), "--snapshot", str(snapshot), "--output", str(folder))
    export.main([*paths])
    exported, ours = Tracker.from_onnx(folder), Tracker.from_config(config, snapshot)
    for tracker in (exported, ours):
        tracker.init(draw_frame((20, 15, 24, 18)), (20, 15, 24, 18))
    frame = draw_frame((23, 15, 24, 18), seed=1)
    assert exported.track(frame).bbox == pytest.approx(ours.track(frame).bbox, abs=0.05)


# ---------------------------------------------------------------------------- the published weights


def davis():
    return json.loads((DATA / "sequences" / "davis2016_val" / "DAVIS_rect.json").read_text())


def score(tracker, record):
    """Follow a sequence from its first box; return the AUC."""
    boxes = []
    for name in record["img_names"]:
        frame = cv2.imread(str(DATA / "sequences" / "davis2016_val" / name))
        if boxes:
            boxes.append(tracker.track(frame).bbox)
        else:
            boxes.append(record["gt_rect"][0])
            tracker.init(frame, boxes[0])
    return success_overlap(np.array(record["gt_rect"], float), np.array(boxes), len(boxes)).mean()


@pytest.mark.usefixtures("plugin")
class TestPublished:
    pytestmark = published

    @pytest.fixture
    def tracker(self, config):
        return Tracker.from_config(config, WEIGHTS)

    def test_boxes_on_a_clip_follow_the_published_result_file(self, tracker):
        with tarfile.open(DATA / "results" / "VOT2018.tar.xz") as archive:
            file = archive.extractfile("VOT2018/NanoTrackV3/baseline/bag/bag_001.txt")
            lines = file.read().decode().split()[1:40]
        truth = json.loads((DATA / "benchmarks" / "VOT2018" / "VOT2018.json").read_text())["bag"]
        capture = cv2.VideoCapture(str(DATA / "sequences" / "golden_clips" / "bag.avi"))
        tracker.init(capture.read()[1], initial_rect(truth["gt_rect"][0]))
        boxes = np.array([tracker.track(capture.read()[1]).bbox for _ in lines])
        theirs = np.array([[float(x) for x in line.split(",")] for line in lines])
        overlaps = overlap_ratio(boxes, theirs)
        assert overlaps.min() > 0.93 and overlaps.mean() > 0.97

    @pytest.mark.slow
    def test_davis_has_the_known_score(self, tracker):
        scores = {name: score(tracker, record) for name, record in davis().items()}
        assert len(scores) == 20
        assert math.fsum(scores.values()) / 20 == pytest.approx(0.664, abs=0.005), scores
