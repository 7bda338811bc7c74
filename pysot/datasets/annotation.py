"""Training annotations: which track has which size in which frame, and is of which category."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_Row = tuple[int, float, float]  # frame, width, height
_NUMBERS = {int, float}
_MOST_DIGITS = 200  # a file name has at most 255 bytes
_LARGEST = 1e6  # pixels; no image is larger
TRIES = 50  # draws after which the best one is taken: there may be no other category, or no likes
_WANTED = 3  # rank of a draw that is another object, of another video and another category


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
    left_out: int = 0  # entries of the file that cannot be used

    def __len__(self) -> int:
        return len(self.videos)

    def track_of(self, row: int) -> int:
        """Return the number of the track that a row belongs to."""
        return int(np.searchsorted(self.first_row, row, side="right")) - 1

    def video_of(self, track: int) -> int:
        """Return the number of the video that a track belongs to."""
        return int(np.searchsorted(self.first_track, track, side="right")) - 1


def read_annotations(path: Path) -> Annotations:
    """Read ``{video: {track: {frame: [x1, y1, x2, y2] or [w, h]}}}`` (PySOT's format).

    What cannot be used is left out: one warning for each kind gives their number and the first.
    Beside ``train.json`` there may be ``train.categories.json``, ``{video: {track: category}}``
    (ours); tracks that it does not name have none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no object in JSON, or nothing usable is in it; the message says why.
    """
    if not path.is_file():
        raise FileNotFoundError(f"training annotations not found: {path}")
    faults, emptied = _Faults(), _Faults()
    videos: list[str] = []
    tracks: list[tuple[str, list[_Row]]] = []
    first_track = [0]
    for video, content in _read_object(path, faults).items():
        usable = list(_usable_tracks(content, video, faults, emptied))
        if usable:
            videos.append(video)
            tracks += usable
            first_track.append(len(tracks))
        elif content:
            emptied.add("videos without a usable box", video)
    if not videos:
        reasons = "; ".join(faults.lines()) or "it has no boxes"
        raise ValueError(f"{path} holds no usable box: {reasons}")
    for line in faults.lines() + emptied.lines():
        logger.warning("%s: %s", path, line)
    names, rows = zip(*tracks, strict=True)
    table = list(chain.from_iterable(rows))
    numbers = [row[0] for row in table]
    exact = np.int64 if max(numbers) < 2**63 else object  # time stamps may be larger
    category_names, categories = _categories(categories_path(path), videos, names, first_track)
    return Annotations(
        videos=tuple(videos),
        tracks=names,
        first_track=np.array(first_track),
        first_row=np.cumsum([0, *(len(boxes) for boxes in rows)]),
        frames=np.array(numbers, dtype=exact),
        sizes=np.array([row[1:] for row in table], dtype=np.float64),
        category_names=category_names,
        categories=categories,
        left_out=faults.total,
    )


def thinned(known: Annotations, every: int) -> Annotations:
    """Keep every n-th row of each track, the first one included."""
    counts = np.diff(known.first_row)
    places = np.arange(len(known.frames)) - np.repeat(known.first_row[:-1], counts)
    keep = places % every == 0
    first_row = np.cumsum([0, *-(-counts // every)])
    return replace(known, first_row=first_row, frames=known.frames[keep], sizes=known.sizes[keep])


def categories_path(path: Path) -> Path:
    """Return where the categories of the tracks of an annotation file are, if they are known."""
    return path.with_name(f"{path.stem}.categories.json")


class _Faults:
    """What cannot be used of a file, by kind: how often, and where first."""

    def __init__(self) -> None:
        self._found: dict[str, list[Any]] = {}

    def add(self, kind: str, *where: Any) -> None:
        self._found.setdefault(kind, [0, ": ".join(map(_shown, where))])[0] += 1

    @property
    def total(self) -> int:
        return sum(count for count, _ in self._found.values())

    def lines(self) -> list[str]:
        return [f"{kind}: {count}, the first {text}" for kind, (count, text) in self._found.items()]


def _read_object(path: Path, faults: _Faults | None = None) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs) and faults is not None:
            twice = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
            faults.add("keys given more than once, of which the last counts", twice)
        return made

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
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
        if not isinstance(named, dict) or not {*map(type, named.values())} <= {str, int}:
            raise ValueError(f"{path}: {video}: {_expected('an object of names by track', named)}")
        found += [str(named[track]) if track in named else None for track in tracks[first:end]]
    names = sorted({name for name in found if name is not None})
    if content and not names:
        logger.warning("%s names none of the tracks that have boxes", path)
    index = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([index.get(name, -1) for name in found])


def _usable_tracks(
    tracks: Any, video: str, faults: _Faults, emptied: _Faults
) -> Iterator[tuple[str, list[_Row]]]:
    if not isinstance(tracks, dict):
        faults.add("videos that are no object of tracks", video, tracks)
        return
    for name, frames in tracks.items():
        where = f"{video}, track {name}"
        if not isinstance(frames, dict):
            faults.add("tracks that are no object of frames", where, frames)
        elif boxes := _usable_boxes(frames, where, faults):
            yield name, boxes
        elif frames:
            emptied.add("tracks without a usable box", where)


def _usable_boxes(frames: dict[str, Any], where: str, faults: _Faults) -> list[_Row]:
    boxes: dict[int, tuple[float, float]] = {}
    for frame, box in frames.items():
        size = _size(box) if frame.isdecimal() and len(frame) <= _MOST_DIGITS else _no_number(frame)
        if isinstance(size, str):
            faults.add(size, f"{where}, frame {frame}", box)
        elif boxes.setdefault(int(frame), size) is not size:
            faults.add("boxes of a frame that has one already", f"{where}, frame {frame}", box)
    return [(number, *size) for number, size in sorted(boxes.items())]


def _no_number(frame: str) -> str:
    if re.fullmatch(r".*\d\.[^\W\d]\w*", frame):
        return "frame keys that are file names (expected digits alone: 000001, not 000001.jpg)"
    return "frame keys that are no numbers (expected digits alone, as 000001)"


def _size(box: Any) -> tuple[float, float] | str:
    """Return the width and height of a box, or what is wrong with it."""
    if not (isinstance(box, list) and len(box) in (2, 4) and _NUMBERS.issuperset(map(type, box))):
        return "boxes that are not [x1, y1, x2, y2] or [w, h]"
    if not (min(box) >= -_LARGEST and max(box) <= _LARGEST and sum(box) == sum(box)):  # no NaN
        return f"boxes with numbers that are not finite or beyond {_LARGEST:g}"
    width, height = box if len(box) == 2 else (box[2] - box[0], box[3] - box[1])
    if not (width > 0 and height > 0):
        return "boxes without area (expected corners x1 < x2 and y1 < y2, or width and height)"
    if box[-2] <= 0 or box[-1] <= 0:
        return "boxes left of or above their image"
    return width, height


def _expected(what: str, found: Any) -> str:
    return f"expected {what}, found {_shown(found)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text[:80] + "..." if len(text) > 80 else text


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
        """Draw another object than track ``track`` of set ``number``; return its set and track.

        Where no other video has one it is another track of the same video, or the track itself.
        """
        category = int(self._categories[number][track])
        if category >= 0 and self._same > rng.random():
            for _ in range(TRIES):
                at = rng.integers(self._first[category], self._first[category + 1])
                found = tuple(self._places[:, at].tolist())
                if not self._same_video((number, track), found):
                    return found
        rank, best = 0, (number, track)
        for _ in range(TRIES):
            found = self._any(rng)
            apart = not self._same_video((number, track), found)
            differs = category < 0 or self._categories[found[0]][found[1]] != category
            suits = (found != (number, track)) + apart + (apart and differs)
            if suits >= rank:
                rank, best = suits, found
            if rank == _WANTED:
                break
        return best

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
