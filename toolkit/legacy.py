"""PySOT's data sets: videos that also hold results, draw them and show them.

`toolkit.datasets` gives these names to PySOT's users; nothing inside uses them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from toolkit.datasets import dataset, video
from toolkit.datasets.benchmarks import OPE, Benchmark
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory
from toolkit.visualization.overlay import draw_box
from toolkit.visualization.plots import bgr_color


class Video(video.Video):
    """A video with the results of trackers."""

    benchmark = OPE
    imgs: list[NDArray] | None = None  # all frames after `load_img`

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pred_trajs: dict[str, Any] = {}  # by tracker, as `load_tracker` returns them
        self.confidence: dict[str, NDArray] = {}  # scores per frame by tracker (long-term sets)

    @classmethod
    def of(cls, plain: video.Video, benchmark: Benchmark) -> Video:
        """Return a video of a benchmark as one of this class."""
        self = cls.__new__(cls)
        vars(self).update(vars(plain), benchmark=benchmark, pred_trajs={}, confidence={})
        return self

    def __getitem__(self, index: int) -> tuple[NDArray, Sequence[float]]:
        if self.imgs is None:
            return super().__getitem__(index)
        return self.imgs[index], self.gt_traj[index]

    def load_img(self) -> None:
        """Read all frames into memory."""
        self.imgs = [frame for frame, _ in self]

    def free_img(self) -> None:
        """Drop the frames held in memory."""
        self.imgs = None

    @property
    def tag_names(self) -> list[str]:
        """Names of the tags."""
        return list(self.tags)

    def select_tag(self, tag: str, start: int = 0, end: int = 0) -> Sequence[int]:
        """Return the flags of a tag from frame ``start`` to before ``end`` (0: to the last).

        Raises:
            ValueError: If the video has no such tag, naming those it has.
        """
        if tag not in self.tags:
            there = ", ".join(self.tags)
            raise ValueError(f"video {self.name!r} has no tag {tag!r}; there are: {there}")
        return self.tags[tag][start : end or None]

    def load_tracker(
        self,
        path: str | os.PathLike,
        tracker_names: str | Sequence[str] | None = None,
        store: bool = True,
    ) -> Any:
        """Read results of trackers from ``path/<tracker>``; errors as in `ResultStore.read`.

        They are boxes, an array (N, 4). On VOT they are a list of the repetitions, each a list of
        regions, or of a code alone, per frame; on long-term sets one such list, and scores (N,).

        Args:
            path: Folder that holds one folder per tracker.
            tracker_names: A name or several; None means every folder in ``path``.
            store: Keep them in ``pred_trajs`` (and scores in ``confidence``). False returns those
                of the first name instead: on long-term sets the regions and the scores.
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
        layout = self.benchmark.layout
        if layout == "masks":
            raise ValueError(f"results laid out as {layout!r} hold no regions: {folder}")
        store = ResultStore(folder, layout)
        found = store.locate([self.name], self.benchmark).runs[self.name]
        runs = [store.read(files) for files in found or [store.files(self.name)]]
        if self.benchmark.evaluation == "vot":
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
        """Draw a box or polygon and a name on a BGR frame."""
        return draw_box(img, roi, color, linewidth, label=name)

    def show(
        self,
        pred_trajs: Mapping[str, Sequence] | None = None,
        linewidth: int = 2,
        show_name: bool = False,
    ) -> None:
        """Play the video with ground truth (green) and boxes by tracker, by default the loaded."""
        import cv2

        trajectories = self.pred_trajs if pred_trajs is None else pred_trajs
        for i, (frame, gt) in enumerate(self):
            draw_box(frame, gt, (0, 255, 0), linewidth, label="gt" if show_name else None)
            for k, (name, boxes) in enumerate(trajectories.items()):
                draw_box(frame, boxes[i], bgr_color(k), linewidth, name if show_name else None)
            cv2.imshow(self.name, frame)
            cv2.waitKey(40)


class Dataset(dataset.Dataset):
    """A benchmark whose videos hold results."""

    def __init__(self, name: str, dataset_root: str | os.PathLike, load_img: bool = False) -> None:
        super().__init__(name, dataset_root)
        self.videos = {v.name: Video.of(v, self.benchmark) for v in self}
        if load_img:
            for v in self:
                v.load_img()


class DatasetFactory:
    """PySOT's door to the data sets."""

    @staticmethod
    def create_dataset(
        *, name: str, dataset_root: str | os.PathLike, load_img: bool = False
    ) -> Dataset:
        """Load a benchmark from ``<dataset_root>/<name>.json``; see `Dataset`."""
        return Dataset(name, dataset_root, load_img)


# One class reads them all; what differs is in the table of benchmarks.
OTBDataset = UAVDataset = LaSOTDataset = NFSDataset = Dataset
VOTDataset = VOTLTDataset = GOT10kDataset = TrackingNetDataset = Dataset
OTBVideo = UAVVideo = LaSOTVideo = NFSVideo = Video
VOTVideo = VOTLTVideo = GOT10kVideo = TrackingNetVideo = Video


def _regions_and_codes(run: Trajectory) -> list[list[float]]:
    lines = zip(run.codes.tolist(), run.regions.tolist(), strict=True)
    return [region if code == Code.REGION else [float(code)] for code, region in lines]
