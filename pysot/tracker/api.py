"""The package's own interface: :class:`Tracker` for one target, :class:`MultiTracker` for many."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.tracker.base_tracker import as_batch, check_frame
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.zoo import DEFAULT, find_pretrained


@dataclass(frozen=True, eq=False)
class TrackResult:
    """A target in one frame, in 0-based pixels; polygon and mask from trackers with masks."""

    bbox: tuple[float, float, float, float]
    """x, y, w, h."""
    score: float
    """Confidence in [0, 1]; NaN where a tracker of other origin gives none."""
    polygon: tuple[float, ...] | None = None
    """Corners x1, y1, ..., x4, y4 of a rotated box."""
    mask: NDArray | None = None
    """Probability of each pixel, (H, W) float32."""
    lost: bool = False
    """Whether the target is out of sight, and the box the last one or a guess."""

    @classmethod
    def from_dict(cls, result: dict[str, Any]) -> TrackResult:
        """Convert the result of a registered tracker."""
        polygon = result.get("polygon")
        return cls(
            bbox=tuple(float(value) for value in result["bbox"]),
            score=float(result.get("best_score", math.nan)),
            polygon=None if polygon is None else tuple(float(value) for value in polygon),
            mask=result.get("mask"),
            lost=bool(result.get("lost", False)),
        )


class Tracker:
    """Follows one target through BGR uint8 frames (H, W, 3), by a registered tracker.

    Example::

        tracker = Tracker.from_pretrained()
        tracker.init(first_frame, (x, y, w, h))
        for frame in frames:
            print(tracker.track(frame).bbox)
    """

    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker

    @classmethod
    def from_config(
        cls, config: str | Path, weights: str | Path, device: str = "auto", opts: Sequence[Any] = ()
    ) -> Tracker:
        """Build the tracker that a YAML file describes; see :func:`load_network`.

        Args:
            config: YAML file, or a name in ``experiments``.
            weights: Checkpoint of its network, made by this package or by PySOT, or safetensors.
            device: A name that ``torch.device`` takes, or ``auto`` for the configuration's.
            opts: Overrides of the configuration, ``[KEY, VALUE, ...]``.
        """
        return cls(build_tracker(*load_network(config, weights, device, opts)))

    @classmethod
    def from_pretrained(
        cls, name: str | Path = DEFAULT, device: str = "auto", opts: Sequence[Any] = ()
    ) -> Tracker:
        """Build from weights of this package, or published ones, which are downloaded once.

        Args:
            name: One that ``pysot models`` lists, or the path of a safetensors file with a card.
                The default comes with the package.
            device: As in :meth:`from_config`.
            opts: As there.

        Raises:
            ValueError: If ``pysot models`` has no such name.
            OSError: If they cannot be downloaded; the message says where to put the file.
        """
        return cls.from_config(*find_pretrained(name), device, opts)

    @classmethod
    def from_onnx(cls, folder: str | Path, opts: Sequence[Any] = (), threads: int = 1) -> Tracker:
        """Build the tracker that ``pysot export`` wrote, without PyTorch; see `load_network`.

        ``TRACK.BACKEND`` among the overrides ``opts`` chooses what runs it.
        """
        return cls(build_tracker(*load_network(None, folder, opts=opts, threads=threads)))

    def init(self, frame: NDArray, bbox: Sequence[float]) -> None:
        """Start anew on x, y, w, h in 0-based pixels; ``ValueError`` if it or the frame is bad."""
        self.tracker.init(frame, bbox)

    def track(self, frame: NDArray) -> TrackResult:
        """Find the target in the next frame; ``ValueError`` if it is bad, or before `init`."""
        return TrackResult.from_dict(self.tracker.track(frame))


_Job = tuple[int, NDArray, float]  # number of a target, its crops (K, S, S, 3), their scale


class MultiTracker:
    """Follows targets that come and go, in common passes of one network.

    A lone target, and one whose tracker is not made of the steps of a Siamese one, is tracked by
    itself.

    Args:
        build: Makes the tracker of one target; all of them share one model.
        max_batch: Most search images in one pass; more than 4 gain nothing on a CPU.
    """

    def __init__(self, build: Callable[[], Any], max_batch: int = 4) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch: expected 1 or more, found {max_batch}")
        self.build = build
        self.max_batch = max_batch
        self.trackers: dict[int, Any] = {}
        self._next = 0

    @classmethod
    def from_config(
        cls,
        config: str | Path,
        weights: str | Path,
        device: str = "auto",
        opts: Sequence[Any] = (),
        max_batch: int = 4,
    ) -> MultiTracker:
        """Build from a YAML file; see :meth:`Tracker.from_config`."""
        model, cfg = load_network(config, weights, device, opts)
        return cls(lambda: build_tracker(model, cfg), max_batch)

    @classmethod
    def from_onnx(
        cls, folder: str | Path, opts: Sequence[Any] = (), threads: int = 1, max_batch: int = 4
    ) -> MultiTracker:
        """Build from what ``pysot export`` wrote; see :meth:`Tracker.from_onnx`."""
        model, cfg = load_network(None, folder, opts=opts, threads=threads)
        return cls(lambda: build_tracker(model, cfg), max_batch)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = DEFAULT,
        device: str = "auto",
        opts: Sequence[Any] = (),
        max_batch: int = 4,
    ) -> MultiTracker:
        """Build from published weights; see :meth:`Tracker.from_pretrained`."""
        return cls.from_config(*find_pretrained(name), device, opts, max_batch)

    def add(self, frame: NDArray, bbox: Sequence[float]) -> int:
        """Start on one more target; return its number, which is never used again."""
        tracker = self.build()
        tracker.init(frame, bbox)
        number, self._next = self._next, self._next + 1
        self.trackers[number] = tracker
        return number

    def find(self, number: int) -> Any:
        """Return the tracker of a target; ``ValueError`` if there is none of that number."""
        if number not in self.trackers:
            raise ValueError(f"no target {number}; there are {sorted(self.trackers)}")
        return self.trackers[number]

    def remove(self, number: int) -> None:
        """Stop following a target; ``ValueError`` if there is none of that number."""
        self.find(number)
        del self.trackers[number]

    def track(self, frame: NDArray) -> dict[int, TrackResult]:
        """Find all targets, by number, in the next frame; ``ValueError`` if it is unusable."""
        check_frame(frame)
        alone = [
            number
            for number, tracker in self.trackers.items()
            if len(self.trackers) == 1 or not hasattr(tracker, "search_crop")
        ]
        results = {number: self.trackers[number].track(frame) for number in alone}
        for jobs in self._batches(frame, self.trackers.keys() - results.keys()):
            with self.trackers[jobs[0][0]].network.inference():
                for (number, _, scale), found in zip(jobs, self._candidates(jobs), strict=True):
                    tracker = self.trackers[number]
                    results[number] = tracker.update(found, scale, frame.shape)
                    tracker.update_template(frame)
        return {number: TrackResult.from_dict(results[number]) for number in self.trackers}

    def _batches(self, frame: NDArray, numbers: Iterable[int]) -> Iterator[list[_Job]]:
        """Group targets by the shape of their crops: a lost target's may be larger."""
        groups: dict[tuple[int, ...], list[_Job]] = defaultdict(list)
        for number in sorted(numbers):
            crops, scale = self.trackers[number].search_crop(frame)
            crops = as_batch(crops)
            jobs = groups[crops.shape]
            jobs.append((number, crops, scale))
            if (len(jobs) + 1) * len(crops) > self.max_batch:
                yield groups.pop(crops.shape)
        yield from groups.values()

    def _candidates(self, jobs: list[_Job]) -> list[Any]:
        """Return what the network finds in the crops of a batch, for each target."""
        numbers, crops, _ = zip(*jobs, strict=True)
        first = self.trackers[numbers[0]]
        kernels = [self.trackers[number].state.kernels for number in numbers]
        batch = first.network.join(kernels, repeats=len(crops[0]))
        return first.decode(first.predict(batch, np.concatenate(crops)))
