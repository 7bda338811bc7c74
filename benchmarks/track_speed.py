"""Milliseconds per frame of ``track()``, split into crop, network and post-processing.

Usage: python benchmarks/track_speed.py [--config experiments/siamrpn_alex_dwxcorr/config.yaml]

Without a snapshot the weights are random: the time of a frame does not depend on them. The frames
are drawn, 640 x 480, with the target in motion; the first ones warm up and do not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from pysot.tracker.tracker_builder import build_tracker
from pysot.utils.cli import run
from pysot.utils.device import choose_device
from pysot.utils.model_load import load_weights

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = [
    ROOT / "experiments" / n / "config.yaml" for n in ("siamrpn_alex_tiny", "siamrpn_alex_dwxcorr")
]
PARTS = ("crop", "network", "post-processing")
WARM_UP = 5


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", type=Path, nargs="+", default=DEFAULTS)
    parser.add_argument("--snapshot", type=Path, help="weights; with a single --config")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs over the configuration")
    return parser.parse_args(argv)


def drawn_frames(count: int) -> list[NDArray]:
    """A bright ellipse that circles over a noisy background, (480, 640, 3) BGR uint8 each."""
    background = np.random.default_rng(0).integers(0, 200, (480, 640, 3), dtype=np.uint8)
    frames = []
    for angle in np.linspace(0, 2 * np.pi, count):
        centre = int(320 + 100 * np.cos(angle)), int(240 + 100 * np.sin(angle))
        frames.append(
            cv2.ellipse(background.copy(), centre, (30, 45), 0, 0, 360, (0, 220, 255), -1)
        )
    return frames


def seconds_per_part(tracker: SiamRPNTracker, frames: list[NDArray]) -> NDArray:
    """Run over the frames; (len(frames) - 1, 3) seconds of crop, network, post-processing."""
    tracker.init(frames[0], (390, 195, 60, 90))
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


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.snapshot and len(args.config) > 1:
        raise ValueError("--snapshot goes with a single --config")
    frames = drawn_frames(args.frames + WARM_UP + 1)
    print(f"{args.frames} frames of 640 x 480, {args.threads} threads, median ms per frame")
    print(f"{'config':28}" + "".join(f"{part:>18}" for part in (*PARTS, "track()")))
    for path in args.config:
        cfg = load_config(path, args.opts)
        model = build_model(cfg).to(choose_device(cfg.DEVICE, cfg.CUDA))
        if args.snapshot:
            load_weights(model, args.snapshot)
        times = 1000 * seconds_per_part(build_tracker(model, cfg), frames)[WARM_UP:]
        parts = [*np.median(times, axis=0), np.median(times.sum(axis=1))]
        print(f"{path.parent.name:28}" + "".join(f"{part:18.2f}" for part in parts))


if __name__ == "__main__":
    run(main)
