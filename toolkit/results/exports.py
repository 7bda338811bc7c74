"""Results as tools for several objects and for instances read them: MOT, COCO, YouTube-VOS.

What was found in a video is a `Clip`, of the results of a benchmark (`clips_of`) or of the demo.

Boxes are x, y, w, h in pixels. MOT counts frames, objects and pixels from 1: its upper left pixel
is (1, 1). COCO and YouTube-VOS count pixels from 0, and videos, images, objects and annotations
from 1. Of a tracker that was run several times the first run is written. Frames without a box or
mask, such as those of a start or a failure, have no entry. Where no score is stored it is 1.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.io.boxes import box_around
from toolkit.io.files import atomic_path, atomic_write
from toolkit.io.images import mask_box
from toolkit.results.store import ResultStore
from toolkit.results.submission import add_text
from toolkit.results.trajectory import Code, Trajectory

_CATEGORIES = [{"id": 1, "name": "object"}]


class Found(NamedTuple):
    """An object in a frame."""

    frame: int  # from 0
    track: int  # from 1, the label of its mask
    box: list[float]
    score: float
    shape: Any  # run lengths of its mask, or a polygon as COCO has it; None for a box
    area: float


@dataclass(frozen=True)
class Clip:
    """A video and what was found in it."""

    name: str
    file_names: Sequence[str]
    """Of its frames, in order."""
    size: Callable[[], tuple[int, int]]
    """Returns (w, h) of the frames; only some formats have it."""
    found: Callable[[], Iterable[Found]]
    """Returns the objects, frame by frame."""


@dataclass(frozen=True)
class Export:
    """A format: the suffix of its file, and what writes it."""

    suffix: str
    write: Callable[[str | os.PathLike, Iterable[Clip]], None]


def clips_of(videos: Mapping[str, Video], store: ResultStore) -> Iterator[Clip]:
    """Yield the results of a tracker by video; of several runs the first."""
    for name, video in videos.items():
        size = partial(_size_of, video)
        yield Clip(name, _names(video), size, partial(_found, video, store))


def _size_of(video: Video) -> tuple[int, int]:
    return int(video.width), int(video.height)


def encode_mask(mask: NDArray) -> dict[str, Any]:
    """Return a mask (H, W) as COCO's compressed run lengths, ``{"size": [H, W], "counts": text}``.

    The runs of 0 and 1 follow the columns and begin with 0. From the fourth on each is less the
    one two before it. A number is written in groups of 5 bits, the lowest first, each as the
    character 48 + group, + 32 if more follow; the last group has the sign in its highest bit.
    """
    inside = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(inside, prepend=False))
    runs = np.diff(np.concatenate([[0], edges, [inside.size]]))
    runs[3:] -= runs[1:-2].copy()
    text = "".join(character for run in runs.tolist() for character in _digits(run))
    return {"size": [int(side) for side in mask.shape], "counts": text}


def _digits(number: int) -> Iterator[str]:
    more = True
    while more:
        group, number = number & 31, number >> 5
        more = number != (-1 if group & 16 else 0)
        yield chr(48 + group + 32 * more)


def mot_text(clip: Clip) -> str:
    """Return a line per object and frame: ``frame,object,x,y,w,h,score,-1,-1,-1``."""
    lines = []
    for frame, track, (x, y, w, h), score, *_ in clip.found():
        box = ",".join(f"{value:.2f}" for value in (x + 1, y + 1, w, h))
        lines.append(f"{frame + 1},{track},{box},{score:g},-1,-1,-1\n")
    return "".join(lines)


def _write_mot(path: str | os.PathLike, clips: Iterable[Clip]) -> None:
    """Write a ZIP file of a `mot_text` per video."""
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for clip in clips:
            add_text(archive, f"{clip.name}.txt", mot_text(clip).encode())


def write_coco(path: str | os.PathLike, clips: Iterable[Clip]) -> None:
    """Write images, and an annotation per object and image; the list of these is a result, too."""
    listed, images, annotations = [], [], []
    for number, clip in enumerate(clips, 1):
        listed.append({"id": number, "name": clip.name})
        first, (width, height) = len(images) + 1, clip.size()
        for frame, name in enumerate(clip.file_names):
            image = {"id": first + frame, "file_name": name, "video_id": number, "frame_id": frame}
            images.append({**image, "width": width, "height": height})
        for found in _sized(clip):
            annotation = {
                **_annotation(len(annotations) + 1, number, found.score),
                "image_id": first + found.frame,
                "track_id": found.track,
                "bbox": found.box,
                "area": found.area,
            }
            if found.shape is not None:
                annotation["segmentation"] = found.shape
            annotations.append(annotation)
    _write_json(path, {"videos": listed, "images": images, "annotations": annotations})


def _write_ytvos(path: str | os.PathLike, clips: Iterable[Clip]) -> None:
    """Write an annotation per object, with a list of masks, None where it has no pixel."""
    listed, annotations = [], []
    for number, clip in enumerate(clips, 1):
        (width, height), length = clip.size(), len(clip.file_names)
        size = {"width": width, "height": height, "length": length}
        listed.append({"id": number, "name": clip.name, "file_names": clip.file_names, **size})
        tracks: dict[int, dict[str, Any]] = {}
        for found in _sized(clip):
            if not isinstance(found.shape, dict):
                what = "boxes, but YouTube-VOS takes masks; use coco or mot"
                raise ValueError(f"video {clip.name!r} has {what}")
            if found.track not in tracks:
                head = _annotation(len(annotations) + 1, number, 1.0)
                lists = {key: [None] * length for key in ("segmentations", "bboxes", "areas")}
                tracks[found.track] = {**head, "track_id": found.track, **size, **lists}
                annotations.append(tracks[found.track])
            track, frame = tracks[found.track], found.frame
            track["segmentations"][frame] = found.shape
            track["bboxes"][frame], track["areas"][frame] = found.box, found.area
    _write_json(path, {"videos": listed, "annotations": annotations})


#: Formats by name.
EXPORTS = {
    "mot": Export(".zip", _write_mot),
    "coco": Export(".json", write_coco),
    "ytvos": Export(".json", _write_ytvos),
}


def _annotation(number: int, video: int, score: float) -> dict[str, Any]:
    return {"id": number, "video_id": video, "category_id": 1, "iscrowd": 0, "score": score}


def _write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        json.dump({**content, "categories": _CATEGORIES}, file, allow_nan=False)


def _names(video: Video) -> list[str]:
    """Return the names of the images, relative to the folder of the set where they are in it."""
    paths = map(Path, video.img_names)
    inside = (p.relative_to(video.root) if p.is_relative_to(video.root) else p for p in paths)
    return [path.as_posix() for path in inside]


def _found(video: Video, store: ResultStore) -> Iterable[Found]:
    run = store.read(store.find(video.name)[0])
    return _found_by_masks(video, run) if run.masks else _found_by_regions(run)


def _sized(clip: Clip) -> Iterator[Found]:
    """Yield the objects, whose masks must have the size of the frames."""
    w, h = clip.size()
    for found in clip.found():
        height, width = found.shape["size"] if isinstance(found.shape, dict) else (h, w)
        if (width, height) != (w, h):
            there = f"frames of {w} x {h} pixels and masks of {width} x {height}"
            raise ValueError(f"video {clip.name!r} has {there}")
        yield found


def _found_by_regions(run: Trajectory) -> Iterator[Found]:
    for frame in np.flatnonzero(np.equal(run.codes, Code.REGION)).tolist():
        region = run.regions[frame].tolist()
        score = 1.0 if run.scores is None else float(run.scores[frame])
        box = list(box_around(region))
        shape = None if len(region) == 4 else [region]
        area = box[2] * box[3] if shape is None else polygon_area(region)
        yield Found(frame, 1, box, 1.0 if math.isnan(score) else score, shape, area)


def _found_by_masks(video: Video, run: Trajectory) -> Iterator[Found]:
    frames = {Path(name).stem: frame for frame, name in enumerate(video.img_names)}
    for name, labels in zip(run.frame_names, run.masks, strict=True):
        if name not in frames:
            raise ValueError(f"video {video.name!r}: the mask {name}.png belongs to no frame")
        for track in np.unique(labels[labels > 0]).tolist():
            inside = labels == track
            box = [float(value) for value in mask_box(inside)]
            shape, area = encode_mask(inside), float(inside.sum())
            yield Found(frames[name], track, box, 1.0, shape, area)


def polygon_area(points: Sequence[float]) -> float:
    """Return the area of a polygon x1, y1, ... by the shoelace formula."""
    x, y = np.reshape(points, (-1, 2)).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
