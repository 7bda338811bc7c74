"""Text files of numbers, line by line."""

import codecs
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.io.boxes import NotNumbers, parse_numbers

_TEXT_WIDTH = 60  # characters of a faulty line that an error shows


class Rows(NamedTuple):
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
            index = int(np.argmin(good))
            raise _line_error(self.path, self.lines, self.expected, index, self.offset)


def _line_error(
    path: str | os.PathLike, lines: bytes, expected: str, index: int, offset: int
) -> ValueError:
    line = lines.decode("utf-8", "replace").split("\n")[index].rstrip("\r")[:_TEXT_WIDTH]
    return ValueError(f"{path}: line {index + 1 + offset}: expected {expected}, got {line!r}")


def read_rows(path: str | os.PathLike, expected: str) -> Rows:
    """Read a file; ``expected`` says what a line should hold."""
    data = Path(path).read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path}: is UTF-16 text; expected plain ASCII or UTF-8")
    plain = data.removeprefix(codecs.BOM_UTF8)
    return parse_rows(path, plain, expected)._replace(marked=len(plain) < len(data))


def parse_rows(path: str | os.PathLike, data: bytes, expected: str, offset: int = 0) -> Rows:
    """Read lines of numbers, of which ``offset`` went before."""
    lines = data.rstrip()
    if not lines:
        raise ValueError(f"{path}: is empty")
    commas = b"," in lines
    try:
        values, counts = parse_numbers(lines, commas)
    except NotNumbers as error:
        raise _line_error(path, lines, expected, error.index, offset) from None
    plain = commas or bool((counts == 1).all())
    return Rows(path, lines, expected, values, counts, plain, offset)
