"""Images: listing, reading, and label images with the boxes around their objects.

A label image is (H, W) uint8: 0 is background, 1, 2, ... are the objects. On disk it is a PNG with
a palette (DAVIS 2017, YouTube-VOS); DAVIS 2016 has its one object as 255 in a gray image, which is
read as label 1. Gray images of 16 bits are uint16.
"""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import atomic_write

_KINDS = "bmp jp2 jpe jpeg jpg pbm pgm png ppm tif tiff webp"
#: Suffixes of frames, in lower case; OpenCV reads all of them.
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())

_ORIENTATION, _FIRST_TURNED = 0x0112, 5  # EXIF: orientations 5 to 8 lie on their side
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_NUMBER, _SIGNED = re.compile(r"(\d+)"), re.compile(r"(-?\d+)")
_VOID = 255  # "not annotated" in 8 bits, the object in a gray image of two values
_DEEPEST = 65535
_PADDING = 4096  # bytes that some cameras write behind the end marker


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key of a file name in which all digits count as numbers: ``a2_b9`` before ``a10_b1``."""
    return _key(name, _NUMBER)


def _key(name: str, number: re.Pattern[str]) -> list[tuple[int, int, str]]:
    stem, suffix = os.path.splitext(name)
    parts = [part for part in number.split(stem) if part]
    key = [(0, int(p), p) if number.fullmatch(p) else (1, 0, p.lower()) for p in parts]
    return [*key, (-1, 0, suffix)]  # a stem comes before longer ones that begin with it


def list_images(folder: str | os.PathLike) -> list[Path]:
    """Images of a folder in the order of their frames, hidden files left out; none without it.

    That is the order of `frame_numbers`, or else `natural_key`. A minus sign counts where the names
    differ in it alone. A broken link is listed: to skip it would shift all frames behind it against
    their boxes.
    """
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if _is_image_name(e.name) and not e.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Path(folder, name) for name in _in_order(names)]


def _in_order(names: list[str]) -> list[str]:
    stems = [os.path.splitext(name)[0].lower() for name in names]
    if len(set(map(len, stems))) == 1 and all(s.isascii() and s.isdecimal() for s in stems):
        return sorted(names)  # such as 00000001.jpg
    forms = [len({number.sub("0", stem) for stem in stems}) for number in (_NUMBER, _SIGNED)]
    signed = forms[0] > forms[1] == 1
    names = sorted(names, key=lambda name: _key(name, _SIGNED if signed else _NUMBER))
    numbers = None if signed else frame_numbers(names)
    counted = sorted(zip(numbers or (), names, strict=False))
    return [name for _, name in counted] or names


def frame_numbers(names: Iterable[str]) -> list[int] | None:
    """Find the number in the names of all images of a video, in natural order, that counts frames.

    It stands between the same text in all names, seen from the left or from the right, and is
    another in each. Of several it is one of equal steps, preferably in the order of the names, or
    else the one of the smallest range. Where names differ in numbers alone, the first of these
    that differs must be another in each name, too.

    Returns:
        A number for each name, or None if there is no such number.
    """
    stems = [os.path.splitext(name)[0].lower() for name in names]
    if all(map(str.isdecimal, stems)):
        values = [int(stem) for stem in stems]
        return values if len(set(values)) == len(values) > 0 else None
    split = [_NUMBER.split(stem) for stem in stems]
    alike = len({tuple(parts[::2]) for parts in split}) == 1
    found = [*_columns(split, 1), *(() if alike else _columns([p[::-1] for p in split], -1))]
    rising = [values for values in found if values == sorted(values)]
    even = [values for values in found if _has_even_steps(values)]
    both = [values for values in even if values in rising]
    found = rising if alike else found
    best = both or (even if found and len(split) > 2 else found) or found
    return min(best[::-1], key=lambda values: max(values) - min(values), default=None)


def _columns(split: Sequence[list[str]], step: int) -> list[list[int]]:
    """Numbers at the same place of all names, different and between the same text."""
    found = []
    for place in range(1, min(map(len, split), default=0), 2):
        if len({parts[place - 1] for parts in split}) > 1:
            break
        neighbors = {parts[place + 1][:1] if step > 0 else parts[place + 1][-1:] for parts in split}
        values = [int(parts[place]) for parts in split]
        if len(neighbors) == 1 and len(set(values)) == len(values):
            found.append(values)
    return found


def _has_even_steps(values: Sequence[int]) -> bool:
    return len({b - a for a, b in pairwise(sorted(values))}) <= 1


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


# ------------------------------------------------------------------------------------ label images


def read_labels(path: str | os.PathLike) -> NDArray:
    """Read a label image (H, W): uint8 with 255 (not annotated) as background, or uint16.

    Raises:
        ValueError: If it is no image, or neither a palette nor a gray one, or without Pillow.
    """
    values, is_palette = _read_values(path)
    if values.dtype == bool:
        return values.astype(np.uint8)
    if not is_palette and _is_one_object(values):
        return (values > 0).astype(np.uint8)
    if values.dtype == np.uint8:
        values[values == _VOID] = 0
    return values


def _is_one_object(values: NDArray) -> bool:
    highest = values.max(initial=0)
    return highest in (0, _VOID, _DEEPEST) and not np.any((values > 0) & (values < highest))


def _read_values(path: str | os.PathLike) -> tuple[NDArray, bool]:
    """Stored pixels (H, W) bool, uint8 or uint16, and whether they index a palette."""
    pillow = _pillow()
    try:
        with pillow.open(path) as image:
            values = np.array(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises almost anything in Pillow
        raise ValueError(f"cannot decode the mask {os.fspath(path)}: {error}") from None
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]  # gray, stored as color
    if values.ndim != 2:
        raise ValueError(f"the mask {os.fspath(path)} is a color image; expected palette or gray")
    if values.dtype not in (bool, np.uint8):  # Pillow has 16 bits as such or as 32
        deep = values.astype(np.uint16)
        if not np.array_equal(deep, values):
            raise ValueError(f"the mask {os.fspath(path)} has other values than 0 to {_DEEPEST}")
        values = deep
    return values, image.mode == "P"


def write_labels(path: str | os.PathLike, labels: NDArray) -> None:
    """Write a label image (H, W) as a PNG with the palette of DAVIS, whole or not at all.

    Labels that are uint16 or above 255 become 16 bits of gray.

    Raises:
        ValueError: If Pillow is not installed, or a label is not from 0 to 65535.
    """
    labels = np.asarray(labels)
    highest = labels.max(initial=0)
    if labels.min(initial=0) < 0 or highest > _DEEPEST:
        raise ValueError(f"{os.fspath(path)}: labels must be 0 to {_DEEPEST}")
    deep = labels.dtype == np.uint16 or highest > _VOID
    image = _pillow().fromarray(labels.astype(np.uint16 if deep else np.uint8))
    if not deep:
        image.putpalette(label_colors().tobytes())
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")


def label_colors() -> NDArray:
    """Colors (256, 3) uint8 RGB of the labels, those of PASCAL VOC and DAVIS.

    Bits 0, 1, 2 of a label are the top bits of red, green and blue, the next three the second ones.
    """
    labels = np.arange(256, dtype=np.uint8)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= (labels >> bit & 1) << (7 - bit // 3)
    return colors


def mask_box(mask: NDArray) -> list[int]:
    """Smallest box x, y, w, h around a mask (H, W) that is not empty; w and h count pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        raise ValueError("the mask has no pixel")
    x1, x2, y1, y2 = columns[0], columns[-1], rows[0], rows[-1]
    return [int(x1), int(y1), int(x2 - x1 + 1), int(y2 - y1 + 1)]


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError(
            "masks need Pillow, which is not installed: pip install 'pysot[masks]'"
        ) from None
    return Image
