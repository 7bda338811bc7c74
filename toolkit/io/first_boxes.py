"""Boxes that objects start from, out of files of MOT, COCO or CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.io.boxes import is_number, read_number_lines

_EXPECTED = "x,y,w,h, or MOT's frame,object,x,y,w,h,..."
_NAMES = {"width": "w", "height": "h", "id": "object", "target": "object", "track_id": "object"}


class FirstBox(NamedTuple):
    """Where an object is seen first: frame from 0, and x, y, w, h in 0-based pixels."""

    frame: int
    box: tuple[float, ...]


class _Row(NamedTuple):
    """A box of an object in a frame; the object is None where the file does not say."""

    frame: int
    track: Any
    box: tuple[float, ...]


def read_first_boxes(path: str | os.PathLike) -> list[FirstBox]:
    """Read the first box of each object.

    A ``.json`` is COCO's: annotations with ``track_id``, or a list of detections. Other files have
    lines of x,y,w,h in the first frame; or MOT's ``frame,object,x,y,w,h,...``, which count frames
    and pixels from 1; or a first line of names, such as ``frame,target,x,y,w,h``, and count from 0.
    Where objects have no numbers, the boxes of the first frame that has any are taken.

    Raises:
        ValueError: If the file has another format, or no box.
        OSError: If it cannot be read.
    """
    path = Path(path)
    rows = list(_coco(path) if path.suffix.lower() == ".json" else _text(path))
    if not rows:
        raise ValueError(f"{path}: there is no box")
    if bad := [row.box for row in rows if min(row.box[2:]) <= 0]:
        raise ValueError(f"{path}: expected positive w and h, found the box {bad[0]}")
    begin = min(row.frame for row in rows)
    first: dict[Any, FirstBox] = {}
    for index, (frame, track, box) in enumerate(sorted(rows, key=lambda row: row.frame)):
        if track is not None or frame == begin:
            first.setdefault(("alone", index) if track is None else track, FirstBox(frame, box))
    return list(first.values())


def _text(path: Path) -> Iterator[_Row]:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        names = [_NAMES.get(n, n) for n in file.readline().strip().lower().split(",")]
        if {"x", "y", "w", "h"} <= set(names):
            yield from _named(path, csv.DictReader(file, names))
            return
    lines = read_number_lines(path, _EXPECTED)
    width = int(lines.counts[0])
    if width != 4 and width < 6:
        width = 0
    lines.check(lines.counts == width)
    for values in lines.values.reshape(-1, width).tolist():
        if width == 4:
            yield _Row(0, None, _checked(path, values))
            continue
        frame, track, x, y, w, h = values[:6]
        box = _checked(path, (x - 1, y - 1, w, h))
        yield _Row(_index(path, frame - 1), None if track < 0 else track, box)


def _named(path: Path, rows: Iterable[dict[str, str]]) -> Iterator[_Row]:
    for number, row in enumerate(rows, 2):
        try:
            box = tuple(float(row[name]) for name in "xywh")
            frame = _index(path, float(row.get("frame") or 0))
        except (TypeError, ValueError):
            raise ValueError(f"{path}: line {number}: expected numbers x, y, w, h") from None
        yield _Row(frame, row.get("object"), _checked(path, box))


def _coco(path: Path) -> Iterator[_Row]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error})") from None
    try:
        found = content if isinstance(content, list) else content["annotations"]
        images = [] if isinstance(content, list) else content.get("images", [])
        frames = _frames(found, images)
        for one in found:
            box = _checked(path, one["bbox"])
            yield _Row(_index(path, frames[one["image_id"]]), one.get("track_id"), box)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected COCO's annotations or detections ({error!r})") from None


def _frames(found: Sequence[Any], images: Sequence[Any]) -> dict[Any, int]:
    """Return the frame of each image: its ``frame_id``, or its place in the order of images."""
    order = [image["id"] for image in images] or sorted({one["image_id"] for one in found})
    frames = {number: index for index, number in enumerate(order)}
    return {**frames, **{i["id"]: i["frame_id"] for i in images if "frame_id" in i}}


def _checked(path: Path, box: Sequence[Any]) -> tuple[float, ...]:
    if len(box) != 4 or not all(map(is_number, box)):
        raise ValueError(f"{path}: expected a box x, y, w, h of finite numbers, found {box}")
    return tuple(map(float, box))


def _index(path: Path, frame: Any) -> int:
    if not is_number(frame) or frame < 0 or frame != int(frame):
        raise ValueError(f"{path}: expected numbers of frames, found {frame} (from 0)")
    return int(frame)
