"""Boxes and polygons; their text files, and other numbers of lines of text.

`parse_numbers` is fast, `parse_regions` keeps ints.

A number is what Python's ``float`` reads, without underscores. Evaluation reads millions of boxes:
for 100,000 of them the compiled reader takes 0.02 s, ``map(float, ...)`` and ``json`` 0.2 s,
``np.loadtxt`` 0.7 s, and ``pandas.read_csv`` 0.08 s after a slow import.
"""

import codecs
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.io import compiled_or_not

NAN = float("nan")
ABSENT = [NAN] * 4
#: A box x, y, w, h or a polygon x1, y1, x2, y2, ... in pixels.
Region = Sequence[float]

_FAR = 2.0**63  # no number of a region reaches it; arrays of integers end here
_COMMENTS = ("#", "%", "//")
# names of columns that are no x, y, w, h
_OTHER_COLUMNS = re.compile(r"\b(?:[xy]_?(?:2|max|br|c|center)|(?:c|center)_?[xy]|right|bottom)\b")
_TEXT_WIDTH = 60  # characters of a line that its error shows
_SEPARATORS = re.compile(r"[,;\s]+")
_BLANKS = re.compile(r"[;\t ]")
# A first line that names columns: x, y, w, h or the like.
_HEADER = re.compile(rb"""[#"' ]*(?:x|left|xmin)["' ]*[,;\t ][^\d\n]*\n""", re.IGNORECASE)
# Of the text that ``float`` takes this leaves out underscores and digits beyond ASCII.
_FOREIGN = re.compile(rb"[^-+.,0-9a-zA-Z \t\r\n]")
_WHOLE = re.compile(r"\s*([-+]?[0-9]+)(?:\.0*)?\s*")


def whole_number(value: object) -> int:
    """Read an integer of any size from an int, its digits, or a float that is exact.

    It never passes through a float, of which neighbors above 2^53 would be the same.

    Raises:
        ValueError: If it is none; a truth value is none.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value)):
        return int(match[1])
    raise ValueError(f"expected a whole number, got {str(value)[:_TEXT_WIDTH]!r}")


def is_number(value: object) -> bool:
    """Return whether a value of a JSON is a finite number that floats can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


class NotNumbers(ValueError):
    """A line, ``index`` from 0, holds the ``text`` instead of numbers."""

    def __init__(self, index: int, text: str) -> None:
        shown = repr(text[:_TEXT_WIDTH])
        super().__init__(f"line {index + 1}: expected numbers, got {shown}")
        self.index, self.text = index, text


class NumberLines(NamedTuple):
    """The numbers of a text file, and how they were written."""

    path: str | os.PathLike
    lines: bytes
    expected: str  # what a line should hold, for errors
    values: NDArray  # (M,) all numbers, float64
    counts: NDArray  # (N,) how many each line has
    commas: bool  # whether commas separate them
    offset: int = 0  # number of lines before the first
    marked: bool = False  # whether a byte-order mark came before
    headed: bool = False  # whether a line of names came before

    def check(self, good: NDArray) -> None:
        """Raise ValueError naming the first line (N,) that is not good."""
        if not good.all():
            index = int(np.argmin(good))
            raise _line_error(self.path, self.lines, self.expected, index, self.offset)


def read_number_lines(path: str | os.PathLike, expected: str) -> NumberLines:
    """Read a text file of numbers between commas, or between tabs and spaces, the same throughout.

    Blank lines may end the file; a byte-order mark and names of columns may begin it.

    Raises:
        ValueError: If it is empty or a line holds something else, naming file and line.
    """
    data = Path(path).read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path}: is UTF-16 text; expected plain ASCII or UTF-8")
    plain = data.removeprefix(codecs.BOM_UTF8)
    header = _HEADER.match(plain)
    body = plain[header.end() :] if header else plain
    found = parse_number_lines(path, body, expected, offset=int(bool(header)))
    return found._replace(marked=len(plain) < len(data), headed=bool(header))


def parse_number_lines(
    path: str | os.PathLike, data: bytes, expected: str, offset: int = 0
) -> NumberLines:
    """Read the content of a file, from line ``offset`` on; see `read_number_lines`."""
    lines = data.rstrip()
    if not lines:
        raise ValueError(f"{path}: is empty")
    try:
        values, counts = parse_numbers(lines, commas=b"," in lines)
    except NotNumbers as error:
        raise _line_error(path, lines, expected, error.index, offset) from None
    commas = b"," in lines or bool((counts == 1).all())
    return NumberLines(path, lines, expected, values, counts, commas, offset)


def _line_error(
    path: str | os.PathLike, lines: bytes, expected: str, index: int, offset: int
) -> ValueError:
    line = lines.decode("utf-8", "replace").split("\n")[index].rstrip("\r")[:_TEXT_WIDTH]
    return ValueError(f"{path}: line {index + 1 + offset}: expected {expected}, got {line!r}")


def parse_numbers(data: bytes, commas: bool = True) -> tuple[NDArray, NDArray]:
    """Read lines of numbers between commas, or else spaces or tabs; the last line has no end.

    Returns all numbers (M,) float64 and how many each line has, (N,) int64; the first line that is
    empty or holds anything else raises `NotNumbers`.
    """
    found = _backend().parse(data, commas)
    if isinstance(found, int):
        line = data.split(b"\n")[found].rstrip(b"\r")
        raise NotNumbers(found, line.decode("utf-8", "replace"))
    return found


def _backend() -> ModuleType:
    return compiled_or_not("toolkit.io._numbers", __name__)


def parse(data: bytes, commas: bool) -> tuple[NDArray, NDArray] | int:
    """As `parse_numbers`, in Python; for a wrong line its index, from 0, is returned."""
    values: list[float] = []
    counts = []
    for index, line in enumerate(data.split(b"\n")):
        tokens = line.split(b"," if commas else None)
        try:
            values += map(float, tokens)
        except ValueError:
            return index
        if not tokens or _FOREIGN.search(line):
            return index
        counts.append(len(tokens))
    return np.array(values, np.float64), np.array(counts, np.int64)


def parse_regions(text: str) -> list[list[float]]:
    """Lines of 4 or 8 numbers between commas, tabs, spaces or semicolons; NaN may stand for any.

    Raises:
        ValueError: Naming the first line that is something else, and how many there are.
    """
    lines = split_fields(text)
    # The parser of JSON reads numbers faster than a loop, and keeps ints apart from floats.
    with suppress(ValueError, RecursionError):
        body = re.sub("nan", "NaN", "],[".join(lines), flags=re.IGNORECASE)
        regions = json.loads(f"[[{body}]]")
        numbers = {type(value) for region in regions for value in region} <= {int, float}
        if numbers and len(regions) == len(lines) and all(map(_is_region, regions)):
            return regions
    return check_regions(lines)


def box_lines(text: str, num_frames: int, span: int) -> dict[int, str]:
    """Lines of a text of boxes by number from 1, without comments and a header.

    A blank line is a frame without a box where all lines, with those that end the text, are
    as many as the frames or the numbers that they ``span``. Where no number is missing, blank lines
    above the first box, or as many behind each, do not count if the others are as many as the
    frames. ``num_frames`` 0 keeps all.

    Raises:
        ValueError: If there are blank lines and neither holds, or a header names other columns.
    """
    lines = {n: line.strip() for n, line in enumerate(text.splitlines(), 1)}
    first = next((n for n, line in lines.items() if line and not _is_text(line)), len(lines) + 1)
    header = [line for n, line in lines.items() if line and n < first]
    _check_header(header)
    above = {n for n in lines if n < first and header}
    lines = {n: line for n, line in lines.items() if n not in above}
    lines = {n: line for n, line in lines.items() if not line.startswith(_COMMENTS)}
    used = {n: line for n, line in lines.items() if line}
    last = max(used, default=0)
    until = {n: line for n, line in lines.items() if n <= last}
    padded = len(lines) > len(until)
    if padded and len(until) < span == len(lines) and len(above) == len(header):
        return lines
    if not num_frames or len(until) == (span if padded else num_frames):
        return until
    if len(until) in (span, len(used)) and not (padded and span > num_frames):
        return until
    places = [place for place, line in enumerate(until.values()) if line]
    steps = {b - a for a, b in pairwise(places)}
    if len(used) == num_frames == span and (len(steps) < 2 < num_frames or steps <= {1}):
        return used
    blank = len(lines) - len(used)
    text = f"{num_frames} images but {len(used)} boxes and {blank} blank lines"
    raise ValueError(f"{text}: give a frame without a box the line nan,nan,nan,nan")


def _is_text(line: str) -> bool:
    """Return whether a line is a comment, or begins with a word that is no number."""
    word = _SEPARATORS.split(line)[0].strip("\"'").lower()
    return line.startswith(_COMMENTS) or (word[:1].isalpha() and word not in ("nan", "inf"))


def _check_header(lines: Sequence[str]) -> None:
    for line in lines:
        names = re.findall(r"\b(?:[xywh]|left|top|width|height)\b", line.lower())
        order = "".join(name[0] for name in names).translate(str.maketrans("lt", "xy"))
        others = len(_OTHER_COLUMNS.findall(line.lower()))  # a polygon has x1, y1, to x4, y4
        if (others > 1 and not re.search("y_?4", line)) or (len(order) == 4 and order != "xywh"):
            raise ValueError(f"expected boxes x, y, w, h, but the header is {line[:_TEXT_WIDTH]!r}")


def _is_region(values: Sequence[float]) -> bool:
    return len(values) in (4, 8) and not any(map(_FAR.__le__, map(abs, values)))


def split_fields(text: str) -> list[str]:
    """Lines of a text, with commas in place of whatever separates their fields."""
    lines = text.splitlines()
    if _BLANKS.search(text):
        return [_SEPARATORS.sub(",", line.strip()) for line in lines]
    return lines


def check_regions(lines: Sequence[str]) -> list[list[float]]:
    """Regions from lines of fields between commas; see `parse_regions`."""
    lines = lines or [""]
    regions = [parse_region(line) for line in lines]
    wrong = [number for number, region in enumerate(regions) if region is None]
    if wrong:
        more = f" (and {len(wrong) - 1} lines more)" if len(wrong) > 1 else ""
        shown = repr(lines[wrong[0]][:_TEXT_WIDTH])
        raise ValueError(f"line {wrong[0] + 1}: expected 4 or 8 numbers, got {shown}{more}")
    return regions


def parse_region(line: str) -> list[float] | None:
    """Read 4 or 8 numbers between commas; None for anything else, infinite numbers included."""
    try:
        values = [_number(token) for token in line.split(",")]
    except ValueError:
        return None
    return values if _is_region(values) else None


def _number(token: str) -> float:
    value = float(token.replace("_", "no digit"))
    return int(value) if value.is_integer() and "." not in token else value


# -------------------------------------------------------------------------------- shapes of regions


def box_around(region: Region) -> Region:
    """Box x, y, w, h around a polygon; a box is returned as it is, NaN makes all NaN."""
    if len(region) == 4:
        return region
    if any(map(math.isnan, region)):
        return ABSENT
    xs, ys = region[::2], region[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def boxes_around(regions: NDArray) -> NDArray:
    """Boxes (N, 4) around polygons (N, 8); boxes (N, 4) are returned as they are."""
    if regions.shape[1] == 4:
        return regions
    low, high = (f(regions.reshape(len(regions), -1, 2), axis=1) for f in (np.min, np.max))
    boxes = np.hstack([low, high - low])
    boxes[np.isnan(boxes).any(axis=1)] = NAN
    return boxes


def vot_corners(region: Region) -> list[float]:
    """Corners of a ground truth as the failure test of VOT's reset protocol takes them.

    A box x, y, w, h covers w by h pixels there, so its far corners are at ``x + w - 1`` and
    ``y + h - 1``: (x, y), (x, y + h - 1), (x + w - 1, y + h - 1), (x + w - 1, y). A polygon is
    returned as it is.
    """
    if len(region) != 4:
        return list(region)
    x, y, w, h = region
    right, bottom = x + w - 1, y + h - 1
    return [x, y, x, bottom, right, bottom, right, y]


def widened(regions: NDArray, width: int) -> NDArray:
    """Regions (N, K) as polygons of ``width`` numbers, unless they have them; see `as_regions`."""
    if regions.shape[1] == width:
        return regions
    if regions.shape[1] == 4:
        regions = corners(regions)
    last = [regions[:, -2:]] * ((width - regions.shape[1]) // 2)
    return np.concatenate([regions, *last], axis=1)


def corners(boxes: NDArray) -> NDArray:
    """Corners (N, 8) of boxes (N, 4) x, y, w, h, clockwise from the top left."""
    x, y, w, h = boxes.T
    return np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)


def as_regions(trajectory: Sequence[Sequence[float]]) -> NDArray:
    """Regions of differing length, boxes or polygons, as one array (N, 4) or (N, 2K).

    Where both occur, boxes become polygons. Short polygons repeat their last corner, which changes
    neither their area nor their pixels. A region of fewer than 4 numbers becomes NaN.
    """
    counts = np.array([len(region) for region in trajectory])
    sizes = sorted({count for count in counts.tolist() if count >= 4})
    if sizes == [4] and len(counts) and (counts == 4).all():
        return np.array(trajectory, np.float64)
    width = max([4, *sizes])
    regions = np.full((len(counts), width), np.nan)
    for size in sizes:
        frames = np.flatnonzero(counts == size)
        block = np.array([trajectory[frame] for frame in frames], np.float64)
        regions[frames] = widened(block, width)
    return regions
