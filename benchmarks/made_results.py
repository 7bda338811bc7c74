"""Data sets and result files for measurements, made by seeded rules.

Annotations are the public ones where the folder that the environment variable PYSOT_SHARED names
has them, else made up in the same number of videos and frames. A made tracker wanders around the
ground truth; in the reset-based protocol it fails now and then, whatever its overlap.
"""

from __future__ import annotations

import json
import lzma
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Annotations = dict[str, dict[str, Any]]

#: Videos and frames of the public sets.
SIZES = {
    "OTB100": (100, 59035),
    "VOT2018": (60, 21356),
    "LaSOT": (280, 685360),
    "VOT2018-LT": (35, 143536),
}
FRAME = (1280, 720)


def annotations(dataset: str) -> Annotations:
    """Public annotations of a set, or made ones of its size."""
    folder = Path(os.environ.get("PYSOT_SHARED", "../shared")) / "data" / "benchmarks" / dataset
    packed = folder / f"{dataset}.json.xz"
    if packed.is_file():
        return json.loads(lzma.decompress(packed.read_bytes()))
    plain = folder / f"{dataset}.json"
    return json.loads(plain.read_bytes()) if plain.is_file() else made_annotations(dataset)


def made_annotations(dataset: str) -> Annotations:
    """Annotations of random walks in the schema and size of a public set."""
    rng = np.random.default_rng(len(dataset))
    num_videos, num_frames = SIZES[dataset]
    ends = np.linspace(0, num_frames, num_videos + 1).astype(int)
    return {
        f"video-{v}": _made_video(f"video-{v}", rng, int(ends[v + 1] - ends[v]), dataset)
        for v in range(num_videos)
    }


def _made_video(name: str, rng: np.random.Generator, length: int, dataset: str) -> dict[str, Any]:
    size = wandering(rng, length, 2) * 60 + 100
    corner = (wandering(rng, length, 2) + 1) / 2 * (np.array(FRAME) - size)
    boxes = np.concatenate([corner, size], axis=1).round(2)
    video = {
        "video_dir": name,
        "img_names": [f"{name}/img/{frame:08d}.jpg" for frame in range(1, length + 1)],
        "attr": ["Fast Motion"],
        "absent": [1] * length,
    }
    if dataset.startswith("VOT"):
        video |= {"width": FRAME[0], "height": FRAME[1]}
    if dataset == "VOT2018":
        tags = ("camera_motion", "illum_change", "motion_change", "size_change", "occlusion")
        video |= {tag: (wandering(rng, length, 1)[:, 0] > 0.7).astype(int).tolist() for tag in tags}
        boxes = turned(boxes, wandering(rng, length, 1)[:, 0]).round(2)
    if dataset == "VOT2018-LT":
        boxes[1:][wandering(rng, length - 1, 1)[:, 0] > 0.9] = np.nan
    regions = boxes.tolist()
    return video | {"init_rect": regions[0], "gt_rect": regions}


def wandering(rng: np.random.Generator, length: int, columns: int, step: float = 0.05) -> NDArray:
    """Smooth random walks (N, K) within -1 to 1."""
    start = rng.uniform(0, 2 * np.pi, columns)
    return np.sin(start + np.cumsum(rng.normal(0, step, (length, columns)), axis=0))


def turned(boxes: NDArray, angles: NDArray) -> NDArray:
    """Corners (N, 8) of boxes (N, 4) turned about their centers by angles (N,) in radians."""
    half = boxes[:, 2:] / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    arms = signs * half[:, None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x = arms[..., 0] * cos - arms[..., 1] * sin
    y = arms[..., 0] * sin + arms[..., 1] * cos
    return (np.stack([x, y], axis=2) + (boxes[:, :2] + half)[:, None]).reshape(-1, 8)


def cut(records: Annotations, num_videos: int, num_frames: int) -> Annotations:
    """The first frames of the first videos."""
    return {
        name: {
            field: value[:num_frames]
            if isinstance(value, list) and len(value) == len(record["gt_rect"])
            else value
            for field, value in record.items()
        }
        for name, record in sorted(records.items())[:num_videos]
    }


def around(regions: list[list[float]]) -> NDArray:
    """Boxes (N, 4) around regions; where the target is absent, the last one before."""
    boxes = np.full((len(regions), 4), np.nan)
    for i, region in enumerate(regions):
        corners = np.array(region).reshape(-1, 2)
        low = corners[0] if len(region) == 4 else corners.min(axis=0)
        size = corners[1] if len(region) == 4 else corners.max(axis=0) - low
        boxes[i] = *low, *size
    known = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    last = np.maximum.accumulate(np.where(known, np.arange(len(boxes)), 0))
    return np.where(np.isfinite(boxes[last]), boxes[last], 20.0)


def tracked(regions: list[list[float]], rng: np.random.Generator, noise: float) -> NDArray:
    """Boxes (N, 4) of a tracker that is off by up to ``noise`` target sizes."""
    gt = around(regions)
    off = noise * wandering(rng, len(gt), 4, step=0.3)
    return np.concatenate(
        [gt[:, :2] + off[:, :2] * gt[:, 2:], np.maximum(2, gt[:, 2:] * (1 + off[:, 2:]))], axis=1
    )


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _full(box: list[float]) -> str:
    return ",".join(map(str, box))


def write_one_pass(folder: Path, name: str, boxes: NDArray, rng: np.random.Generator) -> None:
    write(folder / f"{name}.txt", [_full(box) for box in boxes.tolist()])


def write_reset(folder: Path, name: str, boxes: NDArray, rng: np.random.Generator) -> None:
    lines = [",".join(f"{value:.4f}" for value in box) for box in boxes.tolist()]
    lines[0] = "1"
    for failure in np.flatnonzero(rng.random(len(lines)) < 0.004)[::2].tolist():
        codes = ["2", "0", "0", "0", "0", "1"][: len(lines) - failure]
        if failure and not any(len(line) == 1 for line in lines[failure : failure + 6]):
            lines[failure : failure + len(codes)] = codes
    write(folder / "baseline" / name / f"{name}_001.txt", lines)


def write_long_term(folder: Path, name: str, boxes: NDArray, rng: np.random.Generator) -> None:
    path = folder / "longterm" / name
    write(path / f"{name}_001.txt", ["1", *(_full(box) for box in boxes[1:].tolist())])
    scores = rng.random(len(boxes) - 1)
    write(path / f"{name}_001_confidence.value", ["", *(f"{score:.6f}" for score in scores)])
    write(path / f"{name}_time.txt", [f"{0.01:.6f}"] * len(boxes))


WRITERS: dict[str, Callable[[Path, str, NDArray, np.random.Generator], None]] = {
    "OTB100": write_one_pass,
    "VOT2018": write_reset,
    "LaSOT": write_one_pass,
    "VOT2018-LT": write_long_term,
}


def make(root: Path, dataset: str, records: Annotations, num_trackers: int) -> None:
    """Write ``<root>/<dataset>.json`` and ``<root>/results/<dataset>/<tracker>``.

    What an earlier run made is kept.
    """
    done = root / "done"
    if done.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{dataset}.json").write_text(json.dumps(records))
    for number in range(num_trackers):
        folder = root / "results" / dataset / f"tracker{number}"
        for v, (name, record) in enumerate(sorted(records.items())):
            rng = np.random.default_rng([number, v])
            boxes = tracked(record["gt_rect"], rng, 0.1 + 0.1 * number)
            WRITERS[dataset](folder, name, boxes, rng)
    done.touch()


def repeat(root: Path, dataset: str, repetitions: int) -> None:
    """Copy the first repetition of every video, as links."""
    for first in (root / "results" / dataset).glob("*/baseline/*/*_001.txt"):
        for number in range(2, repetitions + 1):
            copy = first.with_name(f"{first.name[: -len('001.txt')]}{number:03d}.txt")
            if not copy.exists():
                copy.hardlink_to(first)


def quadrilaterals(rng: np.random.Generator, count: int, side: float) -> tuple[NDArray, NDArray]:
    """Pairs (N, 8) of turned boxes of about ``side`` pixels that mostly overlap."""
    size = side * np.exp(rng.uniform(-0.3, 0.3, (count, 2)))
    boxes = np.concatenate([rng.uniform(side, 2 * side, (count, 2)), size], axis=1)
    angles = rng.uniform(-math.pi, math.pi, count)
    moved = boxes + rng.normal(0, 0.1 * side, (count, 4)) * (1, 1, 0.3, 0.3)
    return turned(boxes, angles), turned(moved, angles + rng.normal(0, 0.1, count))
