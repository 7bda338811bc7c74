"""Reader of numbers in Python: what `toolkit.io._numbers` compiles, for machines without it."""

import re
from itertools import chain

import numpy as np
from numpy.typing import NDArray

# Of the text that ``float`` takes this leaves out underscores and digits beyond ASCII.
_FOREIGN = re.compile(rb"[^-+.,0-9a-zA-Z \t\r\n]")


def parse(data: bytes, commas: bool) -> tuple[NDArray, NDArray] | int:
    r"""Read the numbers of a text line by line.

    Args:
        data: Lines that end in ``\n``, the last one without.
        commas: Whether commas separate the numbers; else spaces and tabs do.

    Returns:
        All numbers (M,) float64 and how many each line has (N,) int64; or the index of the first
        line that holds anything else or nothing.
    """
    separator = b"," if commas else None
    lines = data.split(b"\n")
    rows = [line.split(separator) for line in lines]
    counts = np.array([len(row) for row in rows], np.int64)
    if not _FOREIGN.search(data) and counts.all():
        try:
            return np.array([*map(float, chain.from_iterable(rows))]), counts
        except ValueError:
            pass
    return next(index for index, line in enumerate(lines) if not _is_numbers(line, separator))


def _is_numbers(line: bytes, separator: bytes | None) -> bool:
    try:
        return not _FOREIGN.search(line) and bool([*map(float, line.split(separator))])
    except ValueError:
        return False
