"""How much faster `load_videos` is than a plain reading of the same JSON, in one process.

Usage:
    python benchmarks/load_speed.py [LaSOT.json]

Plain is `json.load` and an array of the boxes of every video: what scoring needs. Without a file,
one of the size of LaSOT is made up: 280 videos of 2448 frames. The same content, indented, should
take `load_videos` no longer than 1.3 times as long.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toolkit.datasets import load_videos

RUNS = 5


def make_up(path: Path, num_videos: int = 280, num_frames: int = 2448) -> None:
    boxes = np.random.default_rng(0).uniform(1, 500, (num_videos, num_frames, 4)).round(1)
    records = {
        f"video-{k}": {
            "video_dir": f"video-{k}",
            "init_rect": boxes[k, 0].tolist(),
            "img_names": [f"video-{k}/img/{i + 1:08d}.jpg" for i in range(num_frames)],
            "gt_rect": boxes[k].tolist(),
            "absent": [1] * num_frames,
        }
        for k in range(num_videos)
    }
    path.write_text(json.dumps(records))


def read_plainly(path: Path) -> list[np.ndarray]:
    records = json.loads(path.read_text())
    return [np.array(records[name]["gt_rect"], float) for name in sorted(records)]


def read_with_toolkit(path: Path) -> list[np.ndarray]:
    return [video.boxes for video in load_videos(path.parent, path.stem).values()]


def seconds(function: Callable[[Path], object], path: Path) -> float:
    begin = time.process_time()  # other processes do not count
    function(path)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("json", type=Path, nargs="?", help="the file to read")
    path = parser.parse_args().json
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "LaSOT.json"
            make_up(path)
        indented = Path(folder) / "indented" / path.name
        indented.parent.mkdir()
        indented.write_text(json.dumps(json.loads(path.read_text()), indent=1))
        pairs = zip(read_plainly(path), read_with_toolkit(path), strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
        times = [
            (
                seconds(read_plainly, path),
                seconds(read_with_toolkit, path),
                seconds(read_with_toolkit, indented),
            )
            for _ in range(RUNS)
        ]
    plain, ours, other = (min(column) for column in zip(*times, strict=True))
    print(f"{path.name}: plain {plain:.2f} s, toolkit {ours:.2f} s, {plain / ours:.1f} x")
    print(f"indented: toolkit {other:.2f} s, {other / ours:.2f} times as long")


if __name__ == "__main__":
    main()
