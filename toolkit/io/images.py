"""Images on disk: which files are images, in what order, their size and their pixels."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_KINDS = "bmp jp2 jpe jpeg jpg pbm pgm png ppm tif tiff webp"
#: Suffixes of frames, in lower case; OpenCV reads all of them.
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())

_ORIENTATION, _FIRST_TURNED = 0x0112, 5  # EXIF: orientations 5 to 8 lie on their side
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_ANY_DIGIT = dict.fromkeys(map(ord, "123456789"), "0")
_PADDING = 4096  # bytes that some cameras write behind the end marker


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key of a file name in which all digits count as numbers: ``a2_b9`` before ``a10_b1``."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.lower()) for p in parts]


def list_images(folder: str | os.PathLike) -> list[Path]:
    """Images of a folder in natural order, hidden files left out; none if it is not there.

    A broken link is listed: to skip it would shift all frames behind it against their boxes.
    """
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if _is_image_name(e.name) and not e.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort()
    if len({name.translate(_ANY_DIGIT) for name in names}) > 1:  # else both orders are the same
        names.sort(key=natural_key)
    return [Path(folder, name) for name in names]


def _is_image_name(name: str) -> bool:
    return name[0] != "." and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def read_image(path: str | os.PathLike) -> NDArray:
    """Read an image of any depth as BGR uint8 (H, W, 3); ValueError if it is none or cut short."""
    import cv2  # slow to load, and scoring needs no image

    data = Path(path).read_bytes()
    # OpenCV 4, and cv2.imread of OpenCV 5, silently fill the rest of a cut JPEG with gray.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None or is_cut_jpeg(data):
        raise ValueError(f"cannot decode the image {os.fspath(path)} ({len(data)} bytes)")
    return image


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Width and height of an image in pixels, as `read_image` would give it.

    With Pillow only the head of the file is read; what is no image is a ``ValueError``.
    """
    try:
        from PIL import Image
    except ImportError:
        height, width = read_image(path).shape[:2]
        return width, height
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
            return image.size[::-1] if turned else image.size
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {os.fspath(path)}: {error}") from None


def is_cut_jpeg(content: bytes) -> bool:
    """Return whether the content of a file is that of a JPEG without its end."""
    return content[:2] == _JPEG_START and _JPEG_END not in bytes(content[-_PADDING:])


def is_cut_jpeg_file(path: str | os.PathLike) -> bool:
    """Return whether a file is a JPEG without its end, reading little of it."""
    with open(path, "rb") as file:
        start = file.read(2)
        file.seek(max(2, os.path.getsize(path) - _PADDING))
        return is_cut_jpeg(start + file.read())
