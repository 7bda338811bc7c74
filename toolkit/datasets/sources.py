"""Reading one video from the folders in which its owners distribute it.

Where the files of a video lie is a `Source`; what is in them becomes a record, the fields of a
video in the JSON. Everything wrong goes to a `Report`, and reading goes on.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from toolkit.datasets.lazy import MaskBoxes
from toolkit.datasets.regions import NAN, Region
from toolkit.io.boxes import check_regions, parse_regions

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_SEPARATORS = re.compile(r"[,;\s]+")
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a video.

    Attributes:
        level: ``"error"`` (the video cannot be used), ``"warning"`` or ``"note"``.
        video: Its name; empty for the set as a whole.
        text: What is wrong, and what was done about it.
    """

    level: str
    video: str
    text: str


@dataclass
class Report:
    """All that is wrong with a set."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, level: str, video: str, text: str) -> None:
        """Note a problem; see `Problem`."""
        self.problems.append(Problem(level, video, text))

    def of(self, *levels: str) -> list[Problem]:
        """Problems of these levels."""
        return [problem for problem in self.problems if problem.level in levels]


@dataclass(frozen=True)
class Flags:
    """Files of one small number per frame.

    Attributes:
        paths: The files; a frame is flagged if any of them flags it.
        invert: The files say the opposite of what the field means.
        missing: What a file that is not there amounts to: ``"error"``, ``"warning"`` (the list is
            then empty), or ``"nothing"``.
    """

    paths: tuple[Path, ...]
    invert: bool = False
    missing: str = "error"


@dataclass(frozen=True)
class Source:
    """Where the files of one video lie, and how they are to be read.

    Attributes:
        name: Name of the video.
        images: Folder of its images.
        truth: File of its boxes; None if they come from the masks.
        frames: Numbers of its first and last image, by file name; None is open.
        pattern: Name of an image by number, for sets that are here without images.
        start: Number of the first image.
        parse: Turns the text of ``truth`` into boxes.
        origin: Coordinate of the first pixel in ``truth``, 0 or 1.
        step: At most one in so many boxes belongs to an image (see `_match`).
        slack: Boxes that may be missing or too many without a word.
        surplus: More images than boxes are known of and no fault.
        boxes: The boxes by number of their image, in place of those in ``truth``.
        first_only: A single box is that of the first frame, and no other frame has one.
        flags: Files of numbers per frame, by the field of the record.
        attr_file: File of one 0 or 1 per attribute.
        attr_names: The names of these attributes.
        masks: Folder of annotation masks, named like the images.
    """

    name: str
    images: Path
    truth: Path | None
    frames: tuple[int | None, int | None] = (None, None)
    pattern: str = "%08d.jpg"
    start: int = 1
    parse: Callable[[str], list[Region]] | None = None
    origin: int = 0
    step: int = 1
    slack: int = 0
    surplus: bool = False
    boxes: Mapping[int, Region] | None = None
    first_only: bool = False
    flags: Mapping[str, Flags] = field(default_factory=dict)
    attr_file: Path | None = None
    attr_names: tuple[str, ...] = ()
    masks: Path | None = None


def read_source(source: Source, root: Path, report: Report) -> dict[str, Any] | None:
    """Read the record of a video, with names relative to ``root``; None if it cannot be used."""

    def tell(level: str, text: str) -> None:
        report.add(level, source.name, text)

    try:
        images = _select(list_images(source.images), source, tell)
        regions = _truth(source, images)
        images, regions = _match(images, regions, source, tell)
    except (ValueError, OSError) as error:
        tell("error", _one_line(error))
        return None
    folder = os.path.relpath(source.images, root).replace(os.sep, "/")
    prefix = "" if folder == "." else f"{folder}/"
    record = {
        "video_dir": source.name,
        "init_rect": regions[0],
        "img_names": [prefix + image for image in images],
        "gt_rect": regions,
        "attr": _attributes(source, tell),
    }
    if source.masks:
        record["mask_names"] = _mask_names(source.masks, images, root)
    return record | _read_flags(source, len(regions), tell)


# -------------------------------------------------------------------------------------- images


def list_images(folder: Path) -> list[str]:
    """Names of the images in a folder in the order of their numbers; none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if os.path.splitext(e.name)[1].lower() in _SUFFIXES]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((name for name in names if name[0] != "."), key=lambda n: (image_number(n), n))


def image_number(name: str) -> int:
    """Number at the end of an image's name, -1 if there is none."""
    match = _NUMBER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1


def _select(names: list[str], source: Source, tell: Callable[[str, str], None]) -> list[str]:
    """Names within the range of the video; says which are missing or there twice."""
    if not names:
        return []
    first, last = source.frames
    numbers = [image_number(name) for name in names]
    first = numbers[0] if first is None else first
    last = numbers[-1] if last is None else last
    chosen = [n for n, k in zip(names, numbers, strict=True) if first <= k <= last]
    present = [k for k in numbers if first <= k <= last]
    if len(set(present)) < len(present) and present[0] >= 0:
        twice = sorted({k for k, later in pairwise(present) if k == later})
        raise ValueError(f"{source.images}: there are two images of number {spans(twice)}")
    missing = sorted(set(range(first, last + 1)) - set(present)) if first >= 0 else []
    if missing and source.frames != (None, None):
        raise ValueError(f"{source.images}: images {spans(missing)} are missing")
    if missing:
        tell("warning", f"{source.images}: the numbers {spans(missing)} are left out")
    return chosen


def spans(numbers: Sequence[int], limit: int = 5) -> str:
    """Sorted numbers as text with runs joined: ``1-4, 7, 9-12 and 30 more``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in runs[:limit])
    more = sum(b - a + 1 for a, b in runs[limit:])
    return text + (f" and {more} more" if more else "")


def _match(
    images: list[str], regions: Sequence[Region], source: Source, tell: Callable[[str, str], None]
) -> tuple[list[str], Sequence[Region]]:
    """Bring images and boxes to one length."""
    if not images:
        tell("warning", f"no images in {source.images}: enough to score, not to track")
        first = source.start if source.frames[0] is None else source.frames[0]
        regions = regions[:: source.step]
        return [source.pattern % (first + i) for i in range(len(regions))], regions
    if len(regions) > 2 * len(images):
        regions = regions[:: source.step]
    if source.first_only and len(regions) == 1 < len(images):
        return images, [*regions, *([NAN] * 4 for _ in images[1:])]
    count = f"{len(images)} images but {len(regions)} boxes"
    excess = len(regions) - len(images)
    if excess > source.slack:
        raise ValueError(f"{count} in {source.truth}: images are missing in {source.images}")
    if excess:
        known = source.surplus or abs(excess) <= source.slack
        what = f"the last {abs(excess)} {'boxes' if excess > 0 else 'images'} are left out"
        tell("note" if known else "warning", f"{count}: {what}")
    length = min(len(images), len(regions))
    return images[:length], regions[:length]


# --------------------------------------------------------------------------------- ground truth


def _truth(source: Source, images: list[str]) -> Sequence[Region]:
    if source.truth is None:
        if not images:
            raise ValueError(f"no images in {source.images}")
        masks = set(list_images(source.masks)) if source.masks else set()
        names = [f"{os.path.splitext(image)[0]}.png" for image in images]
        if not masks & set(names):
            raise ValueError(f"no masks in {source.masks}")
        return MaskBoxes([os.path.join(source.masks, n) if n in masks else None for n in names])
    if source.boxes is not None:
        return _numbered(source, images)
    text = read_text(source.truth)
    try:
        regions = (source.parse or parse_regions)(text)
    except ValueError as error:
        raise ValueError(f"{source.truth}: {error}") from None
    if source.origin:
        return [[region[0] - 1, region[1] - 1, *region[2:]] for region in regions]
    return regions


def _numbered(source: Source, images: list[str]) -> list[Region]:
    """Boxes in the order of the images; NaN for an image without one."""
    if not images:
        raise ValueError(f"no images in {source.images}")
    numbers = [image_number(image) for image in images]
    lacking = sorted(set(source.boxes) - set(numbers))
    if lacking:
        raise ValueError(f"{source.truth}: no images {spans(lacking)} in {source.images}")
    return [source.boxes.get(number, [NAN] * 4) for number in numbers]


def read_text(path: Path) -> str:
    """Text of a file without byte-order mark and surrounding blanks.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file") from None


def parse_tracks(text: str) -> list[Region]:
    """Lines of NFS: a track's id, left, top, right, bottom, and fields that are not needed.

    Raises:
        ValueError: Naming the first line that is something else, and how many there are.
    """
    lines = [",".join(_SEPARATORS.split(line.strip())[1:5]) for line in text.splitlines()]
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in check_regions(lines)]


# --------------------------------------------------------------------------- labels per frame


def _read_flags(
    source: Source, length: int, tell: Callable[[str, str], None]
) -> dict[str, list[int]]:
    found = {}
    for name, flags in source.flags.items():
        try:
            found[name] = _any_flag(flags, length)
        except FileNotFoundError as error:
            if flags.missing != "nothing":
                tell(flags.missing, f"{error}: no {name}")
        except ValueError as error:
            tell("error" if flags.missing == "error" else "warning", f"{error}: no {name}")
        if flags.missing == "warning":
            found.setdefault(name, [])
    return found


def _any_flag(flags: Flags, length: int) -> list[int]:
    columns = [_numbers(path, length) for path in flags.paths]
    if flags.invert:
        return [int(not any(values)) for values in zip(*columns, strict=True)]
    return [max(values) for values in zip(*columns, strict=True)]


def _numbers(path: Path, length: int) -> list[int]:
    """The first numbers of a file, which may have more."""
    tokens = _tokens(path)
    try:
        values = [int(float(token)) for token in tokens]
    except ValueError:
        raise ValueError(f"{path}: expected numbers only") from None
    if len(values) < length:
        raise ValueError(f"{path} has {len(values)} numbers for {length} frames")
    return values[:length]


def _tokens(path: Path) -> list[str]:
    return [token for token in _SEPARATORS.split(read_text(path)) if token]


def _attributes(source: Source, tell: Callable[[str, str], None]) -> list[str]:
    if source.attr_file is None:
        return []
    try:
        marks = _tokens(source.attr_file)
    except FileNotFoundError as error:
        tell("note", f"{error}: no attributes")
        return []
    if len(marks) != len(source.attr_names) or not set(marks) <= {"0", "1"}:
        expected = f"expected {len(source.attr_names)} numbers 0 or 1"
        tell("warning", f"{source.attr_file}: {expected}: no attributes")
        return []
    return [name for name, mark in zip(source.attr_names, marks, strict=True) if mark == "1"]


def _mask_names(folder: Path, images: Iterable[str], root: Path) -> list[str | None]:
    there = set(list_images(folder))
    base = os.path.relpath(folder, root).replace(os.sep, "/")
    names = [f"{os.path.splitext(image)[0]}.png" for image in images]
    return [f"{base}/{name}" if name in there else None for name in names]


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
