r"""Result files: where they lie and what is in them.

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

Repetitions have the numbers 001, 002, ... in place of 001.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.io.files import atomic_write
from toolkit.results.reading import read_boxes

if TYPE_CHECKING:
    from toolkit.protocols import Run

__all__ = [
    "LAYOUTS",
    "Layout",
    "ResultFiles",
    "count_lost",
    "is_finished",
    "read_boxes",
    "remove_results",
    "result_files",
    "result_path",
    "vot_line",
    "write_boxes",
    "write_run",
]


@dataclass(frozen=True)
class ResultFiles:
    """Paths of the results of one run; only the first is there in every layout."""

    regions: Path
    """Boxes, polygons and codes, or the folder of the masks."""
    scores: Path | None = None
    times: Path | None = None

    def all(self) -> list[Path]:
        """Those that the layout has."""
        return [path for path in (self.regions, self.scores, self.times) if path is not None]

    def discard(self) -> None:
        """Delete the regions, without which the run counts as missing."""
        _remove(self.regions)


@dataclass(frozen=True)
class Layout:
    """Where the files of a run lie and how they are written.

    Attributes:
        regions: Path below the tracker's folder, with ``{video}`` and ``{run:03d}``.
        write: Writes the files of a `toolkit.protocols.Run`; ``regions`` comes last, so that its
            presence means that all are there.
        scores: As ``regions``; None if the layout has no such file.
        times: Likewise.
    """

    regions: str
    write: Callable[[ResultFiles, Run, int], None]
    scores: str | None = None
    times: str | None = None

    def files(self, tracker: str | os.PathLike, video: str, repetition: int = 1) -> ResultFiles:
        """Paths of a run; repetitions count from 1."""
        patterns = (self.regions, self.scores, self.times)
        names = (text and text.format(video=video, run=repetition) for text in patterns)
        return ResultFiles(*(name and Path(tracker) / name for name in names))


def result_files(
    layout: str, tracker: str | os.PathLike, video: str, repetition: int = 1
) -> ResultFiles:
    """Paths of the results of a video.

    Args:
        layout: Key of ``LAYOUTS``.
        tracker: Folder of the tracker's results.
        video: Name of the video.
        repetition: Number of the run, from 1.
    """
    return LAYOUTS[layout].files(tracker, video, repetition)


def result_path(layout: str, tracker: str | os.PathLike, video: str, repetition: int = 1) -> Path:
    """Path of a video's regions; the arguments are those of `result_files`."""
    return result_files(layout, tracker, video, repetition).regions


def write_run(files: ResultFiles, layout: str, run: Run, repetition: int = 1) -> None:
    """Write the results of a run, each file whole or not at all.

    Args:
        files: From `result_files`.
        layout: Key of ``LAYOUTS``.
        run: What the tracker said.
        repetition: Number of the run, from 1.

    Raises:
        OSError: If a file cannot be written.
    """
    LAYOUTS[layout].write(files, run, repetition)


def is_finished(files: ResultFiles, num_frames: int, repetition: int = 1) -> bool:
    """Tell whether the results of a run are there, with an entry per frame in each file.

    Args:
        files: From `result_files`.
        num_frames: Frames of the video.
        repetition: Number of the run, from 1.
    """
    if files.regions.is_dir():
        return len(list(files.regions.glob("*.png"))) == num_frames
    if not all(path.is_file() for path in files.all()):
        return False
    lines = {path: path.read_bytes().splitlines() for path in files.all()}
    if any(len(found) != num_frames for found in lines.values()):
        return False
    times = lines.get(files.times)
    return times is None or times[0].count(b",") + 1 >= repetition


def remove_results(layout: str, tracker: str | os.PathLike, video: str) -> None:
    """Delete the results of a video, those of all repetitions, if there are any."""
    for repetition in count(1):
        files = result_files(layout, tracker, video, repetition)
        if not files.regions.exists():
            return
        for path in files.all():
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def count_lost(path: str | os.PathLike) -> int:
    """Number of failures (lines ``2``) in a result file of the reset protocol."""
    return Path(path).read_bytes().splitlines().count(b"2")


def write_boxes(path: str | os.PathLike, boxes: Iterable[Sequence[float]]) -> None:
    """Write one line of numbers per frame, whole or not at all.

    Args:
        path: The file; its folder is made if needed.
        boxes: x, y, w, h per frame. Each number is written as ``str()`` has it, so ints stay
            ints and floats read back to the same value.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_write(path) as file:
        file.writelines(",".join(map(str, box)) + "\n" for box in boxes)


def vot_line(region: Sequence[float]) -> str:
    """Text of a region or of a code (one number) in a result file of the reset protocol."""
    if len(region) == 1:
        return str(int(region[0]))
    return ",".join(f"{np.float32(value):.4f}" for value in region)


def _write_flat(files: ResultFiles, run: Run, repetition: int) -> None:
    write_boxes(files.regions, run.regions)


def _write_vot(files: ResultFiles, run: Run, repetition: int) -> None:
    with atomic_write(files.regions) as file:
        file.writelines(vot_line(region) + "\n" for region in run.regions)


def _write_longterm(files: ResultFiles, run: Run, repetition: int) -> None:
    with atomic_write(files.scores) as file:
        file.writelines(["\n", *(f"{score:.6f}\n" for score in run.scores[1:])])
    with atomic_write(files.times) as file:
        file.writelines(f"{seconds:.6f}\n" for seconds in run.seconds)
    write_boxes(files.regions, [[1], *run.regions[1:]])


def _write_got10k(files: ResultFiles, run: Run, repetition: int) -> None:
    columns = [f"{seconds:.6f}" for seconds in run.seconds]
    if repetition > 1:
        earlier = files.times.read_text(encoding="utf-8").splitlines()
        columns = [f"{a},{b}" for a, b in zip(earlier, columns, strict=True)]
    with atomic_write(files.times) as file:
        file.writelines(f"{line}\n" for line in columns)
    write_boxes(files.regions, run.regions)


def _write_masks(files: ResultFiles, run: Run, repetition: int) -> None:
    from toolkit.io.labels import write_labels

    temporary = files.regions.with_name(f".{files.regions.name}.{os.getpid()}")
    try:
        for name, labels in zip(run.frame_names, run.labels, strict=True):
            write_labels(temporary / f"{name}.png", labels)
        if files.regions.exists():
            shutil.rmtree(files.regions)
        os.replace(temporary, files.regions)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


#: Layouts by the name that `toolkit.datasets.benchmarks.Benchmark` uses.
LAYOUTS: dict[str, Layout] = {
    "flat": Layout("{video}.txt", _write_flat),
    "vot": Layout("baseline/{video}/{video}_{run:03d}.txt", _write_vot),
    "longterm": Layout(
        "longterm/{video}/{video}_{run:03d}.txt",
        _write_longterm,
        scores="longterm/{video}/{video}_{run:03d}_confidence.value",
        times="longterm/{video}/{video}_time.txt",
    ),
    "got10k": Layout(
        "{video}/{video}_{run:03d}.txt", _write_got10k, times="{video}/{video}_time.txt"
    ),
    "masks": Layout("{video}", _write_masks),
}
