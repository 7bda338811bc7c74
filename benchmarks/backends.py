r"""Milliseconds per frame on PyTorch, torch.compile, ONNX Runtime, OpenVINO, and with int8.

    python benchmarks/backends.py [--config experiments/siamrpn_alex_dwxcorr/config.yaml ...]
    python benchmarks/backends.py --config experiments/siamrpn_alex_tiny/config.yaml \
        --snapshot model.pth --dataset Synthetic

Every row is a pair that runs in turn, frame by frame, on one thread: the network prepared for
PyTorch, and another way to run it. Processor time is measured, so that other programs disturb
little. ``search`` is one pass of the search network, from a crop to
arrays, ``track()`` all work of a frame; the ratios, medians over the frames, say how many times as
fast the other is. ``apart`` is the largest difference of their boxes in pixels. Without a snapshot
the weights are drawn, of which speed does not depend; the networks are exported to a temporary
folder first. Frames are drawn, 640 x 480; the first ones warm up and do not count.

With a data set, each way follows its videos by itself, and ``apart`` is printed alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from track_speed import BOX, ROOT, WARM_UP, drawn_frames

from pysot.cli import find_dataset_root, run
from pysot.cli.export import main as export
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.utils.bbox import initial_rect
from toolkit.datasets import load_videos

sys.path.insert(0, str(ROOT / "tests"))
from golden import fill  # where the weights' rule of the tests is

DEFAULTS = [
    ROOT / "experiments" / name / "config.yaml"
    for name in ("siamrpn_alex_dwxcorr", "siamrpn_mobilev2_l234_dwxcorr", "siamrpn_lite0")
]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", type=Path, nargs="+", default=DEFAULTS)
    parser.add_argument("--snapshot", type=Path, help="weights; with a single --config")
    parser.add_argument("--dataset", help="compare boxes in its videos, not speed")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--skip", nargs="+", default=[], help="beginnings of rows to leave out")
    args = parser.parse_args(argv)
    if args.snapshot and len(args.config) != 1:
        parser.error("--snapshot goes with a single --config")
    return args


def drawn_weights(config: Path, folder: Path) -> Path:
    model = build_model(load_config(config))
    own = model.state_dict()  # whose single numbers, as a head's gain, stay
    drawn = fill.fill([(key, v.shape) for key, v in own.items() if v.dim() or "num_" in key])
    drawn = {key: torch.from_numpy(value) for key, value in drawn.items()}
    torch.save({**own, **drawn}, folder / "w.pth")
    return folder / "w.pth"


def exported(config: Path, weights: Path, folder: Path, *options: str) -> Path:
    arguments = ["--config", str(config), "--snapshot", str(weights), "--output", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()):
        export([*arguments, *options])
    return folder


def rows(config: Path, weights: Path, folder: Path, video: Path) -> dict[str, Callable[[], Any]]:
    """Ways to run a network, each a function that builds the tracker."""

    def tracker(source: Path, *opts: Any) -> SiamRPNTracker:
        opts = ["DEVICE", "cpu", *opts]
        return build_tracker(*load_network(config, source, opts=opts, threads=1))

    def floats(backend: str) -> SiamRPNTracker:
        if not (folder / "fp32").is_dir():
            exported(config, weights, folder / "fp32")
        return tracker(folder / "fp32", "TRACK.BACKEND", backend)

    def int8(backend: str) -> SiamRPNTracker:
        if not (folder / "int8").is_dir():
            options = ["--int8", "--calibrate", str(video)]
            exported(config, weights, folder / "int8", *options)
        return tracker(folder / "int8", "TRACK.BACKEND", backend)

    return {
        "torch": lambda: tracker(weights),
        "onnxruntime": lambda: floats("onnxruntime"),
        "openvino": lambda: floats("openvino"),
        "onnxruntime int8": lambda: int8("onnxruntime"),
        "openvino int8": lambda: int8("openvino"),
        "torch.compile": lambda: tracker(weights, "TRACK.COMPILE", True),
    }


def in_turn(pair: Sequence[SiamRPNTracker], frames: Sequence[NDArray]) -> tuple[NDArray, float]:
    """Run two trackers over the frames, each frame by both.

    Returns:
        Seconds of search and of track(), (frames, 2, 2) with the tracker last, and the largest
        difference of a box.
    """
    seconds, apart = [], 0.0
    for tracker in pair:
        tracker.init(frames[0], BOX)
    for frame in frames[1:]:
        crop = pair[0].search_crop(frame)[0][None]
        searches = [elapsed(search, tracker, crop) for tracker in pair]
        tracks = [elapsed(tracker.track, frame) for tracker in pair]
        seconds.append([[took for took, _ in part] for part in (searches, tracks)])
        boxes = [result["bbox"] for _, result in tracks]
        apart = max(apart, float(np.abs(np.subtract(*boxes)).max()))
    return np.array(seconds), apart


def search(tracker: SiamRPNTracker, crops: NDArray) -> Any:
    return tracker.network.outputs(tracker.predict(tracker.state.kernels, crops))


def elapsed(work: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = work(*args)
    return time.process_time() - start, result


def largest_difference(pair: Sequence[SiamRPNTracker], dataset: str) -> str:
    """Track in all videos of a data set by both, and describe the largest difference of a box."""
    worst = (0.0, "")
    videos = load_videos(find_dataset_root(dataset, None), dataset)
    for name, video in videos.items():
        for index, (frame, truth, *_) in enumerate(video):
            if index == 0:
                for tracker in pair:
                    tracker.init(frame, initial_rect(truth))
                continue
            boxes = [tracker.track(frame)["bbox"] for tracker in pair]
            worst = max(worst, (float(np.abs(np.subtract(*boxes)).max()), f"{name}, frame {index}"))
    frames = sum(map(len, videos.values()))
    return f"{worst[0]:.1e} px apart ({worst[1]}) in {len(videos)} videos, {frames} frames"


def table(config: Path, args: argparse.Namespace, folder: Path) -> Iterator[str]:
    frames = drawn_frames(args.frames + WARM_UP + 1)
    video = folder / "video"
    video.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(video / f"{number:04d}.png"), frame)
    weights = args.snapshot or drawn_weights(config, folder)
    built = rows(config, weights, folder, video)
    reference = built.pop("torch")()
    for name, build in built.items():
        if any(name.startswith(skipped) for skipped in args.skip):
            continue
        try:
            pair = reference, build()
        except (ImportError, ValueError) as error:
            yield f"{name:18}{error}"
            continue
        if args.dataset:
            yield f"{name:18}{largest_difference(pair, args.dataset)}"
            continue
        seconds, apart = in_turn(pair, frames)
        seconds = seconds[WARM_UP:]
        torch_ms, other_ms = 1000 * np.median(seconds, axis=0).T
        ratios = np.median(seconds[..., 0] / seconds[..., 1], axis=0)
        cells = zip(torch_ms, other_ms, ratios, strict=True)
        numbers = "".join(f"{a:10.1f}{b:10.1f}{ratio:8.2f}" for a, b, ratio in cells)
        yield f"{name:18}{numbers}{apart:10.1e}"


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cv2.setNumThreads(1)
    head = "".join(f"{part:>10}{'other':>10}{'ratio':>8}" for part in ("search/ms", "track()"))
    for config in args.config:
        print(f"{config.parent.name}: prepared torch and another, one thread")
        print("" if args.dataset else f"{'':18}{head}     apart\n", end="")
        with tempfile.TemporaryDirectory() as name:
            for row in table(config, args, Path(name)):
                print(row, flush=True)


if __name__ == "__main__":
    run(main)
