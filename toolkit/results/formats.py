r"""Result files: where they lie, and how they are written and read.

All are text with ``\n`` line ends, one line per frame, no header (PySOT's formats; the paths are in
`LAYOUTS`). A box or a polygon is written ``x,y,w,h`` or ``x1,y1,...,x4,y4`` with each number in
Python's shortest text, in ``vot`` as ``%.4f`` of the 32-bit float. A code in its place is ``1``
start, ``2`` failure, ``0`` skipped. Scores and seconds are ``%.6f``. In ``longterm`` the first
region is ``1`` and the first score an empty line. Masks are label images, see `toolkit.io.images`.

Text is read as it is written; tabs and spaces between the numbers and a byte-order mark are read
too, and noted in `Trajectory.warnings`, as are NaN and infinite numbers. Anything else is an error
that names file and line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.io.boxes import NumberLines, parse_number_lines, read_number_lines, widened
from toolkit.io.files import atomic_folder, atomic_write
from toolkit.io.images import read_labels, write_labels
from toolkit.io.tables import Table
from toolkit.results.trajectory import Code, Trajectory

#: What `Trajectory.warnings` notes.
WARNINGS = {
    "nan": "NaN or infinite numbers",
    "separators": "other separators than commas",
    "header": "a header line",
    "mark": "a byte-order mark",
}


@dataclass(frozen=True)
class ResultFiles:
    """Paths of the results of one run; ``regions`` is the folder in a layout of masks."""

    regions: Path
    scores: Path | None = None
    times: Path | None = None

    def all(self) -> list[Path]:
        """Return the paths that the layout has."""
        return [path for path in (self.regions, self.scores, self.times) if path is not None]


@dataclass(frozen=True)
class Layout:
    """Where the files of a run lie below a tracker's folder, and what is in them.

    Paths have ``{video}`` and ``{run:03d}`` in them; None if the layout has no such file.
    """

    regions: str
    scores: str | None = None  # the first frame has none
    times: str | None = None  # every repetition adds a column
    codes: str = ""  # which may stand in a line, in words, as may a polygon; if empty, only boxes
    number: Callable[[float], str] = str  # text of a number of a region
    # where other toolkits put a run, each as the first three fields say it
    others: tuple[tuple[str, str | None, str | None], ...] = ()

    def files(self, tracker: str | os.PathLike, video: str, repetition: int = 1) -> ResultFiles:
        """Return the paths of a run; repetitions count from 1."""
        patterns = (self.regions, self.scores, self.times)
        names = (text and text.format(video=video, run=repetition) for text in patterns)
        return ResultFiles(*(name and Path(tracker, name) for name in names))

    def places(self) -> list[Layout]:
        """Return the layout itself, then one for each of ``others``."""
        found = (replace(self, regions=r, scores=s, times=t) for r, s, t in self.others)
        return [self, *found]

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Write the results of a run, each file whole or not at all, and the regions last."""
        codes = trajectory.codes
        if files.scores:
            codes = [Code.STARTED, *codes[1:]]
            _write_lines(files.scores, ["", *(f"{score:.6f}" for score in trajectory.scores[1:])])
        if files.times:
            column = [f"{seconds:.6f}" for seconds in trajectory.seconds]
            if repetition > 1:
                earlier = files.times.read_text(encoding="utf-8").splitlines()
                column = [f"{a},{b}" for a, b in zip(earlier, column, strict=True)]
            _write_lines(files.times, column)
        lines = (
            ",".join(map(self.number, region)) if code == Code.REGION else str(int(code))
            for code, region in zip(codes, trajectory.regions, strict=True)
        )
        _write_lines(files.regions, lines)

    def read(self, files: ResultFiles) -> Trajectory:
        """Read the results of a run, without its times.

        Where regions and scores differ in number, the fewer count.

        Raises:
            FileNotFoundError: If there are none.
            ValueError: If a file is empty or has a line of something else, naming both.
        """
        if self.codes:
            found = _read_with_codes(files.regions, f"{self.codes}, a box or a polygon")
        else:
            found = _read_boxes(files.regions)
        if files.scores is None:
            return found
        scores, warnings = _read_scores(files.scores), found.warnings
        length = min(len(found), len(scores))
        if np.isnan(scores[1:length]).any() and "nan" not in warnings:
            warnings = (*warnings, "nan")
        return replace(found.resized(length), scores=scores[:length], warnings=warnings)


class _Masks(Layout):
    """A folder of label images, one per frame."""

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Replace the folder as a whole."""
        with atomic_folder(files.regions) as folder:
            for name, labels in zip(trajectory.frame_names, trajectory.masks, strict=True):
                write_labels(mask_path(folder, name), labels)

    def read(self, files: ResultFiles) -> Trajectory:
        """Read all masks that are there, in the order of their names."""
        names = sorted(path.stem for path in files.regions.glob("*.png"))
        if not names:
            raise FileNotFoundError(f"{files.regions}: there is no mask")
        found = Trajectory(frame_names=names)
        for name in names:
            found.append()
            found.masks.append(read_labels(mask_path(files.regions, name), exact=True))
        return found


_REGION, _SKIPPED, _STARTED, _LOST = map(int, Code)  # arrays are slower to compare with an enum

#: Layouts by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
LAYOUTS: Table[Layout] = Table(
    "layout",
    {
        "flat": Layout(
            "{video}.txt",
            others=(
                ("{video}_{run:03d}.txt", None, None),
                ("{video}/{video}_{run:03d}.txt", None, "{video}/{video}_time.txt"),
            ),
        ),
        "vot": Layout(
            "baseline/{video}/{video}_{run:03d}.txt",
            codes="a code 0, 1 or 2",
            number=lambda value: f"{np.float32(value):.4f}",
            others=(("{video}/{video}_{run:03d}.txt", None, None),),
        ),
        "longterm": Layout(
            "longterm/{video}/{video}_{run:03d}.txt",
            "longterm/{video}/{video}_{run:03d}_confidence.value",
            "longterm/{video}/{video}_time.txt",
            codes="a code",
            others=(
                (
                    "{video}/{video}_{run:03d}.txt",
                    "{video}/{video}_{run:03d}_confidence.value",
                    "{video}/{video}_time.txt",
                ),
            ),
        ),
        "got10k": Layout(
            "{video}/{video}_{run:03d}.txt",
            times="{video}/{video}_time.txt",
            others=(
                ("{video}_{run:03d}.txt", None, "{video}_time.txt"),
                ("{video}.txt", None, "{video}_time.txt"),
                ("{video}/{video}.txt", None, "{video}/{video}_time.txt"),
            ),
        ),
        "masks": _Masks("{video}"),
    },
)


def mask_path(folder: Path, frame: str | os.PathLike) -> Path:
    """Return the path of a frame's mask; the frame is a path or a name, maybe without suffix."""
    return folder / f"{Path(frame).stem}.png"


def read_times(path: str | os.PathLike) -> NDArray:
    """Read seconds per frame (N, R), one column per repetition; errors as in `Layout.read`."""
    lines = read_number_lines(path, "seconds, as many as in the first line")
    lines.check(lines.counts == lines.counts[0])
    return lines.values.reshape(-1, lines.counts[0])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def _read_boxes(path: Path) -> Trajectory:
    lines = read_number_lines(path, "4 numbers x,y,w,h")
    lines.check(lines.counts == 4)
    boxes = lines.values.reshape(-1, 4)
    return _trajectory(lines, np.full(len(boxes), _REGION, np.int8), boxes)


def _read_scores(path: Path) -> NDArray:
    """Read confidences (N,); the line of the first frame has no meaning and gives NaN."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of confidences")
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path}: is empty")
    rest = data.partition(b"\n")[2]
    if not rest.strip():
        return np.array([np.nan])
    lines = parse_number_lines(path, rest, "a confidence", offset=1)
    lines.check(lines.counts == 1)
    return np.concatenate([[np.nan], lines.values])


def _read_with_codes(path: Path, expected: str) -> Trajectory:
    lines = read_number_lines(path, expected)
    counts, starts = lines.counts, np.cumsum(lines.counts) - lines.counts
    first = lines.values[starts]
    is_code = counts == 1
    known = (first == _SKIPPED) | (first == _STARTED) | (first == _LOST)
    lines.check(np.where(is_code, known, (counts >= 4) & (counts % 2 == 0)))
    codes = np.where(is_code, first, _REGION).astype(np.int8)
    sizes = np.unique(counts[~is_code]).tolist()
    width = sizes[0] if len(sizes) == 1 else max([4, *sizes])
    regions = np.full((len(counts), width), np.nan)
    for size in sizes:
        frames = np.flatnonzero(counts == size)
        block = lines.values[starts[frames, None] + np.arange(size)]
        regions[frames] = widened(block, width)
    return _trajectory(lines, codes, regions)


def _trajectory(lines: NumberLines, codes: NDArray, regions: NDArray) -> Trajectory:
    lost = ~np.isfinite(regions).all(axis=1) & (codes == _REGION)
    found = {
        "nan": lost.any(),
        "separators": not lines.commas,
        "header": lines.headed,
        "mark": lines.marked,
    }
    warnings = tuple(name for name, there in found.items() if there)
    return Trajectory(codes, regions, scores=None, warnings=warnings)
