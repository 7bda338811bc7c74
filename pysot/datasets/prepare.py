"""Checking a set, cutting its crops in parallel, and a benchmark of held-out videos.

A run writes ``<output>/crop511/`` and keeps in ``<output>/.crops.jsonl`` which frames are begun or
done and what they held. A second run skips those that are done, if their annotations and the wanted
form are still the same and the files are there, and removes what earlier runs over the same set
wrote and this one did not. Frames in which something was wrong are tried again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pysot.datasets.annotation import categories_path
from pysot.datasets.crop import (
    Annotation,
    CropForm,
    crop_name,
    write_annotation,
    write_crops,
)
from toolkit.datasets import video as videos
from toolkit.datasets.video import Corners, Frame, to_xywh
from toolkit.io.boxes import ABSENT
from toolkit.io.files import naming, write_bytes
from toolkit.io.images import (
    RANGE_VARIABLE,
    depth_note,
    image_size,
    is_deep,
    mask_box,
    read_image,
    read_labels,
    undecided_turn,
)
from toolkit.io.issues import Issue, IssueLog
from toolkit.io.names import UniqueNames, printable, safe_name
from toolkit.io.pool import run_parallel

_FRAMES_PER_JOB = 32
_BEYOND = 2.0  # pixels by which boxes may reach beyond their image without a word
_FAR = 1e9  # pixels; a number beyond counts as infinite
_FINISHED = ".crops.jsonl"
_CROP = re.compile(r"(\d{6,})\.(.+)\.[xzm]\.(jpg|png)", re.IGNORECASE)  # see `crop_name`
_LIMIT = 1 << 63  # numbers of frames are 64-bit integers in training

Boxes = dict[int, list[float]]
Row = tuple[str, int, Boxes]  # video, frame, track -> box


@dataclass
class Annotations:
    """The annotation files of a set, as they grow."""

    boxes: Annotation = field(default_factory=dict)  # of ``train.json``
    # of ``train.categories.json``: video -> track -> category
    categories: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, frame: Frame, boxes: Mapping[int, Sequence[float]]) -> None:
        """Add the boxes of a frame; a video without any is there, empty."""
        video = self.boxes.setdefault(frame.video, {})
        for track, box in boxes.items():
            video.setdefault(f"{track:02d}", {})[f"{frame.number:06d}"] = list(box)
            if track in frame.categories:
                categories = self.categories.setdefault(frame.video, {})
                categories[f"{track:02d}"] = frame.categories[track]

    def part(self, belongs: Callable[[str], bool]) -> Annotations:
        """Return the annotations of the videos whose names ``belongs`` accepts."""
        boxes = {video: tracks for video, tracks in self.boxes.items() if belongs(video)}
        names = {video: tracks for video, tracks in self.categories.items() if belongs(video)}
        return Annotations(boxes, names)

    def write(self, path: Path) -> None:
        """Write the boxes, and beside them the categories where any are known."""
        if self.categories:
            content = json.dumps(self.categories, indent=4, sort_keys=True)
            write_bytes(categories_path(path), content.encode())
        else:
            categories_path(path).unlink(missing_ok=True)
        write_annotation(path, self.boxes)  # last, since it says that all is there


# ------------------------------------------------------------------ from readers to names of crops


def frames_of(sequences: Iterable[videos.Sequence], log: IssueLog) -> Iterator[Frame]:
    """Yield the frames of videos that training can use, each with a name of crops of its own.

    All that readers find passes here. A video's name becomes a folder: one that would leave the
    folder of crops, or be another video's, is changed, and the log has a warning. A second image
    for a frame of a video is left out.
    """
    names, note = UniqueNames(), ""
    for video in sequences:
        if not len(video):
            continue
        if not note and (note := depth_note(video.images[:1])):
            log.note("images of more than 8 bits", text=note)
        given = video.path
        here = "./" if given.startswith("./") else ""  # PySOT's names for YouTube-BB
        parts = (f"{part}_" if _CROP.fullmatch(part) else part for part in given.split("/"))
        name = here + names.add("/".join(parts).removeprefix(here))
        if name != given:
            video.group, video.name = "", name
            log.warn("renamed video", given, f"its crops are in {name}")
        yield from _distinct(video.frames(), log)


def _distinct(frames: Iterable[Frame], log: IssueLog) -> Iterator[Frame]:
    """Leave out frames of a video whose crops would have the names of others, or no usable one."""
    seen: dict[tuple[int, int | None], Path] = {}
    for frame in frames:
        keys = [
            (frame.number, track) for track in (frame.boxes if frame.labels is None else [None])
        ]
        where = f"{frame.image}, frame {frame.number} of {frame.video}"
        if not all(0 <= n < _LIMIT and -_LIMIT < (t or 0) < _LIMIT for n, t in keys):
            log.add("number of a frame or track out of range", where, "expected 0 to 2^63 - 1")
        elif taken := next((seen[key] for key in keys if key in seen), None):
            log.add("two images of one frame", where, f"the other one is {taken}")
        else:
            seen.update(dict.fromkeys(keys, frame.image))
            yield frame


def annotate(frames: Iterable[Frame]) -> Annotations:
    """Annotate what readers found, without looking at images or at what is wrong with boxes."""
    annotations = Annotations()
    for frame in frames:
        annotations.add(frame, frame.boxes)
    return annotations


def crop_set(
    frames: Iterable[Frame],
    output: Path,
    log: IssueLog,
    form: CropForm,
    workers: int = 1,
    source: str | None = None,
    stamp: Path | None = None,
) -> Annotations:
    """Cut the crops of a data set, and return the annotations of all that are there now.

    Args:
        frames: All frames of one video one after the other.
        output: Folder that holds, or will hold, ``crop<size>/``.
        log: Receives images and boxes that cannot be used.
        form: What to write.
        workers: Processes; 1 works in this one.
        source: What the frames are of. Crops that earlier runs wrote of the same source, and that
            are not of these boxes, are removed.
        stamp: A file that says that the set is complete; removed before anything changes.

    Raises:
        ValueError: If the folder of crops holds links or, where the source is known, what no run
            has noted, or if the name of a video leads out of it; `frames_of` yields none of those.
    """
    root = output / f"crop{form.size}"
    check_output(root, noted=source is not None)
    root.mkdir(parents=True, exist_ok=True)
    annotations, work = Annotations(), partial(_crop_frames, root, form)
    bar = tqdm(unit=" frames", desc=f"crops in {root}", dynamic_ncols=True)

    def add(job: list[Frame], rows: list[Row], found: list[Issue]) -> None:
        for frame, (_, _, boxes) in zip(job, rows, strict=True):
            annotations.add(frame, boxes)
        log.extend(found)
        bar.update(len(job))

    with _Record(output / _FINISHED, source, stamp) as record, bar:
        jobs = _unfinished(frames, root, form, record, add)
        for job, (rows, found) in _in_parallel(jobs, work, workers):
            add(job, rows, found)
            failed = any(issue.level == "error" for issue in found)
            record.write(_key(job, form), rows, not failed, found)
            record.failed |= {(v, n) for v, n, boxes in rows if failed and not boxes}
    record.settle(root, annotations.boxes, whole=not log.of("error"))
    return annotations


def check_output(root: Path, noted: bool = True) -> None:
    """Raise ValueError if a folder of crops holds links, or is not ``noted`` and holds anything."""
    link = root if root.is_symlink() else next(_links(root), None)
    if link:
        raise ValueError(f"{link} is a link; crops are written below {root} only: remove it")
    if noted and not (root.parent / _FINISHED).exists() and root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"{root}: holds files, and no {_FINISHED} beside it says that this tool wrote them; "
            "remove them or give another --output"
        )


def _links(folder: Path) -> Iterator[str]:
    with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield entry.path
            elif entry.is_dir():
                yield from _links(Path(entry.path))


def _unfinished(
    frames: Iterable[Frame],
    root: Path,
    form: CropForm,
    record: _Record,
    add: Callable[[list[Frame], list[Row], list[Issue]], None],
) -> Iterator[list[Frame]]:
    """Yield the jobs whose crops are not there; ``add`` receives the others."""
    for job in _in_jobs(frames):
        rows, found = record.done.get(key := _key(job, form), (None, []))
        if rows is not None and _whole(root, rows):
            record.keys[key] = None
            add(job, rows, found)
        else:
            record.write(key, [(frame.video, frame.number, {}) for frame in job], False, [])
            yield job


def _crop_frames(root: Path, form: CropForm, job: list[Frame]) -> tuple[list[Row], list[Issue]]:
    """Cut the crops of some frames in a worker; return what was cut of each, and the issues."""
    log = IssueLog()
    for name in {frame.video.removeprefix("./") for frame in job}:
        if safe_name(name) != name:
            raise ValueError(f"{printable(name)!r} cannot name a folder of crops")
    rows = [(f.video, f.number, _crop_frame(root, form, f, log)) for f in job]
    return rows, list(log)


def _crop_frame(root: Path, form: CropForm, frame: Frame, log: IssueLog) -> Boxes:
    if not frame.boxes and frame.labels is None:
        return {}
    size = _checked_size(frame, log)
    if size is None:
        return {}
    image = _read(frame, size, log)
    if image is None:
        return {}
    boxes, masks = _targets(frame, image.shape[:2], log)
    write_crops(root / frame.video, image, boxes, frame.number, masks, form)
    return boxes


def _read(frame: Frame, size: tuple[int, int], log: IssueLog) -> NDArray | None:
    try:
        return read_image(frame.image, size, frame.first)
    except (ValueError, OSError) as error:
        log.add("unreadable image", frame.image, _reason(error, frame.image))
        return None


def _targets(
    frame: Frame, shape: tuple[int, int], log: IssueLog
) -> tuple[Boxes, dict[int, NDArray]]:
    """Find boxes x1, y1, x2, y2 and masks (H, W) of the usable objects in an image (h, w)."""
    if frame.labels is not None:
        try:
            labels = read_labels(frame.labels)
        except (ValueError, OSError) as error:
            log.add("unreadable mask", frame.labels, _reason(error, frame.labels))
            return {}, {}
        if labels.shape != tuple(shape):
            found = f"{labels.shape[1]} x {labels.shape[0]}, image {shape[1]} x {shape[0]}"
            log.add("mask of another size than its image", frame.labels, found)
            return {}, {}
        if labels[:: shape[0] - 1 or 1, :: shape[1] - 1 or 1].all():
            log.warn("mask with an object in all corners", frame.labels, "is it inverted?")
        boxes = {track: list(box) for track, box in label_boxes(labels).items()}
        return boxes, {track: labels == track for track in boxes}
    boxes = {
        track: list(box)
        for track, box in frame.boxes.items()
        if _usable(box, shape, f"{frame.image}, track {track}", log)
    }
    return boxes, _masks(frame, boxes, shape, log)


def _reason(error: Exception, path: Path) -> str:
    """Return what an error says, without the file that it names at its beginning."""
    return re.sub(rf"^(cannot decode )?the (image|mask) {re.escape(str(path))}:? ", "", str(error))


def label_boxes(labels: NDArray) -> dict[int, tuple[int, ...]]:
    """Return the smallest box x1, y1, x2, y2 around the pixels of each label of (H, W)."""
    boxes = {}
    for label in np.flatnonzero(np.bincount(labels.ravel())).tolist():
        if label:
            x, y, w, h = mask_box(labels == label)
            boxes[label] = (x, y, x + w, y + h)
    return boxes


def _usable(box: Iterable[float], shape: tuple[int, int], where: str, log: IssueLog) -> bool:
    box = tuple(box)
    if not all(abs(value) < _FAR for value in box):  # NaN, too
        log.add("box that is not finite", where, list(box))
        return False
    if not (box[2] > box[0] and box[3] > box[1]):
        log.add("box without area", where, list(box))
        return False
    if box[0] >= shape[1] or box[1] >= shape[0] or box[2] <= 0 or box[3] <= 0:
        text = f"{list(box)}, image {shape[1]} x {shape[0]}"
        log.add("box outside the image", where, text)
        return False
    return True


def _masks(frame: Frame, boxes: Boxes, shape: tuple[int, int], log: IssueLog) -> dict[int, NDArray]:
    masks = {}
    for track, mask in frame.masks.items():
        if track in boxes:
            try:
                masks[track] = mask.draw(shape)
            except ValueError as error:
                log.add("unusable mask", f"{frame.image}, track {track}", error)
    return masks


# ------------------------------------------------------------------ looking before hours of work


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
    """Find out what would go wrong, without decoding images of 8 bits; see `crop_set`.

    Notes in the log name boxes that reach beyond their image, and tracks of which a video with
    several annotated images shows a single one.
    """
    summary = Summary(Counter(), Counter())
    with tqdm(unit=" frames", desc="check", dynamic_ncols=True) as bar:
        for job, (tracks, found) in _in_parallel(_in_jobs(frames), _check_frames, workers):
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
    deep = any(is_deep(str(path)) for path in (frame.image, frame.first or frame.image))
    if deep and _read(frame, size, log) is None:  # they may not fit the range of their video
        return []
    boxes, _ = _targets(frame, (size[1], size[0]), log)
    for track, (x1, y1, x2, y2) in boxes.items():
        beyond = max(-x1, -y1, x2 - size[0], y2 - size[1])
        if beyond > _BEYOND:
            where = f"{frame.image}, track {track}"
            log.note("box that reaches beyond its image", where, f"by {beyond:g} pixels")
    return list(boxes)


def _checked_size(frame: Frame, log: IssueLog) -> tuple[int, int] | None:
    """Size (w, h) of an image by its header; None where it cannot be used."""
    try:
        if not frame.image.is_file():
            log.add("missing image", frame.image)
            return None
        stated = _stated_size(frame)
        size = image_size(frame.image, stated)
        undecided = undecided_turn(frame.image, stated)
    except (ValueError, OSError) as error:
        log.add("unreadable image", frame.image, _reason(error, frame.image))
        return None
    if stated and stated == frame.size != size:
        text = f"annotated as {stated[0]} x {stated[1]}"
        log.add("image of another size", frame.image, f"{size[0]} x {size[1]}, {text}")
    if undecided:
        log.warn("image that is turned by its EXIF orientation", frame.image, undecided)
    return size


def _stated_size(frame: Frame) -> tuple[int, int] | None:
    """Size (w, h) that an image has by its annotation or its mask, None where neither says."""
    if frame.size and min(frame.size) > 0:
        return frame.size
    for mask in frame.masks.values():
        if size := getattr(mask, "size", None):
            return size
    with suppress(ValueError, OSError):  # a mask that cannot be read is reported in its place
        return image_size(frame.labels) if frame.labels else None
    return None


# ------------------------------------------------------------------------- work and its record


def _in_jobs(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Gather frames into jobs for one worker each."""
    frames = iter(frames)
    while job := list(itertools.islice(frames, _FRAMES_PER_JOB)):
        yield job


def _in_parallel(
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
    text += repr([f.size for f in job]) + os.environ.get(RANGE_VARIABLE, "")
    return hashlib.blake2b(f"{form}{text}".encode(), digest_size=12).hexdigest()


def _whole(root: Path, rows: list[Row]) -> bool:
    return all(
        (root / video / crop_name(number, track, "x")).exists()
        for video, number, boxes in rows
        for track in boxes
    )


class _Record:
    """The file of jobs that were begun or done; its lines are [key, rows, source, done, issues].

    A frame is what the last line that names it says, and jobs are only done if all their frames
    are. Lines that an interruption cut short do not count.
    """

    def __init__(self, path: Path, source: str | None, stamp: Path | None) -> None:
        self._path, self._source, self._stamp = path, source, stamp
        self._last: dict[tuple[str, int], tuple[str, str | None]] = {}  # key and source
        self.keys: dict[str, None] = {}  # of the jobs of this run, in order
        self.done: dict[str, tuple[list[Row], list[Issue]]] = {}
        self.failed: set[tuple[str, int]] = set()
        for _, key, rows, source, done, found in self._lines():
            self.done.pop(key, None)
            if done:
                self.done[key] = rows, found
            self._last |= {(video, number): (key, source) for video, number, _ in rows}
        for key, (rows, _) in list(self.done.items()):
            if any(self._last[video, number][0] != key for video, number, _ in rows):
                del self.done[key]

    def __enter__(self) -> _Record:
        whole = not self._path.is_file() or self._path.read_bytes()[-1:] in (b"", b"\n")
        self._file = open(self._path, "a", encoding="utf-8")
        self._file.write("" if whole else "\n")
        return self

    def __exit__(self, *error: object) -> None:
        with naming(self._path):
            self._file.close()

    def write(self, key: str, rows: list[Row], done: bool, found: list[Issue]) -> None:
        """Note a job that is begun, before anything of it is written, or that has ended."""
        if self._stamp:
            self._stamp.unlink(missing_ok=True)
        self.keys[key] = None
        issues = [astuple(issue) for issue in found if done]
        with naming(self._path):
            self._file.write(json.dumps([key, rows, self._source, done, issues]) + "\n")
            self._file.flush()

    def settle(self, root: Path, boxes: Annotation, whole: bool) -> None:
        """Remove what is no longer part of the set, and write the file in the order of the jobs.

        That are the crops that earlier runs over this source wrote, except of frames that failed
        and, if the set is not ``whole``, of videos that are not in ``boxes``.
        """
        lines: dict[str, str] = {}
        stale: dict[str, set[int]] = {}
        for line, key, rows, source, *_ in self._lines():
            lines[key] = line
            if source is None or source != self._source or key in self.keys:
                continue
            frames = {(video, number) for video, number, _ in rows}
            gone = {(v, n) for v, n in frames - self.failed if whole or v in boxes}
            gone = {frame for frame in gone if self._last[frame][1] == source}
            for video, number in gone:
                stale.setdefault(video, set()).add(number)
            if gone == frames:
                del lines[key]
        if stale and self._stamp:
            self._stamp.unlink(missing_ok=True)
        for video, numbers in stale.items():
            _remove_crops(root, video, numbers, boxes.get(video, {}))
        order = [*(key for key in lines if key not in self.keys), *self.keys]
        write_bytes(self._path, "".join(f"{lines[key]}\n" for key in order).encode())

    def _lines(self) -> Iterator[tuple[str, str, list[Row], str | None, bool, list[Issue]]]:
        """Yield whole lines, and what they hold; earlier versions noted what was done alone."""
        lines = self._path.read_bytes().decode(errors="replace") if self._path.is_file() else ""
        for line in lines.split("\n"):
            with suppress(ValueError, TypeError, AttributeError):
                key, rows, *rest = json.loads(line)
                source, done, found = rest or (None, True, [])
                rows = [(v, n, {int(t): box for t, box in boxes.items()}) for v, n, boxes in rows]
                if all(safe_name(v.removeprefix("./")) == v.removeprefix("./") for v, _, _ in rows):
                    yield line, key, rows, source, done, [Issue(*issue) for issue in found]


def _remove_crops(root: Path, video: str, numbers: set[int], tracks: Mapping[str, Mapping]) -> None:
    """Remove the crops of some frames of a video, except of the boxes of its tracks."""
    folder = root / video
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            found = _CROP.fullmatch(name)
            if found and int(found[1]) in numbers and found[1] not in tracks.get(found[2], ()):
                (folder / name).unlink()
    while folder != root and folder.is_dir() and not os.listdir(folder):
        folder.rmdir()
        folder = folder.parent


# ------------------------------------------------------------------------------- held-out videos


def write_benchmark(path: Path, frames: Iterable[Frame], log: IssueLog) -> int:
    """Write the JSON of a benchmark, in the format of OTB's, for ``tools/test.py``.

    A video of several objects becomes one for each, ``<video>-<track>``. It begins where the object
    first appears; in frames without it the ground truth is NaN. Paths of images are absolute.

    The log receives masks that cannot be read. Returns how many videos the benchmark has.
    """
    records: dict[str, Any] = {}
    names = UniqueNames()
    for video, group in itertools.groupby(frames, lambda frame: frame.video):
        boxes = [(frame, _boxes(frame, log)) for frame in group]
        tracks = sorted({track for _, found in boxes for track in found})
        for track in tracks:
            own = f"-{track}" if len(tracks) > 1 else ""
            name = names.add(video.replace("/", "-") + own)
            records[name] = _record(name, boxes, track)
    write_bytes(path, json.dumps(records).encode())
    return len(records)


def _boxes(frame: Frame, log: IssueLog) -> Mapping[int, Sequence[float]]:
    if frame.labels is None:
        return frame.boxes
    try:
        return label_boxes(read_labels(frame.labels))
    except (ValueError, OSError) as error:
        log.add("unreadable mask", frame.labels, _reason(error, frame.labels))
        return {}


def _record(name: str, boxes: list[tuple[Frame, dict]], track: int) -> dict[str, Any]:
    first = next(place for place, (_, found) in enumerate(boxes) if track in found)
    truth = [
        to_xywh(Corners(*found[track])) if track in found else ABSENT for _, found in boxes[first:]
    ]
    return {
        "video_dir": name,
        "init_rect": truth[0],
        "img_names": [str(frame.image.resolve()) for frame, _ in boxes[first:]],
        "gt_rect": truth,
        "attr": [],
    }
