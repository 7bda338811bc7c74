"""Milliseconds per frame of ``track()``, split into crop, network and post-processing.

Usage:
    python benchmarks/track_speed.py [--config experiments/siamrpn_alex_dwxcorr/config.yaml]
    python benchmarks/track_speed.py --against plain

Without a snapshot the weights are random, drawn so that boxes and scores stay in a trained
network's range: the time of a frame does not depend on them. The frames are drawn, 640 x 480, with
the target in motion; the first ones warm up and do not count.

``--against plain`` runs the tracker of plain.py and ours in turn, frame by frame, checks that both
give the same boxes, and prints how many times as fast ours is. The floor is what the
multiplications of the network would take at the measured speed of a large matrix product; less
than that takes an algorithm of fewer multiplications.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from plain import PlainTracker
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pysot.cli import run
from pysot.core.config import Config, load_config
from pysot.models.model_builder import build_model
from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from pysot.tracker.tracker_builder import build_tracker, prepare_model
from pysot.utils.model_load import choose_device, load_weights

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from golden import fill  # noqa: E402 - where the weights' rule of the tests is

DEFAULTS = [
    ROOT / "experiments" / n / "config.yaml" for n in ("siamrpn_alex_tiny", "siamrpn_alex_dwxcorr")
]
AGAINST = [
    ROOT / "experiments" / n / "config.yaml"
    for n in (
        "siamrpn_alex_dwxcorr",
        "siamrpn_alex_upchannel",
        "siamrpn_mobilev2_l234_dwxcorr",
        "siamrpn_r50_l234_dwxcorr",
        "siammask_r50_l3",
    )
]
SAME = 1e-3  # pixels
BOX = (390, 195, 60, 90)
PARTS = ("crop", "network", "post-processing")
WARM_UP = 5


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", type=Path, nargs="+")
    parser.add_argument("--against", choices=["plain"], help="compare with another tracker")
    parser.add_argument("--snapshot", type=Path, help="weights; with a single --config")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--as-built", action="store_true", help="do not make the network faster")
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs over the configuration")
    return parser.parse_args(argv)


def drawn_frames(count: int) -> list[NDArray]:
    """A bright ellipse that circles over a noisy background, (480, 640, 3) BGR uint8 each."""
    background = np.random.default_rng(0).integers(0, 200, (480, 640, 3), dtype=np.uint8)
    frames = []
    for angle in np.linspace(0, 2 * np.pi, count):
        center = int(320 + 100 * np.cos(angle)), int(240 + 100 * np.sin(angle))
        frames.append(
            cv2.ellipse(background.copy(), center, (30, 45), 0, 0, 360, (0, 220, 255), -1)
        )
    return frames


def seconds_per_part(tracker: SiamRPNTracker, frames: list[NDArray]) -> NDArray:
    """Run over the frames; (len(frames) - 1, 3) seconds of crop, network, post-processing."""
    tracker.init(frames[0], BOX)
    times = []
    with torch.inference_mode():
        for frame in frames[1:]:
            start = time.perf_counter()
            crop, zoom = tracker.search_crop(frame)
            cropped = time.perf_counter()
            candidates = tracker.candidates(crop)  # ends with results on the CPU
            computed = time.perf_counter()
            tracker.update(candidates, zoom, frame.shape)
            times.append((cropped - start, computed - cropped, time.perf_counter() - computed))
    return np.array(times)


def network(args: argparse.Namespace, cfg: Config) -> tuple[nn.Module, nn.Module]:
    """The network as built, and as it is used for tracking."""
    model = build_model(cfg)
    if args.snapshot:
        load_weights(model, args.snapshot)
    else:
        drawn = fill.fill([(key, value.shape) for key, value in model.state_dict().items()])
        model.load_state_dict({key: torch.from_numpy(value) for key, value in drawn.items()})
    model.to(choose_device(cfg.DEVICE, cfg.CUDA))
    if args.as_built:
        return model, model
    return model, prepare_model(model, cfg)


def interleaved(ours: Any, plain: PlainTracker, frames: list[NDArray]) -> tuple[NDArray, float]:
    """Run both in turn over the frames, each frame from the same state: ours.

    Otherwise differences of rounding could grow from frame to frame, and a crop differ by a pixel.

    Returns:
        (len(frames) - 1, 2) seconds of ours and the other, and the largest difference of a box.
    """
    times, worst = [], 0.0
    for tracker in (ours, plain):
        tracker.init(frames[0], BOX)
    for frame in frames[1:]:
        target = ours.state.target
        plain.cx, plain.cy, plain.w, plain.h = target.cx, target.cy, target.w, target.h
        marks, boxes = [time.perf_counter()], []
        for tracker in (ours, plain):
            boxes.append(tracker.track(frame)["bbox"])
            marks.append(time.perf_counter())
        times.append(np.diff(marks))
        worst = max(worst, float(np.abs(np.subtract(*boxes)).max()))
    return np.array(times), worst


def gemm_speed() -> float:
    """Floating-point operations per second of a large fp32 matrix product, the best of ten."""
    a = torch.randn(2048, 2048)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * len(a) ** 3 / min(seconds)


def floor_seconds(model: nn.Module, size: int, speed: float) -> float:
    """Time of a search image's convolutions at a speed in operations per second."""
    with torch.inference_mode():
        kernels = model.encode_template(torch.zeros(1, 3, 127, 127))
        predict = model.predict_with_mask if model.has_masks else model.predict
        with FlopCounterMode(display=False) as counter:
            predict(kernels, torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / speed


def compare(args: argparse.Namespace) -> None:
    """Print ours, the plain tracker, their ratio and the floor for every configuration."""
    frames, speed = drawn_frames(args.frames + WARM_UP + 1), gemm_speed()
    print(f"{args.frames} frames, {args.threads} threads, {speed / 1e9:.0f} GFLOP/s, median ms")
    columns = ("plain", "ours", "ratio", "floor", "apart/px")
    print(f"{'config':32}" + "".join(f"{column:>10}" for column in columns))
    for path in args.config or AGAINST:
        cfg = load_config(path, ["DEVICE", "cpu", *args.opts])
        model, prepared = network(args, cfg)
        times, worst = interleaved(build_tracker(prepared, cfg), PlainTracker(model, cfg), frames)
        ours, plain = 1000 * np.median(times[WARM_UP:], axis=0)
        floor = 1000 * floor_seconds(model, cfg.TRACK.INSTANCE_SIZE, speed)
        print(
            f"{path.parent.name:32}{plain:10.1f}{ours:10.1f}{plain / ours:10.2f}{floor:10.1f}"
            f"{worst:10.1e}",
            flush=True,
        )
        if worst > SAME:
            raise ValueError(f"{path}: boxes differ by {worst:g} px, more than {SAME:g}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.snapshot and len(args.config or ()) != 1:
        raise ValueError("--snapshot goes with a single --config")
    if args.against:
        compare(args)
        return
    frames = drawn_frames(args.frames + WARM_UP + 1)
    print(f"{args.frames} frames of 640 x 480, {args.threads} threads, median ms per frame")
    print(f"{'config':28}" + "".join(f"{part:>18}" for part in (*PARTS, "track()")))
    for path in args.config or DEFAULTS:
        cfg = load_config(path, args.opts)
        tracker = build_tracker(network(args, cfg)[1], cfg)
        times = 1000 * seconds_per_part(tracker, frames)[WARM_UP:]
        parts = [*np.median(times, axis=0), np.median(times.sum(axis=1))]
        print(f"{path.parent.name:28}" + "".join(f"{part:18.2f}" for part in parts))


if __name__ == "__main__":
    run(main)
