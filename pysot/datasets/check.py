"""Looking through a data set before hours of work: every annotation, every image header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tqdm import tqdm

from pysot.datasets.prepare import in_jobs, in_parallel, targets
from toolkit.datasets.sequence import Frame
from toolkit.io.images import image_size, is_cut_jpeg_file
from toolkit.io.issues import Issue, IssueLog

_BEYOND = 2.0  # pixels by which boxes may reach beyond their image without a word


class Summary(NamedTuple):
    """What a data set holds: annotated images by video, usable boxes by (video, track)."""

    frames: Counter[str]
    tracks: Counter[tuple[str, int]]

    def __str__(self) -> str:
        return (
            f"{self.frames.total()} annotated images, {self.tracks.total()} usable boxes of "
            f"{len(self.tracks)} objects in {len(self.frames)} videos"
        )


def check_set(frames: Iterable[Frame], log: IssueLog, workers: int = 1) -> Summary:
    """Find out what would go wrong, without decoding an image.

    Args:
        frames: All frames of one video one after the other.
        log: Receives what is wrong; its notes name boxes that reach beyond their image, and tracks
            of which a video with several annotated images shows a single one.
        workers: Processes; 1 works in this one.

    Returns:
        What is there.
    """
    summary = Summary(Counter(), Counter())
    with tqdm(unit=" frames", desc="check", dynamic_ncols=True) as bar:
        for job, (tracks, found) in in_parallel(in_jobs(frames), _check_frames, workers):
            summary.frames.update(frame.video for frame in job)
            summary.tracks.update(tracks)
            log.extend(found)
            bar.update(len(job))
    for (video, track), count in summary.tracks.items():
        if count == 1 and summary.frames[video] > 1:
            log.note("track of a single frame", f"{video}, track {track}")
    return summary


def _check_frames(job: list[Frame]) -> tuple[list[tuple[str, int]], list[Issue]]:
    """Check some frames in a worker; return (video, track) of each usable box, and the issues."""
    log = IssueLog()
    tracks = [(frame.video, track) for frame in job for track in _usable_tracks(frame, log)]
    return tracks, list(log)


def _usable_tracks(frame: Frame, log: IssueLog) -> list[int]:
    size = _checked_size(frame, log)
    if size is None:
        return []
    boxes, _ = targets(frame, (size[1], size[0]), log)
    for track, (x1, y1, x2, y2) in boxes.items():
        beyond = max(-x1, -y1, x2 - size[0], y2 - size[1])
        if beyond > _BEYOND:
            where = f"{frame.image}, track {track}"
            log.note("box that reaches beyond its image", where, f"by {beyond:g} pixels")
    return list(boxes)


def _checked_size(frame: Frame, log: IssueLog) -> tuple[int, int] | None:
    """Size (w, h) of an image by its header; None where it cannot be used."""
    if not frame.image.is_file():
        log.add("missing image", frame.image)
        return None
    try:
        size = image_size(frame.image)
        cut = is_cut_jpeg_file(frame.image)
    except (ValueError, OSError) as error:
        log.add("unreadable image", frame.image, error)
        return None
    if cut:
        log.add("unreadable image", frame.image, "JPEG file is cut short")
        return None
    if frame.size and min(frame.size) > 0 and size != frame.size:
        stated = f"annotated as {frame.size[0]} x {frame.size[1]}"
        log.add("image of another size", frame.image, f"{size[0]} x {size[1]}, {stated}")
    return size
