"""Cutting the training crops of a data set: in parallel, and again only what is not there yet.

A run writes ``<output>/crop511/`` and keeps in ``<output>/.crops.jsonl`` which frames are done and
what they held. A second run skips those, if their annotations and the wanted form are still the
same and the files are there. Frames in which something was wrong are tried again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pysot.datasets.crop import Annotation, CropForm, check_box, crop_name, write_crops
from pysot.datasets.crop_store import UnreadableImage, decode_crop
from pysot.datasets.prepare.frames import Frame, Problem, Problems
from pysot.datasets.prepare.masks import label_boxes
from toolkit.io.labels import read_labels
from toolkit.io.pool import run_parallel

_FRAMES_PER_JOB = 32
_LOG = ".crops.jsonl"

Boxes = dict[int, list[float]]
Row = tuple[str, int, Boxes]  # video, frame, track -> box


@dataclass
class Notes:
    """The annotation files of a set, as they grow.

    Attributes:
        boxes: Video -> track -> frame -> box; what ``train.json`` holds.
        kinds: Video -> track -> kind of object; what ``train.categories.json`` holds.
    """

    boxes: Annotation = field(default_factory=dict)
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, frame: Frame, boxes: Boxes) -> None:
        """Take down the boxes of a frame; a video without any is there, empty."""
        video = self.boxes.setdefault(frame.video, {})
        for track, box in boxes.items():
            video.setdefault(f"{track:02d}", {})[f"{frame.number:06d}"] = list(box)
            if track in frame.kinds:
                kinds = self.kinds.setdefault(frame.video, {})
                kinds[f"{track:02d}"] = frame.kinds[track]


def annotate(frames: Iterable[Frame]) -> Notes:
    """Write down what readers found, without looking at images or at what is wrong with boxes."""
    notes = Notes()
    for frame in frames:
        notes.add(frame, {track: list(box) for track, box in frame.boxes.items()})
    return notes


def crop_set(
    frames: Iterable[Frame],
    output: Path,
    problems: Problems,
    form: CropForm,
    workers: int = 1,
) -> Notes:
    """Cut the crops of a data set.

    Args:
        frames: Of a reader.
        output: Folder that holds, or will hold, ``crop<size>/``.
        problems: Is told about images and boxes that cannot be used.
        form: What to write.
        workers: Processes; 1 works in this one.

    Returns:
        Annotations of all crops that are there now.

    Raises:
        OSError: If a file cannot be written.
        WorkerDied: If a worker died.
    """
    root = output / f"crop{form.size}"
    root.mkdir(parents=True, exist_ok=True)
    notes, done = Notes(), _read_log(output / _LOG)
    bar = tqdm(unit=" frames", desc=f"crops in {root}", dynamic_ncols=True)

    def unfinished() -> Iterator[list[Frame]]:
        for job in in_jobs(frames):
            rows = done.get(_key(job, form))
            if rows is None or not _whole(root, rows):
                yield job
                continue
            _take_down(notes, job, rows)
            bar.update(len(job))

    with _append(output / _LOG) as log, bar:
        work = partial(crop_frames, root, form)
        for job, (rows, found) in in_parallel(unfinished(), work, workers):
            _take_down(notes, job, rows)
            problems.items += found
            if not found:
                log.write(json.dumps([_key(job, form), rows]) + "\n")
                log.flush()
            bar.update(len(job))
    return notes


def crop_frames(root: Path, form: CropForm, job: list[Frame]) -> tuple[list[Row], list[Problem]]:
    """Cut the crops of some frames; what a worker does.

    Args:
        root: Folder of the crops.
        form: What to write.
        job: The frames.

    Returns:
        Of each frame the boxes whose crops are written now, and what was wrong.
    """
    problems = Problems()
    rows = [(f.video, f.number, _crop_frame(root, form, f, problems)) for f in job]
    return rows, problems.items


def _crop_frame(root: Path, form: CropForm, frame: Frame, problems: Problems) -> Boxes:
    if not frame.boxes and frame.labels is None:
        return {}
    try:
        image = decode_crop(frame.image.read_bytes(), "x", str(frame.image))
        boxes, masks = targets(frame, image.shape[:2], problems)
    except UnreadableImage as error:
        problems.add("unreadable image", frame.image, str(error).removeprefix(f"{frame.image}: "))
        return {}
    except OSError as error:
        problems.add("missing image", frame.image, error.strerror)
        return {}
    write_crops(root / frame.video, image, boxes, frame.number, masks, form)
    return boxes


def targets(
    frame: Frame, shape: tuple[int, int], problems: Problems
) -> tuple[Boxes, dict[int, NDArray]]:
    """Find the usable objects of a frame.

    Args:
        frame: The frame.
        shape: (h, w) of its image.
        problems: Is told what is wrong with the others.

    Returns:
        Boxes x1, y1, x2, y2 and masks (H, W) by track.
    """
    if frame.labels is not None:
        try:
            labels = read_labels(frame.labels)
        except (ValueError, OSError) as error:
            problems.add("unreadable mask", frame.labels, error)
            return {}, {}
        if labels.shape != tuple(shape):
            found = f"{labels.shape[1]} x {labels.shape[0]}, image {shape[1]} x {shape[0]}"
            problems.add("mask of another size than its image", frame.labels, found)
            return {}, {}
        boxes = {track: list(box) for track, box in label_boxes(labels).items()}
        return boxes, {track: labels == track for track in boxes}
    boxes = {
        track: list(box)
        for track, box in frame.boxes.items()
        if _usable(box, shape, f"{frame.image}, track {track}", problems)
    }
    return boxes, _masks(frame, boxes, shape, problems)


def _usable(box: Iterable[float], shape: tuple[int, int], where: str, problems: Problems) -> bool:
    box = tuple(box)
    try:
        check_box(box)
    except ValueError:
        kind = "box without area" if np.isfinite(box).all() else "box that is not finite"
        problems.add(kind, where, list(box))
        return False
    if box[0] >= shape[1] or box[1] >= shape[0] or box[2] <= 0 or box[3] <= 0:
        size = f"{shape[1]} x {shape[0]}"
        problems.add("box outside the image", where, f"{list(box)}, image {size}")
        return False
    return True


def _masks(
    frame: Frame, boxes: Boxes, shape: tuple[int, int], problems: Problems
) -> dict[int, NDArray]:
    masks = {}
    for track, mask in frame.masks.items():
        if track in boxes:
            try:
                masks[track] = mask.draw(shape)
            except ValueError as error:
                problems.add("unusable mask", f"{frame.image}, track {track}", error)
    return masks


# ---------------------------------------------------------------------------------- work and log


def in_jobs(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Gather frames into jobs for one worker each."""
    frames = iter(frames)
    while job := list(itertools.islice(frames, _FRAMES_PER_JOB)):
        yield job


def in_parallel(
    jobs: Iterable[list[Frame]], work: Callable[[list[Frame]], object], workers: int
) -> Iterator[tuple[list[Frame], object]]:
    """Do jobs in several processes and yield each one with its result, in order."""
    given, kept = itertools.tee(jobs)
    results = run_parallel(work, given, workers, partial(cv2.setNumThreads, 0))
    for result, job in zip(results, kept, strict=True):
        yield job, result


def _key(job: list[Frame], form: CropForm) -> str:
    """Fingerprint of some frames, with their annotations, and of the form of their crops."""
    text = repr([(f.video, f.number, str(f.image), f.boxes, f.masks, f.labels) for f in job])
    return hashlib.blake2b(f"{form}{text}".encode(), digest_size=12).hexdigest()


def _take_down(notes: Notes, job: list[Frame], rows: list[Row]) -> None:
    for frame, (_, _, boxes) in zip(job, rows, strict=True):
        notes.add(frame, boxes)


def _whole(root: Path, rows: list[Row]) -> bool:
    return all(
        (root / video / crop_name(number, track, "x")).exists()
        for video, number, boxes in rows
        for track in boxes
    )


def _append(path: Path) -> IO[str]:
    """Open the log at its end, on a line of its own."""
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    log = open(path, "a", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    log.write("" if whole else "\n")
    return log


def _read_log(path: Path) -> dict[str, list[Row]]:
    """Finished jobs; a line that an interruption cut short does not count."""
    done = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                key, rows = json.loads(line)
            except ValueError:
                continue
            done[key] = [(v, n, {int(t): box for t, box in boxes.items()}) for v, n, boxes in rows]
    return done
