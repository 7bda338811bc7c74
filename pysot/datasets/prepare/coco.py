"""Reader of COCO's annotations of instances; any set in that format will do."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.masks import coco_mask


def read_coco(
    annotations: Path, images: Path, prefix: str, problems: Problems, masks: bool = True
) -> Iterator[Frame]:
    """Yield the annotated images of a set.

    Every image is a video of one frame, 0, named ``<prefix>/<stem of the file>``. An object's track
    is its place among the annotations of its image, so boxes without area leave gaps. Regions of
    crowds (``iscrowd``) are objects too, as in PySOT.

    Args:
        annotations: JSON file with ``images``, ``annotations`` and perhaps ``categories``.
        images: Folder that ``file_name`` of an image is relative to.
        prefix: First part of the names of videos; "" for none.
        problems: Is told about entries that make no sense.
        masks: Whether to read masks.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that format.
    """
    content = _read(annotations)
    names = {item["id"]: str(item.get("name", "")) for item in content.get("categories", ())}
    of_image: dict[Any, list[dict]] = defaultdict(list)
    for item in content["annotations"]:
        of_image[item.get("image_id")].append(item)
    for image in content["images"]:
        items = of_image.pop(image.get("id"), None)
        if items is None:
            continue
        if not isinstance(image.get("file_name"), str):
            problems.add("image without a file name", annotations, f"id {image.get('id')}")
            continue
        yield _frame(image, items, images, prefix, names, problems, masks)
    for number, items in of_image.items():
        where = f"{annotations}, image_id {number}"
        problems.add("annotations of an image that is not listed", where, f"{len(items)} of them")


def _frame(
    image: Mapping,
    items: list[dict],
    images: Path,
    prefix: str,
    names: Mapping[Any, str],
    problems: Problems,
    masks: bool,
) -> Frame:
    boxes, drawn, kinds = {}, {}, {}
    for track, item in enumerate(items):
        where = f"{image['file_name']}, annotation {item.get('id', track)}"
        try:
            x, y, w, h = (value + 0 for value in item["bbox"])
            mask = coco_mask(item.get("segmentation")) if masks else None
        except (KeyError, TypeError, ValueError) as error:
            problems.add("unusable annotation", where, error)
            continue
        if not (w > 0 and h > 0):
            problems.note("box without area", where, item["bbox"])
            continue
        boxes[track] = (x, y, x + w, y + h)
        if mask is not None:
            drawn[track] = mask
        if item.get("category_id") in names:
            kinds[track] = names[item["category_id"]]
    name = PurePath(image["file_name"])
    video = str(PurePath(prefix, name.with_suffix("")))
    size = (int(image.get("width") or 0), int(image.get("height") or 0))
    return Frame(video, 0, images / name, boxes, drawn, kinds, size=size)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        raise ValueError(f'{path}: expected COCO\'s format, lists "images" and "annotations"')
    return content
