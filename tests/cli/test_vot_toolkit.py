"""The official VOT toolkit runs ``pysot vot`` through its experiments, and scores them as we do.

Needs: pip install vot-trax vot-toolkit==0.7.4 "attributee<0.1.10"; with vot-toolkit 0.9.0 the
experiments that it can run.
"""

import configparser
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pysot.cli import vot as tool
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.utils.bbox import initial_rect
from toolkit.datasets.benchmarks import BENCHMARKS, VOT
from toolkit.datasets.dataset import Dataset
from toolkit.evaluation.reset import ResetEvaluation
from toolkit.io.boxes import as_regions
from toolkit.io.images import list_images
from toolkit.protocols.one_pass import ProtocolOptions, Reset
from toolkit.results.formats import LAYOUTS, ResultFiles
from toolkit.results.trajectory import Code
from toolkit.utils.region import overlaps

pytestmark = pytest.mark.extras

NUM_FRAMES, SIZE = 60, (160, 120)
LOW, HIGH = 5, 15  # lengths for EAO; the official curve ends with the longest run without a failure
#: Experiments as a stack has them, and the newest version of the toolkit that can run them.
EXPERIMENTS = {
    "baseline": (
        {"type": "supervised", "repetitions": 1, "skip_initialize": 5},
        [
            {"type": "supervised_average_ar", "name": "ar"},
            {"type": "supervised_eao_score", "name": "eao", "low": LOW, "high": HIGH},
        ],
        "0.8",
    ),
    "unsupervised": (
        {"type": "unsupervised", "repetitions": 1},
        [{"type": "average_accuracy", "name": "accuracy", "burnin": 1}],
        "9",
    ),
    "multistart": (
        {"type": "multistart"},
        [{"type": "multistart_average_ar", "name": "ar"}],
        "0.8",
    ),
}
# a tracker that sees the color of the target, is a little off, and looks away for a while
PLUGIN = """
import os
import cv2
import numpy as np
from pysot.core.registry import TRACKERS

@TRACKERS.register("ColorTracker")
class ColorTracker:
    def __init__(self, model, params):
        self.age = 0

    def init(self, image, bbox):
        self.age = 0

    def track(self, image):
        print("a stray line")
        os.write(1, b"and another, by compiled code")
        self.age += 1
        mask = (image[..., 2] > 150).astype(np.float32)
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        x, y = x + 0.1 * self.age + 0.23, y - 1.71
        if 20 <= self.age < 33:
            x, y, w, h = 2.3, 2.2, 7.1, 6.4
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        return {"bbox": [x, y, w, h], "best_score": 0.75, "polygon": polygon, "mask": mask}
"""


def truth(name, frame):
    """The target's polygon, well inside the frame.

    It is upright: the official client draws slanted edges a little differently from PySOT.
    """
    x = np.rint(70 + 40 * np.sin(frame / 13 + len(name))) + 0.3  # halves are rounded differently
    y = np.rint(50 + 25 * np.cos(frame / 17 + len(name))) + 0.2
    return [round(float(v), 2) for v in (x, y, x + 30, y, x + 30, y + 21, x, y + 21)]


@pytest.fixture(scope="module")
def workspace(tracker, tmp_path_factory):
    """A workspace that the official client has run and analyzed."""
    pytest.importorskip("vot")
    folder = tmp_path_factory.mktemp("vot workspace")  # with a blank
    (folder / "sequences").mkdir()
    (folder / "sequences" / "list.txt").write_text("one\nthree\n")
    for name in ("one", "three"):
        write_sequence(folder / "sequences" / name, name)
    (folder / "stack.yaml").write_text(json.dumps({"experiments": stack()}))
    (folder / "config.yaml").write_text("registry: [./trackers.ini]\nstack: stack.yaml\n")
    tool.main(["init", "--workspace", str(folder), "--name", "color", *tracker])
    environment = {**os.environ, "VOT_RESULTS_BINARY": "false", "VOT_PERSISTENT_CACHE": "false"}
    for command in ("evaluate", "analysis"):
        options = ["--workspace", str(folder), *(["--name", "a"] if command == "analysis" else [])]
        done = subprocess.run(
            [sys.executable, "-m", "vot", command, *options, "color"],
            env=environment, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0 and "rror" not in done.stderr, done.stderr
    return folder


def stack():
    toolkit = version("vot-toolkit")
    return {
        name: {**experiment, "analyses": analyses}
        for name, (experiment, analyses, newest) in EXPERIMENTS.items()
        if toolkit < newest
    }


def write_sequence(folder, name):
    (folder / "color").mkdir(parents=True)
    generator = np.random.default_rng(len(name))
    for frame in range(NUM_FRAMES):
        image = generator.integers(0, 90, (*SIZE[::-1], 3), np.uint8)
        corners = np.rint(np.reshape(truth(name, frame), (-1, 2))).astype(np.int32)
        cv2.fillConvexPoly(image, corners, (40, 200, 250))
        cv2.imwrite(str(folder / "color" / f"{frame + 1:08d}.jpg"), image)
    lines = [",".join(map(str, truth(name, frame))) for frame in range(NUM_FRAMES)]
    (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    anchors = [{0: 1, 30: 1, NUM_FRAMES - 1: -1}.get(frame, 0) for frame in range(NUM_FRAMES)]
    (folder / "anchor.value").write_text("\n".join(map(str, anchors)) + "\n")
    (folder / "sequence").write_text(
        f"name={name}\nfps=30\nformat=default\nwidth={SIZE[0]}\nheight={SIZE[1]}\n"
        "channels.color=color/%08d.jpg\n"
    )


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    """Options that name a tracker by a plug-in; its network is never used."""
    folder = tmp_path_factory.mktemp("a tracker")  # with a blank
    (folder / "color_tracker.py").write_text(PLUGIN)
    config = (
        "PLUGINS: [color_tracker.py]\nBACKBONE: {TYPE: alexnet, KWARGS: {width_mult: 0.05}}\n"
        "ADJUST: {ADJUST: false}\nDEVICE: cpu\nTRACK: {TYPE: ColorTracker}\n"
        "RPN: {TYPE: DepthwiseRPN, KWARGS: {anchor_num: 5, in_channels: 12, out_channels: 12}}\n"
    )
    (folder / "color.yaml").write_text(config)
    model = build_model(load_config(folder / "color.yaml"))
    torch.save(model.state_dict(), folder / "color.pth")
    return ["--config", str(folder / "color.yaml"), "--snapshot", str(folder / "color.pth")]


@pytest.fixture
def videos(workspace, monkeypatch):
    """The drawn sequences as a set ``Drawn`` of our own, which counts the lengths of EAO from 1."""
    benchmark = replace(VOT, num_videos=0, eao_window=(LOW + 1, HIGH + 1))
    monkeypatch.setitem(BENCHMARKS, "Drawn", benchmark)
    records = {}
    for name in ("one", "three"):
        regions = [truth(name, frame) for frame in range(NUM_FRAMES)]
        images = list_images(workspace / "sequences" / name / "color")
        names = [path.relative_to(workspace).as_posix() for path in images]
        records[name] = {"video_dir": name, "img_names": names, "gt_rect": regions}
        records[name] |= {"init_rect": regions[0], "width": SIZE[0], "height": SIZE[1]}
    (workspace / "Drawn.json").write_text(json.dumps(records))
    return Dataset("Drawn", workspace)


def official(workspace, experiment):
    """Numbers of each analysis of an experiment that the official client wrote, in order."""
    if experiment not in stack():
        pytest.skip("this version of the toolkit fails in this experiment, whatever the tracker")
    results = json.loads((workspace / "analysis" / "a.json").read_text())["results"]
    return [numbers for (numbers,) in results[experiment]["results"]]


def read(workspace, experiment, name, run):
    folder = workspace / "results" / "color" / experiment / name
    return LAYOUTS["vot"].read(ResultFiles(folder / f"{name}_{run}.txt"))


def own_overlaps(run, video, frames):
    """Overlaps (N,) of a run over frames of a video; 0 where the run has a code."""
    values, there = np.zeros(len(run)), run.codes == Code.REGION
    truths = video.regions[frames]
    values[there] = overlaps(run.regions[there], truths[there], np.array(SIZE) - 1)
    return values


def test_supervised_averages_equal_ours(workspace, videos):
    (accuracy, failures, *_), (eao,) = official(workspace, "baseline")
    videos.set_tracker(workspace / "results", ["color"])
    scores = ResetEvaluation(videos).scores("color")
    assert scores.problems == []
    assert 0.5 < accuracy < 0.9 and failures == 2
    assert scores.metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert scores.metrics["lost_number"] == failures * len(videos)
    assert scores.metrics["robustness"] == pytest.approx(100 * failures / NUM_FRAMES)
    assert scores.metrics["eao"] == pytest.approx(eao, abs=1e-6)


def test_unsupervised_average_overlap_equals_ours(workspace, videos):
    ((accuracy,),) = official(workspace, "unsupervised")
    runs = [(read(workspace, "unsupervised", video.name, "001"), video) for video in videos]
    ours = [own_overlaps(run, video, range(NUM_FRAMES))[1:].mean() for run, video in runs]
    assert accuracy == pytest.approx(np.mean(ours), abs=1e-6)


def test_multistart_averages_equal_ours(workspace, videos):
    ((accuracy, robustness, *_),) = official(workspace, "multistart")
    kept, total = [], 0
    for video in videos:
        for start, frames in ((0, range(NUM_FRAMES)), (30, range(30, NUM_FRAMES)), (59, None)):
            frames = frames or range(59, -1, -1)
            run = read(workspace, "multistart", video.name, f"{start:08d}")
            found = own_overlaps(run, video, list(frames))
            lost = np.flatnonzero(np.convolve(found <= 0.1, np.ones(10), "valid") == 10)
            kept += found[: lost[0] if len(lost) else None].tolist()
            total += len(found)
    assert robustness == pytest.approx(len(kept) / total)
    assert accuracy == pytest.approx(np.mean(kept), abs=1e-6)


def test_the_boxes_are_those_of_our_own_protocol(workspace, tracker, videos):
    args = tool.parse_args(tracker)
    spec = TrackerSpec.read(args.config, args.snapshot)
    official(workspace, "baseline")
    for video in videos:
        ours = Reset(spec, ProtocolOptions(initial_rect)).run(video)
        theirs = read(workspace, "baseline", video.name, "001")
        assert ours.codes == theirs.codes.tolist()
        np.testing.assert_allclose(as_regions(ours.regions), theirs.regions, atol=1e-4)


def test_the_result_has_the_confidence(workspace):
    path = workspace / "results" / "color" / "unsupervised" / "one" / "one_001_confidence.value"
    assert path.read_text().split() == ["0.75"] * (NUM_FRAMES - 1)


@pytest.fixture
def client(tracker, tmp_path):
    """Function that starts ``pysot vot`` and returns a client of the package vot-trax."""
    trax = pytest.importorskip("trax.client")
    tool.main(["init", "--workspace", str(tmp_path), "--name", "color", *tracker])
    started = []

    def connect(*options):
        entry = configparser.ConfigParser()
        entry.read(tmp_path / "trackers.ini")
        process = subprocess.Popen(
            [*shlex.split(entry["color"]["command"]), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": entry["color"]["env_pythonpath"]},
        )  # fmt: skip
        started.append(process)
        streams = process.stdin.fileno(), process.stdout.fileno()
        return trax.Client(stream=streams, log=lambda text: None), process

    yield connect
    for process in started:
        process.kill()


def test_every_kind_of_image_and_region_passes_through_the_protocol(client, tmp_path):
    import trax

    write_sequence(tmp_path / "one", "one")
    paths = [str(path) for path in list_images(tmp_path / "one" / "color")]
    x, y = truth("one", 0)[:2]
    inside = np.zeros(SIZE[::-1], np.uint8)
    inside[20:40, 60:90] = 1
    regions = [
        trax.Rectangle.create(x, y, 30, 21),
        trax.Polygon.create([(x, y), (x + 30, y), (x + 30, y + 21), (x, y + 21)]),
        trax.Mask.create(inside),
    ]
    images = [
        trax.FileImage.create(paths[1]),
        trax.BufferImage.create(Path(paths[1]).read_bytes()),
        trax.MemoryImage.create(cv2.imread(paths[1])[..., ::-1]),
    ]
    connection, process = client()
    assert connection.get("multiobject")
    found = []
    for image in images:
        first = {"color": trax.FileImage.create(paths[0])}
        connection.initialize(first, [(regions[0], {})], {})
        connection.frame({"color": image}, {}, [(region, {}) for region in regions[1:]])
        found.append(connection.frame({"color": image}, {}, [])[0])
    connection.quit()
    assert process.wait(30) == 0
    for answer in found:
        assert [region.type for region, _ in answer] == ["rectangle", "polygon", "mask"]
        assert [properties for _, properties in answer] == [{"confidence": "0.75"}] * 3
        assert answer[0][0].bounds() == found[0][0][0].bounds()
        seen = answer[2][0].array(normalize=True)
        assert np.array_equal(
            seen, (cv2.imread(paths[1])[..., 2] > 150)[: seen.shape[0], : seen.shape[1]]
        )


def test_a_wrong_key_is_reported_to_the_client(client, tmp_path):
    import trax

    write_sequence(tmp_path / "one", "one")
    image = trax.FileImage.create(str(tmp_path / "one" / "color" / "00000001.jpg"))
    connection, process = client("TRACK.LRR", "1")
    with pytest.raises(trax.TraxException, match=r"unknown key TRACK\.LRR"):
        connection.initialize({"color": image}, [(trax.Rectangle.create(1, 2, 3, 4), {})], {})
    assert process.wait(30) == 2
