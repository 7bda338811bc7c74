"""Many targets that share one network, whose search regions pass through it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pysot.inference import join
from pysot.tracker.api import TrackResult
from pysot.tracker.base_tracker import as_batch, to_tensor
from pysot.tracker.geometry import check_frame
from pysot.tracker.tracker_builder import build_tracker, load_network

_Job = tuple[int, NDArray, float]  # number of a target, its crops (K, S, S, 3), its zoom


class MultiTracker:
    """Follows any number of targets; they come and go with :meth:`add` and :meth:`remove`.

    Args:
        build: Makes the tracker of one target; all of them share one model.
        max_batch: Most search images in one pass of the network; the pass needs memory for each.
            More than 4 gain nothing on a CPU.

    Attributes:
        trackers: Trackers of the targets by number.
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
        """Build from a YAML file; see :meth:`pysot.tracker.api.Tracker.from_config`.

        Raises:
            OSError: If a file is missing or cannot be read.
            ValueError: If configuration, weights or device are unusable.
        """
        model, cfg = load_network(config, weights, device, opts)
        return cls(lambda: build_tracker(model, cfg), max_batch)

    def add(self, frame: NDArray, bbox: Sequence[float]) -> int:
        """Start on one more target.

        Args:
            frame: BGR uint8, (H, W, 3).
            bbox: x, y, w, h in 0-based pixels.

        Returns:
            The target's number; numbers are not used again.

        Raises:
            ValueError: If the frame or the box is unusable.
        """
        tracker = self.build()
        tracker.init(frame, bbox)
        number, self._next = self._next, self._next + 1
        self.trackers[number] = tracker
        return number

    def remove(self, number: int) -> None:
        """Stop following a target.

        Raises:
            ValueError: If there is no target of that number.
        """
        if number not in self.trackers:
            raise ValueError(f"no target {number}; there are {sorted(self.trackers)}")
        del self.trackers[number]

    @torch.inference_mode()
    def track(self, frame: NDArray) -> dict[int, TrackResult]:
        """Find all targets in the next frame, BGR uint8 (H, W, 3).

        Returns:
            Results by number of the target; none where there are no targets.

        Raises:
            ValueError: If the frame is unusable.
        """
        check_frame(frame)
        results = {}
        for jobs in self._batches(frame):
            for (number, _, zoom), seen in zip(jobs, self._look(jobs), strict=True):
                tracker = self.trackers[number]
                results[number] = tracker.update(seen, zoom, frame.shape)
                tracker.learn(frame)
        return {number: TrackResult.from_dict(results[number]) for number in self.trackers}

    def _batches(self, frame: NDArray) -> Iterator[list[_Job]]:
        """Group the targets by the shape of their crops: a lost target's may be larger."""
        groups: dict[tuple[int, ...], list[_Job]] = defaultdict(list)
        for number, tracker in self.trackers.items():
            crops, zoom = tracker.search_crop(frame)
            crops = as_batch(crops)
            jobs = groups[crops.shape]
            jobs.append((number, crops, zoom))
            if (len(jobs) + 1) * len(crops) > self.max_batch:
                yield groups.pop(crops.shape)
        yield from groups.values()

    def _look(self, jobs: list[_Job]) -> list[Any]:
        """Run the network on all crops of a batch; what it sees of each target."""
        numbers, crops, _ = zip(*jobs, strict=True)
        first = self.trackers[numbers[0]]
        kernels = [self.trackers[number].state.kernels for number in numbers]
        images = to_tensor(np.concatenate(crops), first.model)
        return first.decode(first.predict(join(kernels, repeats=len(crops[0])), images))
