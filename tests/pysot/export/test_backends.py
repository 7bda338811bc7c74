"""Exported trackers on ONNX Runtime: the boxes of PyTorch, without PyTorch."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from box_files import read_boxes
from test_exported_networks import SYSTEMS

from pysot import MultiTracker, Tracker
from pysot.cli.test import main as run_test
from pysot.core.config import REPOSITORY
from pysot.tracker.exported import BACKENDS, DIGEST, digest_of, run_onnxruntime
from pysot.tracker.tracker_builder import TrackerSpec, load_network
from toolkit.io.files import sha256_of

# the trackers' settings make every part of them work with drawn weights
ADAPTING = ["TRACK.DISTRACTOR_THRESHOLD", 0.1, "TRACK.TEMPLATE_LR", 0.2]
LOST = ["TRACK.LOST_STEP", 32, "TRACK.CONFIDENCE_LOW", 2, "TRACK.CONFIDENCE_HIGH", 2]
CASES = [(name, ADAPTING) for name in SYSTEMS if name != "SiamMask base"] + [("DaSiamRPN", LOST)]
BOX = (60, 40, 30, 24)


@pytest.fixture(scope="module")
def frames(draw_frame):
    return [draw_frame((60 + 3 * i, 40 + i, 30, 24), seed=i, size=(200, 160)) for i in range(5)]


def check_equal(folder, frames, backend, opts):
    """Compare a tracker of one target, and one of two, with those on PyTorch."""
    pair = folder.parent / "config.yaml", folder.parent / "model.pth"
    kinds = (Tracker, MultiTracker)
    expected = [kind.from_config(*pair, device="cpu", opts=opts) for kind in kinds]
    found = [kind.from_onnx(folder, ["TRACK.BACKEND", backend, *opts]) for kind in kinds]
    for one, many in (expected, found):
        one.init(frames[0], BOX)
        many.add(frames[0], BOX)
        many.add(frames[0], (100, 40, 30, 24))
    for frame in frames[1:]:
        ours, theirs = (
            [one.track(frame), *many.track(frame).values()] for one, many in (found, expected)
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.bbox, b.bbox, atol=0.05)
            assert (a.score, a.lost) == (pytest.approx(b.score, abs=1e-4), b.lost)
            assert (a.mask is None) == (b.mask is None)
            if b.mask is not None:
                np.testing.assert_allclose(a.mask, b.mask, atol=1e-3)
    return found[0].tracker


@pytest.mark.parametrize(("system", "opts"), CASES)
def test_boxes_are_those_of_pytorch(system, opts, folders, frames):
    tracker = check_equal(folders(system), frames, "onnxruntime", opts)
    if system == "DaSiamRPN":
        assert (tracker.state.lost_frames if opts is LOST else tracker.state.count) > 0


@pytest.mark.extras
@pytest.mark.parametrize(("system", "opts"), CASES)
def test_boxes_of_openvino_are_those_of_pytorch(system, opts, folders, frames):
    """Needs ``pip install openvino``."""
    check_equal(folders(system), frames, "openvino", opts)


def test_a_process_without_pytorch_tracks(folders, frames, tmp_path):
    np.save(tmp_path / "frames.npy", frames[:2])
    code = f"""
import sys
sys.modules["torch"] = None  # an import fails
import numpy as np
import pysot
frames = np.load({str(tmp_path / "frames.npy")!r})
tracker = pysot.Tracker.from_onnx({str(folders("DaSiamRPN"))!r})
tracker.init(frames[0], {BOX})
print(tracker.track(frames[1]).bbox)
import pysot.cli.test, pysot.cli.demo
assert not [name for name in sys.modules if name.startswith("torch.")]
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    tracker = Tracker.from_onnx(folders("DaSiamRPN"))
    tracker.init(frames[0], BOX)
    assert eval(run.stdout) == tracker.track(frames[1]).bbox


def test_a_folder_takes_the_place_of_a_checkpoint(folders, otb_set, tmp_path, monkeypatch):
    folder, started = folders("SiamRPN"), []

    def spy(path, threads):
        started.append(threads)
        return run_onnxruntime(path, threads)

    monkeypatch.setitem(BACKENDS, "onnxruntime", spy)
    arguments = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--video", "A"]
    arguments += ["--results", str(tmp_path), "--snapshot"]
    run_test([*arguments, str(folder), "TRACK.LR", "0.3"])
    assert started == [1, 1]  # graphs, of one thread each
    weights, config = folder.parent / "model.pth", folder.parent / "config.yaml"
    run_test([*arguments, str(weights), "--config", str(config), "TRACK.LR", "0.3"])
    names = (folder.name, "model")
    ours, theirs = (read_boxes(tmp_path / "Tiny" / name / "A.txt") for name in names)
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert len(ours) == 6


def test_settings_of_a_tracker_may_differ_from_the_folders(folders):
    folder = folders("SiamRPN")
    config = folder.parent / "config.yaml"
    assert Tracker.from_onnx(folder, ["TRACK.LR", 0.1]).tracker.params.lr == 0.1
    assert Tracker.from_config(config, folder, opts=["TRACK.LR", 0.2]).tracker.params.lr == 0.2
    spec = TrackerSpec.read(None, folder, ["TRACK.LR", "0.3"])
    assert pickle.loads(pickle.dumps(spec))().params.lr == 0.3
    assert spec.with_settings("TRACK.LR", 0.4)().model is spec().model
    assert spec.record()["sha256"] == sha256_of(folder / "model.json")


OTHER = ["ANCHOR.RATIOS", [1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            ["TRACK.TYPE", "SiamRPNLTTracker"],
            r"TRACK\.TYPE is 'SiamRPNLTTracker', but .*of another",
        ),
        (OTHER, r"ANCHOR\.RATIOS is \[1, 2, 3, 4, 5\], but .* was exported with \[0\.33, 0\.5"),
        (
            ["TRACK.BACKEND", "tensorrt"],
            "unknown 'tensorrt'; known: auto, torch, onnxruntime, open",
        ),
        (["TRACK.BACKEND", "torch"], r"TRACK\.BACKEND torch runs checkpoints; .*exported folder"),
        (["DEVICE", "cuda"], "DEVICE: onnxruntime runs on the cpu alone, found 'cuda'"),
    ],
)
def test_wrong_settings_are_one_line(opts, message, folders):
    with pytest.raises(ValueError, match=message):
        Tracker.from_onnx(folders("SiamRPN"), opts)


def test_a_checkpoint_is_not_run_by_onnxruntime(folders):
    pair = [folders("SiamRPN").parent / name for name in ("config.yaml", "model.pth")]
    for opts in (["TRACK.BACKEND", "onnxruntime"], ["TRACK.BACKEND", "openvino"]):
        with pytest.raises(ValueError, match="is a checkpoint: pysot export --config CONFIG"):
            load_network(*pair, opts=opts)
    with pytest.raises(ValueError, match=r"model\.pth is no exported folder: it needs a conf"):
        Tracker.from_onnx(pair[1])


def test_a_missing_package_is_named(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = "TRACK.BACKEND onnxruntime needs onnxruntime: pip install onnxruntime"
    with pytest.raises(ModuleNotFoundError, match=message):
        Tracker.from_onnx(folders("SiamRPN"))


def test_sizes_that_a_graph_does_not_take_are_refused(folders, frames):
    for system, opts, message in (
        ("SiamMask", ["TRACK.INSTANCE_SIZE", 271], r"TRACK\.INSTANCE_SIZE: .* of 191 pixels alone"),
        ("SiamRPN", ["TRACK.INSTANCE_SIZE", 47], "a graph cannot be run: .*"),
    ):
        tracker = Tracker.from_onnx(folders(system), opts)
        tracker.init(frames[0], BOX)
        with pytest.raises(ValueError, match=message):
            tracker.track(frames[1])


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def _change(signed=True, **entries):
    """Change a record, as another version would write it, or as an editor does."""

    def change(path):
        record = {**json.loads((path.parent / "model.json").read_text()), **entries}
        if signed:
            del record[DIGEST]
            record[DIGEST] = digest_of(record)
        (path.parent / "model.json").write_text(json.dumps(record))

    return change


def _swap(path):
    path.write_bytes((path.parent / "template.onnx").read_bytes())


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("search.onnx", Path.unlink, r"search\.onnx is missing; export the tracker again"),
        ("search.onnx", _cut, r"search\.onnx is damaged, or of another tracker: its SHA-256"),
        ("search.onnx", _swap, r"search\.onnx is damaged, or of another tracker"),
        ("model.json", Path.unlink, r"is no exported tracker: it has no model\.json"),
        ("model.json", _cut, r"model\.json is damaged: "),
        ("model.json", _change(format=2), r"expected format 1 with .* onnx, .*; found format 2"),
        ("model.json", _change(graphs="torch"), "found format 1 with graphs of torch"),
        ("model.json", _change(False, kernels=3), r"model\.json is damaged, or was edited"),
        ("model.json", _change(config={"A": 1}), r"model\.json: .*unknown key A"),
    ],
)
def test_damaged_folders_are_one_line(name, damage, message, folders, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(folders("SiamRPN"), folder)
    damage(folder / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Tracker.from_onnx(folder)


def test_a_graph_that_is_none_is_one_line(folders, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(folders("SiamRPN"), folder)
    (folder / "search.onnx").write_bytes(b"no graph")
    digests = {name: sha256_of(folder / f"{name}.onnx") for name in ("template", "search")}
    _change(sha256_files=digests)(folder / "search.onnx")
    with pytest.raises(ValueError, match=r"copy: a graph cannot be run: .*"):
        Tracker.from_onnx(folder)
    with pytest.raises(FileNotFoundError, match="exported folder not found: nowhere"):
        Tracker.from_onnx("nowhere")
