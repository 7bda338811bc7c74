"""Make the built-in data: training crops and a small benchmark, the same from the same seed.

    python tools/make_synthetic.py                          # both sets, where the tools look
    python tools/make_synthetic.py --preview preview.png    # and a sheet of frames with boxes
    python tools/make_synthetic.py --seed 7 --train-root /data/s7 --test-root /data/s7/Synthetic

A set that is complete and was made with the same settings is left as it is.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.errors import run
from pysot.datasets.annotation import categories_path
from pysot.datasets.crop import write_annotation, write_crops, write_image
from toolkit.io.files import atomic_write
from toolkit.synthetic import ATTRIBUTES, Shot, build_stage, contact_sheet, effects_of, make_video

FORMAT = 4  # raise it when the same settings give other pixels or files
STAMP = ".synthetic.json"
CROPS = "crop511"
REPOSITORY = Path(__file__).resolve().parents[1]

_TRAIN, _TEST = 0, 1  # first number of every seed: the two sets share no random stream
_SPAN = 90  # frames of the scene from which the crops of a training video are taken
_SIZES = ((320, 240), (400, 300), (480, 270))
_MIN_VISIBLE = 0.4  # less of an object is no good example of it
_MIN_SIDE = 8  # pixels


@dataclass(frozen=True)
class Plan:
    """What determines a set: equal plans give equal files."""

    seed: int
    videos: int
    frames: int
    split: int


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``python tools/make_synthetic.py --help`` shows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    train = REPOSITORY / "training_dataset" / "synthetic"
    test = REPOSITORY / "testing_dataset" / "Synthetic"
    parser.add_argument("--train-root", type=Path, default=train, help="folder of the training set")
    parser.add_argument("--test-root", type=Path, default=test, help="folder of the benchmark")
    parser.add_argument("--seed", type=int, default=1, help="0 or more")
    parser.add_argument("--workers", type=int, default=2, help="processes; the result is the same")
    parser.add_argument("--train-videos", type=int, default=110, help="of two or three tracks each")
    parser.add_argument("--train-frames", type=int, default=10, help="per training video")
    parser.add_argument("--test-videos", type=int, default=18)
    parser.add_argument("--test-frames", type=int, default=60, help="per video of the benchmark")
    parser.add_argument("--overwrite", action="store_true", help="make complete sets again, too")
    parser.add_argument("--preview", type=Path, help="write a sheet of frames with boxes (PNG)")
    args = parser.parse_args(argv)
    for name in ("seed", "workers", "train_videos", "train_frames", "test_videos", "test_frames"):
        if getattr(args, name) < (0 if name == "seed" else 1):
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)}: too small")
    if args.train_root.resolve() == args.test_root.resolve():
        parser.error(f"--train-root and --test-root are the same folder, {args.test_root}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing and say what there is."""
    args = parse_args(argv)
    started = time.perf_counter()
    train = Plan(args.seed, args.train_videos, args.train_frames, _TRAIN)
    test = Plan(args.seed, args.test_videos, args.test_frames, _TEST)
    todo = [
        (args.train_root, train, make_training_set),
        (args.test_root, test, make_benchmark),
    ]
    made = [
        ensure(root, plan, partial(make, workers=args.workers), args.overwrite)
        for root, plan, make in todo
    ]
    if args.preview:
        write_preview(args.test_root, args.preview)
    for (root, plan, _), new in zip(todo, made, strict=True):
        print(f"{root}: {plan.videos} videos, {'made' if new else 'already there'}")
    print(f"built-in data ready in {time.perf_counter() - started:.1f} s")


def ensure(root: Path, plan: Plan, make: Callable[[Path, Plan], None], overwrite: bool) -> bool:
    """Make a set unless it is there, complete and as planned.

    The stamp in its folder says "incomplete" while files are written, so that an interrupted run
    is never taken for a set.

    Args:
        root: Folder of the set.
        plan: What it must hold.
        make: Writes the set into the folder.
        overwrite: Whether to make it in any case.

    Returns:
        Whether it was made.

    Raises:
        ValueError: If the folder holds files that this tool did not write.
        OSError: If a file cannot be written.
    """
    wanted = {"format": FORMAT, **vars(plan), "complete": True}
    stamp = root / STAMP
    index = _index(root, plan.split)
    whole = index.is_file() and len(_videos(root)) == plan.videos
    if whole and not overwrite and _read_stamp(stamp) == wanted:
        return False
    if not stamp.is_file() and (_videos(root) or index.exists()):
        raise ValueError(f"{root}: holds data that this tool did not write; give another folder")
    root.mkdir(parents=True, exist_ok=True)
    _write_json(stamp, {**wanted, "complete": False})
    index.unlink(missing_ok=True)
    for folder in _videos(root):
        shutil.rmtree(folder)
    make(root, plan)
    _write_json(stamp, wanted)
    return True


def _write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as file:
        json.dump(content, file)


def _read_stamp(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # none, or cut short
        return {}


def _index(root: Path, split: int) -> Path:
    """The JSON file of a set: ``train.json``, or named as the folder of the benchmark."""
    return root / ("train.json" if split == _TRAIN else f"{root.resolve().name}.json")


def _videos(root: Path) -> list[Path]:
    """Folders of videos in the places where a set has them."""
    crops = [path for path in root.glob(f"{CROPS}/*") if path.is_dir()]
    return crops + [path.parent for path in root.glob("*/img") if path.is_dir()]


def _each(job: Callable[[int], Any], count: int, workers: int) -> Iterable[Any]:
    """Results of a job for 0 ... count - 1, in that order."""
    if workers == 1:
        yield from map(job, range(count))
        return
    context = get_context("spawn")  # forking a process that has threads may hang
    with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        yield from pool.map(job, range(count))


# ------------------------------------------------------------------------------------ training


def make_training_set(root: Path, plan: Plan, workers: int) -> None:
    """Write ``crop511/``, ``train.json`` and the kinds of its objects.

    See ``pysot.datasets.crop`` and ``pysot.datasets.annotation`` for their format.
    """
    annotation: dict = {}
    kinds: dict = {}
    job = partial(write_training_video, root / CROPS, plan)
    for tracks, kinds_of_video in _each(job, plan.videos, workers):
        annotation |= tracks
        kinds |= kinds_of_video
    index = _index(root, plan.split)
    _write_json(categories_path(index), kinds)
    write_annotation(index, annotation)


def write_training_video(root: Path, plan: Plan, index: int) -> tuple[dict, dict]:
    """Shoot a scene at a few times and write crops of the objects that can be seen well.

    Args:
        root: Folder of the crops.
        plan: The set it belongs to.
        index: Which video of the set.

    Returns:
        Its annotation, {video: {track: {frame: [x1, y1, x2, y2]}}}, and what kinds of objects
        these are, {video: {track: kind}}.
    """
    rng = np.random.default_rng([plan.split, plan.seed, index])
    size = _SIZES[rng.integers(len(_SIZES))]
    attributes = rng.choice(ATTRIBUTES, rng.integers(0, 4), replace=False).tolist()
    effects = effects_of(attributes)
    if "Low Resolution" not in attributes:
        effects = replace(effects, length=(20, 0.3 * size[1]))
    span = max(_SPAN, plan.frames)
    stage = build_stage(rng, effects, size, span, num_targets=int(rng.integers(2, 4)))
    name = f"scene_{index:04d}"
    tracks: dict[str, dict[str, list[float]]] = {}
    for at in np.sort(rng.choice(span, plan.frames, replace=False)).tolist():
        shot = stage.shoot(at)
        boxes = {i: _corners(shot.boxes[i]) for i, ok in enumerate(_usable(shot)) if ok}
        write_crops(root / name, shot.image, boxes, at, dict(enumerate(shot.masks)))
        for track, box in boxes.items():
            tracks.setdefault(f"{track:02d}", {})[f"{at:06d}"] = box
    kinds = {track: stage.kinds[int(track)] for track in tracks}
    return {name: tracks}, {name: kinds}


def _usable(shot: Shot) -> NDArray:
    large = np.nan_to_num(shot.boxes[:, 2:]).min(axis=1) >= _MIN_SIDE
    return large & (shot.visible >= _MIN_VISIBLE)


def _corners(box: NDArray) -> list[float]:
    x, y, w, h = box.tolist()
    return [x, y, x + w, y + h]


# ----------------------------------------------------------------------------------- benchmark


def make_benchmark(root: Path, plan: Plan, workers: int) -> None:
    """Write ``<video>/img/*.jpg``, ``<video>/mask/*.png`` and ``<root's name>.json``.

    ``<root's name>Masks.json`` says the same: under that name trackers are scored by their masks.
    """
    records: dict = {}
    for record in _each(partial(write_test_video, root, plan), plan.videos, workers):
        records |= record
    index = _index(root, plan.split)
    _write_json(index.with_name(f"{index.stem}Masks.json"), records)
    _write_json(index, records)


def attributes_of(index: int) -> list[str]:
    """Difficulties of a video: one each at first, then pairs."""
    first, again = index % len(ATTRIBUTES), index // len(ATTRIBUTES)
    chosen = {first, (first + 4 * again) % len(ATTRIBUTES)}
    return [ATTRIBUTES[i] for i in sorted(chosen)]


def write_test_video(root: Path, plan: Plan, index: int) -> dict:
    """Write one video of the benchmark.

    Args:
        root: Folder of the benchmark.
        plan: The set it belongs to.
        index: Which video of the set.

    Returns:
        Its record in the OTB-style JSON: {name: {...}}; boxes are x, y, w, h, NaN while out of
        view.
    """
    attributes = attributes_of(index)
    video = make_video((plan.split, plan.seed, index), plan.frames, attributes)
    main_attribute = ATTRIBUTES[index % len(ATTRIBUTES)]
    name = "".join(c for c in main_attribute if c.isalpha()) + str(index // len(ATTRIBUTES) + 1)
    for kind in ("img", "mask"):
        (root / name / kind).mkdir(parents=True, exist_ok=True)
    paths = [f"{name}/img/{i:04d}.jpg" for i in range(1, plan.frames + 1)]
    for path, frame, mask in zip(paths, video.frames, video.masks, strict=True):
        write_image(root / path, frame, (cv2.IMWRITE_JPEG_QUALITY, 90))
        write_image(root / _mask_name(path), mask * np.uint8(255), (cv2.IMWRITE_PNG_BILEVEL, 1))
    height, width = video.frames[0].shape[:2]
    return {
        name: {
            "video_dir": name,
            "init_rect": video.boxes[0].tolist(),
            "img_names": paths,
            "mask_names": [_mask_name(path) for path in paths],
            "gt_rect": video.boxes.tolist(),
            "attr": attributes,
            "width": width,
            "height": height,
        }
    }


def _mask_name(image: str) -> str:
    """Path of the mask of a frame below the benchmark's root: nonzero where the target is seen."""
    return image.replace("/img/", "/mask/").replace(".jpg", ".png")


def write_preview(root: Path, path: Path) -> None:
    """Write a sheet of six frames per video of the benchmark, with their boxes."""
    records = json.loads(_index(root, _TEST).read_text())
    frames, boxes = [], []
    for name in sorted(records):
        record = records[name]
        for i in np.linspace(0, len(record["img_names"]) - 1, 6).round().astype(int).tolist():
            frames.append(cv2.imread(str(root / record["img_names"][i])))
            boxes.append(np.array(record["gt_rect"][i], float))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, contact_sheet(frames, boxes, columns=6))


if __name__ == "__main__":
    run(main)
