"""One annotated video or still image, as the readers of all distributions yield it.

Testing makes records of it, the fields of a video in PySOT's JSON; training preparation takes its
frames, from which crops are cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.io.boxes import ABSENT, Region, box_around


class Corners(NamedTuple):
    """A box as x1, y1, x2, y2, where the annotation has it so: a difference would be rounded."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Frame:
    """One annotated image, as crops are cut from it.

    Attributes:
        video: Name of the video, a path below the folder of crops.
        boxes: Track -> x1, y1, x2, y2 in pixels.
        masks: Track -> mask with a method ``draw(shape)``; tracks may be missing.
        categories: Track -> name of the object's category; tracks may be missing.
        labels: Label image (see `toolkit.io.labels`), where that is the annotation: then label n
            is track n, its box is the smallest one around its pixels, and ``boxes`` is empty.
        size: (w, h) in pixels that the annotation states, or None.
    """

    video: str
    number: int
    image: Path
    boxes: Mapping[int, Items[float]] = field(default_factory=dict)
    masks: Mapping[int, Any] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)
    labels: Path | None = None
    size: tuple[int, int] | None = None


@dataclass
class Sequence:
    """The frames of a video in order, with what is known of the objects in them.

    Lists have one entry per frame; a sequence that cannot be used has no frames.

    Attributes:
        images: Paths of the images; they may be missing.
        regions: Track -> region: x, y, w, h, a polygon x1, y1, ... or `Corners`, in 0-based pixels.
            NaN where the object is absent.
        numbers: Numbers of the frames; None counts from 0.
        group: Folder below which training puts the video, such as its class.
        labels: Label images in place of ``regions``; None for a frame without one.
        visible: Whether a frame is to be trained on; None: all are.
        masks: Track -> mask (see `Frame`).
        flags: Fields of the record with a small number per frame, such as ``absent``.
        sizes: (w, h) in pixels that the annotation states.
    """

    name: str
    images: Items[str | os.PathLike] = ()
    regions: Items[Mapping[int, Region]] = ()
    numbers: Items[int] | None = None
    group: str = ""
    labels: Items[Path | None] | None = None
    visible: Items[bool] | None = None
    masks: Items[Mapping[int, Any]] | None = None
    categories: Mapping[int, str] = field(default_factory=dict)
    flags: Mapping[str, list[int]] = field(default_factory=dict)
    attributes: Items[str] = ()
    sizes: Items[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that training can use."""
        video = f"{self.group}/{self.name}" if self.group else self.name
        for i, image in enumerate(self.images):
            labels = self.labels[i] if self.labels is not None else None
            if (self.labels is not None and labels is None) or not (
                self.visible is None or self.visible[i]
            ):
                continue
            regions = self.regions[i] if labels is None else {}
            yield Frame(
                video,
                self.numbers[i] if self.numbers is not None else i,
                Path(image),
                {track: _to_corners(region) for track, region in regions.items()},
                self.masks[i] if self.masks is not None else {},
                self.categories,
                labels,
                self.sizes[i] if self.sizes is not None else None,
            )

    def record(self, root: Path) -> dict[str, Any]:
        """Make the record of the object 0, with paths relative to ``root``.

        Boxes of label images are read when they are asked for.
        """
        regions: Items[Region]
        if self.labels is not None:
            regions = MaskBoxes([path and str(path) for path in self.labels])
        else:
            regions = [to_xywh(tracks[0]) if tracks else ABSENT for tracks in self.regions]
        record = {
            "video_dir": self.name,
            "init_rect": regions[0],
            "img_names": [relative(path, root) for path in self.images],
            "gt_rect": regions,
            "attr": list(self.attributes),
        }
        if self.labels is not None:
            record["mask_names"] = [path and relative(path, root) for path in self.labels]
        return record | dict(self.flags)


def _to_corners(region: Region) -> tuple[float, ...]:
    """Return a region's box as x1, y1, x2, y2."""
    if isinstance(region, Corners):
        return tuple(region)
    x, y, w, h = box_around(region)
    return x, y, x + w, y + h


def to_xywh(region: Region) -> Region:
    """Return a region with its corners as x, y, w, h; others as they are."""
    if isinstance(region, Corners):
        x1, y1, x2, y2 = region
        return [x1, y1, x2 - x1, y2 - y1]
    return region


def relative(path: str | os.PathLike, root: Path) -> str:
    """Return a path relative to a folder, with ``/`` on every system."""
    path, start = os.fspath(path), f"{root}{os.sep}"
    if str(root) == os.curdir or not path.startswith(start):
        return os.path.relpath(path, root).replace(os.sep, "/")
    return path[len(start) :].replace(os.sep, "/")


# ----------------------------------------------------------------------- boxes read when asked for


class MaskBoxes(Items):
    """The box around a mask per frame, read from the mask's file when it is asked for.

    A frame without a mask, and one whose mask is empty, has a box of NaN.
    """

    def __init__(self, paths: Items[str | None]) -> None:
        self._paths = list(paths)
        self._boxes: dict[int, Region] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        """Box x, y, w, h in pixels, or the boxes of a slice."""
        if isinstance(index, slice):
            return MaskBoxes(self._paths[index])
        index = range(len(self))[index]
        if index not in self._boxes:
            self._boxes[index] = _box(self._paths[index])
        return self._boxes[index]


def _box(path: str | None) -> Region:
    from toolkit.io.labels import mask_box, read_labels

    labels = None if path is None else read_labels(path)
    return mask_box(labels) if labels is not None and labels.any() else ABSENT
