"""How much a search gains from reading each frame once for all settings.

    python benchmarks/search_speed.py --frames 60 --settings 16

Runs the same settings over a drawn video, one after the other as separate runs and all together as
tools/hp_search.py does, in turn in one process, and prints the seconds of each and their ratio.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from pysot.tracker.tracker_builder import TrackerSpec
from toolkit.datasets import Video
from toolkit.protocols.runner import Job, run_together, run_video
from toolkit.results.store import ResultStore

CONFIG = "experiments/siamrpn_alex_tiny/config.yaml"
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--settings", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = draw_video(folder, args.frames)
        specs = make_specs(args.config, folder, args.settings)
        apart, together = [], []
        for number in range(ROUNDS):
            jobs = [
                Job(spec, "one_pass", ResultStore(folder / f"apart{number}" / str(i), "flat"))
                for i, spec in enumerate(specs)
            ]
            apart.append(seconds(lambda jobs=jobs: [run_video(job, video) for job in jobs]))
            jobs = [
                Job(spec, "one_pass", ResultStore(folder / f"together{number}" / str(i), "flat"))
                for i, spec in enumerate(specs)
            ]
            together.append(seconds(lambda jobs=jobs: run_together(jobs, video)))
    print(f"{args.settings} settings, {args.frames} frames of 1280 x 720, best of {ROUNDS}")
    print(
        f"one by one {min(apart):.2f} s, together {min(together):.2f} s: ratio "
        f"{min(apart) / min(together):.2f}"
    )


def draw_video(folder: Path, length: int) -> Video:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (90, 160, 3), np.uint8)
    for i in range(length):
        image = cv2.resize(np.roll(small, i, axis=1), (1280, 720), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i}.jpg"), image)
    names = [f"{i}.jpg" for i in range(length)]
    return Video("drawn", folder, names, [[600, 300, 80, 60]] * length)


def make_specs(config: str, folder: Path, count: int) -> list[TrackerSpec]:
    torch.manual_seed(0)
    path = folder / "weights.pth"
    torch.save(build_model(load_config(config)).state_dict(), path)
    spec = TrackerSpec.read(config, path)
    spec()
    lrs = np.linspace(0.2, 0.6, count)
    return [spec.with_settings("TRACK.LR", float(lr)) for lr in lrs]


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
