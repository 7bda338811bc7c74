"""Reading of training annotations: which track has which size in which frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Annotations:
    """The usable boxes of one training set, as flat arrays that are cheap to hand to workers.

    Video v has the tracks ``first_track[v]`` to ``first_track[v + 1]`` (exclusive), track t the
    rows ``first_row[t]`` to ``first_row[t + 1]`` of ``frames`` and ``sizes``, ordered by frame.

    Attributes:
        videos: Folder of each video below the set's root.
        tracks: Name of each track, as in file names.
        first_track: (videos + 1,) int64.
        first_row: (tracks + 1,) int64.
        frames: (rows,) int64 frame numbers.
        sizes: (rows, 2) float64 width and height of the target in pixels of the original frame.
        category_names: What kinds of objects there are; empty where that is not known.
        categories: (tracks,) int64 number of each track's kind in ``category_names``, or -1.
    """

    videos: tuple[str, ...]
    tracks: tuple[str, ...]
    first_track: NDArray
    first_row: NDArray
    frames: NDArray
    sizes: NDArray
    category_names: tuple[str, ...]
    categories: NDArray

    def __len__(self) -> int:
        return len(self.videos)


def read_annotations(path: Path) -> Annotations:
    """Read ``{video: {track: {frame: [x1, y1, x2, y2] or [w, h]}}}`` (PySOT's format).

    Boxes without area, tracks and videos without boxes, and entries whose frame is no number are
    left out. Beside ``train.json`` there may be ``train.categories.json``, ``{video: {track: name
    of its kind}}`` (ours); tracks that it does not name have no kind.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that shape, or nothing usable is in it; the message names the
            entry.
    """
    if not path.is_file():
        raise FileNotFoundError(f"training annotations not found: {path}")
    content = _read_object(path)
    videos: list[str] = []
    tracks: list[str] = []
    track_counts: list[int] = []
    rows: list[list[tuple[int, float, float]]] = []
    for video, tracks_of_video in content.items():
        usable = list(_usable_tracks(tracks_of_video, f"{path}: {video}"))
        if usable:
            videos.append(video)
            track_counts.append(len(usable))
            tracks += [name for name, _ in usable]
            rows += [boxes for _, boxes in usable]
    if not videos:
        raise ValueError(f"{path} holds no usable box (width and height above 0)")
    names, categories = _categories(categories_path(path), videos, tracks, track_counts)
    return _flattened(videos, tracks, track_counts, rows, names, categories)


def categories_path(path: Path) -> Path:
    """Where the kinds of the objects of an annotation file are named, if they are."""
    return path.with_name(f"{path.stem}.categories.json")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: {_expected('an object of videos', content)}")
    return content


def _categories(
    path: Path, videos: list[str], tracks: list[str], track_counts: list[int]
) -> tuple[tuple[str, ...], NDArray]:
    """Names of all kinds, and the number of each track's, -1 for none."""
    if not path.is_file():
        return (), np.full(len(tracks), -1)
    content = _read_object(path)
    kinds: list[str | None] = []
    for video, count in zip(videos, track_counts, strict=True):
        named = content.get(video, {})
        if not isinstance(named, dict) or not all(isinstance(v, str) for v in named.values()):
            raise ValueError(f"{path}: {video}: {_expected('an object of names by track', named)}")
        kinds += [named.get(track) for track in tracks[len(kinds) : len(kinds) + count]]
    names = sorted({kind for kind in kinds if kind is not None})
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([numbers.get(kind, -1) for kind in kinds])


def _flattened(
    videos: list[str],
    tracks: list[str],
    track_counts: list[int],
    rows: list[list[tuple[int, float, float]]],
    category_names: tuple[str, ...],
    categories: NDArray,
) -> Annotations:
    table = np.array([row for boxes in rows for row in boxes], dtype=np.float64)
    return Annotations(
        videos=tuple(videos),
        tracks=tuple(tracks),
        first_track=np.cumsum([0, *track_counts]),
        first_row=np.cumsum([0, *(len(boxes) for boxes in rows)]),
        frames=table[:, 0].astype(np.int64),
        sizes=table[:, 1:].copy(),
        category_names=category_names,
        categories=categories,
    )


def _usable_tracks(tracks: Any, where: str) -> Iterator[tuple[str, list[tuple[int, float, float]]]]:
    if not isinstance(tracks, dict):
        raise ValueError(f"{where}: {_expected('an object of tracks', tracks)}")
    for name, frames in tracks.items():
        boxes = _usable_boxes(frames, f"{where}, track {name}")
        if boxes:
            yield name, boxes


def _usable_boxes(frames: Any, where: str) -> list[tuple[int, float, float]]:
    if not isinstance(frames, dict):
        raise ValueError(f"{where}: {_expected('an object of frames', frames)}")
    boxes = []
    for frame, box in frames.items():
        if frame.isdecimal():
            width, height = _size(box, where, frame)
            if width > 0 and height > 0:
                boxes.append((int(frame), width, height))
    return sorted(boxes)


def _size(box: Any, where: str, frame: str) -> tuple[float, float]:
    numeric = isinstance(box, list) and all(
        isinstance(value, (int, float)) and math.isfinite(value) for value in box
    )
    if not numeric or len(box) not in (2, 4):
        expected = _expected("[x1, y1, x2, y2] or [w, h] of finite numbers", box)
        raise ValueError(f"{where}, frame {frame}: {expected}")
    if len(box) == 2:
        return box[0], box[1]
    return box[2] - box[0], box[3] - box[1]


def _expected(what: str, found: Any) -> str:
    text = repr(found)
    return f"expected {what}, found {text[:60] + '...' if len(text) > 60 else text}"
