"""The reader of the benchmarks' JSON."""

import json
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from toolkit.datasets.benchmarks import Benchmark, find_benchmark
from toolkit.datasets.regions import NAN
from toolkit.datasets.video import Labels, Video


def load_videos(root: str | os.PathLike, name: str) -> dict[str, Video]:
    """Read ``<root>/<name>.json`` in PySOT's format, without touching any image.

    Returns:
        The videos by name, in sorted order.

    Raises:
        FileNotFoundError: If there is no such file; lists the JSON files that are there.
        ValueError: If the file is not of that format, naming file, video and field.
    """
    benchmark = find_benchmark(name)
    path = Path(root) / f"{name}.json"
    records = _read_json(path)
    videos = {}
    for video in sorted(records):
        try:
            videos[video] = _video(video, records[video], Path(root), benchmark)
        except ValueError as error:
            raise ValueError(f"{path}: video {video!r}: {error}") from None
    return videos


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.json"))) or "no JSON file"
        there = f"there is {near}" if path.parent.is_dir() else "the folder does not exist"
        raise FileNotFoundError(f"no annotation file {path}: {there}")
    try:
        records = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(records, dict) or not records:
        raise ValueError(f"{path}: expected an object of at least one video by name")
    return records


def _video(name: str, record: Any, root: Path, benchmark: Benchmark) -> Video:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object of fields, got {type(record).__name__}")
    names = _texts(record, "img_names")
    gt = _regions(_list_field(record, "gt_rect"))
    if len(names) != len(gt):
        raise ValueError(f"gt_rect has {len(gt)} entries for {len(names)} img_names")
    return Video(
        name,
        root,
        names,
        gt,
        record.get("video_dir", ""),
        record.get("init_rect") or gt[0],
        _texts(record, "attr", optional=True),
        _size(record),
        _labels(record, benchmark, len(gt)),
    )


def _labels(record: dict[str, Any], benchmark: Benchmark, length: int) -> Labels:
    masks = _texts(record, "mask_names", length) if "mask_names" in record else None
    value = record.get("mask_value")
    if value is not None and (type(value) is not int or not 0 < value < 256):
        raise ValueError(f"mask_value: expected an integer of 1 to 255, got {value!r}")
    return Labels(
        absent=_flags(record, "absent", length) if benchmark.has_absent else None,
        tags={
            tag: _flags(record, tag, length) if record.get(tag) else [] for tag in benchmark.tags
        },
        cover=_flags(record, "cover", length, range(9)) if "cover" in record else None,
        mask_names=masks,
        mask_value=value,
    )


def _texts(
    record: dict[str, Any], field: str, length: int | None = None, optional: bool = False
) -> list[str]:
    values = _list_field(record, field, optional)
    if not set(map(type, values)) <= {str}:
        raise ValueError(f"{field}: expected text only")
    if length is not None:
        _check_length(field, values, length)
    return values


def _flags(
    record: dict[str, Any], field: str, length: int, allowed: Iterable[int] = (0, 1)
) -> list[int]:
    """One small integer per frame."""
    values = _list_field(record, field)
    _check_length(field, values, length)
    if not set(map(type, values)) <= {int} or not set(values) <= set(allowed):
        *others, last = allowed
        raise ValueError(f"{field}: expected only {', '.join(map(str, others))} and {last}")
    return values


def _check_length(field: str, values: list, length: int) -> None:
    if len(values) != length:
        raise ValueError(f"{field} has {len(values)} entries for {length} frames")


def _list_field(record: dict[str, Any], field: str, optional: bool = False) -> list:
    if optional and field not in record:
        return []
    if field not in record:
        raise ValueError(f"field {field!r} is missing; there are {', '.join(record) or 'none'}")
    value = record[field]
    if not isinstance(value, list):
        raise ValueError(f"{field}: expected a list, got {type(value).__name__}")
    if not value and not optional:
        raise ValueError(f"{field}: is empty")
    return value


def _regions(gt: list) -> list[list[float]]:
    """Check the ground truth; null, for a frame or a number, means an absent target."""
    gt = [[NAN] * 4 if region is None else region for region in gt]
    # One pass over types and lengths is quick; only a faulty file is searched for the place.
    if set(map(type, gt)) == {list}:
        types = set(map(type, chain.from_iterable(gt)))
        if types <= {int, float} and set(map(len, gt)) <= {4, 8}:
            return gt
    return [_region(i, region) for i, region in enumerate(gt)]


def _region(index: int, region: Any) -> list[float]:
    if not isinstance(region, list) or len(region) not in (4, 8):
        raise ValueError(f"gt_rect[{index}]: expected 4 or 8 numbers, got {region!r}")
    region = [NAN if value is None else value for value in region]
    if not all(type(value) in (int, float) for value in region):
        raise ValueError(f"gt_rect[{index}]: expected numbers, got {region!r}")
    return region


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    size = record.get("width"), record.get("height")
    if size == (None, None):
        return None
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"width, height: expected two positive integers, got {size}")
    return size
