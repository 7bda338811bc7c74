"""One video of a benchmark."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.sequence import MaskBoxes
from toolkit.io.boxes import as_regions, box_around, boxes_around
from toolkit.io.images import image_size, read_image
from toolkit.io.labels import read_labels


@dataclass(frozen=True)
class Labels:
    """Annotation that only some data sets have, an entry per frame; see the names in `Video`."""

    absent: Sequence[int] | None = None
    tags: Mapping[str, Sequence[int]] = field(default_factory=dict)
    cover: Sequence[int] | None = None
    mask_names: Sequence[str | None] | None = None
    mask_value: int | None = None


class Video:
    """Frames and ground truth of one target; images are read when asked for, never before.

    Attributes:
        root: Folder that image names are relative to.
        video_dir: Folder name from the JSON, not used to build paths.
        attr: Names of the attributes of the video.
        absent: (N,) int8, 1 = the frame is scored (PySOT's sense of LaSOT); None if not given.
        cover: Visible share of the target per frame in eighths, 0..8 (GOT-10k); None elsewhere.
        mask_value: Value of the target's pixels in its annotation masks; None means all but 0.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike,
        img_names: Sequence[str],
        gt_traj: Sequence[Sequence[float]] | NDArray,
        video_dir: str = "",
        init_rect: Sequence[float] = (),
        attr: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        labels: Labels = Labels(),
    ) -> None:
        self.name, self.root = name, Path(os.path.abspath(root))
        self._regions = gt_traj
        self.video_dir, self.attr = video_dir, list(attr)
        self.init_rect = _as_list(init_rect)
        self.absent = None if labels.absent is None else np.array(labels.absent, np.int8)
        self.cover = None if labels.cover is None else list(labels.cover)
        self.mask_value = labels.mask_value
        self._names, self._labels, self._size = img_names, labels, size

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[NDArray, Sequence[float]]:
        """Frame (BGR uint8, (H, W, 3)) and ground truth.

        Raises:
            FileNotFoundError: If the image is not there.
            ValueError: If it cannot be decoded; both name the file.
        """
        return read_image(self.img_names[index]), self.gt_traj[index]

    def __iter__(self) -> Iterator[tuple[NDArray, Sequence[float]]]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def img_names(self) -> list[str]:
        """Absolute paths of the images; names are relative to the data-set root."""
        return [os.path.join(self.root, name) for name in self._names]

    @cached_property
    def mask_names(self) -> list[str | None] | None:
        """Absolute paths of the annotation masks, None for a frame without one.

        None if the set has none at all. In a mask, 0 is background and every other value an
        object; see `toolkit.io.labels.read_labels`.
        """
        if self._labels.mask_names is None:
            return None
        return [name and os.path.join(self.root, name) for name in self._labels.mask_names]

    def read_mask(self, index: int) -> NDArray | None:
        """Read the annotation mask of a frame; None if it has none.

        Returns:
            Label image (H, W), see `toolkit.io.labels.read_labels`; the target is 1 and all else 0
            where ``mask_value`` names its value.

        Raises:
            FileNotFoundError: If the mask is not there.
            ValueError: If it is damaged.
        """
        path = self.mask_names and self.mask_names[index]
        if not path:
            return None
        labels = read_labels(path)
        alone = labels.dtype == np.uint8 and self.mask_value in (255, 65535)  # is read as 1
        if alone or self.mask_value is None:
            return labels
        return (labels == self.mask_value).astype(np.uint8)

    @cached_property
    def tags(self) -> dict[str, list[int]]:
        """0 or 1 per frame by tag: ``all``, those of the set, ``empty``.

        ``empty`` marks the frames that carry no tag of the set. The lists are empty where the set
        has no tags.
        """
        given = {tag: list(flags) for tag, flags in self._labels.tags.items()}
        known = [flags for flags in given.values() if flags]
        empty = [int(not any(flags)) for flags in zip(*known, strict=True)]
        return {"all": [1] * len(self), **given, "empty": empty}

    @cached_property
    def gt_traj(self) -> Sequence[Sequence[float]]:
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
        """Frame width in pixels, from the JSON or else from the first image."""
        return self._frame_size[0]

    @property
    def height(self) -> int:
        """Frame height in pixels, from the JSON or else from the first image."""
        return self._frame_size[1]

    @property
    def annotated_size(self) -> tuple[int, int] | None:
        """Frame width and height from the annotation; None if it has none."""
        return self._size

    @cached_property
    def _frame_size(self) -> tuple[int, int]:
        if self._size:
            return self._size
        try:
            return image_size(self.img_names[0])
        except FileNotFoundError:
            raise FileNotFoundError(
                f"video {self.name!r}: its frame size is not known: the annotation has no width "
                f"and height, and there is no image {self.img_names[0]}; only the overlaps of VOT, "
                "long-term and GOT-10k sets need it"
            ) from None


def _as_list(values: Sequence | NDArray) -> list:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
