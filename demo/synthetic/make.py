"""Make the built-in data, training crops and a small benchmark, the same from the same seed.

Examples:
    python tools/make_synthetic.py
    python tools/make_synthetic.py --only test --preview frames.png
"""

import argparse
import json
import os
import re
import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from demo.synthetic.scenes import ATTRIBUTES, build_stage, effects_of
from pysot.cli import HelpFormatter
from pysot.core import RunFailed
from pysot.datasets.annotation import categories_path
from pysot.datasets.crop import crop_name, write_annotation, write_crops, write_image
from toolkit.io.files import atomic_write, remove_leftovers
from toolkit.io.pool import run_parallel

FORMAT = 5  # raise it when the same settings give other pixels or files
STAMP, CROPS = ".synthetic.json", "crop511"
_TRAIN, _TEST = 0, 1  # first number of every seed: the two sets share no random stream
_KINDS = ["".join(filter(str.isalpha, name)) for name in ATTRIBUTES]  # of videos of the benchmark
_OURS = {
    _TRAIN: re.compile(rf"{CROPS}/scene_\d{{4,}}/\d{{6,}}\.\d\d\.([xz]\.jpg|m\.png)"),
    _TEST: re.compile(rf"({'|'.join(_KINDS)})\d+/(img/\d{{4,}}\.jpg|mask/\d{{4,}}\.png)"),
}


class Plan(NamedTuple):
    """What determines a set: equal plans give equal files."""

    seed: int
    videos: int
    frames: int
    split: int


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``python tools/make_synthetic.py --help`` shows it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    add, home = parser.add_argument, Path(__file__).resolve().parents[2]
    train, test = home / "training_dataset/synthetic", home / "testing_dataset/Synthetic"
    add("--train-root", type=Path, default=train, help="folder of the training set")
    add("--test-root", type=Path, default=test, help="folder of the benchmark")
    add("--only", choices=("train", "test"), help="make only the training set, or the benchmark")
    add("--seed", type=int, default=1, help="0 or more")
    add("--workers", type=int, default=2, help="processes; the result is the same")
    add("--train-videos", type=int, default=110, help="of two or three tracks each")
    add("--train-frames", type=int, default=10, help="per training video")
    add("--test-videos", type=int, default=18, help="of the benchmark")
    add("--test-frames", type=int, default=60, help="per video of the benchmark")
    add("--overwrite", action="store_true", help="make complete sets again, too")
    add("--preview", type=Path, help="write a sheet of frames with boxes (PNG)")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if type(value) is int and value < (name != "seed"):
            parser.error(f"--{name.replace('_', '-')} {value}: too small")
    if args.train_root.resolve() == args.test_root.resolve():
        parser.error(f"--train-root and --test-root are the same folder, {args.test_root}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Make what is missing and say what there is."""
    args, started = parse_args(argv), time.perf_counter()
    train = args.train_root, Plan(args.seed, args.train_videos, args.train_frames, _TRAIN)
    test = args.test_root, Plan(args.seed, args.test_videos, args.test_frames, _TEST)
    for root, plan in {"train": [train], "test": [test], None: [train, test]}[args.only]:
        made = ensure(root, plan, args.workers, args.overwrite)
        print(f"{root}: {plan.videos} videos, {'made' if made else 'already there'}")
    if args.preview:
        write_preview(_index(args.test_root, _TEST), args.preview)
    print(f"built-in data ready in {time.perf_counter() - started:.1f} s")


def ensure(root: Path, plan: Plan, workers: int, overwrite: bool) -> bool:
    """Make a set unless it is there, complete as its stamp says; returns whether it was made."""
    wanted = {"format": FORMAT, **plan._asdict(), "complete": True}
    stamp, index, there = root / STAMP, _index(root, plan.split), _files(root)
    foreign = min((name for name in there if not _OURS[plan.split].fullmatch(name)), default="")
    if foreign or (not stamp.is_file() and (there or index.exists())):
        foreign = root / (foreign or min(there, default=index.name))
        raise ValueError(f"{foreign}: this tool did not write it; move it, or give another folder")
    complete = stamp.is_file() and stamp.read_bytes() == json.dumps(wanted).encode()
    if complete and there == _expected(index, plan.split) and not overwrite:
        return False
    _write_json(stamp, {**wanted, "complete": False})
    index.unlink(missing_ok=True)
    _remove(root, there)
    write = write_training_video if plan.split == _TRAIN else write_test_video
    work, one_thread = partial(write, root, plan), partial(cv2.setNumThreads, 1)
    _write_index(index, plan, list(run_parallel(work, range(plan.videos), workers, one_thread)))
    if _files(root) != _expected(index, plan.split):
        raise RunFailed(f"{root}: another process writes there, too; start again")
    _write_json(stamp, wanted)
    return True


def _files(root: Path) -> set[str]:
    """Return the files of videos in a set's folder, links included, without hidden ones."""
    found = set()
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for path in (Path(folder, name).relative_to(root) for name in [*names, *links]):
            among = path.parts[0] == CROPS or path.parts[1:2] in (("img",), ("mask",))
            if (among or path.name in links) and not path.name.startswith("."):
                found.add(path.as_posix())
    return found


def _expected(index: Path, split: int) -> set[str]:
    """Return the files of videos that the JSON of a set names; none if it cannot be read."""
    try:
        content = json.loads(index.read_bytes())
        if split == _TEST:
            return {n for r in content.values() for n in (*r["img_names"], *r["mask_names"])}
        return {
            f"{CROPS}/{video}/{crop_name(int(frame), track, kind)}"
            for video, tracks in content.items()
            for track, frames in tracks.items()
            for frame in frames
            for kind in "xzm"
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()


def _remove(root: Path, files: set[str]) -> None:
    """Remove files, and folders that are empty then."""
    for name in files:
        (root / name).unlink()
    for folder in sorted({root / parent for name in files for parent in Path(name).parents})[::-1]:
        remove_leftovers(folder)
        if folder != root and not any(folder.iterdir()):
            folder.rmdir()


def _write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as file:
        json.dump(content, file)


def _index(root: Path, split: int) -> Path:
    """The JSON file of a set: ``train.json``, or named as the folder of the benchmark."""
    return root / ("train.json" if split == _TRAIN else f"{root.resolve().name}.json")


def _write_index(index: Path, plan: Plan, videos: list) -> None:
    if plan.split == _TRAIN:
        _write_json(categories_path(index), {name: kinds for name, _, kinds in videos})
        write_annotation(index, {name: tracks for name, tracks, _ in videos})
        return
    for path in (index.with_name(f"{index.stem}Masks.json"), index):  # scored by masks, by boxes
        _write_json(path, {video["video_dir"]: video for video in videos})


def write_training_video(root: Path, plan: Plan, index: int) -> tuple[str, dict, dict]:
    """Write crops of a scene; its name, {track: {frame: [x1, y1, x2, y2]}}, {track: kind}."""
    rng = np.random.default_rng([plan.split, plan.seed, index])
    size = [(320, 240), (400, 300), (480, 270)][rng.integers(3)]
    attributes = rng.choice(ATTRIBUTES, rng.integers(0, 4), replace=False).tolist()
    effects, span = effects_of(attributes), max(90, plan.frames)
    if "Low Resolution" not in attributes:
        effects = replace(effects, length=(20, 0.3 * size[1]))
    stage = build_stage(rng, effects, size, span, targets=int(rng.integers(2, 4)))
    name, tracks = f"scene_{index:04d}", {}
    for at in np.sort(rng.choice(span, plan.frames, replace=False)).tolist():
        shot = stage.shoot(at)
        clear = (np.nan_to_num(shot.boxes[:, 2:]).min(1) >= 8) & (shot.visible >= 0.4)
        corners = np.hstack([shot.boxes[:, :2], shot.boxes[:, :2] + shot.boxes[:, 2:]])
        boxes = {int(i): corners[i].tolist() for i in np.flatnonzero(clear)}
        write_crops(root / CROPS / name, shot.image, boxes, at, dict(enumerate(shot.masks)))
        for track, box in boxes.items():
            tracks.setdefault(f"{track:02d}", {})[f"{at:06d}"] = box
    return name, tracks, {t: stage.actors[stage.watched[int(t)]].figure.kind for t in tracks}


def attributes_of(index: int) -> list[str]:
    """Difficulties of a video: one each at first, then pairs."""
    first, again = index % len(ATTRIBUTES), index // len(ATTRIBUTES)
    return [ATTRIBUTES[i] for i in sorted({first, (first + 4 * again) % len(ATTRIBUTES)})]


def write_test_video(root: Path, plan: Plan, index: int) -> dict[str, Any]:
    """Write a video of the benchmark; its record, boxes x, y, w, h, NaN while out of view."""
    seeds = ([plan.split, plan.seed, index, attempt] for attempt in count())
    args = effects_of(attributes_of(index)), (320, 240), plan.frames
    stages = (build_stage(np.random.default_rng(seed), *args) for seed in seeds)
    stage = next(stage for stage in stages if stage.shoot(0).visible[0] > 0.8)
    name = f"{_KINDS[index % len(_KINDS)]}{index // len(_KINDS) + 1}"
    images = [f"{name}/img/{i:04d}.jpg" for i in range(1, plan.frames + 1)]
    masks = [f"{name}/mask/{i:04d}.png" for i in range(1, plan.frames + 1)]
    shots = [stage.shoot(time) for time in range(plan.frames)]
    for shot, image, mask in zip(shots, images, masks, strict=True):
        write_image(root / image, shot.image, (cv2.IMWRITE_JPEG_QUALITY, 90))
        write_image(root / mask, shot.masks[0] * np.uint8(255), (cv2.IMWRITE_PNG_BILEVEL, 1))
    boxes = [shot.boxes[0].tolist() for shot in shots]
    about = {"attr": attributes_of(index), "width": stage.size[0], "height": stage.size[1]}
    files = {"video_dir": name, "img_names": images, "mask_names": masks}
    return {**files, "init_rect": boxes[0], "gt_rect": boxes, **about}


def write_preview(index: Path, path: Path) -> None:
    """Write a sheet of six frames per video of the benchmark, with their boxes."""
    tiles = []
    for record in json.loads(index.read_text()).values():
        for i in np.linspace(0, len(record["img_names"]) - 1, 6).round().astype(int).tolist():
            tiles.append(cv2.imread(str(index.parent / record["img_names"][i])))
            x, y, w, h = np.nan_to_num(record["gt_rect"][i], nan=-9).astype(int).tolist()
            cv2.rectangle(tiles[-1], (x - 1, y - 1), (x + w, y + h), (0, 255, 255))
    rows = [np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)]
    write_image(path, np.vstack(rows))
