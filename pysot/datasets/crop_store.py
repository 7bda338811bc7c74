"""Reading of training crops from single files.

Of a JPEG file with restart markers (``CropForm.tiles``) only the part that is looked at is decoded.
Between two markers a JPEG stands alone: nothing before is needed to decode it. Where markers lie at
least once in every row of blocks, the stretches that cover a rectangle can be put behind the file's
own header, with another height and width, and make a smaller file of the same pixels (ITU-T T.81,
sections B.2 and E.1.4).
"""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.datasets.crop import crop_name
from toolkit.io.image_header import read_header
from toolkit.io.images import check_header

_JPEG_START = b"\xff\xd8"
_BASELINE, _EXTENDED, _RESTART, _SCAN = 0xC0, 0xC1, 0xDD, 0xDA
_MARGIN = 2  # pixels around a part whose colors leak into it: half-size colors are interpolated
_MAX_HEADER = 4096


class UnreadableImage(Exception):
    """One image could not be read; the sample is replaced by another."""


class EncodedCrop:
    """A crop that is decoded where it is looked at: ``crop[y1:y2, x1:x2]`` gives that part.

    Raises:
        UnreadableImage: If the file's content is no image, or a JPEG that is cut short.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name, self._image = content, name, None
        self._header = _read_header(content) if content.startswith(_JPEG_START) else None
        if self._header is None or self._header.tile is None:
            self._image = decode_crop(content, "x", name)
            self.shape = self._image.shape
        else:
            _check_whole(content, name)
            self.shape = (self._header.height, self._header.width, 3)

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray:
        """Decode the part ``[y1:y2, x1:x2]``, 0 <= y1 < y2 <= H, 0 <= x1 < x2 <= W; no steps."""
        if self._image is not None:
            return self._image[place]
        y1, y2, _ = place[0].indices(self.shape[0])
        x1, x2, _ = place[1].indices(self.shape[1])
        cut = _cut_tiles(self._content, self._header, x1, y1, x2, y2)
        if cut is None:
            raise UnreadableImage(f"{self._name}: JPEG file lacks restart markers")
        file, left, top = cut
        image = _decode(file, "x", self._name)
        return image[y1 - top : y2 - top, x1 - left : x2 - left]


class CropFolder:
    """Crops as ``<root>/<video>/<frame %06d>.<track>.<kind>.jpg``, masks as ``.png``.

    For the names of tracks and kinds see :func:`~pysot.datasets.crop.crop_name`.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Return whether there is such a file."""
        return os.path.isfile(self.path(video, frame, track, kind))

    def read(self, video: str, frame: int, track: str, kind: str = "x") -> NDArray:
        """Read a crop, (H, W, 3) uint8 BGR, or a mask, (H, W) uint8, 0 or 255.

        Raises:
            UnreadableImage: If the file is missing, no image, or cut short.
        """
        return decode_crop(*self._content(video, frame, track, kind))

    def open(self, video: str, frame: int, track: str) -> EncodedCrop:
        """Read a search crop without decoding it; see :meth:`read`."""
        content, _, path = self._content(video, frame, track, "x")
        return EncodedCrop(content, path)

    def target(self, video: str, track: str) -> tuple[Path, str, str]:
        """Return what is equal for crops of one object alone."""
        return self.root, video, track

    def path(self, video: str, frame: int, track: str, kind: str = "x") -> str:
        """Return the name of a file, which may be missing."""
        return f"{self.root}/{video}/{crop_name(frame, track, kind)}"

    def stamp(self, video: str, frame: int, track: str, kind: str = "x") -> str:
        """Return size and time of a file, which change with its content; empty if it is missing."""
        return file_stamp(self.path(video, frame, track, kind))

    def _content(self, video: str, frame: int, track: str, kind: str) -> tuple[bytes, str, str]:
        path = self.path(video, frame, track, kind)
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read(), kind, path
        except (OSError, ValueError) as error:  # ValueError: no file can have such a name
            raise UnreadableImage(f"{path}: {getattr(error, 'strerror', error)}") from error


def file_stamp(path: str | Path) -> str:
    """Return size and time of a file; empty if it is missing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def decode_crop(content: bytes, kind: str, name: str) -> NDArray:
    """Decode the file of a crop; see :meth:`CropFolder.read`. ``name`` is for errors."""
    _check_whole(content, name)
    return _decode(np.frombuffer(content, np.uint8), kind, name)


def _check_whole(content: bytes, name: str) -> None:
    try:
        check_header(read_header(content), name)
    except ValueError as error:
        raise UnreadableImage(str(error)) from None


def _decode(file: NDArray, kind: str, name: str) -> NDArray:
    flag = cv2.IMREAD_GRAYSCALE if kind == "m" else cv2.IMREAD_COLOR
    image = None
    if file.size:
        with suppress(cv2.error):
            image = cv2.imdecode(file, flag)
    if image is None:
        raise UnreadableImage(f"{name}: no image that OpenCV can decode")
    return image


@dataclass(frozen=True)
class _Header:
    """What the beginning of a JPEG file says of its size in pixels.

    ``tile`` is the (w, h) of what lies between two restart markers, None where parts cannot be
    decoded alone; ``size_at`` the place of height and width, two bytes each; ``end`` the header's.
    """

    height: int
    width: int
    tile: tuple[int, int] | None
    size_at: int
    end: int


def _read_header(content: bytes) -> _Header | None:
    """Read the header of a JPEG file; None where there is none, or not of a baseline JPEG."""
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
def _parse(header: bytes) -> _Header | None:
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
    return _Header(height, width, tile, frame + 1, len(header))


def _cut_tiles(
    content: bytes, header: _Header, x1: int, y1: int, x2: int, y2: int
) -> tuple[NDArray, int, int] | None:
    """Make a JPEG file of the tiles around the rectangle of columns x1:x2 and rows y1:y2.

    Also returned are column and row of its first pixel; None if the file does not have the
    markers that its header promises.
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
    """Return the places behind the markers that end each tile."""
    data = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(data[start:-1] == 0xFF) + start + 1
    marker = data[places]  # restart 0 to 7, or the file's end, which ends the last tile
    return places[((marker & 0xF8) == 0xD0) | (marker == 0xD9)] + 1
