"""What was found of several objects in the frames of one video, and the files it is written to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.formats.coco import read_mask
from toolkit.io.files import atomic_folder, atomic_write
from toolkit.io.images import write_labels
from toolkit.results.exports import (
    Clip,
    Found,
    encode_mask,
    mot_text,
    polygon_area,
    write_coco,
)
from toolkit.results.formats import mask_path


class TrackedObject(NamedTuple):
    """An object in a frame, in 0-based pixels."""

    box: list[float]
    """x, y, w, h."""
    score: float | None = None
    """None where the box was given."""
    polygon: list[float] | None = None
    """x1, y1, ..., of a tracker with masks."""
    mask: dict[str, Any] | None = None
    """COCO's compressed run lengths; see `encode_mask`."""
    area: float = 0.0
    """Pixels of the mask, or area of polygon or box."""
    lost: bool = False
    """Whether it is out of sight, and the box the last one or a guess."""

    @classmethod
    def from_target(cls, target: Any) -> TrackedObject:
        """Convert a ``pysot.TargetResult``."""
        box = target.box.tolist()
        polygon = None if target.polygon is None else target.polygon.ravel().tolist()
        area = box[2] * box[3] if polygon is None else polygon_area(polygon)
        mask = None
        if target.mask is not None:
            mask, area = encode_mask(target.mask), float(target.mask.sum())
        score = None if math.isnan(target.score) else float(target.score)
        return cls(box, score, polygon, mask, area, bool(target.lost))

    def fields(self) -> dict[str, Any]:
        """Return what a JSON file has of it: ``lost`` only where true, no field without value."""
        fields: dict[str, Any] = {"bbox": self.box, "score": self.score}
        for name, value in (("polygon", self.polygon), ("mask", self.mask), ("lost", self.lost)):
            if value:
                fields[name] = value
        return fields


class Tracks:
    """Objects by number in the frames of a video, in order.

    Args:
        name: Of the video.
        size: (w, h) of its frames.
    """

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self.name = name
        self.size = size
        self.frame_names: list[str] = []
        self.objects: list[dict[int, TrackedObject]] = []
        self.seconds: list[float] = []

    def __len__(self) -> int:
        return len(self.frame_names)

    def add(self, result: Any) -> None:
        """Note a ``pysot.FrameResult``; a second one of the same frame replaces the first."""
        found = {n: TrackedObject.from_target(t) for n, t in result.targets.items()}
        for column in (self.frame_names, self.objects, self.seconds):
            del column[result.index :]
        self.frame_names.append(result.name)
        self.objects.append(found)
        self.seconds.append(result.seconds)

    @property
    def fps(self) -> float:
        """Tracked frames per second; the first frame is not tracked."""
        return (len(self) - 1) / max(sum(self.seconds[1:]), 1e-9)

    @property
    def scores(self) -> list[float]:
        """All scores that are known."""
        found = (one.score for objects in self.objects for one in objects.values())
        return [score for score in found if score is not None]

    def write_json(self, path: str | os.PathLike) -> None:
        """Write all of it, one line per frame.

        A frame has the fields of its object where there is one alone from the first frame to the
        last; else ``objects``, a list in which each has its number, ``id``.
        """
        width, height = self.size
        head = {"video": self.name, "width": width, "height": height}
        alone = all(list(objects) == [0] for objects in self.objects)
        frames = []
        for name, objects in zip(self.frame_names, self.objects, strict=True):
            listed = [{"id": number, **one.fields()} for number, one in objects.items()]
            frames.append({"name": name, **(objects[0].fields() if alone else {"objects": listed})})
        with atomic_write(path) as file:
            file.write(json.dumps(head)[:-1] + ', "frames": [\n')
            file.write(",\n".join(json.dumps(frame, allow_nan=False) for frame in frames))
            file.write("\n]}\n")

    def write_mot(self, path: str | os.PathLike) -> None:
        """Write MOT's text; see `mot_text`. Objects out of sight have no line."""
        with atomic_write(path) as file:
            file.write(mot_text(self._clip()))

    def write_coco(self, path: str | os.PathLike) -> None:
        """Write COCO's JSON; objects out of sight have no annotation."""
        write_coco(path, [self._clip()])

    def write_masks(self, path: str | os.PathLike) -> None:
        """Write a label image per frame, ``<path>/<video>/<frame>.png``, as YouTube-VOS and DAVIS.

        The object ``n`` has the label n + 1; a pixel of several masks goes to that of the highest
        score.

        Raises:
            ValueError: If there is no mask in any frame, two frames would have one name, or
                without Pillow.
        """
        if not any(one.mask for objects in self.objects for one in objects.values()):
            raise ValueError(f"{os.fspath(path)}: no masks were found; does the tracker have them?")
        names = [
            Path(name).stem if Path(name).suffix else f"{name:0>5}" for name in self.frame_names
        ]
        if len(set(names)) < len(names):
            raise ValueError(f"{os.fspath(path)}: two frames have one name")
        with atomic_folder(path) as folder:
            for name, objects in zip(names, self.objects, strict=True):
                write_labels(mask_path(folder, name), self._labels(objects))

    def _labels(self, objects: dict[int, TrackedObject]) -> NDArray:
        shape = self.size[::-1]
        labels = np.zeros(shape, np.uint16 if max(objects, default=0) > 254 else np.uint8)
        for number, one in sorted(objects.items(), key=lambda item: item[1].score or 0):
            if one.mask and not one.lost:
                labels[read_mask(one.mask).draw(shape) > 0] = number + 1
        return labels

    def _clip(self) -> Clip:
        return Clip(self.name, self.frame_names, lambda: self.size, self._found)

    def _found(self) -> Iterator[Found]:
        for frame, objects in enumerate(self.objects):
            for number, one in objects.items():
                if one.lost:
                    continue
                shape: Any = one.mask or (one.polygon and [one.polygon])
                score = 1.0 if one.score is None else one.score
                yield Found(frame, number + 1, one.box, score, shape, one.area)
