"""Reading one video from the files of its owner: which images, which boxes, how they pair.

The same reader serves testing and training preparation. They differ in one thing: testing leaves a
video out if anything in it is wrong, training uses what is right. So every fault is reported with
its two levels side by side, and what was read is yielded nevertheless.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Items
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from toolkit.datasets.video import Sequence
from toolkit.io.boxes import ABSENT, Region, box_lines, parse_regions, whole_number
from toolkit.io.images import frame_numbers, has_images, list_images
from toolkit.io.issues import IssueLog

_SEPARATORS = re.compile(r"[,;\s]+")
_NUMBER = re.compile(r"\d+")
_IMAGES = ("img", "color")  # folders of images within that of a video
_ANNOTATIONS = (".txt", ".csv", ".json", ".xml", ".mat")


@dataclass(frozen=True)
class Reading:
    """Folder or file of a set, the log, and whether it is to be trained on, else tested on."""

    root: Path
    log: IssueLog
    training: bool = False

    def size(self, where: object, width: object, height: object) -> tuple[int, int]:
        """Read the annotated size of an image; 0 for a side that is not stated, or unusable."""
        try:
            return whole_number(width or 0), whole_number(height or 0)
        except ValueError as error:
            text = f"width or height: {error}; the true size is taken"
            self.report("unusable size of an image", where, text, "warning", "warning")
            return 0, 0

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
    start: int | None = None  # number of the first frame, where it is known; 1 without images
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
        images, numbers = _select(source.images, source.frames)
        regions = _regions(source, images, numbers, reading)
        images, places = _pair(images, numbers, len(regions), source, reading)
        visible = _visible(source, regions, reading) if reading.training else []
    except (ValueError, OSError) as error:
        reading.report("unreadable annotation", source.truth, _one_line(error))
        return Sequence(source.name)
    sequence = Sequence(
        source.name, images, [{0: regions[place]} for place in places], group=source.group
    )
    if source.category:
        sequence.categories = {0: source.category}
    if reading.training:
        sequence.visible = [visible[place] for place in places]
        sequence.numbers = places  # the frames that are missing count in FRAME_RANGE
    else:
        sequence.flags = _flags(source, len(regions), places, reading)
        sequence.attributes = _attributes(source, reading)
    return sequence


def read_labels(
    name: str,
    images: Path,
    masks: Path,
    reading: Reading,
    categories: Mapping[int, str] | None = None,
) -> Sequence:
    """Read a video whose annotations are label images, named as its frames.

    Frames may lack one; ``categories`` names the category of a label.
    """
    try:
        frames, numbers = _select(images)
        labels = match_masks(frames, numbers, masks, reading)
    except ValueError as error:
        reading.report("unreadable annotation", images, error)
        return Sequence(name)
    if not any(labels):
        what, folder = ("images", images) if not frames else ("masks", masks)
        reading.report("video without a mask", folder, f"no {what} in {folder}")
        return Sequence(name)
    return Sequence(name, frames, numbers=numbers, labels=labels, categories=categories or {})


def match_masks(
    frames: list[Path], numbers: list[int] | None, folder: Path, reading: Reading
) -> list[Path | None]:
    """Return the mask of each frame, of its name or else of its number; None without one.

    Other images than PNG files are masks where there is no PNG file.

    Raises:
        ValueError: If names of masks and frames have nothing in common.
    """
    images = list_images(folder)
    masks = [path for path in images if path.suffix.lower() == ".png"] or images
    there: Mapping[object, Path] = {path.stem.lower(): path for path in masks}
    there |= {path.stem: path for path in masks}
    keys: Items[object] = [p.stem if p.stem in there else p.stem.lower() for p in frames]
    if masks and frames and not set(keys) & set(there):
        keys, counted = numbers or [], frame_numbers(path.name for path in masks) or []
        there = dict(zip(counted, masks, strict=False))
        if not set(there) <= set(keys) or not there:
            text = f"no masks in {folder} are named as the frames: {masks[0].name}"
            raise ValueError(f"{text}, {frames[0].name}")
    labels = [there.get(key) for key in keys]
    if reading.training:
        used, place = set(labels), frames[0].parent if frames else folder
        for path in (path for path in masks if path not in used):
            reading.report("mask without an image", path, f"none of that name in {place}")
    return labels


# ------------------------------------------------------------------------------ finding folders


def image_folder(folder: Path, below: Iterable[str] = (*_IMAGES, ".")) -> Path:
    """Return the first of some folders that has images, or the first of all."""
    paths = [folder / name for name in below]
    return next((path for path in paths if has_images(path)), paths[0])


def first_file(folder: Path, names: Iterable[str]) -> str:
    """Return the first of some files that is there, perhaps in other case, or an empty text."""
    names = list(names)
    if found := next((name for name in names if (folder / name).is_file()), ""):
        return found
    for name in names:
        near = {p.name.lower(): p for p in files_of((folder / name).parent, Path(name).suffix)}
        if found := near.get(Path(name).name.lower()):
            return os.path.relpath(found, folder)
    return ""


def listed(root: Path, mark: str, levels: int = 1) -> list[str]:
    """Return the names in ``list.txt``, or else the folders in which the mark is found."""
    listing = root / "list.txt"
    if listing.is_file():
        lines = map(str.strip, read_text(listing).splitlines())
        return list(dict.fromkeys(filter(None, lines)))
    names = {path.parents[levels - 1].name for path in root.glob(mark)}
    return sorted(filter(_is_shown, names))


def _is_shown(name: str) -> bool:
    """Return whether a file or folder is neither hidden nor one that systems add to a user's."""
    return name[:1] not in ".@$" and name != "__MACOSX"


def _entries(folder: Path, folders: bool, suffix: str | None = None) -> list[Path]:
    """Return folders or files in a folder, in order; a suffix is in any case."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        found = [e for e in entries if suffix is None or e.name.lower().endswith(suffix)]
        return sorted(folder / e.name for e in found if _is_shown(e.name) and e.is_dir() is folders)


def files_of(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix, in any case, in order of their names; hidden ones left out."""
    return _entries(folder, False, suffix)


def subfolders(root: Path) -> list[Path]:
    """Return the folders in a folder of annotations, in order; FileNotFoundError without it."""
    if not root.is_dir():
        raise FileNotFoundError(f"folder of annotations not found: {root}")
    return _entries(root, True)


def without_links(paths: Iterable[Path]) -> list[Path]:
    """Leave out links to others of some paths, and what is in linked folders of theirs."""
    paths = list(paths)
    real: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: os.path.realpath(path) != os.path.abspath(path)):
        real.setdefault(os.path.realpath(path), path)
    kept = set(real.values())
    return [path for path in paths if path in kept]


def folders_below(root: Path) -> list[Path]:
    """Return a folder and all folders in it, in order; links are followed, none is there twice."""
    found, waiting, known = [], [root], set()
    links: list[Path] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(folder)
        if real in known or (folder != root and Path(real) in Path(os.path.realpath(root)).parents):
            continue
        known.add(real)
        found.append(folder)
        for path in subfolders(folder):
            (links if path.is_symlink() else waiting).append(path)
    return sorted(found)


def note_unused(
    folders: Iterable[Path], used: Iterable[Path], truth: str, reading: Reading
) -> None:
    """Note the folders of images that are none of those used, with the files that are there."""
    known = {os.path.realpath(path) for path in used}
    for folder in folders:
        real = os.path.realpath(folder)
        if real not in known and has_images(folder):
            known.add(real)
            video = folder.parent if folder.name in _IMAGES else folder
            others = [p.name for suffix in _ANNOTATIONS for p in files_of(video, suffix)][:3]
            text = f"there is no {truth}" + (f", but {', '.join(others)}" if others else "")
            reading.report("images that are not used", folder, text, "note", "note")


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


# -------------------------------------------------------------------------------------- images


def _select(
    folder: Path, within: tuple[int | None, int | None] = (None, None)
) -> tuple[list[Path], list[int] | None]:
    """Return the images of a video, and their numbers if these count them."""
    images = list_images(folder)
    numbers = _numbers_of(images, folder)
    if numbers is None:
        if images and within != (None, None):
            raise ValueError(f"{folder}: the names of the images have no number that counts them")
        return images, None
    first = numbers[0] if within[0] is None else within[0]
    last = numbers[-1] if within[1] is None else within[1]
    if within != (None, None) and (missing := _missing(numbers, first, last)):
        raise ValueError(f"{folder}: images {missing} are missing")
    chosen = [i for i, k in enumerate(numbers) if first <= k <= last]
    return [images[i] for i in chosen], [numbers[i] for i in chosen]


def _numbers_of(images: list[Path], folder: Path) -> list[int] | None:
    """Return the images' numbers, in order; ValueError if two images may be of one frame."""
    numbers = frame_numbers(path.name for path in images)
    if numbers is not None or not images:
        return numbers
    forms = [_NUMBER.sub("0", path.stem.lower()) for path in images]
    found = [tuple(map(int, _NUMBER.findall(path.stem))) for path in images]
    views = [list(zip(forms, found, strict=True))]
    if len(set(forms)) > 1:  # 3.jpg and 3_copy.jpg; but cam1_3.jpg and cam2_3.jpg are in order
        views += [[(number[:1],) for number in found], [(number[-1:],) for number in found]]
    for view in views:
        twice = {key[-1][-1] for key, count in Counter(view).items() if count > 1 and key[-1]}
        if twice:
            raise ValueError(f"{folder}: there are two images of number {spans(sorted(twice))}")
    return None


def spans(numbers: Iterable[int], limit: int = 5) -> str:
    """Return sorted numbers as text with runs joined: ``1-4, 7, 9-12 and 30 more``."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        first = number
        if runs and number == runs[-1][1] + 1:
            first, _ = runs.pop()
        runs.append((first, number))
    return _runs_text(runs, limit)


def _runs_text(runs: list[tuple[int, int]], limit: int = 5) -> str:
    text = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in runs[:limit])
    more = sum(b - a + 1 for a, b in runs[limit:])
    return text + (f" and {more} more" if more else "")


def _missing(numbers: list[int], first: int, last: int) -> str:
    """Return as text the numbers from first to last that are not among sorted ones."""
    edges = pairwise([first - 1, *(n for n in numbers if first <= n <= last), last + 1])
    return _runs_text([(a + 1, b - 1) for a, b in edges if b - a > 1])


def _pair(
    images: list[Path],
    numbers: list[int] | None,
    count: int,
    source: BoxFile,
    reading: Reading,
) -> tuple[list[Path], Items[int]]:
    """Return the images that have one of ``count`` boxes, and its place for each of them."""
    kind = "boxes and images differ in number"
    if not images:
        text = f"no images in {source.images}: enough to score, not to track"
        reading.report(kind, source.truth, text, "warning")
        first = next((n for n in (source.frames[0], source.start) if n is not None), 1)
        places = range(0 if reading.training else count)
        return [source.images / (source.pattern % (first + i)) for i in places], places
    excess = count - len(images)
    text = f"{len(images)} images but {count} boxes"
    gap = numbers is not None and numbers[-1] - numbers[0] >= len(images)
    uneven = _is_uneven(numbers)
    if not excess and not (uneven and source.start is not None):
        _note_gap(numbers or [], uneven, source, reading)
        return images, range(count)
    if not gap and (abs(excess) <= source.slack or (excess < 0 and source.surplus)):
        what = f"the last {abs(excess)} {'boxes' if excess > 0 else 'images'} are left out"
        reading.report(kind, source.truth, f"{text}: {what}", "note", "note")
        length = min(len(images), count)
        return images[:length], range(length)
    places = _places(numbers, count, source) if excess > 0 else None
    if places is None:
        text += f" in {source.truth}" + (", and numbers are missing" if uneven else "")
        advice = "give each image a line, nan,nan,nan,nan where it has no box"
        unknown = "it is not known which belong together, so the video is left out"
        raise ValueError(f"{text}; {unknown}: {advice}")
    missing = sorted(set(range(count)) - set(places))
    if source.frames == (None, None):
        text += f" in {source.truth}: images {spans([n + numbers[0] - places[0] for n in missing])}"
        reading.report(kind, source.truth, f"{text} are missing in {source.images}")
    return images, places


def _is_uneven(numbers: list[int] | None) -> bool:
    """Return whether numbers are missing: steps of several lengths, all multiples of the shortest.

    Where a few frames are annotated all may be equal, and those of times are anything.
    """
    steps = {later - number for number, later in pairwise(numbers or ())}
    return len(steps) > 1 and not any(step % min(steps) for step in steps)


def _note_gap(numbers: list[int], uneven: bool, source: BoxFile, reading: Reading) -> None:
    """Report numbers without an image, where the boxes are as many as the images."""
    if numbers and (missing := _missing(numbers, numbers[0], numbers[-1])):
        text = f"{source.images}: the numbers {missing} are left out"
        level = "warning" if uneven else None
        reading.report("gap in the numbers", source.images, text, "warning", level)


def _places(numbers: list[int] | None, count: int, source: BoxFile) -> list[int] | None:
    """Return the places of the boxes of numbered images; None if they are not certain."""
    if numbers is None:
        return None
    first, known = source.start, numbers
    if source.frames != (None, None):  # there may be boxes of all images in the folder
        first, known = None, frame_numbers(path.name for path in list_images(source.images)) or []
    if first is None and known[-1] - known[0] + 1 == count:
        first = known[0]
    if first is None or known[0] < first or known[-1] >= first + count:
        return None
    return [number - first for number in numbers]


# --------------------------------------------------------------------------------- ground truth


def _regions(
    source: BoxFile, images: list[Path], numbers: list[int] | None, reading: Reading
) -> list[Region]:
    if source.boxes is not None:
        regions = _numbered(source, images, numbers)
    else:
        span = numbers[-1] - numbers[0] + 1 if _is_uneven(numbers) else len(images)
        regions = _read_regions(source, len(images), span, reading)
    if len(regions) > 2 * len(images) > 0 or (not images and not reading.training):
        regions = regions[:: source.step]
    if source.first_only and len(regions) == 1 < len(images) and not reading.training:
        regions = [*regions, *([ABSENT] * (len(images) - 1))]
    if source.origin:
        regions = [[region[0] - 1, region[1] - 1, *region[2:]] for region in regions]
    if reading.training:  # as PySOT's annotation files have them
        regions = [[float(value) for value in region] for region in regions]
    return regions


def _read_regions(source: BoxFile, num_images: int, span: int, reading: Reading) -> list[Region]:
    """Read the lines of a file; NaN for a blank one that stands for a frame."""
    text = read_text(source.truth)
    with suppress(ValueError):  # nearly all files have a box in each line
        body = text.rstrip()
        regions = source.parse(body)
        if len(regions) == num_images == span or len(text[len(body) :].splitlines()) < 2:
            return regions
    try:
        count = 0 if source.surplus or source.slack else num_images
        lines = box_lines(text, count, span)
        used = {number: line for number, line in lines.items() if line}
        if not used:
            source.parse(text.strip())  # which names the first line
        regions = _parse_lines(source, used, reading)
    except ValueError as error:
        raise ValueError(f"{source.truth}: {error}") from None
    first, last = min(lines), max(lines)
    if lines[first] and not all(map(str.strip, text.splitlines()[: first - 1])):
        where = f"{source.truth}, line {first}"
        reading.report("blank lines", where, "those above do not count", "warning", "warning")
    if not lines[last]:
        where = f"{source.truth}, line {last}"
        reading.report("blank lines", where, "frames without a box end it", "warning", "warning")
    return [regions.get(number, ABSENT) for number in lines]


def _parse_lines(source: BoxFile, lines: Mapping[int, str], reading: Reading) -> dict[int, Region]:
    """Regions by number of line; training reports the lines that are none, unless all are."""
    found, faults = {}, {}
    for number, line in lines.items():
        try:
            (found[number],) = source.parse(line)
        except ValueError as error:
            faults[number] = str(error).replace("line 1", f"line {number}", 1)
    if not found or (faults and not reading.training):
        more = f" (and {len(faults) - 1} lines more)" if len(faults) > 1 else ""
        raise ValueError(next(iter(faults.values())) + more)
    for number in faults:
        reading.report("unusable line", f"{source.truth}, line {number}", lines[number])
    return found


def _numbered(source: BoxFile, images: list[Path], numbers: list[int] | None) -> list[Region]:
    """Boxes in the order of the images; NaN for an image without one."""
    if not images or numbers is None:
        raise ValueError(f"no images in {source.images}")
    lacking = sorted(set(source.boxes) - set(numbers))
    if lacking:
        raise ValueError(f"{source.truth}: no images {spans(lacking)} in {source.images}")
    return [source.boxes.get(number, ABSENT) for number in numbers]


def read_text(path: Path) -> str:
    """Read a text file of UTF-8, or UTF-16 with a byte-order mark, without such marks."""
    try:
        data = path.read_bytes()
        deep = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if deep else "utf-8").replace("\ufeff", "")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path} is not a text file")
    return text


# --------------------------------------------------------------------------- labels per frame


def _visible(source: BoxFile, regions: list[Region], reading: Reading) -> list[bool]:
    """Whether training can use each box: it is one, and no file says that it is hidden."""
    visible = [not any(value != value for value in region) for region in regions]
    for path in source.hidden:
        if path.is_file():
            flags = _numbers(path, len(regions), source)
            visible = [seen and not flag for seen, flag in zip(visible, flags, strict=True)]
    return visible


def _flags(
    source: BoxFile, count: int, places: Items[int], reading: Reading
) -> dict[str, list[int]]:
    """Fields of the record with a number per frame, from files with one for each of the boxes."""
    found: dict[str, list[int]] = {}
    if source.absent:
        try:
            columns = [_numbers(path, count, source) for path in source.hidden]
            found["absent"] = [int(not any(column[i] for column in columns)) for i in places]
        except (FileNotFoundError, ValueError) as error:
            reading.report("unusable annotation", "", f"{error}: no absent")
    for name, path in source.flags.items():
        if source.expected:
            found[name] = []
        try:
            flags = _numbers(path, count, source)
            found[name] = [flags[i] for i in places]
        except (FileNotFoundError, ValueError) as error:
            if source.expected or not isinstance(error, FileNotFoundError):
                reading.report("unusable annotation", "", f"{error}: no {name}", "warning")
    return found


def _numbers(path: Path, length: int, source: BoxFile) -> list[int]:
    """Read a number for each of ``length`` boxes; tags of VOT, and of surplus images, are more."""
    try:
        values = [int(float(token)) for token in _tokens(path)]
    except (ValueError, OverflowError):
        raise ValueError(f"{path}: expected numbers only") from None
    if len(values) < length or (len(values) > length and not (source.expected or source.surplus)):
        raise ValueError(f"{path} has {len(values)} numbers for {length} frames")
    return values[:length]


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
