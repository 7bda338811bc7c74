"""Inputs of a search network from frames of videos, as its tracker would cut them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.tracker.base_tracker import as_batch
from pysot.tracker.network import flat
from pysot.utils.bbox import initial_rect
from toolkit.datasets import load_videos
from toolkit.io.video import open_source

COUNT = 64
"""Search images in all."""

_SHARE = 0.25  # side of a guessed target in that of the frame

Pair = tuple[NDArray, NDArray, Sequence[float]]  # two frames, and the target in the first


def search_inputs(
    tracker: Any, kernels: Any, pairs: Iterator[Pair]
) -> Iterator[dict[str, NDArray]]:
    """Yield the inputs of a search network by name.

    Args:
        tracker: A tracker with a PyTorch network; it starts on the first frame of a pair and
            searches the second.
        kernels: Names of the network's kernels, nested.
        pairs: Of frames.
    """
    tracker.inside_only, names = False, flat(kernels)  # kernels for masks, at the end, may be more
    for first, second, box in pairs:
        tracker.init(first, box)
        crops = as_batch(tracker.search_crop(second)[0])
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        arrays = [kernel.numpy() for kernel in flat(tracker.state.kernels)]
        yield {"search": images, **dict(zip(names, arrays, strict=False))}


def read_pairs(sources: Sequence[str], find_root: Callable[[str], Path]) -> Iterator[Pair]:
    """Yield ``COUNT`` pairs of frames of videos and data sets, in equal parts.

    Args:
        sources: Names of data sets, whose annotation gives the targets; or video files or folders
            of images, where squares at random places stand for them.
        find_root: Returns the folder of a data set of a name.

    Raises:
        OSError: If something cannot be read.
        ValueError: If a source has less than two frames, or no target.
    """
    share = -(-COUNT // len(sources))
    for source in sources:
        is_video = Path(source).exists()
        found = _of_video(source, share) if is_video else _of_set(source, find_root(source), share)
        pairs = list(islice(found, share))
        if not pairs:
            raise ValueError(f"{source}: there are no two frames to calibrate with")
        yield from pairs


def _of_video(source: str, count: int) -> Iterator[Pair]:
    frames, rng = open_source(source), np.random.default_rng(0)
    step = max(1, (frames.num_frames or 0) // (count + 1))
    for first, second in pairwise(islice(frames, 0, None, step)):
        height, width = first.image.shape[:2]
        side = _SHARE * min(height, width)
        corner = rng.uniform(0, 1, 2) * (width - side, height - side)
        yield first.image, second.image, (*corner, side, side)


def _of_set(name: str, root: Path, count: int) -> Iterator[Pair]:
    videos = list(load_videos(root, name).values())
    videos = videos[:: max(1, len(videos) // count)]
    each = -(-count // max(len(videos), 1))
    for video in videos:
        last = len(video) - 1
        for index in np.unique(np.linspace(0, last - 1, each).astype(int)) if last > 0 else ():
            image, truth = video[index]
            truth = np.asarray(truth, dtype=float)
            if np.isfinite(truth).all() and min((box := initial_rect(truth))[2:]) > 1:
                yield image, video[index + 1][0], box
