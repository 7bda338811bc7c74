r"""Result files: where they lie and what is in them.

The flat layout is PySOT's for one-pass sets: ``<tracker>/<video>.txt``, one line ``x,y,w,h`` per
frame with Python's shortest text of each number, ``\n`` line ends, no header.
"""

import os
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
    text = Path(path).read_bytes().decode("utf-8", "replace").rstrip()
    lines = text.splitlines()
    if not lines:
        raise ValueError(f"{path}: is empty")
    separator = "," if "," in text else None
    tokens = text.replace("\n", ",").split(",") if separator else text.split()
    if {_width(line, separator) for line in lines} <= {4}:
        try:
            values = np.fromiter(map(float, tokens), np.float64, len(tokens))
            return values.reshape(len(lines), 4)
        except ValueError:
            pass  # the line at fault is looked for below
    raise ValueError(_describe_fault(path, lines, separator))


def _width(line: str, separator: str | None) -> int:
    return line.count(",") + 1 if separator else len(line.split())


def _describe_fault(path: str | os.PathLike, lines: list[str], separator: str | None) -> str:
    for number, line in enumerate(lines, 1):
        tokens = line.split(separator)
        if len(tokens) != 4 or not all(map(_is_number, tokens)):
            return f"{path}: line {number}: expected 4 numbers x,y,w,h, got {line[:60]!r}"
    return f"{path}: unusual line ends"


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
