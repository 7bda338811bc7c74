"""YouTube-BoundingBoxes."""

import csv
from collections.abc import Iterator
from pathlib import Path

from toolkit.datasets.reading import Reading, TrainingSet
from toolkit.datasets.sequence import Corners, Sequence
from toolkit.io.images import image_size

_FIELDS = (
    "youtube_id", "timestamp_ms", "class_id", "class_name", "object_id", "object_presence",
    "xmin", "xmax", "ymin", "ymax",
)  # fmt: skip


def read(reading: Reading, subset: str) -> Iterator[Sequence]:
    """Yield the annotated frames of a part of the set, one object each.

    The boxes of the file are fractions of the image; here they are pixels, for which the header of
    every image is read. An object that is absent, and one without an image (not every video can
    be downloaded), is left out; a note counts the latter.

    Args:
        reading: Its root has ``<subset>.csv``, with or without a line of names, and the images
            ``<subset>/<class id>/<youtube id>_<ms>_<class>_<object>.jpg``.
        subset: ``yt_bb_detection_train`` or ``yt_bb_detection_validation``.
    """
    path, missing = reading.root / f"{subset}.csv", 0
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row[:1] == ["youtube_id"] or (len(row) > 5 and row[5] == "absent"):
                continue
            try:
                entry = dict(zip(_FIELDS, row, strict=True))
                image = _image(reading.root / subset, entry)
                missing += not image.is_file()
                if image.is_file():
                    yield _sequence(image, entry, subset)
            except ValueError as error:
                reading.report("unusable line", f"{path}, line {number}", error)
    if missing:
        reading.report("annotated frames without an image", path, missing, "note", "note")


def _image(root: Path, entry: dict[str, str]) -> Path:
    # names hold the numbers of the file as they are; PySOT's script could not form them
    name = "_".join(entry[key] for key in ("youtube_id", "timestamp_ms", "class_id", "object_id"))
    return root / entry["class_id"] / f"{name}.jpg"


def _sequence(image: Path, entry: dict[str, str], subset: str) -> Sequence:
    width, height = image_size(image)
    x1, x2, y1, y2 = (float(entry[key]) for key in ("xmin", "xmax", "ymin", "ymax"))
    track = int(entry["object_id"])
    return Sequence(
        entry["youtube_id"],
        [image],
        [{track: Corners(x1 * width, y1 * height, x2 * width, y2 * height)}],
        numbers=[int(entry["timestamp_ms"]) // 1000],
        group=f"./{subset}/{entry['class_id']}",
        categories={track: entry["class_name"]},
    )


TRAINING = {
    "yt_bb": TrainingSet(
        "YouTube-BoundingBoxes: check, crops, annotations",
        "folder with <subset>.csv and <subset>/<class>/*.jpg",
        read,
        {"--subset": {"default": "yt_bb_detection_train"}},
    )
}
