"""Masks of objects as images: reading, writing, and the boxes around them.

A label image is (H, W) uint8: 0 is background, 1, 2, ... are the objects. On disk it is a PNG with
a palette (DAVIS 2017, YouTube-VOS); DAVIS 2016 has its one object as 255 in a gray image, which is
read as label 1. Gray images of 16 bits are uint16.
"""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import atomic_write

_VOID = 255  # "not annotated" in 8 bits, the object in a gray image of two values
_DEEPEST = 65535


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
