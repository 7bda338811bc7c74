"""Annotated videos: `Sequence` as readers of all distributions yield it, `Video` to test on.

A sequence gives records, the fields of a video in PySOT's JSON, of which testing makes a `Video`;
and frames, from which training preparation cuts crops.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Items
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import OPE, Benchmark, table
from toolkit.datasets.locating import locate_images
from toolkit.io.boxes import ABSENT, Region, as_regions, box_around, boxes_around
from toolkit.io.images import image_size, mask_box, read_image, read_labels

_NUMBER = re.compile(r"(\d+)\D*$")


class Corners(NamedTuple):
    """A box as x1, y1, x2, y2, where the annotation has it so: a difference would be rounded."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Frame:
    """One annotated image, as crops are cut from it; keys of mappings are tracks.

    Where ``labels`` names a label image (see `toolkit.io.images`), label n is track n, its box is
    the smallest one around its pixels, and ``boxes`` is empty.
    """

    video: str  # name, a path below the folder of crops
    number: int
    image: Path
    boxes: Mapping[int, Items[float]] = field(default_factory=dict)  # x1, y1, x2, y2 in pixels
    masks: Mapping[int, Any] = field(default_factory=dict)  # with a method ``draw(shape)``, if any
    categories: Mapping[int, str] = field(default_factory=dict)  # names, where they are known
    labels: Path | None = None
    size: tuple[int, int] | None = None  # (w, h) in pixels that the annotation states
    first: Path | None = None  # first image of the video that is there


@dataclass
class Sequence:
    """The frames of a video in order, with what is known of the objects in them.

    Lists have one entry per frame; a sequence that cannot be used has no frames. A region is
    x, y, w, h, a polygon x1, y1, ... or `Corners`, in 0-based pixels; NaN where there is none.
    """

    name: str
    images: Items[str | os.PathLike] = ()  # they may be missing
    regions: Items[Mapping[int, Region]] = ()  # by track
    numbers: Items[int] | None = None  # None counts from 0
    group: str = ""  # folder below which training puts the video, such as its class
    labels: Items[Path | None] | None = None  # label images in place of ``regions``
    visible: Items[bool] | None = None  # frames to train on; None: all
    masks: Items[Mapping[int, Any]] | None = None  # by track, see `Frame`
    categories: Mapping[int, str] = field(default_factory=dict)
    flags: Mapping[str, list[int]] = field(default_factory=dict)  # fields of the record: ``absent``
    attributes: Items[str] = ()
    sizes: Items[tuple[int, int]] | None = None  # (w, h) in pixels that the annotation states

    def __len__(self) -> int:
        return len(self.images)

    @property
    def path(self) -> str:
        """Name of the video in training, with its group."""
        return f"{self.group}/{self.name}" if self.group else self.name

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that training can use."""
        first = next((Path(image) for image in self.images if os.path.isfile(image)), None)
        for i, image in enumerate(self.images):
            labels = self.labels[i] if self.labels is not None else None
            if (self.labels is not None and labels is None) or not (
                self.visible is None or self.visible[i]
            ):
                continue
            regions = self.regions[i] if labels is None else {}
            yield Frame(
                self.path,
                self.numbers[i] if self.numbers is not None else i,
                Path(image),
                {track: _to_corners(region) for track, region in regions.items()},
                self.masks[i] if self.masks is not None else {},
                self.categories,
                labels,
                self.sizes[i] if self.sizes is not None else None,
                first,
            )

    def record(self, root: Path) -> dict[str, Any]:
        """Make the record of the object 0, with paths relative to ``root``."""
        regions: Items[Region]
        if self.labels is not None:
            regions = MaskBoxes([path and str(path) for path in self.labels])
        else:
            regions = [to_xywh(tracks[0]) if tracks else ABSENT for tracks in self.regions]
        record = {
            "video_dir": self.name,
            "init_rect": regions[0],
            "img_names": [_relative(path, root) for path in self.images],
            "gt_rect": regions,
            "attr": list(self.attributes),
        }
        if self.labels is not None:
            record["mask_names"] = [path and _relative(path, root) for path in self.labels]
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


def _relative(path: str | os.PathLike, root: Path) -> str:
    """Return a path relative to a folder, with ``/`` on every system."""
    path, start = os.fspath(path), f"{root}{os.sep}"
    if str(root) == os.curdir or not path.startswith(start):
        return os.path.relpath(path, root).replace(os.sep, "/")
    return path[len(start) :].replace(os.sep, "/")


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
    labels = None if path is None else read_labels(path)
    return mask_box(labels) if labels is not None and labels.any() else ABSENT


# ------------------------------------------------------------------------------------ to test on


@dataclass(frozen=True)
class Labels:
    """Annotation that only some data sets have, an entry per frame."""

    absent: Items[int] | None = None  # 1 = the frame is scored (PySOT's sense of LaSOT)
    tags: Mapping[str, Items[int]] = field(default_factory=dict)
    cover: Items[int] | None = None  # visible share of the target in eighths, 0..8 (GOT-10k)
    mask_names: Items[str | None] | None = None
    mask_value: int | None = None  # of the target's pixels in all masks; None: all but 0


class Video:
    """Frames and ground truth of one target; images are read when asked for, never before.

    Image names are relative to ``root``; ``video_dir`` is the folder that the JSON names, of which
    no path is built; ``attr`` has the attributes' names, and `Labels` are attributes here, too.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike,
        img_names: Items[str],
        gt_traj: Items[Items[float]] | NDArray,
        video_dir: str = "",
        init_rect: Items[float] = (),
        attr: Items[str] = (),
        size: tuple[int, int] | None = None,
        labels: Labels = Labels(),
        benchmark: Benchmark = OPE,
    ) -> None:
        self.name, self.root = name, Path(os.path.abspath(root))
        self._regions = gt_traj
        self.video_dir, self.attr = video_dir, list(attr)
        self.init_rect = _as_list(init_rect)
        self.absent = None if labels.absent is None else np.array(labels.absent, np.int8)
        self.cover = None if labels.cover is None else list(labels.cover)
        self.mask_value = labels.mask_value
        self._names, self._labels, self._size = img_names, labels, size
        self._benchmark = benchmark

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[NDArray, Items[float]]:
        """Frame (BGR uint8, (H, W, 3)) and ground truth.

        Raises:
            FileNotFoundError: If the image is not there.
            ValueError: If it cannot be decoded; both name the file.
        """
        image = read_image(self.img_names[index], self.stated_size, self.first_image)
        return image, self.gt_traj[index]

    def __iter__(self) -> Iterator[tuple[NDArray, Items[float]]]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def first_image(self) -> str:
        """Absolute path of the first image; its values say how deep images are stretched."""
        return self._located(self._names[:1])[0]

    @cached_property
    def img_names(self) -> list[str]:
        """Absolute paths of the images, see `locate_images`; names are relative to the root."""
        return self._located(self._names)

    def _located(self, names: Items[str]) -> list[str]:
        folders = self._benchmark.folders
        own = {folders[self.name]: self.name} if self.name in folders else {}  # a copy of its own
        folder = self.video_dir if isinstance(self.video_dir, str) else ""
        return locate_images(self.root, names, folder or self.name, {**folders, **own})

    @property
    def first_number(self) -> int:
        """Number at the end of the first image's name, -1 if there is none."""
        return image_number(self._names[0])

    @cached_property
    def mask_names(self) -> list[str | None] | None:
        """Absolute paths of the annotation masks, None for a frame or a set without any."""
        if self._labels.mask_names is None:
            return None
        return [name and os.path.join(self.root, name) for name in self._labels.mask_names]

    def read_mask(self, index: int) -> NDArray | None:
        """Read the annotation mask of a frame; None if it has none.

        It is a label image (H, W), see `toolkit.io.images.read_labels`; the target is 1 and all
        else 0 where ``mask_value`` names its value.

        Raises:
            OSError, ValueError: If the mask is not there, or damaged.
        """
        path = self.mask_names and self.mask_names[index]
        return read_labels(path, value=self.mask_value) if path else None

    @cached_property
    def tags(self) -> dict[str, list[int]]:
        """0 or 1 per frame by tag: ``all``, those of the set, ``empty`` for frames without any.

        The lists are empty where the set has no tags.
        """
        given = {tag: list(flags) for tag, flags in self._labels.tags.items()}
        known = [flags for flags in given.values() if flags]
        empty = [int(not any(flags)) for flags in zip(*known, strict=True)]
        return {"all": [1] * len(self), **given, "empty": empty}

    @cached_property
    def gt_traj(self) -> Items[Items[float]]:
        """Ground truth per frame: x, y, w, h or a polygon x1, y1, ... in 0-based pixels.

        NaN where the target is absent or not annotated; ints stay ints.
        """
        return self._regions if isinstance(self._regions, MaskBoxes) else _as_list(self._regions)

    @cached_property
    def boxes(self) -> NDArray:
        """Ground truth as (N, 4) boxes x, y, w, h; a polygon gives the box around it."""
        if isinstance(self._regions, np.ndarray):
            return boxes_around(self.regions)
        regions = self.gt_traj
        if any(len(region) != 4 for region in regions):
            regions = [box_around(region) for region in regions]
        return np.array(regions, np.float64).reshape(-1, 4)

    @cached_property
    def regions(self) -> NDArray:
        """Ground truth as an array, (N, 4) boxes or (N, 2K) polygons; see `as_regions`."""
        if isinstance(self._regions, np.ndarray):
            return self._regions.astype(np.float64, copy=False)
        return as_regions(self.gt_traj)

    @property
    def width(self) -> int:
        """Frame width in pixels, from the annotation or else from the first image."""
        return self._frame_size[0]

    @property
    def height(self) -> int:
        """Frame height in pixels, from the annotation or else from the first image."""
        return self._frame_size[1]

    @property
    def annotated_size(self) -> tuple[int, int] | None:
        """Frame width and height from the annotation; None if it has none."""
        return self._size

    @cached_property
    def stated_size(self) -> tuple[int, int] | None:
        """Frame width and height by the annotation, its masks included, if it states any."""
        mask = next(filter(None, self.mask_names or ()), None)
        if self._size or mask is None:
            return self._size
        with suppress(ValueError, OSError):
            return image_size(mask)
        return None

    @cached_property
    def _frame_size(self) -> tuple[int, int]:
        if self._size:
            return self._size
        try:
            return image_size(self.first_image, self.stated_size)
        except FileNotFoundError:
            if size := table("frame_sizes").get(self._benchmark.sizes, {}).get(self.name):
                return tuple(size)
            raise FileNotFoundError(
                f"video {self.name!r}: its frame size is not known: the annotation has no width "
                f"and height, and there is no image {self.first_image}; only the overlaps of VOT, "
                "long-term and GOT-10k sets, and files of COCO and YouTube-VOS, need it"
            ) from None


def image_number(name: str | os.PathLike) -> int:
    """Return the number at the end of an image's name, -1 if there is none."""
    match = _NUMBER.search(Path(name).stem)
    return int(match[1]) if match else -1


def _as_list(values: Items | NDArray) -> list:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
