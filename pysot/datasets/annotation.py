"""Training annotations: which track has which size in which frame, and is of which category."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Row = tuple[int, float, float]  # frame, width, height
_TRIES = 50  # draws after which the last one is taken: there may be no other category, or no likes


@dataclass(frozen=True)
class Annotations:
    """The usable boxes of one training set, as flat arrays that are cheap to hand to workers.

    Video v has the tracks ``first_track[v]`` to ``first_track[v + 1]`` (exclusive), track t the
    rows ``first_row[t]`` to ``first_row[t + 1]`` of ``frames`` and ``sizes``, ordered by frame.
    """

    videos: tuple[str, ...]  # folders below the set's root
    tracks: tuple[str, ...]  # as in file names
    first_track: NDArray  # (videos + 1,) int64
    first_row: NDArray  # (tracks + 1,) int64
    frames: NDArray  # (rows,) int64
    sizes: NDArray  # (rows, 2) float64: target's width and height in pixels of the original frame
    category_names: tuple[str, ...]  # empty where categories are not known
    categories: NDArray  # (tracks,) int64 index of each track's in ``category_names``, or -1

    def __len__(self) -> int:
        return len(self.videos)

    def video_of(self, track: int) -> int:
        """Return the number of the video that a track belongs to."""
        return int(np.searchsorted(self.first_track, track, side="right")) - 1


def read_annotations(path: Path) -> Annotations:
    """Read ``{video: {track: {frame: [x1, y1, x2, y2] or [w, h]}}}`` (PySOT's format).

    Boxes without area, tracks and videos without boxes, and entries whose frame is no number are
    left out. Beside ``train.json`` there may be ``train.categories.json``, ``{video: {track:
    category}}`` (ours); tracks that it does not name have none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that shape, or nothing usable is in it; the message names the
            entry.
    """
    if not path.is_file():
        raise FileNotFoundError(f"training annotations not found: {path}")
    videos: list[str] = []
    tracks: list[tuple[str, list[_Row]]] = []
    first_track = [0]
    for video, tracks_of_video in _read_object(path).items():
        usable = list(_usable_tracks(tracks_of_video, f"{path}: {video}"))
        if usable:
            videos.append(video)
            tracks += usable
            first_track.append(len(tracks))
    if not videos:
        raise ValueError(f"{path} holds no usable box (width and height above 0)")
    names, rows = zip(*tracks, strict=True)
    table = np.array([row for boxes in rows for row in boxes], dtype=np.float64)
    categories, numbers = _categories(categories_path(path), videos, names, first_track)
    return Annotations(
        videos=tuple(videos),
        tracks=names,
        first_track=np.array(first_track),
        first_row=np.cumsum([0, *(len(boxes) for boxes in rows)]),
        frames=table[:, 0].astype(np.int64),
        sizes=table[:, 1:].copy(),
        category_names=categories,
        categories=numbers,
    )


def categories_path(path: Path) -> Path:
    """Return where the categories of the tracks of an annotation file are, if they are known."""
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
    path: Path, videos: list[str], tracks: tuple[str, ...], first_track: list[int]
) -> tuple[tuple[str, ...], NDArray]:
    """Return the names of all categories, and the index of each track's, -1 for none."""
    content = _read_object(path) if path.is_file() else {}
    found: list[str | None] = []
    for video, (first, end) in zip(videos, pairwise(first_track), strict=True):
        named = content.get(video, {})
        if not isinstance(named, dict) or not all(isinstance(v, str) for v in named.values()):
            raise ValueError(f"{path}: {video}: {_expected('an object of names by track', named)}")
        found += [named.get(track) for track in tracks[first:end]]
    names = sorted({name for name in found if name is not None})
    index = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([index.get(name, -1) for name in found])


def _usable_tracks(tracks: Any, where: str) -> Iterator[tuple[str, list[_Row]]]:
    if not isinstance(tracks, dict):
        raise ValueError(f"{where}: {_expected('an object of tracks', tracks)}")
    for name, frames in tracks.items():
        boxes = _usable_boxes(frames, f"{where}, track {name}")
        if boxes:
            yield name, boxes


def _usable_boxes(frames: Any, where: str) -> list[_Row]:
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


class Negatives:
    """Draws another object than a given one, from another video, by its category.

    DaSiamRPN (Zhu et al., 2018, section 3.2): negatives of other categories teach what the target
    is not, those of its own to tell it from its likes; these are drawn with the probability
    ``same_category``. Where categories are not known, any object of another video is drawn.
    Categories of one name are the same in all sets.
    """

    def __init__(self, sets: Sequence[Annotations], same_category: float) -> None:
        self._sets, self._same = tuple(sets), same_category
        names = sorted({name for annotations in sets for name in annotations.category_names})
        self._categories = [_renumbered(annotations, names) for annotations in sets]
        counts = [len(categories) for categories in self._categories]
        number = np.repeat(np.arange(len(sets)), counts)
        track = np.concatenate([np.arange(count) for count in counts])
        categories = np.concatenate(self._categories)
        order = np.argsort(categories, kind="stable")
        self._places = np.stack([number, track])[:, order]  # set and track, ordered by category
        self._first = np.searchsorted(categories[order], np.arange(len(names) + 1))

    def draw(self, number: int, track: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw another object than track ``track`` of set ``number``; return its set and track."""
        category = int(self._categories[number][track])
        if category >= 0 and self._same > rng.random():
            for _ in range(_TRIES):
                at = rng.integers(self._first[category], self._first[category + 1])
                found = tuple(self._places[:, at].tolist())
                if not self._same_video((number, track), found):
                    return found
        for _ in range(_TRIES):
            found = self._any(rng)
            differs = category < 0 or self._categories[found[0]][found[1]] != category
            if differs and not self._same_video((number, track), found):
                break
        return found

    def _any(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a set, a video and a track, each uniformly."""
        number = int(rng.integers(len(self._sets)))
        annotations = self._sets[number]
        video = int(rng.integers(len(annotations)))
        first, end = annotations.first_track[video : video + 2]
        return number, int(rng.integers(first, end))

    def _same_video(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        annotations = self._sets[one[0]]
        return one[0] == other[0] and annotations.video_of(one[1]) == annotations.video_of(other[1])


def _renumbered(annotations: Annotations, names: list[str]) -> NDArray:
    """Return the categories of a set's tracks as indices into a list of the names of all sets."""
    numbers = np.array([names.index(name) for name in annotations.category_names] + [-1])
    return numbers[annotations.categories]  # -1 picks the last, which is -1
