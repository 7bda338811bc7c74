r"""Result files: where they lie and what is in them.

The flat layout is PySOT's for one-pass sets: ``<tracker>/<video>.txt``, one line ``x,y,w,h`` per
frame with Python's shortest text of each number, ``\n`` line ends, no header.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.utils.files import atomic_write

#: Path of a result below the folder of its tracker, by the layout's name.
LAYOUTS: dict[str, Callable[[str], str]] = {"flat": lambda video: f"{video}.txt"}


def result_path(layout: str, tracker: str | os.PathLike, video: str) -> Path:
    """Path of a video's result.

    Args:
        layout: Key of ``LAYOUTS``.
        tracker: Folder of the tracker's results.
        video: Name of the video.
    """
    return Path(tracker) / LAYOUTS[layout](video)


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
    data = Path(path).read_bytes().rstrip()
    boxes = _parse_regular(data)
    return _parse_lines(path, data) if boxes is None else boxes


def _parse_regular(data: bytes) -> NDArray | None:
    """Parse lines of four numbers between commas in one go; None if there is anything else."""
    text = np.frombuffer(data + b"\n", np.uint8)
    marks = text[(text == ord(",")) | (text == ord("\n"))]
    if len(marks) % 4 or (marks.reshape(-1, 4) != tuple(b",,,\n")).any():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how NumPy tells of bad numbers
            values = np.fromstring(data.replace(b"\n", b","), np.float64, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    return values.reshape(-1, 4) if len(values) == len(marks) else None


def _parse_lines(path: str | os.PathLike, data: bytes) -> NDArray:
    """Parse line by line: tabs, spaces, other line ends, and all that is wrong."""
    lines = data.decode("utf-8", "replace").splitlines()
    if not lines:
        raise ValueError(f"{path}: is empty")
    separator = "," if "," in lines[0] else None
    rows = [line.split(separator) for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != 4 or not all(map(_is_number, row)):
            line = lines[number - 1][:60]
            raise ValueError(f"{path}: line {number}: expected 4 numbers x,y,w,h, got {line!r}")
    return np.array([[float(token) for token in row] for row in rows])


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
