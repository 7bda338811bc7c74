"""A user's own data: folders of videos, tables of boxes, and files in COCO's and VOC's form."""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import OPE
from toolkit.datasets.dataset import make_video, read_json
from toolkit.datasets.formats import coco, voc
from toolkit.datasets.formats.voc import is_voc
from toolkit.datasets.reading import (
    BoxFile,
    Format,
    Reading,
    TrainingSet,
    files_of,
    first_file,
    folders_below,
    image_folder,
    match_masks,
    note_unused,
    read_boxes,
    read_csv,
    read_labels,
    subfolders,
)
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region, whole_number
from toolkit.io.images import frame_numbers, has_images, image_size, list_images
from toolkit.io.images import read_labels as label_image
from toolkit.io.issues import IssueLog

# files that may hold the boxes of a video, the better known first
_TRUTHS = ("groundtruth.txt", "groundtruth_rect.txt")
_TESTED = (*_TRUTHS, "init_rect.txt")
_LOOKED_AT = 8  # images of a video whose sizes are compared
_COLUMNS = ("video", "frame", "x", "y", "w", "h")


def formats(name: str) -> tuple[Format, ...]:
    """Return the formats in which a set that is no known benchmark may be tested on."""
    folders = ("*/groundtruth.txt", "*/groundtruth_rect.txt", "*/init_rect.txt")
    folders += ("*.txt", "*/*.txt", "*.TXT", "*/*.TXT")
    return (
        Format((f"{name}.csv",), partial(_read_table, name=name)),
        Format(folders, partial(read_folders, name=name)),
    )


def read_folders(reading: Reading, name: str) -> Iterator[Sequence]:
    """Videos to test on: ``<root>/<video>`` with images, in it or its ``img``, and boxes."""
    root, known = reading.root, set()
    folders = subfolders(root)
    truth = first_file(root, _TESTED)
    if truth and (has_images(image_folder(root)) or not any(map(_has_images, folders))):
        yield _video(root, name, truth, reading)
        return
    for folder in sorted(folders, key=Path.is_symlink):
        names = (*_TESTED, f"{folder.name}.txt", f"../{folder.name}.txt")
        truth = first_file(folder, names)
        key = os.path.realpath(folder), os.path.realpath(folder / truth)
        if (truth or _has_images(folder)) and key not in known:
            known.add(key)
            if not truth:
                note_unused([image_folder(folder)], (), _TESTED[0], reading)
            yield _video(folder, folder.name, truth or _TESTED[0], reading)


def _has_images(folder: Path) -> bool:
    return has_images(image_folder(folder))


def _video(folder: Path, name: str, truth: str, reading: Reading) -> Sequence:
    path = Path(os.path.normpath(folder / truth))
    source = BoxFile(name, image_folder(folder), path, first_only=True)
    return read_boxes(source, reading)


def read_any(
    reading: Reading, masks: Path | None = None, stills: bool = False, images: Path | None = None
) -> Iterator[Sequence]:
    """Find out what a path holds, and yield its videos to train on.

    Args:
        reading: Its root is a folder of videos with boxes or masks, a JSON file in COCO's format or
            of a benchmark in PySOT's, a folder with PASCAL VOC's XML files, or a CSV file; see
            `training_dataset/README.md`.
        masks: Folder of masks that is not within the root.
        stills: Whether images with masks are no frames of a video, but each stands for itself.
        images: Folder that the names of images in a JSON file are relative to.
    """
    root = reading.root
    for path in (root, masks, images):
        if path and not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    if stills:
        return _read_stills(masks, reading)
    if root.suffix.lower() == ".json":
        if _is_benchmark(root):
            return _read_benchmark(images or root.parent, masks, reading)
        return coco.read_file(root, images or root.parent, "", reading)
    if root.suffix.lower() == ".csv":
        return _read_images(reading)
    if root.is_dir():
        folders = folders_below(root)
        stills = [path for folder in folders for path in files_of(folder, ".xml") if is_voc(path)]
        found = {folder: _annotation(folder, root, masks) for folder in folders}
        found = {folder: annotation for folder, annotation in found.items() if any(annotation)}
        if stills and not any(map(_has_images, found)):
            return voc.read_voc(reading)
        if found:
            return _read_videos(found, folders, stills, reading)
        note_unused(folders, (), _TRUTHS[0], reading)
    here = [path.name for kind in (".json", ".csv") for path in files_of(root, kind)]
    raise ValueError(
        f"{root}: found neither videos (folders of frames with {_TRUTHS[0]} or masks), nor a "
        "JSON file of COCO's format, VOC's XML files or a CSV file; see training_dataset/README.md"
        + "".join(f"; {issue}" for issue in reading.log[:1])
        + (f"; there is {', '.join(here[:3])}: name the file itself" if here else "")
    )


def _annotation(folder: Path, root: Path, masks: Path | None) -> tuple[Path | None, Path | None]:
    """Return the file of boxes and the folder of masks that a folder has."""
    below = {path.name.lower(): path for path in subfolders(folder)}
    found = masks / folder.relative_to(root) if masks else below.get("mask")
    truth = first_file(folder, _TRUTHS)
    return (folder / truth if truth else None, found if found and has_images(found) else None)


def _read_videos(
    found: Mapping[Path, tuple[Path | None, Path | None]],
    folders: list[Path],
    stills: list[Path],
    reading: Reading,
) -> Iterator[Sequence]:
    used = [path for folder, (_, masks) in found.items() for path in (image_folder(folder), masks)]
    note_unused(folders, filter(None, used), _TRUTHS[0], reading)
    if stills:
        text = f"{len(stills)} beside videos, such as {stills[0]}: give their folder as the root"
        reading.report("XML files that are not read", reading.root, text, "warning", "warning")
    for folder, (truth, masks) in found.items():
        name = str(folder.relative_to(reading.root)) if folder != reading.root else ""
        yield _trained(name or folder.resolve().name, folder, truth, masks, reading)


def _trained(
    name: str, folder: Path, truth: Path | None, masks: Path | None, reading: Reading
) -> Sequence:
    images = image_folder(folder)
    if truth is None:
        video = read_labels(name, images, masks or folder / "mask", reading)
        if len(sizes := _first_sizes(video)) > 1:
            text = (
                f"their sizes differ ({', '.join(sizes)}); is each a picture of its own (--stills)?"
            )
            reading.report("images taken as one video", images, text, "warning", "warning")
        return video
    video = read_boxes(BoxFile(name, images, truth), reading)
    if masks and len(video):
        _add_masks(video, masks, reading)
    return video


def _first_sizes(video: Sequence) -> list[str]:
    """Return the sizes of the first few images of a video, as text, each once."""
    sizes: dict[str, None] = {}
    for image in video.images[:_LOOKED_AT]:
        with suppress(ValueError, OSError):  # reported where the image is used
            sizes["{} x {}".format(*image_size(image))] = None
    return list(sizes)


def _add_masks(video: Sequence, folder: Path, reading: Reading) -> None:
    """Add the masks in a folder to a video of one object."""
    frames = [Path(image) for image in video.images]
    try:
        found = match_masks(frames, frame_numbers(p.name for p in frames), folder, reading)
        video.masks = [{0: LabelMask(path)} if path else {} for path in found]
    except ValueError as error:
        reading.report("unusable mask", folder, f"{error}: only the boxes are used")


def _read_stills(masks: Path | None, reading: Reading) -> Iterator[Sequence]:
    """Yield each image that has a mask as a video of one frame, named as the image."""
    root = reading.root
    if not root.is_dir():
        raise ValueError(f"--stills {root}: expected a folder of images with masks")
    found = {folder: _annotation(folder, root, masks)[1] for folder in folders_below(root)}
    if not any(found.values()):
        place = masks or root / "mask"
        raise ValueError(f"--stills {root}: found no masks, named as the images, in {place}")
    for folder, place in found.items():
        if place:
            yield from _stills(folder, place, reading)


def _stills(folder: Path, masks: Path, reading: Reading) -> Iterator[Sequence]:
    images: dict[str, Path] = {}
    for image in list_images(image_folder(folder)):
        if (first := images.setdefault(image.stem.lower(), image)) != image:
            reading.report("two stills of one name", image, f"the other one is {first}")
    stills = [*images.values()]
    try:
        labels = match_masks(stills, None, masks, reading)
    except ValueError as error:
        reading.report("unreadable annotation", folder, error)
        return
    for image in (image for image, mask in zip(stills, labels, strict=True) if mask is None):
        reading.report("still without a mask", image, "it is not used", "note", "note")
    for image, mask in zip(stills, labels, strict=True):
        if mask is not None:
            name = (folder / image.stem).relative_to(reading.root)
            yield Sequence(str(name), [image], labels=[mask])


def _is_benchmark(path: Path) -> bool:
    """Return whether a JSON file begins as those of benchmarks do that PySOT reads."""
    with open(path, "rb") as file:
        return re.search(rb'"(img_names|gt_rect|init_rect)"', file.read(1 << 16)) is not None


def _read_benchmark(images: Path, masks: Path | None, reading: Reading) -> Iterator[Sequence]:
    """Yield the videos of a benchmark's JSON, with the masks in ``mask`` beside their images."""
    path = reading.root
    for name, record in read_json(path).items():
        log = IssueLog()
        try:
            video = make_video(name, record, images, OPE, log)
        except ValueError as error:
            reading.report("unusable video", f"{path}: {name}", error)
            continue
        for issue in log:
            reading.log.add(issue.kind, f"{path}: {name}", issue.text, issue.level)
        boxes = video.boxes
        sequence = Sequence(name, video.img_names, [{0: region} for region in video.gt_traj])
        sequence.visible = np.isfinite(boxes).all(axis=1).tolist()
        if video.annotated_size:
            sequence.sizes = [video.annotated_size] * len(sequence)
        folder = masks / name if masks else Path(sequence.images[0]).parent / "mask"
        if has_images(folder):
            _add_masks(sequence, folder, reading)
        yield sequence


@dataclass(frozen=True)
class LabelMask:
    """The mask of the one object of a label image."""

    path: Path

    def draw(self, shape: tuple[int, int]) -> NDArray:
        """Read it; ``shape`` is (h, w). Returns (H, W) uint8, 1 on the object.

        Raises:
            ValueError: If it cannot be read, is of another size, or has not a single object.
        """
        try:
            labels = label_image(self.path)
        except OSError as error:
            raise ValueError(f"{self.path}: {error}") from None
        objects = np.flatnonzero(np.bincount(labels.ravel())[1:])
        if labels.shape != tuple(shape) or len(objects) != 1:
            h, w = labels.shape
            text = f"{len(objects)} objects, {w} x {h}; expected 1, {shape[1]} x {shape[0]}"
            raise ValueError(f"{self.path}: {text}")
        return (labels > 0).astype(np.uint8)


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
        "folder of videos or stills, JSON file (COCO, PySOT), folder of XML files, or CSV file",
        read_any,
        {
            "--masks": {"type": Path, "help": "folder of <video>/<frame>.png"},
            "--stills": {
                "action": "store_true",
                "help": "each image with a mask is a video of its own, not a frame of one",
            },
            "--images": {"type": Path, "help": "folder of the images that a JSON file names"},
        },
    )
}
