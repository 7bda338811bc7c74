"""Long runs need no more memory than short ones."""

import gc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pysot.cli import test as test_tool
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.api import MultiTracker, Tracker
from pysot.tracker.tracker_builder import build_tracker, prepare_model
from toolkit.io.video import open_source

pytestmark = [
    pytest.mark.slow,
    pytest.mark.abuse,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc"),
]

ROOT = Path(__file__).parents[2]
FRAMES = 3000
WARM_UP = 1000
STEEPEST = 1.0  # MB per 1,000 frames
BOX = (20, 15, 24, 18)


def resident():
    """MB of this process in memory."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def check_flat(step, name, frames=FRAMES, warm_up=WARM_UP):
    """Call ``step(number)`` for every frame; memory may not rise once it is warm."""
    torch.set_num_threads(1)
    numbers, found = [], []
    for number in range(frames + warm_up):
        step(number)
        if number >= warm_up and number % 50 == 0:
            numbers.append(number / 1000)
            found.append(resident())
    slope = np.polyfit(numbers, found, 1)[0]
    print(f"{name}: {slope:+.3f} MB per 1,000 frames, {found[0]:.1f} to {found[-1]:.1f} MB")
    assert slope < STEEPEST


@pytest.fixture
def frames(draw_frame):
    """Frames, by number, of a target that moves, in arrays that are new each time."""

    def draw(number):
        offset = int(20 + 15 * np.sin(number / 20))
        return draw_frame((offset, 15, 24, 18), seed=number % 7)

    return draw


def small_mask_network():
    """SiamMask with its refinement, on a very narrow ResNet-18."""
    narrow = ["BACKBONE.KWARGS", {"used_layers": [0, 1, 2, 3], "width_mult": 0.07}]
    narrow += ["ADJUST.KWARGS", {"in_channels": [17], "out_channels": [8]}]
    narrow += ["RPN.KWARGS", {"anchor_num": 5, "in_channels": 8, "out_channels": 8}]
    narrow += ["MASK.KWARGS", {"in_channels": 8, "hidden": 8, "out_channels": 3969}]
    path = ROOT / "experiments" / "siammask_r18_tiny" / "config.yaml"
    cfg = load_config(path, [*narrow, "DEVICE", "cpu"])
    return prepare_model(build_model(cfg).eval(), cfg), cfg


def network(kind, tiny_config):
    torch.manual_seed(0)
    if kind == "SiamMaskTracker":
        return small_mask_network()
    cfg = load_config(tiny_config, ["TRACK.TYPE", kind])
    return prepare_model(build_model(cfg).eval(), cfg), cfg


@pytest.mark.parametrize("kind", ["SiamRPNTracker", "DaSiamRPNTracker", "SiamMaskTracker"])
def test_tracker(kind, tiny_config, frames):
    tracker = Tracker(build_tracker(*network(kind, tiny_config)))
    tracker.init(frames(0), BOX)
    check_flat(lambda number: tracker.track(frames(number)), kind)


def test_tracker_of_many_targets(tiny_config, frames):
    """Five targets, of which the oldest leaves, and a new one comes, every tenth frame."""
    model, cfg = network("SiamRPNTracker", tiny_config)
    many = MultiTracker(lambda: build_tracker(model, cfg))
    for _ in range(5):
        many.add(frames(0), BOX)

    def step(number):
        if number % 10 == 0:
            many.remove(min(many.trackers))
            many.add(frames(number), BOX)
        assert len(many.track(frames(number))) == 5

    check_flat(step, "MultiTracker")


def test_reader_of_videos(tmp_path, frames):
    """A file of 100 frames, read again and again."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 72))
    for number in range(100):
        writer.write(frames(number))
    writer.release()
    images = iter(())

    def step(number):
        nonlocal images
        if next(images, None) is None:
            images = iter(open_source(path))
            next(images)

    check_flat(step, "reader")


def test_tool_over_many_videos(otb_set, tmp_path, tiny_config, tiny_snapshot):
    """Three videos of six frames at every call, so 18 frames at a step."""
    argv = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--config", str(tiny_config)]
    argv += ["--snapshot", str(tiny_snapshot), "--output", str(tmp_path), "--overwrite"]
    check_flat(lambda number: test_tool.main(argv), "pysot test", frames=300, warm_up=100)
