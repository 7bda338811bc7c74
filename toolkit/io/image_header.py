"""What the head of an image file states: size, depth and EXIF orientation, without decoding it.

Read here and not by a library so that one rule holds for all versions of OpenCV and Pillow.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from mmap import mmap
from typing import NamedTuple

_ORIENTATION = 0x0112
_PNM = re.compile(rb"P([1-6Ff])\s+" + rb"(?:#[^\n]*\s+)*(\d+)\s+" * 2 + rb"(?:#[^\n]*\s+)*(\d*)")
_CODESTREAM = b"\xff\x4f\xff\x51"  # start and size of JPEG 2000
_WINDOW = 1 << 16  # bytes in which the size stands, where it has no fixed place


class Header(NamedTuple):
    """Size in pixels as stored, bits per channel, EXIF orientation 1 to 8 (1 where unknown)."""

    width: int
    height: int
    bits: int = 8
    orientation: int = 1
    # whether OpenCV turns the image even if it is told not to
    always_turned: bool = False
    is_cut: bool = False  # whether the file is seen to end early; only of JPEG and PNG

    @property
    def turned_size(self) -> tuple[int, int]:
        """Width and height after turning; orientations 5 to 8 lie on their side."""
        width, height = self[:2]
        return (height, width) if self.orientation > 4 else (width, height)

    def is_stored(self, size: tuple[int, int] | None) -> bool:
        """Return whether a size (w, h) is that of the image as stored, and not as turned."""
        return size is not None and tuple(size) == self[:2] != self.turned_size


def read_header(content: bytes | mmap) -> Header | None:
    """Read the head of a file's content; None if it is damaged or of no kind known here."""
    for start, parse in _PARSERS.items():
        if content[: len(start)] == start:
            try:
                return parse(content)
            except (struct.error, ValueError, LookupError):
                return None
    return None


def _png(content: bytes | mmap) -> Header:
    width, height, bits = struct.unpack_from(">IIB", content, 16)
    at, orientation, kind = 8, 1, b""
    while kind != b"IEND" and at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"eXIf":
            orientation = _orientation(content[at + 8 : at + 8 + length])
        at += 12 + length
    cut = kind != b"IEND" or at > len(content)
    return Header(width, height, bits, orientation, is_cut=cut)


def _jpeg(content: bytes | mmap) -> Header:
    at, orientation = 2, 0
    while (at := content.find(b"\xff", at)) >= 0:  # other bytes between segments do not count
        marker = content[at + 1]
        if marker in (0, 0xFF):
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width = struct.unpack_from(">BHH", content, at + 4)
            # anything may follow the end, such as the film of a "motion photo"
            cut = content.rfind(b"\xff\xd9", at) < 0
            return Header(width, height, bits, orientation or 1, is_cut=cut)
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            orientation = orientation or _orientation(content[at + 10 : at + 2 + length])
        at += 2 + length
    raise ValueError("no frame header")


def _webp(content: bytes | mmap) -> Header:
    if content[8:12] != b"WEBP":
        raise ValueError("another RIFF file")
    size, orientation, at = (0, 0), 1, 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + min(length, _WINDOW)]
        if kind == b"VP8X":
            width, more, height, most = struct.unpack_from("<4xHBHB", body)
            size = (width + (more << 16) + 1, height + (most << 16) + 1)
        elif kind == b"VP8 " and size == (0, 0):
            size = tuple(side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
        elif kind == b"VP8L" and size == (0, 0):
            (packed,) = struct.unpack_from("<xI", body)
            size = ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)
        elif kind == b"EXIF":
            orientation = _orientation(body.removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    if size == (0, 0):
        raise ValueError("no image")
    return Header(*size, 8, orientation)


def _bmp(content: bytes | mmap) -> Header:
    old = struct.unpack_from("<I", content, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", content, 18)
    return Header(abs(width), abs(height))


def _gif(content: bytes | mmap) -> Header:
    return Header(*struct.unpack_from("<HH", content, 6))


def _jpeg2000(content: bytes | mmap) -> Header:
    at = content.find(_CODESTREAM, 0, _WINDOW)
    if at < 0:
        raise ValueError("no codestream")
    right, bottom, left, top = struct.unpack_from(">4I", content, at + 8)
    return Header(right - left, bottom - top, (content[at + 42] & 127) + 1)


def _pnm(content: bytes | mmap) -> Header:
    match = _PNM.match(content[:_WINDOW])
    if match is None:
        raise ValueError("no header")
    kind, width, height, highest = match.groups()
    deep = kind in b"2356" and int(highest or 0) > 255
    return Header(int(width), int(height), 32 if kind in b"Ff" else 16 if deep else 8)


def _tiff(content: bytes | mmap) -> Header:
    tags = dict(_tags(content))
    return Header(tags[256], tags[257], tags.get(258, 1), _orientation(content), True)


def _orientation(exif: bytes | mmap) -> int:
    found = 1
    with suppress(struct.error, ValueError, LookupError):
        found = dict(_tags(exif)).get(_ORIENTATION, 1)
    return found if 1 <= found <= 8 else 1


def _tags(content: bytes | mmap) -> Iterator[tuple[int, int]]:
    """Yield tag and first value of the whole numbers in the first directory of a TIFF file."""
    order = {b"II": "<", b"MM": ">"}[bytes(content[:2])]
    large = struct.unpack_from(f"{order}H", content, 2)[0] == 43  # BigTIFF
    word, count, step = ("Q", "Q", 20) if large else ("I", "H", 12)
    (at,) = struct.unpack_from(f"{order}{word}", content, 8 if large else 4)
    (entries,) = struct.unpack_from(f"{order}{count}", content, at)
    at += struct.calcsize(count)
    for place in range(at, at + step * min(entries, 4096), step):
        tag, kind, length = struct.unpack_from(f"{order}HH{word}", content, place)
        letter = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if letter is None or not length:
            continue
        value = place + (12 if large else 8)
        if length * struct.calcsize(letter) > step - (value - place):
            (value,) = struct.unpack_from(f"{order}{word}", content, value)
        yield tag, struct.unpack_from(f"{order}{letter}", content, value)[0]


_PARSERS: dict[bytes, Callable[[bytes | mmap], Header]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8": _jpeg,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"GIF8": _gif,
    b"II": _tiff,
    b"MM": _tiff,
    b"\0\0\0\x0cjP  ": _jpeg2000,
    _CODESTREAM[:2]: _jpeg2000,
    **dict.fromkeys((b"P" + bytes([kind]) for kind in b"123456Ff"), _pnm),
}
