"""Mask sequences (DAVIS): region similarity J and boundary accuracy F.

Definitions follow Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation" (CVPR 2016), and its 2017 edition with several objects: frames are averaged per
object, without the first and the last frame, then objects over the whole set.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.gathering import (
    Gathered,
    NoResults,
    Problems,
    checked,
    foreign_entries,
    nothing_found,
    result_store,
)
from toolkit.evaluation.metrics import METRICS_OF, Measures
from toolkit.results.store import ResultStore

BOUND = 0.008  # tolerance of boundaries, in diagonals of the frame
_PARTS = ("j", "j_recall", "j_decay", "f", "f_recall", "f_decay")


class MaskEvaluation(Evaluation):
    """Mean, recall and decay of J and F.

    Results are label images, ``<tracker>/<video>/<name of the frame>.png``. Needs the annotation
    masks and Pillow (extra ``masks``).

    Args:
        dataset: The videos, which name their annotation masks, and the trackers' names and folder.
        incomplete: See `Evaluation`; with ``lost`` a frame without a result scores 0.
        strict: Changes nothing here.
    """

    key = "jf"
    metrics = METRICS_OF["davis"]

    def gather(self, tracker: str) -> Gathered:
        """Find the masks of a tracker: by video one path per frame, None where there is none."""
        store, problems = result_store(self.dataset, tracker), self._problems()
        runs, missing = {}, []
        for video in self.dataset:
            paths = self._masks(store, video)
            found = len(paths) - paths.count(None)
            if not found:
                missing.append(video.name)
                problems.group("missing", video.name)
            elif found < len(paths):
                said = f"{video.name} has {found} masks for {len(paths)} frames"
                problems.add(f"{said}: the rest {problems.outcome}")
            if found or self.incomplete != "skip":
                runs[video.name] = [paths]
        if len(missing) == len(self.dataset):
            raise NoResults(nothing_found(store, self.dataset, problems.faults()))
        for name in foreign_entries(self.dataset, store):
            problems.group("foreign", name)
        lines = checked(tracker, problems.lines(), self.incomplete)
        return Gathered(runs, frozenset(missing), lines)

    def measure(self, results: Gathered) -> Measures:
        """Sums over the objects of each video (V,) of mean, recall and decay of J and F."""
        rows, names = [], []
        for name, (paths,) in results.runs.items():
            video = self.dataset.videos[name]
            objects = self._measure_objects(video, paths, results.problems)
            if objects:
                names.append(name)
                rows.append([*np.sum(objects, axis=0), len(objects)])
        columns = np.array(rows, np.float64).reshape(-1, len(_PARTS) + 1).T
        return Measures(names, dict(zip((*_PARTS, "objects"), columns, strict=True)))

    def _problems(self) -> Problems:
        return Problems(self.incomplete, len(self.dataset))

    def _masks(self, store: ResultStore, video: Video) -> list[Path | None]:
        masks = store.files(video.name).regions
        there = {path.stem: path for path in masks.glob("*.png")} if masks.is_dir() else {}
        return [there.get(Path(name).stem) for name in video.img_names]

    def _measure_objects(
        self, video: Video, paths: list[Path | None], problems: list[str]
    ) -> list[list[float]]:
        """Numbers by object in the order of ``_PARTS``; none if no frame is scored."""
        frames: dict[int, list[tuple[float, float]]] = {}
        for truth, labels in self._labels(video, paths, problems):
            for label in truth.objects:
                similarity = (0.0, 0.0)
                if labels is not None:
                    similarity = compare_masks(truth.labels == label, labels == label)
                frames.setdefault(label, []).append(similarity)
        return [
            [number for values in zip(*of, strict=True) for number in statistics(np.array(values))]
            for of in frames.values()
        ]

    def _labels(
        self, video: Video, paths: list[Path | None], problems: list[str]
    ) -> Iterator[tuple["_Truth", NDArray | None]]:
        """Annotation and result of the frames that are scored; None counts as lost."""
        from toolkit.io.labels import read_labels

        objects = _objects(video, 0)
        for i in range(1, len(video) - 1):
            annotated = video.mask_names[i] is not None
            if not annotated or (paths[i] is None and self.incomplete == "skip"):
                continue
            truth = _truth(video, i)
            try:
                labels = None if paths[i] is None else read_labels(paths[i])
                if labels is not None and labels.shape != truth.shape:
                    raise ValueError(
                        f"{paths[i]} is {labels.shape[1]}x{labels.shape[0]}, the annotation "
                        f"{truth.shape[1]}x{truth.shape[0]}"
                    )
            except ValueError as error:
                problems.append(f"{error}: {self._problems().outcome}")
                checked(video.name, problems, self.incomplete)
                if self.incomplete == "skip":
                    continue
                labels = None
            yield _Truth(truth, objects), labels


class _Truth(NamedTuple):
    """Annotation of a frame (H, W) and the labels of the video's objects."""

    labels: NDArray
    objects: list[int]


def compare_masks(truth: NDArray, mask: NDArray) -> tuple[float, float]:
    """Region similarity J and boundary accuracy F of two masks (H, W) bool."""
    return region_similarity(truth, mask), boundary_accuracy(truth, mask)


def region_similarity(truth: NDArray, mask: NDArray) -> float:
    """Intersection over union J of two masks (H, W) bool; 1 if both are empty."""
    union = np.count_nonzero(truth | mask)
    return np.count_nonzero(truth & mask) / union if union else 1.0


def boundary_accuracy(truth: NDArray, mask: NDArray, bound: float = BOUND) -> float:
    """F measure of the boundaries of two masks (H, W) bool.

    A boundary pixel is right if the other boundary is not farther away than ``bound`` diagonals of
    the frame, rounded up to whole pixels.

    Returns:
        Harmonic mean of the shares of right pixels of either boundary; 1 if both are empty.
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
    """Label image (H, W) of a frame's annotation; 1 is the object where there is only one.

    Raises:
        ValueError: If the video names no masks, or none for this frame.
    """
    if not video.mask_names:
        raise ValueError(f"video {video.name!r} has no annotation masks (mask_names in the JSON)")
    labels = video.read_mask(index)
    if labels is None:
        raise ValueError(f"video {video.name!r}: frame {index} has no annotation mask to score by")
    return labels


def _objects(video: Video, index: int) -> list[int]:
    return [int(label) for label in np.unique(_truth(video, index)) if label]
