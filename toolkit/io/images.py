"""Images: listing, reading, and label images with the boxes around their objects.

A label image is (H, W) uint8: 0 is background, 1, 2, ... are the objects. On disk it is a PNG with
a palette (DAVIS 2017, YouTube-VOS); DAVIS 2016 has its one object as 255 in a gray image, which is
read as label 1. Gray images of 16 bits are uint16. `read_labels` says how others are read.
"""

import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import atomic_write
from toolkit.io.image_header import Header, read_header
from toolkit.io.packages import load_package

_KINDS = "bmp jp2 jpe jpeg jpg pbm pgm png ppm tif tiff webp"
#: Suffixes of frames, in lower case; OpenCV reads all of them.
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())

#: Environment variables: most pixels of an image; LOW,HIGH in images of more than 8 bits.
PIXELS_VARIABLE, RANGE_VARIABLE = "PYSOT_MAX_PIXELS", "PYSOT_IMAGE_RANGE"

_DEEP_SUFFIXES = IMAGE_SUFFIXES - {".bmp", ".jpe", ".jpeg", ".jpg", ".pbm", ".webp"}
_MOST_PIXELS = 1 << 27  # a square of 11585
_AS_THEY_ARE = ((0, 256), (0, 65536))  # ranges: of 8 bits, and of 16 that keep their upper 8
_TAIL, _MARGIN = 1e-4, 0.25  # see `value_range`
_NUMBER, _SIGNED = re.compile(r"(\d+)"), re.compile(r"(-?\d+)")
_VOID = 255  # "not annotated" in 8 bits, the object in a gray image of two values
_DEEPEST = 65535
_MOTS_VOID = 10000
_MASK_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_BRIGHT = 239  # what compression may make of 255
_FEW_LABELS = 8  # so many values beside 0 and 255 need not come from soft edges


def natural_key(name: str, number: re.Pattern[str] = _NUMBER) -> list[tuple[int, int, str]]:
    """Sort key of a file name in which all digits count as numbers: ``a2_b9`` before ``a10_b1``."""
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
    return [Path(folder, name) for name in _in_order(list(_image_names(folder)))]


def has_images(folder: str | os.PathLike) -> bool:
    """Return whether a folder is there and holds an image, without listing all of them."""
    return any(True for _ in _image_names(folder))


def _image_names(folder: str | os.PathLike) -> Iterator[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from (e.name for e in entries if _is_image_name(e.name) and not e.is_dir())


def _in_order(names: list[str]) -> list[str]:
    stems = [os.path.splitext(name)[0].lower() for name in names]
    if len(set(map(len, stems))) == 1 and all(s.isascii() and s.isdecimal() for s in stems):
        return sorted(names)  # such as 00000001.jpg
    forms = [len({number.sub("0", stem) for stem in stems}) for number in (_NUMBER, _SIGNED)]
    signed = forms[0] > forms[1] == 1
    names = sorted(names, key=lambda name: natural_key(name, _SIGNED if signed else _NUMBER))
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


def read_image(
    path: str | os.PathLike,
    size: tuple[int, int] | None = None,
    first: str | os.PathLike | None = None,
) -> NDArray:
    """Read an image of any depth as BGR uint8 (H, W, 3); of several in a file, the first.

    It is turned as its EXIF orientation says, unless only the image as stored has the ``size``
    (w, h) that its annotation states. More than 8 bits are stretched by the `value_range` of
    ``first``, the first image of its video (default: of the image itself).

    Raises:
        ValueError: If it is no image, cut short, of too many pixels, or of another depth than
            ``first``, and its values do not fit those.
    """
    image, path = _read_pixels(path, size), os.fspath(path)
    first, deep = os.fspath(first or path), image.dtype != np.uint8
    if first != path and deep != is_deep(first):
        os.stat(first)  # it must be there to be compared with
        if value_range(path if deep else first) not in _AS_THEY_ARE:
            raise ValueError(
                f"{path} and the first image of its video, {first}, differ in depth: one has 8 "
                "bits and one more, whose range is not known before"
            )
        first = path
    if not deep:
        return image
    low, high = value_range(first)
    if first != path and not os.environ.get(RANGE_VARIABLE):
        _check_range(image, low, high, path)
    levels = (image - np.float64(low)) * (256 / (high - low))
    return np.nan_to_num(levels, posinf=255, neginf=0).clip(0, 255).astype(np.uint8)


def _read_pixels(path: str | os.PathLike, size: tuple[int, int] | None = None) -> NDArray:
    """Decode an image as BGR (H, W, 3) of any depth, turned as `read_image` says."""
    import cv2  # slow to load, and scoring needs no image

    content, image = Path(path).read_bytes(), None
    header = read_header(content)
    check_header(header, os.fspath(path))
    header = header or Header(0, 0)
    if header.bits > 16:
        flags = cv2.IMREAD_UNCHANGED  # OpenCV makes no color of floats
    else:
        flags = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if header.bits > 8 else 0)
    with suppress(cv2.error):
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is None:
        raise ValueError(f"cannot decode the image {os.fspath(path)} ({len(content)} bytes)")
    if image.ndim == 2 or image.shape[2] < 3:
        image = np.dstack([image[..., 0] if image.ndim > 2 else image] * 3)
    image = image[..., :3]
    turn, stored = header.orientation, header.is_stored(size)
    if header.always_turned:
        turn = {6: 8, 8: 6}.get(turn, turn) if stored else 1
    elif stored:
        turn = 1
    image = image.swapaxes(0, 1) if turn > 4 else image
    rows, columns = -1 if turn in (3, 4, 7, 8) else 1, -1 if turn in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])


def check_header(header: Header | None, name: str) -> None:
    """Raise ValueError for an image that is cut, states no pixel, or more than are allowed."""
    given = os.environ.get(PIXELS_VARIABLE) or str(_MOST_PIXELS)
    if not given.isdecimal():
        raise ValueError(f"{PIXELS_VARIABLE}={given}: expected a whole number")
    limit = int(given)
    # OpenCV 4 and cv2.imread fill the rest of a cut JPEG with gray; OpenCV 5 makes room for what
    # the last chunk of a PNG states, and fills it
    if header and header.is_cut:
        raise ValueError(f"cannot decode the image {name}: it is cut short")
    if header and not 0 < header.width * header.height <= limit:
        raise ValueError(
            f"cannot decode the image {name}: it states {header.width} x {header.height} pixels; "
            f"expected 1 to {limit} in all ({PIXELS_VARIABLE} sets the limit)"
        )


def image_header(path: str | os.PathLike) -> Header | None:
    """Read the head of an image file; None if it is of no kind known here.

    Raises:
        ValueError: If it is cut short, states no pixel, or more than are allowed.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return None
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            header = read_header(content)
    check_header(header, os.fspath(path))
    return header


def image_size(path: str | os.PathLike, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Width and height in pixels of an image as `read_image` gives it, from the head of its file.

    ``size`` is what an annotation states; what is no image is a ``ValueError``.
    """
    header = image_header(path)
    if header is None:
        height, width = read_image(path).shape[:2]
        return width, height
    return header[:2] if header.is_stored(size) else header.turned_size


def undecided_turn(path: str | os.PathLike, size: tuple[int, int] | None) -> str:
    """Text on an image that is turned although the stated size does not say so, empty for others.

    It has no say where it is not stated, of a square, or by orientations 2 to 4.
    """
    header = image_header(path)
    if header is None or header.orientation == 1:
        return ""
    if size and header[:2] != header.turned_size and size in (header[:2], header.turned_size):
        return ""
    return f"orientation {header.orientation}; no stated size says whether its annotation is, too"


@lru_cache(maxsize=1024)
def is_deep(path: str) -> bool:
    """Return whether an image has more than 8 bits per value; False if it cannot be read."""
    try:
        header = image_header(path)
    except (ValueError, OSError):
        return False
    return header is not None and header.bits > 8


def _check_range(image: NDArray, low: float, high: float, path: str) -> None:
    """Refuse an image of more than 8 bits that its video's range leaves black or white."""
    void = (0, _DEEPEST) if image.dtype == np.uint16 else ()
    outside = ((image < low) | (image >= high)) & ~np.isin(image, void)
    if 2 * np.count_nonzero(outside) > image.size:
        raise ValueError(
            f"{path}: most of its values are not within {low:.6g} to {high:.6g}, the range of the "
            f"first image of its video; give one in the environment, {RANGE_VARIABLE}=LOW,HIGH"
        )


def depth_note(firsts: Iterable[str | os.PathLike]) -> str:
    """Text on the first deep image among the first ones of some videos; empty without one."""
    for path in map(os.fspath, firsts):
        if os.path.splitext(path)[1].lower() in _DEEP_SUFFIXES and is_deep(path):
            with suppress(ValueError, OSError):
                low, high = value_range(path)
                return (
                    f"{path} has more than 8 bits: its values {low:.6g} to {high:.6g} become 0 to "
                    f"255; each video has one range, or give all {RANGE_VARIABLE}=LOW,HIGH"
                )
    return ""


def value_range(path: str) -> tuple[float, float]:
    """Values that become 0 and 256 in all images of a video that begins with this one.

    The environment variable ``PYSOT_IMAGE_RANGE=LOW,HIGH`` gives them. Else they are those of the
    first image without the lowest and highest 0.01 %, and a quarter of their difference on either
    side, for what comes later. In 16 bits 0 and 65535 do not count: they mark what was not
    measured. Whole numbers up to 255 are taken as they are, 256 of them are never made more, and
    16 bits of which more than half are in use keep their upper 8, as in PySOT.
    """
    if given := os.environ.get(RANGE_VARIABLE):
        return _given_range(given)
    return _measured_range(path)


@lru_cache(maxsize=256)
def _measured_range(path: str) -> tuple[float, float]:
    image = _read_pixels(path)
    values = image[np.isfinite(image)]
    whole, unsigned = image.dtype.kind in "iu", image.dtype == np.uint16
    if whole and not (values.min() < 0 or values.max() > 255):
        return _AS_THEY_ARE[0]
    if unsigned:
        values = values[(values > 0) & (values < _DEEPEST)]
    if not len(values):
        return _AS_THEY_ARE[1] if unsigned else (0, 1)
    low, high = (float(v) for v in np.quantile(values, (_TAIL, 1 - _TAIL)))
    if unsigned and high - low > _DEEPEST / 2:
        return _AS_THEY_ARE[1]
    least = 256 if whole else max(abs(low), abs(high), 1e-30) / 256
    margin = max((high - low) * _MARGIN, (least - (high - low)) / 2)
    low, high = low - margin, high + margin
    return (max(low, 0), min(high, _DEEPEST + 1)) if unsigned else (low, high)


def _given_range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
        if not (-math.inf < low < high < math.inf):
            raise ValueError
    except ValueError:
        text = f"{RANGE_VARIABLE}={text}: expected LOW,HIGH, two rising numbers"
        raise ValueError(text) from None
    return low, high


# ------------------------------------------------------------------------------------ label images


def read_labels(path: str | os.PathLike, exact: bool = False, value: int | None = None) -> NDArray:
    """Read a label image (H, W): uint8, or uint16 if it has 16 bits.

    A gray image with 255 (of 16 bits: 65535), or one color on black, is one object, label 1, where
    it has half of that or more: the rest is a soft edge. Else values are labels; in a palette 255
    is then not annotated (DAVIS, PASCAL VOC), in 16 bits 10000 beside 1000 to 2999 (MOTS).

    Args:
        path: An image that Pillow reads; a transparent one is laid on black.
        exact: Whether to refuse soft edges and JPEG, as for results.
        value: Stored value of the one object that is read, as label 1; None: all.

    Raises:
        ValueError: If it is no image, may be one object or labels, has more values than objects
            are plausible, or without Pillow.
    """
    values, kind = _read_values(path)
    try:
        least = _least_of_one(values, kind)
    except ValueError as error:
        if value is None:
            raise ValueError(f"the mask {os.fspath(path)} {error}") from None
        least = 0
    if value is not None and not (least and value in (1, _VOID, _DEEPEST)):
        return (values == value).astype(np.uint8)
    if not least:
        return _without_void(values)
    if exact and (kind == "JPEG" or not np.isin(values, (0, values.max())).all()):
        raise ValueError(f"the mask {os.fspath(path)} has soft edges or is a JPEG; expected labels")
    return (values >= least).astype(np.uint8)


def _least_of_one(values: NDArray, kind: str) -> int:
    """Least value of the one object that values (H, W) show; 0 if they are labels."""
    highest = int(values.max(initial=0))
    between = np.unique(values[(values > 0) & (values < highest)])
    if kind != "JPEG" and not len(between):
        one = values.dtype == bool or (kind != "P" and highest in (_VOID, _DEEPEST))
        return highest if one else 0
    bright = (values.dtype == np.uint8 and highest >= _BRIGHT) or highest == _DEEPEST
    # compression and blurring spread 0 and 255 a little
    spread = kind == "JPEG" or (len(between) > _FEW_LABELS and bright)
    if kind == "P" or not (spread or highest in (_VOID, _DEEPEST)):
        soft = kind != "P" and values.dtype == np.uint8 and highest >= 128
        _check_plausible(values, between, few=2 if soft else 16)
        return 0
    unit = 257 if highest > _VOID else 1
    if len(between) == 1 and 126 <= between[0] / unit <= 129 and not _touches_0(values, highest):
        return highest  # a trimap: what is perhaps the object lies all around it
    solid = _solid_values(values) / unit
    if not (solid >= _BRIGHT).any():
        _check_plausible(values, between, few=16)
    low, high = (16, _BRIGHT) if spread else (0, 255)
    soft = not ((solid > low) & (solid < high)).any() and highest >= 128
    if soft and (kind == "JPEG" or between[-1] > 20 * unit):
        return 128 * unit
    if values.dtype == np.uint8:
        raise ValueError(
            "may be one object, or labels with 255; save 0 and 255, or labels as a PNG with a "
            "palette, where 255 is not annotated, or of 16 bits, where it is a label"
        )
    return 0


def _touches_0(values: NDArray, value: int) -> bool:
    """Return whether a value has 0 as a neighbor to the left, right, above or below in (H, W)."""
    pairs = ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1]))
    return any(((a == value) & (b == 0) | (a == 0) & (b == value)).any() for a, b in pairs)


def _check_plausible(values: NDArray, between: NDArray, few: int) -> None:
    """Refuse labels (H, W) that are many, and most of which are nowhere 3 pixels wide."""
    if len(between) > few and 2 * np.count_nonzero(_solid_values(values)) < len(between):
        raise ValueError(
            f"has {len(between) + 1} values, more than objects are plausible: most of them are "
            "nowhere 3 pixels wide; save 0 and 255, or labels without soft edges"
        )


def _solid_values(values: NDArray) -> NDArray:
    """Values of an image (H, W) that fill a square of 3 x 3 pixels somewhere."""
    height, width = values.shape
    if min(height, width) < 3:
        return values[:0, 0]
    middle = values[1:-1, 1:-1]
    same = np.ones(middle.shape, bool)
    for y, x in np.ndindex(3, 3):
        same &= values[y : height - 2 + y, x : width - 2 + x] == middle
    return np.unique(middle[same])


def _without_void(labels: NDArray) -> NDArray:
    """Clear what means "not annotated"."""
    if labels.dtype == np.uint8:
        labels[labels == _VOID] = 0
        return labels
    others = labels[(labels > 0) & (labels != _MOTS_VOID)]
    if others.min(initial=1000) >= 1000 and others.max(initial=1000) < 3000:
        labels[labels == _MOTS_VOID] = 0
    return labels


def _read_values(path: str | os.PathLike) -> tuple[NDArray, str]:
    """Stored values (H, W) bool, uint8 or uint16, and "P" for indices of a palette, or "JPEG"."""
    values, kind = _decode_mask(path)
    if values.ndim == 3:
        values = _one_channel(values)
    if values is None:
        raise ValueError(
            f"the mask {os.fspath(path)} is a color image; expected palette, gray or one color"
        )
    if values.dtype not in (bool, np.uint8):  # Pillow has 16 bits as such or as 32
        with np.errstate(invalid="ignore"):
            deep = values.astype(np.uint16)
        if not np.array_equal(deep, values):
            raise ValueError(f"the mask {os.fspath(path)} has other values than 0 to {_DEEPEST}")
        values = deep
    return values, kind


def _decode_mask(path: str | os.PathLike) -> tuple[NDArray, str]:
    """Pixels (H, W) or (H, W, C), and "P" for indices of a palette, or the format of the file."""
    pillow, name = _pillow(), os.fspath(path)
    most, pillow.MAX_IMAGE_PIXELS = pillow.MAX_IMAGE_PIXELS, None
    try:
        image_header(path)  # what it allows, Pillow shall not refuse
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged parts that hold no pixel
            with pillow.open(path, formats=_MASK_FORMATS) as image:
                kind = "P" if image.mode == "P" else str(image.format)
                if kind == "P" and _is_gray(np.reshape(image.getpalette(), (-1, 3))):
                    image, kind = image.convert("L"), ""
                return np.array(image.convert("RGB") if image.mode == "CMYK" else image), kind
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises almost anything in Pillow
        text = str(error).removeprefix(f"cannot decode the image {name}: ")
        raise ValueError(f"cannot decode the mask {name}: {text}") from None
    finally:
        pillow.MAX_IMAGE_PIXELS = most


def _is_gray(colors: NDArray) -> bool:
    """Return whether red, green and blue are equal in (..., 3)."""
    return bool((colors == colors[..., :1]).all())


def _one_channel(values: NDArray) -> NDArray | None:
    """Gray (H, W) of an image (H, W, C) uint8 that is gray or has one color; None for another."""
    if values.shape[-1] in (2, 4):
        colors, alpha = values[..., :-1], values[..., -1:]
        seen = colors[alpha[..., 0] > 0]
        if alpha.min() < 255 and (seen == seen[:1]).all():  # a single color on transparent
            return alpha[..., 0]
        values = np.rint(colors * (alpha / 255.0)).astype(np.uint8)
    if _is_gray(values):
        return values[..., 0]
    brightest = values.max(axis=-1).astype(np.float64)
    y, x = np.unravel_index(brightest.argmax(), brightest.shape)
    share = brightest / brightest[y, x]
    if np.abs(values - share[..., None] * values[y, x]).max() > 2:
        return None
    bright = brightest[y, x] > 64  # else labels, in one channel
    return np.rint((255 if bright else brightest[y, x]) * share).astype(np.uint8)


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
    return load_package("PIL.Image", "Pillow", "masks need")
