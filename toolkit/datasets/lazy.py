"""Lists whose content is made when it is looked at.

Most of a large JSON is names of images, which scoring does not need, and boxes, which it needs as
an array: `read_records` leaves both as text.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from numpy.typing import NDArray

from toolkit.datasets.regions import NAN, Region
from toolkit.io.boxes import NotNumbers, parse_numbers

_BLANK = b" \t\r\n"
_MARK = "\0"  # begins the text that stands for a list which was set aside
_ESCAPED_MARK = b"\\u0000"


class LateList(Sequence):
    """A list whose JSON text is read when an item is asked for.

    Args:
        text: The list as JSON.
        length: How many items it has.
    """

    def __init__(self, text: bytes, length: int) -> None:
        self._text, self._length = text, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """An item, or the list of a slice."""
        return self._items[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    @cached_property
    def _items(self) -> list[Any]:
        return json.loads(self._text)


class LateRows(LateList):
    """A list of rows of numbers, all of one length.

    Attributes:
        values: The numbers, (N, K) float64.
    """

    def __init__(self, text: bytes, values: NDArray) -> None:
        super().__init__(text, len(values))
        self.values = values

    @cached_property
    def _items(self) -> list[list[float]]:
        try:
            return json.loads(self._text)
        except ValueError:  # numbers that JSON does not have, such as .5
            return self.values.tolist()


def read_records(data: bytes) -> Any:
    """Read the JSON of a set; regular lists of names and boxes become `LateList`, `LateRows`.

    Raises:
        ValueError: If the text is not valid JSON.
    """
    if _ESCAPED_MARK not in data:
        skeleton, found = _set_aside(data)
        records = json.loads(skeleton)
        if _put_back(records, found):
            return records
    return json.loads(data)  # something looks like a mark, or a list is not where a set has it


def _set_aside(data: bytes) -> tuple[bytes, list[LateList]]:
    """Replace the regular lists by marks."""
    parts, found, position = [], [], 0
    for begin, end, kind in _spans(data):
        made = kind(data[begin:end])
        if made is not None and begin >= position:
            parts += [data[position:begin], json.dumps(f"{_MARK}{len(found)}").encode()]
            found.append(made)
            position = end
    return b"".join((*parts, data[position:])), found


def _spans(data: bytes) -> list[tuple[int, int, Any]]:
    """Where lists of names and boxes begin and perhaps end; what lies there is still unknown."""
    spans = []
    for key, closing, kind in ((b'"img_names"', b"]", _names), (b'"gt_rect"', b"]]", _rows)):
        begin = data.find(key)
        while begin >= 0:
            colon = begin + len(key)
            opening = data.find(b"[", colon)
            end = data.find(closing, opening)
            if opening >= 0 and end >= 0 and data[colon:opening].strip(_BLANK) == b":":
                spans.append((opening, end + len(closing), kind))
            begin = data.find(key, colon)
    return sorted(spans, key=lambda span: span[:2])


def _names(text: bytes) -> LateList | None:
    """List of texts without escapes; None if it is something else.

    If the first and the last quote are at the ends, and all others belong to separators, then
    nothing stands between two texts but a separator.
    """
    quotes = text.count(b'"')
    ends = text[:2] == b'["' and text[-2:] == b'"]'
    separators = max(text.count(b'", "'), text.count(b'","'))
    if ends and quotes == 2 * separators + 2 and b"\\" not in text:
        return LateList(text, separators + 1)
    return None


def _rows(text: bytes) -> LateRows | None:
    """List of lists of 4 or of 8 numbers; None if it is something else."""
    plain = text.translate(None, _BLANK)
    if plain[:2] != b"[[" or b"n" in plain:  # in null and Infinity, but not in NaN
        return None
    try:
        values, counts = parse_numbers(plain[2:-2].replace(b"],[", b"\n"))
    except NotNumbers:
        return None
    width = int(counts[0])
    if width not in (4, 8) or (counts != width).any():
        return None
    return LateRows(text, values.reshape(-1, width))


def _put_back(records: Any, found: Sequence[LateList]) -> bool:
    """Put the lists in place of their marks; tell whether all were where they belong."""
    count = 0
    for record in records.values() if isinstance(records, dict) else ():
        for field in ("img_names", "gt_rect") if isinstance(record, dict) else ():
            value = record.get(field)
            if isinstance(value, str) and value[:1] == _MARK:
                record[field] = found[int(value[1:])]
                count += 1
    return count == len(found)


class MaskBoxes(Sequence):
    """The box around a mask per frame, read from the mask's file when it is asked for.

    A frame without a mask, and one whose mask is empty, has a box of NaN.

    Args:
        paths: File of the mask per frame, or None.
    """

    def __init__(self, paths: Sequence[str | None]) -> None:
        self._paths = list(paths)
        self._boxes: dict[int, Region] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> "MaskBoxes": ...
    def __getitem__(self, index: Any) -> Any:
        """Box x, y, w, h in pixels, or the boxes of a slice."""
        if isinstance(index, slice):
            return MaskBoxes(self._paths[index])
        index = range(len(self))[index]
        if index not in self._boxes:
            self._boxes[index] = _box(self._paths[index])
        return self._boxes[index]


def _box(path: str | None) -> Region:
    from toolkit.io.labels import mask_box, read_labels

    labels = None if path is None else read_labels(path)
    return mask_box(labels) if labels is not None and labels.any() else [NAN] * 4
