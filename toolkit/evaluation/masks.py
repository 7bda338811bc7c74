"""Mask sequences (DAVIS): region similarity J and boundary accuracy F.

Definitions follow Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation" (CVPR 2016), and its 2017 edition with several objects: frames are averaged per
object, without the first and the last frame, then objects over the whole set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import Evaluation, Gathered
from toolkit.evaluation.metrics import METRICS_OF, Measures
from toolkit.io.issues import IssueLog
from toolkit.results.formats import ResultFiles, mask_path
from toolkit.results.store import ResultStore

BOUND = 0.008  # tolerance of boundaries, in diagonals of the frame
_PARTS = ("j", "j_recall", "j_decay", "f", "f_recall", "f_decay")


class MaskEvaluation(Evaluation):
    """Mean, recall and decay of J and F.

    Results are label images, ``<tracker>/<video>/<name of the frame>.png``. Needs the annotation
    masks and Pillow (extra ``masks``). With the policy ``lost`` a frame without a result scores 0.
    """

    key = "jf"
    metrics = METRICS_OF["davis"]

    def check_ground_truth(self) -> None:
        """Do nothing: annotation masks are checked as they are read."""

    def read_runs(
        self, store: ResultStore, found: list[ResultFiles], video: Video, log: IssueLog
    ) -> list["_MaskFiles"]:
        """Find the masks of a video, one path per frame, None where there is none."""
        folder = (found or [store.files(video.name)])[0].regions
        there = set(folder.glob("*.png"))
        paths = [mask_path(folder, name) for name in video.img_names]
        number = len(there.intersection(paths))
        if not number:
            log.add("missing", video.name)
            return [_MaskFiles([])]
        if number < len(paths):
            text = (
                f"{video.name} has {number} masks for {len(paths)} frames: the rest {self.outcome}"
            )
            log.warn("", video.name, text)
        return [_MaskFiles([path if path in there else None for path in paths])]

    def measure(self, results: Gathered) -> Measures:
        """Sums over the objects of each video (V,) of mean, recall and decay of J and F."""
        rows, names = [], []
        for name, (run,) in results.runs.items():
            video = self.dataset.videos[name]
            objects = self._measure_objects(video, run.paths, results.problems)
            if objects:
                names.append(name)
                rows.append([*np.sum(objects, axis=0), len(objects)])
        columns = np.array(rows, np.float64).reshape(-1, len(_PARTS) + 1).T
        return Measures(names, dict(zip((*_PARTS, "objects"), columns, strict=True)))

    def _measure_objects(
        self, video: Video, paths: list[Path | None], problems: list[str]
    ) -> list[list[float]]:
        """Numbers by object in the order of ``_PARTS``; none if no frame is scored."""
        objects = [int(label) for label in np.unique(_truth(video, 0)) if label]
        frames: dict[int, list[tuple[float, float]]] = {}
        for truth, labels in self._labels(video, paths, problems):
            for label in objects:
                similarity = (0.0, 0.0)
                if labels is not None:
                    masks = truth == label, labels == label
                    similarity = region_similarity(*masks), boundary_accuracy(*masks)
                frames.setdefault(label, []).append(similarity)
        return [
            [number for values in zip(*of, strict=True) for number in statistics(np.array(values))]
            for of in frames.values()
        ]

    def _labels(
        self, video: Video, paths: list[Path | None], problems: list[str]
    ) -> Iterator[tuple[NDArray, NDArray | None]]:
        """Annotation and result of the frames that are scored; None counts as lost."""
        faults: dict[str, list[str]] = {}  # by their text without the file
        for i in range(1, len(video) - 1):
            annotated = video.mask_names[i] is not None
            if not annotated or (paths[i] is None and self.incomplete == "skip"):
                continue
            truth = _truth(video, i)
            try:
                labels = paths[i] and _read_result(paths[i], truth.shape)
            except ValueError as error:
                text = f"{error}: {self.outcome}"
                faults.setdefault(text.replace(str(paths[i]), ""), []).append(text)
                self.checked(video.name, [*problems, text])
                if self.incomplete == "skip":
                    continue
                labels = None
            yield truth, labels
        for text, *others in faults.values():
            problems.append(text + (f" (and {len(others)} more such masks)" if others else ""))


@dataclass(frozen=True)
class _MaskFiles:
    """Mask of each frame of a video, None where there is none."""

    paths: list[Path | None]

    def __len__(self) -> int:
        return len(self.paths)

    def resized(self, length: int, code: int) -> "_MaskFiles":
        return _MaskFiles([*self.paths, *[None] * (length - len(self))])


def _read_result(path: Path, shape: tuple[int, ...]) -> NDArray:
    from toolkit.io.images import read_labels

    labels = read_labels(path, exact=True)
    if labels.shape != shape:
        raise ValueError(
            f"{path} is {labels.shape[1]}x{labels.shape[0]}, the annotation {shape[1]}x{shape[0]}"
        )
    return labels


def region_similarity(truth: NDArray, mask: NDArray) -> float:
    """Intersection over union J of two masks (H, W) bool; 1 if both are empty."""
    union = np.count_nonzero(truth | mask)
    return np.count_nonzero(truth & mask) / union if union else 1.0


def boundary_accuracy(truth: NDArray, mask: NDArray, bound: float = BOUND) -> float:
    """F measure of the boundaries of two masks (H, W) bool; 1 if both are empty.

    A boundary pixel is right if the other boundary is not farther away than ``bound`` diagonals of
    the frame, rounded up to whole pixels.
    """
    radius = int(np.ceil(bound * np.hypot(*truth.shape)))
    edges = _cropped([boundary(truth), boundary(mask)])
    counts = [np.count_nonzero(edge) for edge in edges]
    if not all(counts):
        return float(not any(counts))
    recall = np.count_nonzero(edges[0] & _dilated(edges[1], radius)) / counts[0]
    precision = np.count_nonzero(edges[1] & _dilated(edges[0], radius)) / counts[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: NDArray) -> NDArray:
    """Pixels (H, W) that differ from the one to the right, below, or right below."""
    around = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ around[:-1, 1:]) | (mask ^ around[1:, :-1]) | (mask ^ around[1:, 1:])


def statistics(values: NDArray) -> tuple[float, float, float]:
    """Mean, recall and decay of values per frame (N,).

    Recall is the share above 0.5, decay the mean of the first quarter minus that of the last.
    """
    ends = np.round(np.linspace(0, len(values) - 1, 5) + 1e-10).astype(int)
    first, last = values[: ends[1] + 1], values[ends[3] :]
    return float(values.mean()), float(np.mean(values > 0.5)), float(first.mean() - last.mean())


def _cropped(edges: list[NDArray]) -> list[NDArray]:
    """The part of edges (H, W) bool that holds them all; the rest costs time only."""
    either = np.logical_or(*edges)
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not len(rows):
        return edges
    return [edge[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for edge in edges]


def _dilated(edge: NDArray, radius: int) -> NDArray:
    """Pixels no farther than ``radius`` from an edge (H, W) bool."""
    import cv2

    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    return cv2.dilate(edge.astype(np.uint8), disk, borderValue=0).astype(bool)


def _truth(video: Video, index: int) -> NDArray:
    """Label image (H, W) of a frame's annotation; 1 is the object where there is only one."""
    if not video.mask_names:
        raise ValueError(f"video {video.name!r} has no annotation masks (mask_names in the JSON)")
    labels = video.read_mask(index)
    if labels is None:
        raise ValueError(f"video {video.name!r}: frame {index} has no annotation mask to score by")
    return labels
