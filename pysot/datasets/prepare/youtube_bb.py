"""Reader of YouTube-BoundingBoxes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pysot.datasets.prepare.frames import Frame, Problems
from toolkit.io.images import image_size

FIELDS = (
    "youtube_id", "timestamp_ms", "class_id", "class_name", "object_id", "object_presence",
    "xmin", "xmax", "ymin", "ymax",
)  # fmt: skip


def read_youtube_bb(root: Path, subset: str, problems: Problems) -> Iterator[Frame]:
    """Yield the annotated frames of a part of the set, one object each.

    The boxes of the file are fractions of the image; here they are pixels, for which the header of
    every image is read. An object that is absent, and one without an image (not every video can
    be downloaded), is left out; how many, a note tells.

    Args:
        root: Has ``<subset>.csv``, of :data:`FIELDS` with or without a line of names, and the
            images ``<subset>/<class id>/<youtube id>_<ms>_<class>_<object>.jpg``.
        subset: ``yt_bb_detection_train`` or ``yt_bb_detection_validation``.
        problems: Is told about lines that make no sense.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    path = root / f"{subset}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    missing = 0
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row[:1] == ["youtube_id"] or (len(row) > 5 and row[5] == "absent"):
                continue
            try:
                entry = dict(zip(FIELDS, row, strict=True))
                image = _image(root / subset, entry)
                missing += not image.is_file()
                if image.is_file():
                    yield _frame(image, entry, subset)
            except ValueError as error:
                problems.add("unusable line", f"{path}, line {number}", error)
    if missing:
        problems.note("annotated frames without an image", path, missing)


def _image(root: Path, entry: dict[str, str]) -> Path:
    # names hold the numbers of the file as they are; PySOT's script could not form them
    name = "_".join(entry[key] for key in ("youtube_id", "timestamp_ms", "class_id", "object_id"))
    return root / entry["class_id"] / f"{name}.jpg"


def _frame(image: Path, entry: dict[str, str], subset: str) -> Frame:
    width, height = image_size(image)
    x1, x2, y1, y2 = (float(entry[key]) for key in ("xmin", "xmax", "ymin", "ymax"))
    track = int(entry["object_id"])
    box = (x1 * width, y1 * height, x2 * width, y2 * height)
    return Frame(
        f"./{subset}/{entry['class_id']}/{entry['youtube_id']}",
        int(entry["timestamp_ms"]) // 1000,
        image,
        {track: box},
        kinds={track: entry["class_name"]},
    )
