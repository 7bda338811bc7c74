"""Reading one video from the files of its owner: which images, which boxes, how they pair.

The same reader serves testing and training preparation. They differ in one thing: testing leaves a
video out if anything in it is wrong, training uses what is right. So every fault is reported with
its two levels side by side, and what was read is yielded nevertheless.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from toolkit.datasets.video import Sequence, image_number
from toolkit.io.boxes import ABSENT, Region, parse_region, parse_regions, split_fields
from toolkit.io.images import list_images
from toolkit.io.issues import IssueLog

_SEPARATORS = re.compile(r"[,;\s]+")


@dataclass(frozen=True)
class Reading:
    """Folder or file of a set, the log, and whether it is to be trained on, else tested on."""

    root: Path
    log: IssueLog
    training: bool = False

    def report(
        self,
        kind: str,
        where: object,
        text: object,
        testing: str | None = "error",
        training: str | None = "error",
    ) -> None:
        """Add an issue at the level that it has in testing or in training; None drops it."""
        level = (self.training and training) or (not self.training and testing)
        if level:
            self.log.add(kind, where, text, level)


@dataclass(frozen=True)
class Format:
    """A way in which a set that is tested on may lie below its root.

    It is recognized by a path that matches one of the patterns ``marks``.
    """

    marks: tuple[str, ...]
    read: Callable[[Reading], Iterator[Sequence]]

    def fits(self, root: Path) -> bool:
        """Return whether the root holds a set of this format."""
        return any(next(root.glob(mark), None) for mark in self.marks)


@dataclass(frozen=True)
class TrainingSet:
    """A set that can be prepared for training."""

    title: str  # its name and what is made of it
    root: str  # what its root holds
    read: Callable[..., Iterator[Sequence]]  # receives the options by name
    # flag -> arguments of ``ArgumentParser.add_argument``
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    annotation: str = "train.json"  # name of the file of annotations, with {option} in it


@dataclass(frozen=True)
class BoxFile:
    """Where the files of a video of one object lie, and how they are to be read."""

    name: str
    images: Path
    truth: Path  # file of its boxes
    group: str = ""  # folder below which training puts the video
    category: str = ""
    frames: tuple[int | None, int | None] = (None, None)  # first and last number; None is open
    pattern: str = "%08d.jpg"  # name of an image by number, for sets that are here without images
    start: int = 1  # number of the first image of those
    parse: Callable[[str], list[Region]] = parse_regions
    origin: int = 0  # coordinate of the first pixel in ``truth``, 0 or 1
    step: int = 1  # at most one in so many boxes belongs to an image (see `_pair`)
    slack: int = 0  # boxes that may be missing or too many without a warning
    surplus: bool = False  # more images than boxes are known and no fault
    boxes: Mapping[int, Region] | None = None  # by number of their image, in place of ``truth``
    first_only: bool = False  # in testing a single box is that of the first frame
    # Files of a small number per frame, by the field of the record that they fill. A missing one is
    # a warning if it is ``expected``, and its list is then empty.
    flags: Mapping[str, Path] = field(default_factory=dict)
    expected: bool = False
    # Files of which any may flag a frame without the object, which training leaves out. With
    # ``absent``, testing needs them for the field of that name (1: not flagged).
    hidden: tuple[Path, ...] = ()
    absent: bool = False
    attr_file: Path | None = None  # a 0 or 1 for each of ``attr_names``
    attr_names: Items[str] = ()


def read_boxes(source: BoxFile, reading: Reading) -> Sequence:
    """Read a video of one object; without frames if it cannot be used at all."""
    try:
        images = _select(source.images, source.frames, reading)
        regions = _regions(source, images, reading)
        images, regions = _pair(images, regions, source, reading)
    except (ValueError, OSError) as error:
        reading.report("unreadable annotation", source.truth, _one_line(error))
        return Sequence(source.name)
    if reading.training:  # as PySOT's annotation files have them
        regions = [[float(value) for value in region] for region in regions]
    sequence = Sequence(
        source.name, images, [{0: region} for region in regions], group=source.group
    )
    if source.category:
        sequence.categories = {0: source.category}
    if reading.training:
        sequence.visible = _visible(source, regions, reading)
    else:
        sequence.flags = _flags(source, len(regions), reading)
        sequence.attributes = _attributes(source, reading)
    return sequence


def read_labels(
    name: str,
    images: Path,
    masks: Path,
    reading: Reading,
    categories: Mapping[int, str] | None = None,
) -> Sequence:
    """Read a video whose annotations are label images, PNG files named as its frames.

    Frames may lack one; ``categories`` names the category of a label.
    """
    try:
        frames = _select(images, (None, None), reading)
    except ValueError as error:
        reading.report("unreadable annotation", images, error)
        return Sequence(name)
    there = {path.stem: path for path in list_images(masks) if path.suffix.lower() == ".png"}
    labels = [there.get(path.stem) for path in frames]
    if reading.training:
        known = {path.stem for path in frames}
        for stem in (stem for stem in there if stem not in known):
            text = f"none of that name in {images}"
            reading.report("mask without an image", there[stem], text)
        if not there:
            reading.report("video without a mask", masks, "")
    elif not any(labels):
        what, folder = ("masks", masks) if frames else ("images", images)
        reading.report("video without a mask", folder, f"no {what} in {folder}")
    if not any(labels):
        return Sequence(name)
    numbers = [int(p.stem) if p.stem.isdecimal() else i for i, p in enumerate(frames)]
    return Sequence(name, frames, numbers=numbers, labels=labels, categories=categories or {})


# ------------------------------------------------------------------------------ finding folders


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return a list of names that belongs to a set; see the folder ``data``."""
    return json.loads((files("toolkit.datasets") / "data" / f"{name}.json").read_bytes())


def image_folder(folder: Path, below: Iterable[str] = ("img", "color", ".")) -> Path:
    """Return the first of some folders that has images, or the first of all."""
    paths = [folder / name for name in below]
    return next((path for path in paths if list_images(path)), paths[0])


def first_file(folder: Path, names: Iterable[str]) -> str:
    """Return the first of some files that is there, or an empty text."""
    return next((name for name in names if (folder / name).is_file()), "")


def listed(root: Path, mark: str, levels: int = 1) -> list[str]:
    """Return the names in ``list.txt``, or else the folders in which the mark is found."""
    listing = root / "list.txt"
    if listing.is_file():
        lines = map(str.strip, read_text(listing).splitlines())
        return list(dict.fromkeys(filter(None, lines)))
    return sorted({path.parents[levels - 1].name for path in root.glob(mark)})


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not blank, with the number of their line from 1.

    Raises:
        ValueError: If it is no such file, naming it.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, skipinitialspace=True)
        try:
            yield from ((rows.line_num, row) for row in rows if any(row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected a CSV file in UTF-8: {error}") from None


def subfolders(root: Path) -> list[Path]:
    """Return the folders in a folder of annotations, in order; FileNotFoundError without it."""
    if not root.is_dir():
        raise FileNotFoundError(f"folder of annotations not found: {root}")
    return sorted(path for path in root.iterdir() if path.is_dir())


# -------------------------------------------------------------------------------------- images


def _select(folder: Path, within: tuple[int | None, int | None], reading: Reading) -> list[Path]:
    """Return the images of a video; report numbers that are missing or there twice."""
    images = list_images(folder)
    if not images:
        return []
    numbers = [image_number(path.name) for path in images]
    first = min(numbers) if within[0] is None else within[0]
    last = max(numbers) if within[1] is None else within[1]
    chosen = [n for n, k in zip(images, numbers, strict=True) if first <= k <= last]
    present = sorted(k for k in numbers if first <= k <= last)
    if len(set(present)) < len(present) and present[0] >= 0:
        twice = sorted({k for k, later in pairwise(present) if k == later})
        raise ValueError(f"{folder}: there are two images of number {spans(twice)}")
    missing = sorted(set(range(first, last + 1)) - set(present)) if first >= 0 else []
    if missing and within != (None, None):
        raise ValueError(f"{folder}: images {spans(missing)} are missing")
    if missing:
        text = f"{folder}: the numbers {spans(missing)} are left out"
        reading.report("gap in the numbers", folder, text, "warning", training=None)
    return chosen


def spans(numbers: list[int], limit: int = 5) -> str:
    """Return sorted numbers as text with runs joined: ``1-4, 7, 9-12 and 30 more``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in runs[:limit])
    more = sum(b - a + 1 for a, b in runs[limit:])
    return text + (f" and {more} more" if more else "")


def _pair(
    images: list[Path], regions: list[Region], source: BoxFile, reading: Reading
) -> tuple[list[Path], list[Region]]:
    """Bring images and boxes to one length."""
    kind = "boxes and images differ in number"
    if not images:
        text = f"no images in {source.images}: enough to score, not to track"
        reading.report(kind, source.truth, text, "warning")
        regions = [] if reading.training else regions[:: source.step]
        first = source.start if source.frames[0] is None else source.frames[0]
        return [
            source.images / (source.pattern % (first + i)) for i in range(len(regions))
        ], regions
    if len(regions) > 2 * len(images):
        regions = regions[:: source.step]
    if source.first_only and len(regions) == 1 < len(images) and not reading.training:
        return images, [*regions, *([ABSENT] * (len(images) - 1))]
    count = f"{len(images)} images but {len(regions)} boxes"
    excess = len(regions) - len(images)
    known = abs(excess) <= source.slack or (excess < 0 and source.surplus)
    if excess > 0 and not known:
        text = f"{count} in {source.truth}: images are missing in {source.images}"
        reading.report(kind, source.truth, text)
    elif excess:
        what = f"the last {abs(excess)} {'boxes' if excess > 0 else 'images'} are left out"
        level = "note" if known else None
        reading.report(kind, source.truth, f"{count}: {what}", level or "warning", level or "error")
    length = min(len(images), len(regions))
    return images[:length], regions[:length]


# --------------------------------------------------------------------------------- ground truth


def _regions(source: BoxFile, images: list[Path], reading: Reading) -> list[Region]:
    if source.boxes is not None:
        return _numbered(source, images)
    text = read_text(source.truth)
    try:
        regions = source.parse(text)
    except ValueError as error:
        if not reading.training or source.parse is not parse_regions:
            raise ValueError(f"{source.truth}: {error}") from None
        regions = _usable_lines(text, source.truth, reading)
    if source.origin:
        return [[region[0] - 1, region[1] - 1, *region[2:]] for region in regions]
    return regions


def _usable_lines(text: str, path: Path, reading: Reading) -> list[Region]:
    """Regions of a text in which some lines are none: those are reported, and NaN."""
    regions = []
    for number, line in enumerate(split_fields(text), start=1):
        region = parse_region(line)
        if region is None:
            reading.report("unusable line", f"{path}, line {number}", line)
        regions.append(region or ABSENT)
    return regions


def _numbered(source: BoxFile, images: list[Path]) -> list[Region]:
    """Boxes in the order of the images; NaN for an image without one."""
    if not images:
        raise ValueError(f"no images in {source.images}")
    numbers = [image_number(image.name) for image in images]
    lacking = sorted(set(source.boxes) - set(numbers))
    if lacking:
        raise ValueError(f"{source.truth}: no images {spans(lacking)} in {source.images}")
    return [source.boxes.get(number, ABSENT) for number in numbers]


def read_text(path: Path) -> str:
    """Read a text file without byte-order mark and surrounding blanks."""
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file") from None


# --------------------------------------------------------------------------- labels per frame


def _visible(source: BoxFile, regions: list[Region], reading: Reading) -> list[bool]:
    """Whether training can use each frame: it has a box, and no file says that it is hidden."""
    visible = [not any(value != value for value in region) for region in regions]
    for path in source.hidden:
        try:
            flags = _numbers(path)
        except FileNotFoundError:
            continue
        except ValueError as error:
            reading.report("unusable annotation", path, error)
            continue
        visible = [seen and not any(flags[i : i + 1]) for i, seen in enumerate(visible)]
    return visible


def _flags(source: BoxFile, length: int, reading: Reading) -> dict[str, list[int]]:
    """Fields of the record with a number per frame."""
    found: dict[str, list[int]] = {}
    if source.absent:
        try:
            columns = [_numbers(path, length) for path in source.hidden]
            found["absent"] = [int(not any(values)) for values in zip(*columns, strict=True)]
        except (FileNotFoundError, ValueError) as error:
            reading.report("unusable annotation", "", f"{error}: no absent")
    for name, path in source.flags.items():
        if source.expected:
            found[name] = []
        try:
            found[name] = _numbers(path, length)
        except (FileNotFoundError, ValueError) as error:
            if source.expected or not isinstance(error, FileNotFoundError):
                reading.report("unusable annotation", "", f"{error}: no {name}", "warning")
    return found


def _numbers(path: Path, length: int = 0) -> list[int]:
    """Read the first ``length`` numbers of a file, which may have more; all for 0."""
    try:
        values = [int(float(token)) for token in _tokens(path)]
    except (ValueError, OverflowError):
        raise ValueError(f"{path}: expected numbers only") from None
    if len(values) < length:
        raise ValueError(f"{path} has {len(values)} numbers for {length} frames")
    return values[: length or None]


def _tokens(path: Path) -> list[str]:
    return [token for token in _SEPARATORS.split(read_text(path)) if token]


def _attributes(source: BoxFile, reading: Reading) -> list[str]:
    if source.attr_file is None:
        return []
    try:
        marks = _tokens(source.attr_file)
    except FileNotFoundError as error:
        reading.report("missing attributes", "", f"{error}: no attributes", "note")
        return []
    if len(marks) != len(source.attr_names) or not set(marks) <= {"0", "1"}:
        text = f"{source.attr_file}: expected {len(source.attr_names)} numbers 0 or 1"
        reading.report("unusable annotation", "", f"{text}: no attributes", "warning")
        return []
    return [name for name, mark in zip(source.attr_names, marks, strict=True) if mark == "1"]


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
