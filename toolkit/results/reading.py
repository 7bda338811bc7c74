"""Reading result files of every layout into arrays, strictly.

A file is read as PySOT writes it: numbers between commas, one line per frame. Tabs and spaces
between the numbers and a byte-order mark are read too, and noted in `Trajectory.oddities`, as are
NaN and infinite numbers; anything else is an error that names file and line.
"""

import codecs
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.io.numbers import NotNumbers, parse_numbers

#: Codes of lines that hold no region, in reset-based and long-term files.
SKIPPED, START, FAILURE = 0, 1, 2
#: Stands in `Trajectory.codes` for a line that holds a region.
REGION = -1

#: What a file may have that is read, but noted.
ODDITIES = {
    "nan": "NaN or infinite numbers",
    "separators": "other separators than commas",
    "mark": "a byte-order mark",
}

_TEXT_WIDTH = 60  # characters of a faulty line that an error shows


@dataclass(frozen=True)
class Trajectory:
    """What a tracker said of a video, one entry per frame.

    Attributes:
        codes: (N,) int8, ``REGION`` or a code of a line without one.
        regions: (N, 4) boxes x, y, w, h or (N, 2K) polygons x1, y1, ... in pixels; NaN where there
            is none. In a file with both, boxes become polygons, and short polygons repeat their
            last corner, which changes neither their area nor their pixels.
        scores: (N,) confidence, NaN where there is none; None if the layout has none.
        oddities: Keys of ``ODDITIES`` that were found.
    """

    codes: NDArray
    regions: NDArray
    scores: NDArray | None = None
    oddities: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def boxes(self) -> NDArray:
        """The regions (N, 4) of a run of boxes."""
        return self.regions[:, :4]

    def resized(self, length: int, code: int = REGION) -> "Trajectory":
        """Cut the run, or lengthen it by frames without a region.

        Args:
            length: Number of frames wanted.
            code: Code of the first frame that is added; the others are ``SKIPPED`` if it is a
                code at all.
        """
        rest = length - len(self)
        if rest <= 0:
            scores = None if self.scores is None else self.scores[:length]
            return changed(
                self, codes=self.codes[:length], regions=self.regions[:length], scores=scores
            )
        codes = np.full(rest, REGION if code == REGION else SKIPPED, np.int8)
        codes[0] = code
        nothing = np.full((rest, self.regions.shape[1]), np.nan)
        scores = None if self.scores is None else np.append(self.scores, np.full(rest, np.nan))
        return changed(
            self,
            codes=np.append(self.codes, codes),
            regions=np.concatenate([self.regions, nothing]),
            scores=scores,
        )


def empty_trajectory(scores: bool = False) -> Trajectory:
    """A run of no frame; `Trajectory.resized` makes one that holds nothing."""
    return Trajectory(np.empty(0, np.int8), np.empty((0, 4)), np.empty(0) if scores else None)


def find_runs(first: str | os.PathLike) -> list[Path]:
    """Files of all repetitions of a video, in order.

    PySOT takes all of them only if there are 15, else the first in the order of the file system;
    here every repetition that is there counts.

    Args:
        first: Path of the only result, or of the first repetition, ``<video>_001.txt``.
    """
    first = Path(first)
    prefix, numbered, suffix = first.name.rpartition("_001.")
    if not numbered:
        return [first] if first.is_file() else []
    if not first.parent.is_dir():
        return []
    pattern = re.compile(rf"{re.escape(prefix)}_\d{{3}}\.{re.escape(suffix)}")
    return sorted(
        first.parent / name for name in os.listdir(first.parent) if pattern.fullmatch(name)
    )


def read_boxes(path: str | os.PathLike) -> NDArray:
    """Read a file of boxes.

    Numbers may be separated by commas, tabs or spaces, the same throughout; blank lines may end
    the file. NaN is a frame without a box.

    Returns:
        (N, 4) x, y, w, h.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or a line is not four numbers, naming file and line.
    """
    return read_box_trajectory(path).regions


def read_box_trajectory(path: str | os.PathLike) -> Trajectory:
    """Read a file of boxes as a run; see `read_boxes`."""
    rows = _read_rows(path, "4 numbers x,y,w,h")
    rows.check(rows.counts == 4)
    regions = rows.values.reshape(-1, 4)
    codes = np.full(len(regions), REGION, np.int8)
    return Trajectory(codes, regions, oddities=_oddities(rows, codes, regions))


def read_reset_trajectory(path: str | os.PathLike) -> Trajectory:
    """Read a run of VOT's reset-based protocol.

    A line holds a code (1 start, 2 failure, 0 skipped), a box or a polygon.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or a line holds something else, naming file and line.
    """
    rows = _read_rows(path, "a code 0, 1 or 2, a box or a polygon")
    return _with_codes(rows)


def read_long_term_trajectory(path: str | os.PathLike) -> Trajectory:
    """Read a long-term run: regions, and confidences from the file beside it.

    ``<video>_001.txt`` begins with a code, ``<video>_001_confidence.value`` with a line of no
    meaning. Where the two differ in length, the shorter counts.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is missing or empty, or a line holds something else than a region, a
            code or a confidence.
    """
    path = Path(path)
    run = _with_codes(_read_rows(path, "a code, a box or a polygon"))
    scores = read_confidences(path.with_name(f"{path.stem}_confidence.value"))
    length = min(len(run), len(scores))
    oddities = run.oddities
    if np.isnan(scores[1:length]).any() and "nan" not in oddities:
        oddities = (*oddities, "nan")
    return changed(run.resized(length), scores=scores[:length], oddities=oddities)


def read_confidences(path: str | os.PathLike) -> NDArray:
    """Read the confidences (N,) of a long-term run; that of the first frame is NaN.

    Raises:
        ValueError: If the file is missing or empty, or a line is not one number.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file of confidences")
    data = Path(path).read_bytes()
    if not data:
        raise ValueError(f"{path}: is empty")
    rest = data.partition(b"\n")[2]
    if not rest.strip():
        return np.array([np.nan])
    rows = _parse(path, rest, "a confidence", offset=1)
    rows.check(rows.counts == 1)
    return np.concatenate([[np.nan], rows.values])


def read_times(path: str | os.PathLike) -> NDArray:
    """Read seconds per frame (N, R), one column per repetition.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or its lines differ in length, naming file and line.
    """
    rows = _read_rows(path, "seconds, as many as in the first line")
    rows.check(rows.counts == rows.counts[0])
    return rows.values.reshape(-1, rows.counts[0])


#: Reader of a run by layout, a key of `toolkit.results.formats.LAYOUTS`.
READERS = {
    "flat": read_box_trajectory,
    "got10k": read_box_trajectory,
    "vot": read_reset_trajectory,
    "longterm": read_long_term_trajectory,
}


class _Rows(NamedTuple):
    """Numbers of a text file.

    Attributes:
        path: The file.
        lines: Its text lines, joined.
        expected: What a line should hold, for errors.
        values: (M,) all numbers.
        counts: (N,) how many each line has.
        plain: Whether they are separated by commas.
        offset: Number of lines before the first.
        marked: Whether a byte-order mark came before.
    """

    path: str | os.PathLike
    lines: bytes
    expected: str
    values: NDArray
    counts: NDArray
    plain: bool
    offset: int
    marked: bool = False

    def check(self, good: NDArray) -> None:
        """Raise ValueError naming the first line (N,) that is not good."""
        if not good.all():
            raise self.error(int(np.argmin(good)))

    def error(self, index: int) -> ValueError:
        return _line_error(self.path, self.lines, self.expected, index, self.offset)


def _line_error(
    path: str | os.PathLike, lines: bytes, expected: str, index: int, offset: int
) -> ValueError:
    line = lines.decode("utf-8", "replace").split("\n")[index].rstrip("\r")[:_TEXT_WIDTH]
    return ValueError(f"{path}: line {index + 1 + offset}: expected {expected}, got {line!r}")


def _read_rows(path: str | os.PathLike, expected: str) -> _Rows:
    data = Path(path).read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path}: is UTF-16 text; expected plain ASCII or UTF-8")
    plain = data.removeprefix(codecs.BOM_UTF8)
    return _parse(path, plain, expected)._replace(marked=len(plain) < len(data))


def _parse(path: str | os.PathLike, data: bytes, expected: str, offset: int = 0) -> _Rows:
    lines = data.rstrip()
    if not lines:
        raise ValueError(f"{path}: is empty")
    commas = b"," in lines
    try:
        values, counts = parse_numbers(lines, commas)
    except NotNumbers as error:
        raise _line_error(path, lines, expected, error.index, offset) from None
    plain = commas or bool((counts == 1).all())
    return _Rows(path, lines, expected, values, counts, plain, offset)


def _with_codes(rows: _Rows) -> Trajectory:
    counts, starts = rows.counts, np.cumsum(rows.counts) - rows.counts
    first = rows.values[starts]
    is_code = counts == 1
    known = (first == SKIPPED) | (first == START) | (first == FAILURE)
    rows.check(np.where(is_code, known, (counts >= 4) & (counts % 2 == 0)))
    codes = np.where(is_code, first, REGION).astype(np.int8)
    sizes = np.unique(counts[~is_code]).tolist()
    width = sizes[0] if len(sizes) == 1 else max([4, *sizes])
    regions = np.full((len(counts), width), np.nan)
    for size in sizes:
        lines = np.flatnonzero(counts == size)
        block = rows.values[starts[lines, None] + np.arange(size)]
        regions[lines] = widened(block, width)
    return Trajectory(codes, regions, oddities=_oddities(rows, codes, regions))


def widened(regions: NDArray, width: int) -> NDArray:
    """Regions (N, K) as polygons of ``width`` numbers, unless they have them; see `Trajectory`."""
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

    As in `Trajectory.regions`; a region of fewer than 4 numbers (a code) becomes NaN.
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


def _oddities(rows: _Rows, codes: NDArray, regions: NDArray) -> tuple[str, ...]:
    lost = ~np.isfinite(regions).all(axis=1) & (codes == REGION)
    found = {"nan": lost.any(), "separators": not rows.plain, "mark": rows.marked}
    return tuple(name for name, there in found.items() if there)
