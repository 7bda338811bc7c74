"""Decoding of a part of a JPEG file that has restart markers.

Between two restart markers a JPEG file stands alone: nothing before is needed to decode it. Where
markers lie at least once in every row of blocks, the stretches that cover a rectangle can be put
behind the file's own header, with another height and width, and make a smaller file of the same
pixels (ITU-T T.81, sections B.2 and E.1.4). Decoding it takes time for its own size only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BASELINE, _EXTENDED, _RESTART, _SCAN = 0xC0, 0xC1, 0xDD, 0xDA
_MARGIN = 2  # pixels around a part whose colours leak into it: half-size colours are interpolated
_MAX_HEADER = 4096


@dataclass(frozen=True)
class Header:
    """What the beginning of a JPEG file says.

    Attributes:
        height: Of the image in pixels.
        width: Of the image.
        tile: (w, h) in pixels of what lies between two restart markers; None where parts cannot be
            decoded alone.
        size_at: Place of height and width, two bytes each, in the file.
        end: Length of the header in bytes.
    """

    height: int
    width: int
    tile: tuple[int, int] | None
    size_at: int
    end: int


def read_header(content: bytes) -> Header | None:
    """Read the header of a JPEG file; None where it is none, or of another kind than baseline."""
    at = _scan_start(content)
    return _parse(content[:at]) if at else None


def _scan_start(content: bytes) -> int:
    at = 2
    while 0 < at < _MAX_HEADER and content[at : at + 1] == b"\xff":
        marker = content[at + 1]
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _SCAN:
            return at if at <= len(content) else 0
    return 0


@functools.lru_cache(maxsize=256)
def _parse(header: bytes) -> Header | None:
    segments, at = {}, 2
    while at < len(header):
        segments[header[at + 1]] = at + 4
        at += 2 + int.from_bytes(header[at + 2 : at + 4], "big")
    frame = segments.get(_BASELINE, segments.get(_EXTENDED))
    if frame is None:
        return None
    height = int.from_bytes(header[frame + 1 : frame + 3], "big")
    width = int.from_bytes(header[frame + 3 : frame + 5], "big")
    samplings = [header[frame + 7 + 3 * number] for number in range(header[frame + 5])]
    block = 8 * max(s >> 4 for s in samplings), 8 * max(s & 15 for s in samplings)
    restart = segments.get(_RESTART)
    every = int.from_bytes(header[restart : restart + 2], "big") if restart else 0
    fits = every > 0 and -(-width // block[0]) % every == 0
    tile = (block[0] * every, block[1]) if fits else None
    return Header(height, width, tile, frame + 1, len(header))


def cut_tiles(
    content: bytes, header: Header, x1: int, y1: int, x2: int, y2: int
) -> tuple[NDArray, int, int] | None:
    """Make a JPEG file of the tiles around a rectangle.

    Args:
        content: The whole file.
        header: Its header; ``tile`` is not None.
        x1: First column of the rectangle.
        y1: First row.
        x2: Column behind the last one.
        y2: Row behind the last one.

    Returns:
        The file, (n,) uint8, and the column and row of its first pixel; None if the file does not
        have the markers that its header promises.
    """
    wide, high = header.tile
    columns, rows = -(-header.width // wide), -(-header.height // high)
    ends = _tile_ends(content, header.end)
    if len(ends) != columns * rows:
        return None
    left, right = max(0, (x1 - _MARGIN) // wide), min(columns, -(-(x2 + _MARGIN) // wide))
    top, bottom = max(0, (y1 - _MARGIN) // high), min(rows, -(-(y2 + _MARGIN) // high))
    starts = np.concatenate([[header.end], ends[:-1]]).reshape(rows, columns)
    ends = ends.reshape(rows, columns)
    size = (
        min(header.height, bottom * high) - top * high,
        (min(header.width, right * wide) - left * wide),
    )
    firsts, lasts = starts[top:bottom, left].tolist(), ends[top:bottom, right - 1].tolist()
    head = bytearray(content[: header.end])
    head[header.size_at : header.size_at + 4] = b"".join(n.to_bytes(2, "big") for n in size)
    parts = [content[first:last] for first, last in zip(firsts, lasts, strict=True)]
    file = np.frombuffer(bytearray().join([head, *parts]), np.uint8)
    lengths = (ends - starts)[top:bottom, left:right].ravel()
    markers = header.end + np.cumsum(lengths) - 1
    file[markers] = 0xD0 + np.arange(len(markers)) % 8  # markers are numbered 0 to 7 in turn
    file[-1] = 0xD9
    return file, left * wide, top * high


def _tile_ends(content: bytes, start: int) -> NDArray:
    """Places behind the markers that end each tile; the file's last marker ends the last one."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[start:-1] == 0xFF) + start + 1
    kinds = data[places]
    return places[((kinds & 0xF8) == 0xD0) | (kinds == 0xD9)] + 1
