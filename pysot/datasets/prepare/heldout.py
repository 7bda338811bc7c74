"""Videos of one's own that are kept from training, as a benchmark to test on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.masks import label_boxes
from toolkit.io.files import write_bytes
from toolkit.io.labels import read_labels

_NOWHERE = [math.nan] * 4


def write_benchmark(path: Path, frames: Iterable[Frame], problems: Problems) -> int:
    """Write the JSON of a benchmark, in the format of OTB's, for ``tools/test.py``.

    A video of several objects becomes one for each, ``<video>-<track>``. It begins where the object
    first appears; in frames without it the ground truth is NaN. Paths of images are absolute.

    Args:
        path: The file, ``<name of the benchmark>.json``.
        frames: Of the videos, all frames of one video one after the other.
        problems: Is told about masks that cannot be read.

    Returns:
        How many videos it has.

    Raises:
        OSError: If the file cannot be written.
    """
    records: dict[str, Any] = {}
    for video, group in groupby(frames, lambda frame: frame.video):
        boxes = [(frame, _boxes(frame, problems)) for frame in group]
        tracks = sorted({track for _, found in boxes for track in found})
        for track in tracks:
            name = video.replace("/", "-") + (f"-{track}" if len(tracks) > 1 else "")
            records[name] = _record(name, boxes, track)
    write_bytes(path, json.dumps(records).encode())
    return len(records)


def _boxes(frame: Frame, problems: Problems) -> dict[int, tuple[float, ...]]:
    if frame.labels is None:
        return dict(frame.boxes)
    try:
        return label_boxes(read_labels(frame.labels))
    except ValueError as error:
        problems.add("unreadable mask", frame.labels, error)
        return {}


def _record(name: str, boxes: list[tuple[Frame, dict]], track: int) -> dict[str, Any]:
    first = next(place for place, (_, found) in enumerate(boxes) if track in found)
    truth = [_xywh(found[track]) if track in found else _NOWHERE for _, found in boxes[first:]]
    return {
        "video_dir": name,
        "init_rect": truth[0],
        "img_names": [str(frame.image.resolve()) for frame, _ in boxes[first:]],
        "gt_rect": truth,
        "attr": [],
    }


def _xywh(box: tuple[float, ...]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
