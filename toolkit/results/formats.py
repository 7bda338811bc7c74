r"""Result files: where they lie, and how they are written and read.

All are text with ``\n`` line ends, one line per frame, no header (PySOT's formats). A box or a
polygon is written ``x,y,w,h`` or ``x1,y1,...,x4,y4``:

========  ===============================================  =====================================
layout    files of a video below the tracker's folder      numbers
========  ===============================================  =====================================
flat      ``V.txt``                                        Python's shortest text
vot       ``baseline/V/V_001.txt``                         ``%.4f`` of the 32-bit float; codes
                                                           ``1`` start, ``2`` failure, ``0`` skipped
longterm  ``longterm/V/V_001.txt``, ``V_001_confidence     shortest text, first line ``1``; scores
          .value``, ``V_time.txt``                         ``%.6f``, first line empty; seconds
got10k    ``V/V_001.txt``, ``V_time.txt``                  shortest text; seconds ``%.6f``, a column
                                                           per repetition
masks     ``V/<frame>.png``                                label images, see `toolkit.io.labels`
========  ===============================================  =====================================

Repetitions have the numbers 001, 002, ... in place of 001. Text is read as it is written; tabs and
spaces between the numbers and a byte-order mark are read too, and noted in `Trajectory.warnings`,
as are NaN and infinite numbers. Anything else is an error that names file and line.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.regions import widened
from toolkit.io.boxes import NumberLines, parse_number_lines, read_number_lines
from toolkit.io.files import atomic_write
from toolkit.io.labels import read_labels, write_labels
from toolkit.results.trajectory import Code, Trajectory

#: What `Trajectory.warnings` notes.
WARNINGS = {
    "nan": "NaN or infinite numbers",
    "separators": "other separators than commas",
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


class Layout(ABC):
    """Where the files of a run lie, and what is in them.

    Attributes:
        regions: Path below the tracker's folder, with ``{video}`` and ``{run:03d}``.
        scores: Likewise; None if the layout has no such file.
        times: Likewise.
    """

    regions: ClassVar[str]
    scores: ClassVar[str | None] = None
    times: ClassVar[str | None] = None

    def files(self, tracker: str | os.PathLike, video: str, repetition: int = 1) -> ResultFiles:
        """Return the paths of a run below the folder of a tracker; repetitions count from 1."""
        patterns = (self.regions, self.scores, self.times)
        names = (text and text.format(video=video, run=repetition) for text in patterns)
        return ResultFiles(*(name and Path(tracker, name) for name in names))

    @abstractmethod
    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Write the results of a run, each file whole or not at all, and the regions last.

        Raises:
            OSError: If a file cannot be written.
        """

    @abstractmethod
    def read(self, files: ResultFiles) -> Trajectory:
        """Read the results of a run, without its times.

        Raises:
            FileNotFoundError: If there are none.
            ValueError: If a file is empty or has a line of something else, naming both.
        """


class _Flat(Layout):
    """A file of boxes: OTB, LaSOT, TrackingNet and others."""

    regions = "{video}.txt"

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        write_boxes(files.regions, trajectory.regions)

    def read(self, files: ResultFiles) -> Trajectory:
        lines = read_number_lines(files.regions, "4 numbers x,y,w,h")
        lines.check(lines.counts == 4)
        boxes = lines.values.reshape(-1, 4)
        return _read_into(lines, np.full(len(boxes), Code.REGION, np.int8), boxes)


class _GOT10k(_Flat):
    """A file of boxes per repetition, and one of times for all of them."""

    regions = "{video}/{video}_{run:03d}.txt"
    times = "{video}/{video}_time.txt"

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Write boxes; the times go into a column of their own beside those before."""
        columns = [f"{seconds:.6f}" for seconds in trajectory.seconds]
        if repetition > 1:
            earlier = files.times.read_text(encoding="utf-8").splitlines()
            columns = [f"{a},{b}" for a, b in zip(earlier, columns, strict=True)]
        _write_lines(files.times, columns)
        super().write(files, trajectory)


class _VOT(Layout):
    """A file per repetition of codes, boxes and polygons: VOT's reset protocol."""

    regions = "baseline/{video}/{video}_{run:03d}.txt"

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        numbers = [[f"{np.float32(value):.4f}" for value in box] for box in trajectory.regions]
        _write_with_codes(files.regions, trajectory.codes, numbers)

    def read(self, files: ResultFiles) -> Trajectory:
        return _read_with_codes(files.regions)


class _LongTerm(Layout):
    """Regions and confidences of VOT's long-term experiment."""

    regions = "longterm/{video}/{video}_{run:03d}.txt"
    scores = "longterm/{video}/{video}_{run:03d}_confidence.value"
    times = "longterm/{video}/{video}_time.txt"

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Write three files; a code stands for the first region, an empty line for its score."""
        _write_lines(files.scores, ["", *(f"{score:.6f}" for score in trajectory.scores[1:])])
        _write_lines(files.times, [f"{seconds:.6f}" for seconds in trajectory.seconds])
        codes = [Code.STARTED, *trajectory.codes[1:]]
        _write_with_codes(files.regions, codes, trajectory.regions)

    def read(self, files: ResultFiles) -> Trajectory:
        """Read two files; where regions and confidences differ in number, the fewer count."""
        found = _read_with_codes(files.regions)
        scores = _read_scores(files.scores)
        length = min(len(found), len(scores))
        warnings = found.warnings
        if np.isnan(scores[1:length]).any() and "nan" not in warnings:
            warnings = (*warnings, "nan")
        return replace(found.resized(length), scores=scores[:length], warnings=warnings)


class _Masks(Layout):
    """A folder of label images: DAVIS and YouTube-VOS."""

    regions = "{video}"

    def write(self, files: ResultFiles, trajectory: Trajectory, repetition: int = 1) -> None:
        """Replace the folder as a whole."""
        folder = files.regions
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            for name, labels in zip(trajectory.frame_names, trajectory.masks, strict=True):
                write_labels(mask_path(temporary, name), labels)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def read(self, files: ResultFiles) -> Trajectory:
        """Read all masks that are there, in the order of their names."""
        names = sorted(path.stem for path in files.regions.glob("*.png"))
        if not names:
            raise FileNotFoundError(f"{files.regions}: there is no mask")
        found = Trajectory(frame_names=names)
        for name in names:
            found.append()
            found.masks.append(read_labels(mask_path(files.regions, name)))
        return found


_REGION, _SKIPPED, _STARTED, _LOST = map(int, Code)  # arrays are slower to compare with an enum

#: Layouts by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
LAYOUTS: dict[str, Layout] = {
    "flat": _Flat(),
    "vot": _VOT(),
    "longterm": _LongTerm(),
    "got10k": _GOT10k(),
    "masks": _Masks(),
}


def mask_path(folder: Path, frame: str | os.PathLike) -> Path:
    """Return the path of a frame's mask; the frame is a path or a name, maybe without suffix."""
    return folder / f"{Path(frame).stem}.png"


def write_boxes(path: str | os.PathLike, boxes: Iterable[Sequence[float]]) -> None:
    """Write boxes x, y, w, h, each number as ``str()`` has it, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    _write_lines(path, (",".join(map(str, box)) for box in boxes))


def read_boxes(path: str | os.PathLike) -> NDArray:
    """Read a file of boxes (N, 4) x, y, w, h; see `Layout.read`. NaN is a frame without a box."""
    return _Flat().read(ResultFiles(Path(path))).boxes


def read_times(path: str | os.PathLike) -> NDArray:
    """Read seconds per frame (N, R), one column per repetition; errors as in `Layout.read`."""
    lines = read_number_lines(path, "seconds, as many as in the first line")
    lines.check(lines.counts == lines.counts[0])
    return lines.values.reshape(-1, lines.counts[0])


def _write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_with_codes(
    path: Path, codes: Iterable[int], regions: Iterable[Iterable[float | str]]
) -> None:
    _write_lines(
        path,
        (
            ",".join(map(str, region)) if code == Code.REGION else str(int(code))
            for code, region in zip(codes, regions, strict=True)
        ),
    )


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


def _read_with_codes(path: Path) -> Trajectory:
    lines = read_number_lines(path, "a code 0, 1 or 2, a box or a polygon")
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
    return _read_into(lines, codes, regions)


def _read_into(lines: NumberLines, codes: NDArray, regions: NDArray) -> Trajectory:
    lost = ~np.isfinite(regions).all(axis=1) & (codes == _REGION)
    found = {"nan": lost.any(), "separators": not lines.commas, "mark": lines.marked}
    warnings = tuple(name for name, there in found.items() if there)
    return Trajectory(codes, regions, scores=None, warnings=warnings)
