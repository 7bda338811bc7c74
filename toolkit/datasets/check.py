"""What is wrong with a set that is tested on, found before a tracker runs for hours on it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import Benchmark
from toolkit.datasets.dataset import make_video
from toolkit.datasets.reading import spans
from toolkit.datasets.video import Video
from toolkit.io.images import image_size
from toolkit.io.issues import IssueLog

# evaluations whose overlaps end at the border of the frame
_NEED_SIZE = ("vot", "longterm")


def check_set(
    records: Mapping[str, Any],
    root: Path,
    benchmark: Benchmark,
    log: IssueLog,
    all_images: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> dict[str, Video]:
    """Check every video of a set, and the set as a whole.

    Args:
        records: Fields of the videos, as the JSON has them.
        root: Folder that image names are relative to.
        benchmark: What the set needs.
        log: Receives what is found.
        all_images: Look into every image; otherwise only into the first of each video.
        progress: Wraps the names of the videos while they are checked.

    Returns:
        The videos that can be made, by name.
    """
    videos, there = {}, _Listing()
    for name in progress(sorted(records)):
        try:
            videos[name] = video = make_video(name, records[name], root, benchmark)
        except ValueError as error:
            log.add("", name, str(error))
            continue
        missing = [i for i, path in enumerate(video.img_names) if path not in there]
        _check_images(video, missing, log, all_images)
        _check_boxes(video, log)
    _check_names(videos, benchmark, log)
    if videos and not there.found:
        log.warn("", "", f"no images below {root}: enough to score, not to track")
    if benchmark.evaluation in _NEED_SIZE:
        unsized = [name for name, video in videos.items() if frame_size(video) is None]
        if unsized:
            log.warn("", "", f"no frame size, so no score: {_some(unsized)}")
    return videos


class _Listing:
    """Whether files are there, by reading each folder once; ``found`` if any of them was."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}
        self.found = False

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            try:
                self._folders[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._folders[folder] = frozenset()
        there = name in self._folders[folder]
        self.found |= there
        return there


def frame_size(video: Video) -> tuple[int, int] | None:
    """Width and height of a video's frames, None if neither annotation nor image tells."""
    try:
        return video.width, video.height
    except (ValueError, OSError):
        return None


def _check_images(video: Video, missing: Sequence[int], log: IssueLog, all_images: bool) -> None:
    if missing and len(missing) < len(video):
        first = video.img_names[missing[0]]
        log.add("", video.name, f"frames {spans(missing)} have no image, such as {first}")
    twice = [name for name, count in Counter(video.img_names).items() if count > 1]
    if twice:
        log.warn("", video.name, f"the same image for several frames: {_some(twice)}")
    absent, size = set(missing), video.annotated_size
    for index in range(len(video) if all_images else 1):
        if index in absent:
            continue
        try:
            found = image_size(video.img_names[index])
        except (ValueError, OSError) as error:
            log.add("", video.name, f"frame {index}: {error}")
            continue
        size = size or found
        if found != size:
            text = f"{found[0]}x{found[1]} but {size[0]}x{size[1]} was expected"
            log.add("", video.name, f"frame {index}: {video.img_names[index]} is {text}")


def _check_boxes(video: Video, log: IssueLog) -> None:
    try:
        boxes = video.boxes
    except (ValueError, OSError) as error:
        log.add("", video.name, str(error))
        return
    nan = np.isnan(boxes).any(axis=1)
    infinite = np.isinf(boxes).any(axis=1)
    empty = ~nan & ~infinite & (boxes[:, 2:] <= 0).any(axis=1)
    if (nan | infinite | empty)[0]:
        log.add("", video.name, f"cannot start on the box {list(video.gt_traj[0])}")
    if len(boxes) > 1 and nan[1:].all():
        log.note("", video.name, "no box but the first: it can be tracked, not scored")
    elif nan.any():
        log.note("", video.name, f"absent (NaN) in frames {_frames(nan)}")
    if infinite.any():
        log.add("", video.name, f"infinite numbers in frames {_frames(infinite)}")
    if empty.any():
        log.warn("", video.name, f"width or height not above 0 in frames {_frames(empty)}")
    outside = _outside(boxes, frame_size(video)) & ~nan & ~infinite & ~empty
    if outside.any():
        log.warn("", video.name, f"box outside the image in frames {_frames(outside)}")


def _outside(boxes: NDArray, size: tuple[int, int] | None) -> NDArray:
    """Whether boxes (N, 4) have no pixel in a frame of a size; without one, of boundless size."""
    x, y, w, h = boxes.T
    width, height = size or (np.inf, np.inf)
    return (x + w <= 0) | (y + h <= 0) | (x >= width) | (y >= height)


def _check_names(videos: Mapping[str, Video], benchmark: Benchmark, log: IssueLog) -> None:
    """What only shows when the videos are seen together."""
    lower = Counter(map(str.lower, videos))
    alike = [name for name in videos if lower[name.lower()] > 1]
    if alike:
        log.warn("", "", f"names that differ in case only: {_some(alike)}")
    if benchmark.num_videos not in (0, len(videos)):
        expected = f"{benchmark.num_videos} belong to the set"
        log.warn("", "", f"{len(videos)} usable videos, but {expected}")
    for tag in benchmark.tags:
        bare = [name for name, video in videos.items() if not video.tags[tag]]
        if bare:
            log.note("", "", f"tag {tag} is not given for {_some(bare)}")


def _frames(mask: NDArray) -> str:
    return spans(np.flatnonzero(mask).tolist())


def _some(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
