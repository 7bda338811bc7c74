"""One video of a benchmark."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import OPE, Benchmark
from toolkit.datasets.lazy import LateRows, MaskBoxes
from toolkit.datasets.regions import box_around, boxes_around
from toolkit.io.images import image_size, read_image
from toolkit.results.formats import result_path
from toolkit.results.reading import READERS, REGION, Trajectory, as_regions, find_runs
from toolkit.visualization.overlay import draw_box


@dataclass(frozen=True)
class Labels:
    """What only some data sets say of their videos; each list has one entry per frame.

    Attributes:
        absent: 1 = the frame is scored (PySOT's sense of LaSOT), 0 = the target is absent.
        tags: 0 or 1 by VOT's tag; an empty list where the set does not tell.
        cover: Visible share of the target in eighths, 0..8 (GOT-10k).
        mask_names: Annotation masks, relative to the root; None for a frame without one.
        mask_value: Value of the target's pixels in these masks; None means all but 0.
    """

    absent: Sequence[int] | None = None
    tags: Mapping[str, Sequence[int]] = field(default_factory=dict)
    cover: Sequence[int] | None = None
    mask_names: Sequence[str | None] | None = None
    mask_value: int | None = None


class Video:
    """Frames and ground truth of one target; images are read when asked for, never before.

    Attributes:
        name: Name of the video.
        root: Folder that image names are relative to.
        video_dir: Folder name from the JSON, not used to build paths.
        init_rect: First ground truth as the JSON has it.
        attr: Names of the attributes of the video.
        absent: (N,) int8, 1 = the frame is scored (PySOT's sense of LaSOT); None if not given.
        cover: Visible share of the target per frame in eighths, 0..8 (GOT-10k); None elsewhere.
        mask_value: Value of the target's pixels in its annotation masks; None means all but 0.
        pred_trajs: Loaded results by tracker, as `load_tracker` returns them.
        confidence: Loaded scores per frame by tracker (long-term sets).
        imgs: All frames after `load_img`, else None.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike,
        img_names: Sequence[str],
        gt_traj: Sequence[Sequence[float]],
        video_dir: str = "",
        init_rect: Sequence[float] = (),
        attr: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        labels: Labels = Labels(),
        benchmark: Benchmark = OPE,
    ) -> None:
        self.name, self.root = name, Path(os.path.abspath(root))
        self._regions, self._benchmark = gt_traj, benchmark
        self.video_dir, self.init_rect, self.attr = video_dir, list(init_rect), list(attr)
        self.absent = None if labels.absent is None else np.array(labels.absent, np.int8)
        self.cover = None if labels.cover is None else list(labels.cover)
        self.mask_value = labels.mask_value
        self.pred_trajs: dict[str, Any] = {}
        self.confidence: dict[str, NDArray] = {}
        self.imgs: list[NDArray] | None = None
        self._names, self._labels, self._size = img_names, labels, size

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[NDArray, list[float]]:
        """Frame (BGR uint8, (H, W, 3)) and ground truth.

        Raises:
            FileNotFoundError: If the image is not there.
            ValueError: If it cannot be decoded; both name the file.
        """
        if self.imgs is not None:
            return self.imgs[index], self.gt_traj[index]
        return read_image(self.img_names[index]), self.gt_traj[index]

    def __iter__(self) -> Iterator[tuple[NDArray, list[float]]]:
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

    @cached_property
    def tags(self) -> dict[str, list[int]]:
        """0 or 1 per frame by tag: ``all``, those of the set, ``empty``.

        ``empty`` marks the frames that carry no tag of the set; in PySOT it held something
        without a meaning. The lists are empty where the set does not tell.
        """
        given = {tag: list(flags) for tag, flags in self._labels.tags.items()}
        known = [flags for flags in given.values() if flags]
        empty = [int(not any(flags)) for flags in zip(*known, strict=True)]
        return {"all": [1] * len(self), **given, "empty": empty}

    @property
    def tag_names(self) -> list[str]:
        """Names of the tags, in the order of tables and plots."""
        return list(self.tags)

    @cached_property
    def gt_traj(self) -> Sequence[Sequence[float]]:
        """Ground truth per frame: x, y, w, h or a polygon x1, y1, ... in 0-based pixels.

        NaN where the target is absent or not annotated; ints stay ints.
        """
        regions = self._regions
        return regions if isinstance(regions, MaskBoxes) else list(regions)

    @cached_property
    def boxes(self) -> NDArray:
        """Ground truth as (N, 4) boxes x, y, w, h; a polygon gives the box around it."""
        if isinstance(self._regions, LateRows):
            return boxes_around(self._regions.values)
        regions = self.gt_traj
        if any(len(region) != 4 for region in regions):
            regions = [box_around(region) for region in regions]
        return np.array(regions, np.float64).reshape(-1, 4)

    @cached_property
    def regions(self) -> NDArray:
        """Ground truth as an array, (N, 4) boxes or (N, 2K) polygons; see `as_regions`."""
        if isinstance(self._regions, LateRows):
            return self._regions.values
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
        """Frame width and height as the annotation has them; None if it does not tell."""
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

    def select_tag(self, tag: str, start: int = 0, end: int = 0) -> Sequence[int]:
        """Flags of a tag for the frames from ``start`` up to before ``end``, 0 = to the last.

        Raises:
            ValueError: If the video has no such tag, naming those it has.
        """
        if tag not in self.tags:
            there = ", ".join(self.tag_names)
            raise ValueError(f"video {self.name!r} has no tag {tag!r}; there are: {there}")
        return self.tags[tag][start : end or None]

    def load_img(self) -> None:
        """Read all frames into memory."""
        self.imgs = [frame for frame, _ in self]

    def free_img(self) -> None:
        """Drop the frames held in memory."""
        self.imgs = None

    def load_tracker(
        self,
        path: str | os.PathLike,
        tracker_names: str | Sequence[str] | None = None,
        store: bool = True,
    ) -> Any:
        """Read results of trackers, ``path/<tracker>/...`` as the set lays them out.

        They are boxes, an array (N, 4). On VOT they are a list of the repetitions, each a list of
        regions, or of a code alone, per frame; on long-term sets one such list, and scores (N,).

        Args:
            path: Folder that holds one folder per tracker.
            tracker_names: A name or several; None means every folder in ``path``.
            store: Keep them in ``pred_trajs`` (and scores in ``confidence``). False returns those
                of the first name instead: on long-term sets the regions and the scores.

        Raises:
            FileNotFoundError: If a result is missing.
            ValueError: If a result file holds something else than regions.
        """
        if tracker_names is None:
            tracker_names = sorted(entry.name for entry in Path(path).iterdir() if entry.is_dir())
        names = [tracker_names] if isinstance(tracker_names, str) else tracker_names
        for name in names:
            found, scores = self._read_results(Path(path) / name)
            if not store:
                return found if scores is None else (found, scores)
            self.pred_trajs[name] = found
            if scores is not None:
                self.confidence[name] = scores
        return None

    def _read_results(self, folder: Path) -> tuple[Any, NDArray | None]:
        layout = self._benchmark.layout
        if layout not in READERS:
            raise ValueError(f"results laid out as {layout!r} hold no regions: {folder}")
        names = self._benchmark.result_names(self.name)
        candidates = [result_path(layout, folder, name) for name in names]
        paths = next(filter(None, map(find_runs, candidates)), candidates[:1])
        runs = [READERS[layout](file) for file in paths]
        if self._benchmark.evaluation == "vot":
            return [_regions_and_codes(run) for run in runs], None
        if runs[0].scores is not None:
            return _regions_and_codes(runs[0]), runs[0].scores
        return runs[0].boxes, None

    def draw_box(
        self,
        roi: Sequence[float],
        img: NDArray,
        linewidth: int,
        color: tuple[int, int, int],
        name: str | None = None,
    ) -> NDArray:
        """Draw a box or polygon and a name on a BGR frame; see `toolkit.visualization.overlay`."""
        return draw_box(img, roi, color, linewidth, label=name)

    def show(
        self,
        pred_trajs: Mapping[str, Sequence] | None = None,
        linewidth: int = 2,
        show_name: bool = False,
    ) -> None:
        """Play the video in a window with ground truth (green) and the given results.

        Args:
            pred_trajs: Boxes per frame by tracker; None takes the loaded results.
            linewidth: In pixels.
            show_name: Write each tracker's name at its box.
        """
        import cv2

        from toolkit.visualization.draw_utils import bgr_color

        trajectories = self.pred_trajs if pred_trajs is None else pred_trajs
        for i, (frame, gt) in enumerate(self):
            draw_box(frame, gt, (0, 255, 0), linewidth, label="gt" if show_name else None)
            for k, (name, boxes) in enumerate(trajectories.items()):
                draw_box(frame, boxes[i], bgr_color(k), linewidth, name if show_name else None)
            cv2.imshow(self.name, frame)
            cv2.waitKey(40)


def _regions_and_codes(run: Trajectory) -> list[list[float]]:
    lines = zip(run.codes.tolist(), run.regions.tolist(), strict=True)
    return [region if code == REGION else [float(code)] for code, region in lines]
