"""Masks of objects as images: reading, writing, and the boxes around them.

A label image is (H, W) uint8: 0 is background, 1, 2, ... are the objects. On disk it is a PNG with
a palette, as DAVIS (2017) and YouTube-VOS have it; DAVIS 2016 keeps its one object as 255 in a grey
image, which reads as label 1.
"""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import atomic_write

_VOID = 255  # "not annotated" in a palette image, the object in a grey one of two values


def read_labels(path: str | os.PathLike) -> NDArray:
    """Read a label image.

    Returns:
        (H, W) uint8; pixels that are not annotated (255) are background.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, or neither a palette nor a grey one, or without Pillow.
    """
    image_module = _pillow()
    try:
        with image_module.open(path) as image:
            image.load()
            values = np.asarray(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises almost anything in Pillow
        raise ValueError(f"cannot decode the mask {os.fspath(path)}: {error}") from None
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]  # grey, stored as colour
    if values.ndim != 2:
        raise ValueError(f"the mask {os.fspath(path)} is a colour image; expected palette or grey")
    if values.dtype == bool:
        return values.astype(np.uint8)
    labels = values.astype(np.uint8)
    if values.dtype != np.uint8 and not np.array_equal(labels, values):
        raise ValueError(f"the mask {os.fspath(path)} has other values than 0 to {_VOID}")
    if image.mode != "P" and not np.any((labels > 0) & (labels < _VOID)):
        return (labels == _VOID).astype(np.uint8)
    labels[labels == _VOID] = 0
    return labels


def write_labels(path: str | os.PathLike, labels: NDArray) -> None:
    """Write a label image (H, W) uint8 as a PNG with the palette of DAVIS, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If Pillow is not installed.
    """
    image = _pillow().fromarray(np.asarray(labels, np.uint8))
    image.putpalette(label_colors().tobytes())
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")


def label_colors() -> NDArray:
    """Colours (256, 3) uint8 RGB of the labels.

    Bits 0, 1, 2 of a label are the top bits of red, green and blue, the next three bits the second
    ones, and so on: the colours of the PASCAL VOC challenge, which DAVIS took over.
    """
    labels = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for position in range(8):
        for channel in range(3):
            bit = (labels >> (3 * position + channel)) & 1
            colors[:, channel] |= (bit << (7 - position)).astype(np.uint8)
    return colors


def mask_box(mask: NDArray) -> list[int]:
    """Smallest box x, y, w, h around the pixels of a mask (H, W); w and h count pixels.

    Raises:
        ValueError: If the mask has no pixel.
    """
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
