"""A user's own data: folders of videos, tables of boxes, and files in COCO's and VOC's form."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from toolkit.datasets.formats import coco, voc
from toolkit.datasets.reading import (
    BoxFile,
    Format,
    Reading,
    TrainingSet,
    first_file,
    image_folder,
    read_boxes,
    read_csv,
    read_labels,
)
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region, whole_number
from toolkit.io.images import list_images

# files that may hold the boxes of a video, the better known first
_TRUTHS = ("groundtruth.txt", "groundtruth_rect.txt")
_TESTED = (*_TRUTHS, "init_rect.txt")
_COLUMNS = ("video", "frame", "x", "y", "w", "h")


def formats(name: str) -> tuple[Format, ...]:
    """Return the formats in which a set that is no known benchmark may be tested on."""
    folders = ("*/groundtruth.txt", "*/groundtruth_rect.txt", "*.txt", "*/init_rect.txt", "*/*.txt")
    return (
        Format((f"{name}.csv",), partial(_read_table, name=name)),
        Format(folders, partial(read_folders, name=name)),
    )


def read_folders(reading: Reading, name: str) -> Iterator[Sequence]:
    """Videos to test on: ``<root>/<video>`` with images, in it or its ``img``, and boxes."""
    root = reading.root
    if truth := first_file(root, _TESTED):
        yield _video(root, name, truth, reading)
        return
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        names = (*_TESTED, f"{folder.name}.txt", f"../{folder.name}.txt")
        truth = first_file(folder, names)
        if truth or list_images(image_folder(folder)):
            yield _video(folder, folder.name, truth or _TESTED[0], reading)


def _video(folder: Path, name: str, truth: str, reading: Reading) -> Sequence:
    path = Path(os.path.normpath(folder / truth))
    source = BoxFile(name, image_folder(folder), path, first_only=True)
    return read_boxes(source, reading)


def read_any(reading: Reading, masks: Path | None = None) -> Iterator[Sequence]:
    """Find out what a path holds, and yield its videos to train on.

    Args:
        reading: Its root is a folder of videos with boxes or masks, a JSON file in COCO's format, a
            folder with PASCAL VOC's XML files, or a CSV file; see `training_dataset/README.md`.
        masks: Folder of masks that is not within the root.
    """
    root = reading.root
    if not root.exists():
        raise FileNotFoundError(f"no such file or folder: {root}")
    if root.suffix.lower() == ".json":
        return coco.read_file(root, root.parent, "", reading)
    if root.suffix.lower() == ".csv":
        return _read_images(reading)
    if root.is_dir():
        if any(root.rglob("*.xml")):
            return voc.read_voc(reading)
        folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
        found = [(folder, _annotation(folder, root, masks)) for folder in folders]
        found = [(folder, annotation) for folder, annotation in found if annotation]
        if found:
            return (_trained(folder, annotation, reading) for folder, annotation in found)
    raise ValueError(
        f"{root}: found neither videos (folders of frames with {_TRUTHS[0]} or masks), nor a "
        "JSON file of COCO's format, VOC's XML files or a CSV file; see training_dataset/README.md"
    )


def _annotation(folder: Path, root: Path, masks: Path | None) -> Path | None:
    if masks is not None:
        found = masks / folder.relative_to(root)
        return found if list_images(found) else None
    return next((p for name in (*_TRUTHS, "mask") if (p := folder / name).exists()), None)


def _trained(folder: Path, annotation: Path, reading: Reading) -> Sequence:
    root = reading.root
    name = str(folder.relative_to(root)) if folder != root else root.resolve().name
    if annotation.is_dir():
        return read_labels(name, image_folder(folder), annotation, reading)
    return read_boxes(BoxFile(name, image_folder(folder), annotation), reading)


# -------------------------------------------------------------------------------------- tables


def _read_table(reading: Reading, name: str) -> Iterator[Sequence]:
    """Videos to test on with one table of boxes, ``<root>/<name>.csv``.

    Its header names the columns video, frame, x, y, w and h in any order. ``frame`` is the number
    in the image's file name (``0007.jpg`` is 7); frames without a row have no box, and a video
    begins at its first row.
    """
    path = reading.root / f"{name}.csv"
    videos: dict[str, dict[int, Region]] = defaultdict(dict)
    for line, row, number, box in _rows(path, _COLUMNS, reading):
        if number in videos[row["video"]]:
            raise ValueError(f"{path}: line {line}: second box of frame {number}")
        videos[row["video"]][number] = box
    for video, boxes in sorted(videos.items()):
        images = image_folder(reading.root / video)
        source = BoxFile(video, images, path, frames=(min(boxes), None), boxes=boxes)
        yield read_boxes(source, reading)


def _read_images(reading: Reading) -> Iterator[Sequence]:
    """Images to train on, of videos or not, named in a CSV file; rows of one may be apart."""
    path = reading.root
    videos: dict[str, dict[tuple[int, str], dict[int, Region]]] = {}
    categories: dict[str, dict[int, str]] = defaultdict(dict)
    for line, row, number, box in _rows(path, ("video", "frame", "image", *"xywh"), reading):
        video, place = row["video"], f"{path}, line {line}"
        frame = videos.setdefault(video, {}).setdefault((number, row["image"]), {})
        try:
            track = whole_number(row.get("track") or 0)
        except ValueError:
            track = -1
        if track < 0 or track in frame:
            text = f"track {row.get('track')!r} is no number from 0, or there twice"
            reading.report("unusable line", place, text)
            continue
        frame[track] = box
        if row.get("kind"):
            categories[video][track] = row["kind"]
    for video, frames in sorted(videos.items()):
        keys = sorted(key for key, boxes in frames.items() if boxes)
        images = [path.parent / image for _, image in keys]
        numbers = [number for number, _ in keys]
        regions = [frames[key] for key in keys]
        yield Sequence(video, images, regions, numbers, categories=categories[video])


def _rows(
    path: Path, columns: tuple[str, ...], reading: Reading
) -> Iterator[tuple[int, Mapping[str, str], int, Region]]:
    """Yield line, row, number of the frame and box x, y, w, h; training skips unusable lines."""
    rows = read_csv(path)
    _, there = next(rows, (1, []))
    if missing := [name for name in columns if name not in there]:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}: expected a header with "
            f"{','.join(columns)}; there is {', '.join(there) or 'nothing'}"
        )
    for line, values in rows:
        row = dict(zip(there, values, strict=False))
        try:
            box, number = [_number(row[key]) for key in "xywh"], whole_number(row["frame"])
            if not all(row[name] for name in columns) or any(values[len(there) :]):
                raise ValueError
        except (ValueError, KeyError):
            text = (
                "expected a whole number and four numbers for frame, x, y, w and h, and something "
                f"in {', '.join(columns)}, got {values}"
            )
            if not reading.training:
                raise ValueError(f"{path}: line {line}: {text}") from None
            reading.report("unusable line", f"{path}, line {line}", text)
            continue
        yield line, row, number, box


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value) or "_" in text:
        raise ValueError
    return value


TRAINING = {
    "own": TrainingSet(
        "your own data: check, crops (with masks where there are any), annotations",
        "folder of videos, JSON file (COCO), folder of XML files, or CSV file",
        read_any,
        {"--masks": {"type": Path, "help": "folder of <video>/<frame>.png"}},
    )
}
