"""Looking through a data set before hours of work: every annotation, every image header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tqdm import tqdm

from pysot.datasets.prepare.cropper import in_jobs, in_parallel, targets
from pysot.datasets.prepare.frames import Frame, Problem, Problems
from toolkit.io.images import image_size, is_cut_jpeg_file

_BEYOND = 2.0  # pixels by which boxes may reach beyond their image without a word


@dataclass
class Census:
    """What a data set holds.

    Attributes:
        frames: Video -> annotated images.
        tracks: (video, track) -> usable boxes.
    """

    frames: Counter = field(default_factory=Counter)
    tracks: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.frames.total()} annotated images, {self.tracks.total()} usable boxes of "
            f"{len(self.tracks)} objects in {len(self.frames)} videos"
        )


def check_set(frames: Iterable[Frame], problems: Problems, workers: int = 1) -> Census:
    """Find out what would go wrong, without decoding an image.

    Args:
        frames: Of a reader.
        problems: Is told; its notes name boxes that reach beyond their image, and tracks of which
            a video with several annotated images shows a single one.
        workers: Processes; 1 works in this one.

    Returns:
        What is there.
    """
    census = Census()
    with tqdm(unit=" frames", desc="check", dynamic_ncols=True) as bar:
        for job, (tracks, found, notes) in in_parallel(in_jobs(frames), check_frames, workers):
            census.frames.update(frame.video for frame in job)
            census.tracks.update(tracks)
            problems.items += found
            problems.notes += notes
            bar.update(len(job))
    for (video, track), count in census.tracks.items():
        if count == 1 and census.frames[video] > 1:
            problems.note("track of a single frame", f"{video}, track {track}")
    return census


def check_frames(job: list[Frame]) -> tuple[list[tuple[str, int]], list[Problem], list[Problem]]:
    """Check some frames; what a worker does.

    Returns:
        (video, track) of each usable box, problems and notes.
    """
    problems, tracks = Problems(), []
    for frame in job:
        tracks += [(frame.video, track) for track in _usable_tracks(frame, problems)]
    return tracks, problems.items, problems.notes


def _usable_tracks(frame: Frame, problems: Problems) -> list[int]:
    size = _checked_size(frame, problems)
    if size is None:
        return []
    boxes, _ = targets(frame, (size[1], size[0]), problems)
    for track, (x1, y1, x2, y2) in boxes.items():
        beyond = max(-x1, -y1, x2 - size[0], y2 - size[1])
        if beyond > _BEYOND:
            where = f"{frame.image}, track {track}"
            problems.note("box that reaches beyond its image", where, f"by {beyond:g} pixels")
    return list(boxes)


def _checked_size(frame: Frame, problems: Problems) -> tuple[int, int] | None:
    """Size (w, h) of an image by its header; None where it cannot be used."""
    if not frame.image.is_file():
        problems.add("missing image", frame.image)
        return None
    try:
        size = image_size(frame.image)
        cut = is_cut_jpeg_file(frame.image)
    except (ValueError, OSError) as error:
        problems.add("unreadable image", frame.image, error)
        return None
    if cut:
        problems.add("unreadable image", frame.image, "JPEG file is cut short")
        return None
    if frame.size and min(frame.size) > 0 and size != frame.size:
        stated = f"annotated as {frame.size[0]} x {frame.size[1]}"
        problems.add("image of another size", frame.image, f"{size[0]} x {size[1]}, {stated}")
    return size
