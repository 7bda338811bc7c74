"""One video of a benchmark, and the reader of the benchmarks' JSON."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import find_benchmark
from toolkit.results import read_boxes, result_path
from toolkit.utils.image import read_image
from toolkit.visualization.overlay import draw_box

NAN = float("nan")


class Video:
    """Frames and ground truth of one target; images are read when asked for, never before.

    Attributes:
        name: Name of the video.
        root: Folder that image names are relative to.
        video_dir: Folder name from the JSON, not used to build paths.
        init_rect: First ground truth as the JSON has it.
        gt_traj: Ground truth per frame: x, y, w, h or a polygon x1, y1, ... in 0-based pixels,
            NaN where the target is absent; ints stay ints.
        attr: Names of the attributes of the video.
        absent: (N,) int8, 1 = the frame is scored (PySOT's sense of LaSOT); None if not given.
        pred_trajs: Loaded result boxes (N, 4) by tracker.
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
        absent: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.name, self.root = name, Path(os.path.abspath(root))
        self.gt_traj = list(gt_traj)
        self.video_dir, self.init_rect, self.attr = video_dir, list(init_rect), list(attr)
        self.absent = None if absent is None else np.array(absent, np.int8)
        self.pred_trajs: dict[str, NDArray] = {}
        self.imgs: list[NDArray] | None = None
        self._names, self._size = list(img_names), size

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
    def boxes(self) -> NDArray:
        """Ground truth as (N, 4) boxes x, y, w, h; a polygon gives the box around it."""
        regions = self.gt_traj
        if any(len(region) != 4 for region in regions):
            regions = [_around(region) for region in regions]
        return np.array(regions, np.float64).reshape(-1, 4)

    @property
    def width(self) -> int:
        """Frame width in pixels, from the JSON or else from the first image."""
        return self._frame_size[0]

    @property
    def height(self) -> int:
        """Frame height in pixels, from the JSON or else from the first image."""
        return self._frame_size[1]

    @cached_property
    def _frame_size(self) -> tuple[int, int]:
        return self._size or self[0][0].shape[1::-1]

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
    ) -> NDArray | None:
        """Read result boxes of trackers from ``path/<tracker>/<video>.txt``.

        Args:
            path: Folder that holds one folder per tracker.
            tracker_names: A name or several; None means every folder in ``path``.
            store: Keep them in ``pred_trajs``. False returns those of the first name instead.

        Raises:
            FileNotFoundError: If a result is missing.
            ValueError: If a result file holds something else than boxes.
        """
        if tracker_names is None:
            tracker_names = sorted(entry.name for entry in Path(path).iterdir() if entry.is_dir())
        names = [tracker_names] if isinstance(tracker_names, str) else tracker_names
        for name in names:
            boxes = read_boxes(result_path("flat", Path(path) / name, self.name))
            if not store:
                return boxes
            self.pred_trajs[name] = boxes
        return None

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


def load_videos(root: str | os.PathLike, name: str) -> dict[str, Video]:
    """Read ``<root>/<name>.json`` in PySOT's format, without touching any image.

    Returns:
        The videos by name, in sorted order.

    Raises:
        FileNotFoundError: If there is no such file; lists the JSON files that are there.
        ValueError: If the file is not of that format, naming file, video and field, or if the
            set needs another protocol.
    """
    benchmark = find_benchmark(name)
    path = Path(root) / f"{name}.json"
    records = _read_json(path)
    videos = {}
    for video in sorted(records):
        try:
            videos[video] = _video(video, records[video], Path(root), benchmark.has_absent)
        except ValueError as error:
            raise ValueError(f"{path}: video {video!r}: {error}") from None
    return videos


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.json"))) or "no JSON file"
        there = f"there is {near}" if path.parent.is_dir() else "the folder does not exist"
        raise FileNotFoundError(f"no annotation file {path}: {there}")
    try:
        records = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(records, dict) or not records:
        raise ValueError(f"{path}: expected an object of at least one video by name")
    return records


def _video(name: str, record: Any, root: Path, needs_absent: bool) -> Video:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object of fields, got {type(record).__name__}")
    names = _list_field(record, "img_names")
    gt = _regions(_list_field(record, "gt_rect"))
    attr = _list_field(record, "attr", optional=True)
    for field, values in (("img_names", names), ("attr", attr)):
        if not set(map(type, values)) <= {str}:
            raise ValueError(f"{field}: expected text only")
    if len(names) != len(gt):
        raise ValueError(f"gt_rect has {len(gt)} entries for {len(names)} img_names")
    absent = _absent(record, len(gt)) if needs_absent else None
    init = record.get("init_rect") or gt[0]
    return Video(
        name, root, names, gt, record.get("video_dir", ""), init, attr, absent, _size(record)
    )


def _list_field(record: dict[str, Any], field: str, optional: bool = False) -> list:
    if optional and field not in record:
        return []
    if field not in record:
        raise ValueError(f"field {field!r} is missing; there are {', '.join(record) or 'none'}")
    value = record[field]
    if not isinstance(value, list):
        raise ValueError(f"{field}: expected a list, got {type(value).__name__}")
    if not value and not optional:
        raise ValueError(f"{field}: is empty")
    return value


def _regions(gt: list) -> list[list[float]]:
    """Check the ground truth; null, for a frame or a number, means an absent target."""
    gt = [[NAN] * 4 if region is None else region for region in gt]
    # One pass over types and lengths is quick; only a faulty file is searched for the place.
    if set(map(type, gt)) == {list}:
        types = set(map(type, chain.from_iterable(gt)))
        if types <= {int, float} and set(map(len, gt)) <= {4, 8}:
            return gt
    return [_region(i, region) for i, region in enumerate(gt)]


def _region(index: int, region: Any) -> list[float]:
    if not isinstance(region, list) or len(region) not in (4, 8):
        raise ValueError(f"gt_rect[{index}]: expected 4 or 8 numbers, got {region!r}")
    region = [NAN if value is None else value for value in region]
    if not all(type(value) in (int, float) for value in region):
        raise ValueError(f"gt_rect[{index}]: expected numbers, got {region!r}")
    return region


def _absent(record: dict[str, Any], length: int) -> list[int]:
    absent = _list_field(record, "absent")
    if len(absent) != length:
        raise ValueError(f"absent has {len(absent)} entries for {length} frames")
    if not set(map(type, absent)) <= {int} or not set(absent) <= {0, 1}:
        raise ValueError("absent: expected only 0 and 1")
    return absent


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    size = record.get("width"), record.get("height")
    if size == (None, None):
        return None
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"width, height: expected two positive integers, got {size}")
    return size


def _around(region: Sequence[float]) -> Sequence[float]:
    """Box x, y, w, h around a polygon; a box is returned as it is."""
    if len(region) == 4:
        return region
    xs, ys = region[::2], region[1::2]
    if any(map(math.isnan, region)):
        return [NAN] * 4
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
