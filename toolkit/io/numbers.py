"""Numbers from the lines of a text, fast and exact.

A line holds numbers as Python's ``float`` reads them, ``nan`` and ``inf`` in any case included,
without underscores; spaces and tabs around them do not matter. Every value is the double next to
its text, as ``float`` has it.
"""

from types import ModuleType

from numpy.typing import NDArray

from toolkit.utils.compiled import compiled_or_not

_TEXT_WIDTH = 60  # characters of a line that its error shows


class NotNumbers(ValueError):
    """A line holds something else than numbers.

    Attributes:
        index: Which line, from 0.
        text: What it holds.
    """

    def __init__(self, index: int, text: str) -> None:
        shown = repr(text[:_TEXT_WIDTH])
        super().__init__(f"line {index + 1}: expected numbers, got {shown}")
        self.index, self.text = index, text


def parse_numbers(data: bytes, commas: bool = True) -> tuple[NDArray, NDArray]:
    r"""Read the numbers of a text line by line.

    Args:
        data: Lines between ``\n`` or ``\r\n``; after the last line there is none.
        commas: Whether a comma stands between two numbers; else spaces or tabs do.

    Returns:
        All numbers (M,) float64 in the order of the text, and how many each line has, (N,) int64.

    Raises:
        NotNumbers: If a line is empty or holds anything else; names the first one.
    """
    found = _backend().parse(data, commas)
    if isinstance(found, int):
        line = data.split(b"\n")[found].rstrip(b"\r")
        raise NotNumbers(found, line.decode("utf-8", "replace"))
    return found


def _backend() -> ModuleType:
    return compiled_or_not("toolkit.io._numbers", "toolkit.io._numbers_python")
