"""Overlap of each frame: in few characters, and as strips of frames from the worst failures."""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation import Evaluation
from toolkit.io.boxes import box_around
from toolkit.results.formats import mask_path
from toolkit.results.trajectory import Code
from toolkit.visualization.overlay import GREEN, YELLOW, draw_box, draw_text

POINTS = 240  # at most, per video and tracker
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # 0 to 1
UNKNOWN = "-"
FRAMES = 6  # per strip
WIDTH = 220  # of a frame, in pixels
QUALITY = 72  # of the JPEG
MOST = 4  # strips of a tracker
MOST_OF_ALL = 40  # strips of a page, so that it stays small
LOST = 0.1  # overlap up to which the target counts as lost
LEAD = 15  # frames shown before the target is lost, or before a failure
SURROUNDINGS = 4  # target sizes that a window shows at least
LEAST_SHARE = 0.2  # of the frame, that a window shows at least
SHORTEST = 5  # frames, of what is worth a strip
_NUMBER = ((4, 14), (255, 255, 255), 0.4)  # place, color and size of the number of a frame

Overlaps = Mapping[str, Mapping[str, NDArray]]  # by tracker and video


class _Failure(NamedTuple):
    """A part of a video in which a tracker went wrong."""

    video: str
    frames: list[int]  # to show, from 0, ascending
    text: str
    weight: float  # how bad it is; comparable for one data set


class Strip(NamedTuple):
    """A strip of frames."""

    caption: str
    image: str  # ``data:`` address of a JPEG


def frame_overlaps(evaluation: Evaluation, trackers: Sequence[str]) -> Overlaps:
    """Overlaps (N,) of each tracker and video whose result can be read; files are read anew."""
    measure = getattr(evaluation, "frame_overlaps", None)
    found: dict[str, dict[str, NDArray]] = {name: {} for name in trackers}
    for name in trackers if measure else ():
        for video in evaluation.scores(name).videos:
            with suppress(OSError, ValueError, IndexError):  # it is among the tracker's problems
                found[name][video] = measure(name, video)
    return found


def encoded(overlaps: NDArray) -> str:
    """Overlaps (N,) as one letter per point, means of as many frames as it takes.

    NaN counts in no mean; a point of nothing else is ``UNKNOWN``.
    """
    text = ""
    for part in np.array_split(overlaps, min(POINTS, len(overlaps))) if len(overlaps) else ():
        known = part[~np.isnan(part)]
        mean = float(np.clip(known.mean(), 0, 1)) if len(known) else None
        text += UNKNOWN if mean is None else LEVELS[round(mean * (len(LEVELS) - 1))]
    return text


def filmstrips(
    evaluation: Evaluation, trackers: Sequence[str], overlaps: Overlaps
) -> dict[str, list[Strip]]:
    """Draw the worst failures of trackers, ground truth green and result yellow.

    Returns:
        Strips by tracker, worst first; none where images are missing or nothing failed.
    """
    videos = [video for video in evaluation.dataset if os.path.isfile(video.img_names[0])]
    if not videos:
        return {}
    count = max(1, min(MOST, MOST_OF_ALL // len(trackers)))
    find = _FINDERS[evaluation.dataset.benchmark.evaluation]
    strips = {}
    for tracker in trackers[:MOST_OF_ALL]:
        found = [find(evaluation, tracker, video, overlaps[tracker]) for video in videos]
        failures = sorted(filter(None, found), key=lambda of: -of.weight)[:count]
        drawn = [_strip(evaluation, tracker, failure) for failure in failures]
        if any(drawn):
            strips[tracker] = [strip for strip in drawn if strip]
    return strips


def longest_loss(overlaps: NDArray) -> tuple[int, int] | None:
    """First and last frame of the longest stretch of lost frames; None if there is none.

    NaN (not scored) among the overlaps (N,) neither begins nor ends a stretch.
    """
    frames = np.flatnonzero(~np.isnan(overlaps))
    lost = np.concatenate([[False], overlaps[frames] <= LOST, [False]])
    edges = np.flatnonzero(lost[1:] != lost[:-1])
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return None
    longest = int(np.argmax(ends - starts))
    return int(frames[starts[longest]]), int(frames[ends[longest] - 1])


def _lost(
    evaluation: Evaluation, tracker: str, video: Video, overlaps: dict[str, NDArray]
) -> _Failure | None:
    stretch = longest_loss(overlaps[video.name]) if video.name in overlaps else None
    first, last = stretch or (0, -1)
    if last - first + 1 < SHORTEST:
        return None
    text = f"target lost in frames {first} to {last} of {len(video)}"
    return _Failure(video.name, _spread(max(0, first - LEAD), last), text, last - first)


def _restarted(
    evaluation: Evaluation, tracker: str, video: Video, overlaps: dict[str, NDArray]
) -> _Failure | None:
    """The first failure of the first run, in a video with as many as possible."""
    if video.name not in overlaps:
        return None
    codes = evaluation.read(tracker, video.name)[0].codes
    failures = np.flatnonzero(codes == Code.LOST)
    if not len(failures):
        return None
    last = int(failures[0])
    start = [0, *np.flatnonzero(codes[:last] == Code.STARTED).tolist()][-1]
    times = f"{len(failures)} failures" if len(failures) > 1 else "1 failure"
    text = f"{times} in {len(video)} frames, the first in frame {last}"
    return _Failure(video.name, _spread(max(start, last - LEAD), last), text, len(failures))


def _masked(
    evaluation: Evaluation, tracker: str, video: Video, overlaps: dict[str, NDArray]
) -> _Failure | None:
    scores = evaluation.scores(tracker).videos.get(video.name)
    if scores is None or not scores["jf"] < 1:
        return None
    text = f"J {scores['j']:.3f}, F {scores['f']:.3f}"
    return _Failure(video.name, _spread(0, len(video) - 1), text, 1 - scores["jf"])


#: How the worst part of a video is found, by the benchmark's evaluation.
_FINDERS: dict[str, Callable[..., _Failure | None]] = {
    "ope": _lost,
    "longterm": _lost,
    "got10k": _lost,
    "vot": _restarted,
    "davis": _masked,
}


def _spread(first: int, last: int) -> list[int]:
    return sorted(set(np.linspace(first, last, FRAMES).round().astype(int).tolist()))


def _strip(evaluation: Evaluation, tracker: str, failure: _Failure) -> Strip | None:
    """Draw a failure; None if one of its images cannot be read."""
    video = evaluation.dataset.videos[failure.video]
    drawn = _masks_drawn if evaluation.dataset.benchmark.layout == "masks" else _regions_drawn
    try:
        images = drawn(evaluation, tracker, video, failure.frames)
    except (OSError, ValueError):
        return None
    return Strip(f"{failure.video}: {failure.text}", _jpeg(np.hstack(images)))


def _regions_drawn(
    evaluation: Evaluation, tracker: str, video: Video, frames: Sequence[int]
) -> list[NDArray]:
    regions = evaluation.read(tracker, video.name)[0].regions
    images = []
    for i in frames:
        frame, truth = video[i]
        both = [np.asarray(truth, np.float64), regions[i] if i < len(regions) else np.empty(0)]
        (x, y), (width, height) = window(both, frame.shape)
        image, scale = _shrunk(frame[y : y + height, x : x + width])
        for region, color in zip(both, (GREEN, YELLOW), strict=True):
            draw_box(image, _moved(region, (x, y)) * scale, color, linewidth=1)
        images.append(draw_text(image, f"#{i}", *_NUMBER))
    height = min(len(image) for image in images)  # windows differ by a pixel of rounding
    return [image[:height] for image in images]


def window(
    regions: Sequence[NDArray], shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Part of a frame that shows boxes or polygons, so that small targets can be seen.

    Regions with NaN do not count.

    Returns:
        Corner x, y and size w, h in pixels, with the proportions of the frame.
    """
    frame = np.array(shape[1::-1], np.float64)
    boxes = [box_around(region) for region in regions if len(region) and np.isfinite(region).all()]
    if not boxes:
        return (0, 0), (shape[1], shape[0])
    boxes = np.array(boxes, np.float64)
    low = np.clip(boxes[:, :2].min(axis=0), 0, frame)
    high = np.clip((boxes[:, :2] + boxes[:, 2:]).max(axis=0), 0, frame)
    wanted = np.maximum(1.5 * (high - low), SURROUNDINGS * boxes[:, 2:].max(axis=0))
    share = float(np.clip(np.max(wanted / frame), LEAST_SHARE, 1))
    size = np.maximum(np.round(share * frame), 1).astype(int)
    corner = np.clip((low + high - size) / 2, 0, frame - size).astype(int)
    return tuple(corner.tolist()), tuple(size.tolist())


def _moved(region: NDArray, corner: tuple[int, int]) -> NDArray:
    """A box or polygon seen from a corner of the frame."""
    offset = [*corner, 0, 0] if len(region) == 4 else np.resize(corner, len(region))
    return region - np.asarray(offset, np.float64)


def _masks_drawn(
    evaluation: Evaluation, tracker: str, video: Video, frames: Sequence[int]
) -> list[NDArray]:
    from toolkit.io.images import read_labels

    results = evaluation.store(tracker).files(video.name).regions
    images = []
    for i in frames:
        image, _ = _shrunk(video[i][0])
        _draw_outline(image, video.read_mask(i), GREEN)
        mask = mask_path(results, video.img_names[i])
        if mask.is_file():
            _draw_outline(image, read_labels(mask), YELLOW)
        images.append(draw_text(image, f"#{i}", *_NUMBER))
    return images


def _draw_outline(image: NDArray, labels: NDArray, color: tuple[int, int, int]) -> None:
    """Outline all objects of a label image, resized to the frame, in one color."""
    import cv2

    size = (image.shape[1], image.shape[0])
    mask = cv2.resize((labels > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
    cv2.drawContours(image, outlines, -1, color, 1)


def _shrunk(frame: NDArray) -> tuple[NDArray, float]:
    import cv2

    scale = WIDTH / frame.shape[1]
    size = (WIDTH, max(1, round(frame.shape[0] * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), scale


def _jpeg(image: NDArray) -> str:
    import cv2

    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
