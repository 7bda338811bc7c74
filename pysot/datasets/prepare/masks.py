"""Masks of objects as data sets store them: polygons and run lengths; boxes of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PolygonMask:
    """Polygons that together cover the object.

    Attributes:
        polygons: Each x1, y1, x2, y2, ... in pixels; (0, 0) is the corner of the first pixel.
    """

    polygons: tuple[tuple[float, ...], ...]

    def draw(self, shape: tuple[int, int]) -> NDArray:
        """Draw it; ``shape`` is (h, w). Returns (H, W) uint8, 1 on the object."""
        mask = np.zeros(shape, np.uint8)
        for polygon in self.polygons:
            # a pixel's middle is at half-integers here, at integers in OpenCV
            points = np.asarray(polygon, float).reshape(-1, 2) - 0.5
            cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
        return mask


@dataclass(frozen=True)
class RunMask:
    """Lengths of the runs of 0 and 1 in turn, column after column (COCO's RLE).

    Attributes:
        height: Of the image.
        width: Of the image.
        counts: The lengths; the first counts zeros.
    """

    height: int
    width: int
    counts: tuple[int, ...]

    def draw(self, shape: tuple[int, int]) -> NDArray:
        """Draw it; see :meth:`PolygonMask.draw`.

        Raises:
            ValueError: If the image has another size, or the runs do not fill it.
        """
        if tuple(shape) != (self.height, self.width):
            size = f"{self.width} x {self.height}"
            raise ValueError(f"a mask of {size} pixels for an image of {shape[1]} x {shape[0]}")
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.height * self.width:
            raise ValueError(f"run lengths of a mask do not sum to {self.height * self.width}")
        values = np.arange(len(self.counts), dtype=np.uint8) % 2
        return np.repeat(values, self.counts).reshape(self.width, self.height).T


Mask = PolygonMask | RunMask


def coco_mask(segmentation: Any) -> Mask | None:
    """Read the field ``segmentation`` of a COCO annotation.

    Args:
        segmentation: A list of polygons, or ``{"size": [h, w], "counts": list or text}``.

    Returns:
        The mask; None where there is none.

    Raises:
        ValueError: If it is neither.
    """
    if not segmentation:
        return None
    try:
        if isinstance(segmentation, dict):
            height, width = segmentation["size"]
            counts = segmentation["counts"]
            if isinstance(counts, str):
                counts = run_lengths(counts)
            return RunMask(int(height), int(width), tuple(int(count) for count in counts))
        polygons = tuple(tuple(float(v) for v in polygon) for polygon in segmentation)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected polygons or run lengths as a mask ({error!r})") from error
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("a polygon of a mask needs an even number of values, 6 or more")
    return PolygonMask(polygons)


def run_lengths(text: str) -> list[int]:
    """Decode COCO's compressed run lengths.

    Every character less 48 has 5 bits of a number, lowest first, and in bit 5 whether more follow;
    the number's last bit 4 is its sign. From the third on, numbers are differences to the one two
    places before (the format of the COCO API's ``rleToString``).
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def label_boxes(labels: NDArray) -> dict[int, tuple[int, int, int, int]]:
    """Smallest boxes around the pixels of each label.

    Args:
        labels: (H, W) unsigned integers, 0 background.

    Returns:
        Label -> x1, y1, x2, y2, where x2 - x1 and y2 - y1 count pixels.
    """
    boxes = {}
    for label in np.flatnonzero(np.bincount(labels.ravel())):
        if label:
            x, y, w, h = cv2.boundingRect((labels == label).astype(np.uint8))
            boxes[int(label)] = (x, y, x + w, y + h)
    return boxes
