"""COCO's annotations of instances, and any set in that format."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.reading import Reading, TrainingSet
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region, is_number, whole_number


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
    are objects too, as in PySOT. A damaged mask or category leaves its box.

    Args:
        path: JSON file with ``images``, ``annotations`` and perhaps ``categories``.
        images: Folder that ``file_name`` of an image is relative to.
        prefix: Folder below which training puts the images; empty for none.
        reading: Receives issues.
        masks: Whether to read masks.
    """
    content = _read(path)
    names = _categories(path, content.get("categories"), reading)
    of_image: dict[int | str, list[_Item]] = defaultdict(list)
    for place, item in _entries(path, content, "annotations", "image_id", reading):
        of_image[_identifier(item["image_id"])].append((place, item))
    listed: dict[int | str, _Item] = {}
    for place, image in _entries(path, content, "images", "id", reading):
        if (number := _identifier(image["id"])) in of_image:
            _, first = listed.setdefault(number, (place, image))
            if first.get("file_name") != image.get("file_name"):
                reading.report("two images of one id", place, "their annotations are left out")
                listed[number] = (place, {})
    for number, (place, image) in listed.items():
        items, name = of_image.pop(number), image.get("file_name", "")
        if isinstance(name, str) and PurePath(name).name not in ("", ".."):
            yield _still(place, image, items, images, prefix, names, reading, masks)
        elif image:
            reading.report("image without a file name", place, f"file_name {name!r}")
    for number, items in of_image.items():
        kind = "annotations of an image that is not listed"
        reading.report(kind, f"{items[0][0]}, image_id {number!r}", f"{len(items)} of them")


_Item = tuple[str, dict]  # its place in the file, what it holds


def _entries(
    path: Path, content: Mapping, key: str, number: str, reading: Reading
) -> Iterator[_Item]:
    """Yield the places and entries of a list whose field ``number`` can identify something."""
    for index, item in enumerate(content[key]):
        place = f"{path}: {key}[{index}]"
        if isinstance(item, dict) and "id" in item:
            place += f", id {str(item['id'])[:40]}"
        try:
            _identifier(item[number])
        except (KeyError, TypeError, ValueError):
            text = f"expected an object with {number}, a whole number or text"
            reading.report("unusable entry", place, text)
            continue
        yield place, item


def _identifier(value: Any) -> int | str:
    """Return an id: "007" and 7 are two, and so are integers that are alike as floats."""
    return value if isinstance(value, str) else whole_number(value)


def _categories(path: Path, items: Any, reading: Reading) -> dict[int | str, str]:
    """Return the names of categories by id."""
    if not isinstance(items, list):
        if items is not None:
            text = "expected a list; objects have no category"
            reading.report("unusable entry", f"{path}: categories", text)
        return {}
    names: dict[int | str, str] = {}
    for place, item in _entries(path, {"categories": items}, "categories", "id", reading):
        name = str(item.get("name") or "")
        if (first := names.setdefault(_identifier(item["id"]), name)) != name:
            text = f"{name!r} is left out, the first one is {first!r}"
            reading.report("two categories of one id", place, text, "warning", "warning")
    return names


def _image_path(folder: Path, name: str) -> Path:
    """Return the path of an image; its name may be one of Windows."""
    there = "\\" in name and os.path.isfile(folder / name)
    return folder / (name if there else name.replace("\\", "/"))


def _still(
    place: str,
    image: Mapping,
    items: list[_Item],
    images: Path,
    prefix: str,
    names: Mapping[int | str, str],
    reading: Reading,
    masks: bool,
) -> Sequence:
    boxes: dict[int, Region] = {}
    drawn, categories = {}, {}
    for track, (where, item) in enumerate(items):
        if (box := _box(where, item, reading)) is None:
            continue
        boxes[track] = box
        if masks and (mask := _mask(where, item, reading)):
            drawn[track] = mask
        if (name := _category(where, item, names, reading)) is not None:
            categories[track] = name
    return Sequence(
        str(PurePath(image["file_name"]).with_suffix("")),
        [_image_path(images, image["file_name"])],
        [boxes],
        group=prefix,
        masks=[drawn],
        categories=categories,
        sizes=[reading.size(place, image.get("width"), image.get("height"))],
    )


def _box(place: str, item: Mapping, reading: Reading) -> Region | None:
    box = item.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        text = f"expected four finite numbers as bbox, got {str(box)[:60]}"
        reading.report("unusable annotation", place, text)
        return None
    if not (box[2] > 0 and box[3] > 0):
        reading.report("box without area", place, box, "note", "note")
        return None
    return box


def _mask(place: str, item: Mapping, reading: Reading) -> Mask | None:
    try:
        return read_mask(item.get("segmentation"))
    except ValueError as error:
        reading.report("unusable mask", place, f"{error}: only its box is used")
        return None


def _category(place: str, item: Mapping, names: Mapping, reading: Reading) -> str | None:
    number = item.get("category_id")
    if number is None:
        return None
    with suppress(ValueError):
        if not names or _identifier(number) in names:
            return names.get(_identifier(number))
    text = f"{number!r} is not listed: the object has no category"
    reading.report("unusable category", place, text, "warning", "warning")
    return None


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        raise ValueError(f'{path}: expected COCO\'s format, lists "images" and "annotations"')
    return content


# --------------------------------------------------------------------------------------- masks

_FARTHEST = 1 << 20  # pixels; OpenCV draws with integers of a sixteenth


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

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.width, self.height

    def checked(self) -> RunMask:
        """Return it; raise ValueError if its runs do not fill the image."""
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.height * self.width:
            raise ValueError(f"run lengths of a mask do not sum to {self.height * self.width}")
        return self

    def draw(self, shape: tuple[int, int]) -> NDArray:
        """Draw it; see :meth:`PolygonMask.draw`.

        Raises:
            ValueError: If the image has another size, or the runs do not fill it.
        """
        if tuple(shape) != (self.height, self.width):
            size = f"{self.width} x {self.height}"
            raise ValueError(f"a mask of {size} pixels for an image of {shape[1]} x {shape[0]}")
        self.checked()
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
            height, width = map(whole_number, segmentation["size"])
            counts = segmentation["counts"]
            counts = run_lengths(counts) if isinstance(counts, str) else map(whole_number, counts)
            return RunMask(height, width, tuple(counts)).checked()
        polygons = tuple(tuple(map(float, polygon)) for polygon in segmentation)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"expected polygons or run lengths as a mask ({error!r})") from error
    if any(
        len(polygon) % 2 or not all(abs(v) <= _FARTHEST for v in polygon) for polygon in polygons
    ):
        raise ValueError("a polygon of a mask needs pairs of numbers, coordinates of pixels")
    if not (polygons := tuple(polygon for polygon in polygons if len(polygon) >= 6)):
        raise ValueError("a mask needs a polygon of three points or more")
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
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("no compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths are cut short")
    return counts


TRAINING = {
    "coco": TrainingSet(
        "COCO, or any set in its format: check, crops with masks, annotations",
        "folder with annotations/instances_<subset>.json and <subset>/",
        read,
        {"--subset": {"default": "train2017"}},
    )
}
