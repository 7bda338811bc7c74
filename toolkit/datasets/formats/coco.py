"""COCO's annotations of instances, and any set in that format."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.reading import Reading, TrainingSet
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region


def read(reading: Reading, subset: str, masks: bool = True) -> Iterator[Sequence]:
    """COCO: ``annotations/instances_<subset>.json``, images in ``<subset>/``."""
    path = reading.root / "annotations" / f"instances_{subset}.json"
    return read_file(path, reading.root / subset, subset, reading, masks)


def read_file(
    path: Path, images: Path, prefix: str, reading: Reading, masks: bool = True
) -> Iterator[Sequence]:
    """Yield the annotated images of a file in COCO's format.

    Every image is a video of one frame, 0, named as the file. An object's track is its place among
    the annotations of its image, so boxes without area leave gaps. Regions of crowds (``iscrowd``)
    are objects too, as in PySOT.

    Args:
        path: JSON file with ``images``, ``annotations`` and perhaps ``categories``.
        images: Folder that ``file_name`` of an image is relative to.
        prefix: Folder below which training puts the images; empty for none.
        reading: Receives issues.
        masks: Whether to read masks.
    """
    content = _read(path)
    names = {item["id"]: str(item.get("name", "")) for item in content.get("categories", ())}
    of_image: dict[Any, list[dict]] = defaultdict(list)
    for item in content["annotations"]:
        of_image[item.get("image_id")].append(item)
    for image in content["images"]:
        items = of_image.pop(image.get("id"), None)
        if items is None:
            continue
        if not isinstance(image.get("file_name"), str):
            reading.report("image without a file name", path, f"id {image.get('id')}")
            continue
        yield _still(image, items, images, prefix, names, reading, masks)
    for number, items in of_image.items():
        kind = "annotations of an image that is not listed"
        reading.report(kind, f"{path}, image_id {number}", f"{len(items)} of them")


def _still(
    image: Mapping,
    items: list[dict],
    images: Path,
    prefix: str,
    names: Mapping[Any, str],
    reading: Reading,
    masks: bool,
) -> Sequence:
    boxes: dict[int, Region] = {}
    drawn, categories = {}, {}
    for track, item in enumerate(items):
        where = f"{image['file_name']}, annotation {item.get('id', track)}"
        try:
            x, y, w, h = (value + 0 for value in item["bbox"])
            mask = read_mask(item.get("segmentation")) if masks else None
        except (KeyError, TypeError, ValueError) as error:
            reading.report("unusable annotation", where, error)
            continue
        if not (w > 0 and h > 0):
            reading.report("box without area", where, item["bbox"], "note", "note")
            continue
        boxes[track] = [x, y, w, h]
        if mask is not None:
            drawn[track] = mask
        if item.get("category_id") in names:
            categories[track] = names[item["category_id"]]
    name = PurePath(image["file_name"])
    size = (int(image.get("width") or 0), int(image.get("height") or 0))
    return Sequence(
        str(name.with_suffix("")),
        [images / name],
        [boxes],
        group=prefix,
        masks=[drawn],
        categories=categories,
        sizes=[size],
    )


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        raise ValueError(f'{path}: expected COCO\'s format, lists "images" and "annotations"')
    return content


# --------------------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class PolygonMask:
    """Polygons x1, y1, ... that together cover the object; (0, 0) is the first pixel's corner."""

    polygons: tuple[tuple[float, ...], ...]

    def draw(self, shape: tuple[int, int]) -> NDArray:
        """Draw it; ``shape`` is (h, w). Returns (H, W) uint8, 1 on the object."""
        import cv2

        mask = np.zeros(shape, np.uint8)
        for polygon in self.polygons:
            # a pixel's middle is at half-integers here, at integers in OpenCV
            points = np.asarray(polygon, float).reshape(-1, 2) - 0.5
            cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
        return mask


@dataclass(frozen=True)
class RunMask:
    """Lengths of the runs of 0 and 1 in turn, column after column (COCO's RLE).

    The first of ``counts`` counts zeros; height and width are those of the image.
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


def read_mask(segmentation: Any) -> Mask | None:
    """Read the field ``segmentation`` of a COCO annotation; None where there is no mask.

    It is a list of polygons, or ``{"size": [h, w], "counts": list or text}``; else ValueError.
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


TRAINING = {
    "coco": TrainingSet(
        "COCO, or any set in its format: check, crops with masks, annotations",
        "folder with annotations/instances_<subset>.json and <subset>/",
        read,
        {"--subset": {"default": "train2017"}},
    )
}
