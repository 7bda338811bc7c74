"""Videos of one object to train on: GOT-10k, TrackingNet, LaSOT and YouTube-BoundingBoxes."""

import configparser
from collections.abc import Iterator
from collections.abc import Sequence as Items
from functools import partial
from itertools import groupby
from pathlib import Path

from toolkit.datasets.benchmarks import find_benchmark, table
from toolkit.datasets.reading import (
    BoxFile,
    Format,
    Reading,
    TrainingSet,
    files_of,
    listed,
    note_unused,
    read_boxes,
    read_csv,
    subfolders,
    without_links,
)
from toolkit.datasets.video import Corners, Sequence
from toolkit.io.boxes import whole_number
from toolkit.io.images import image_size

# ----------------------------------------------------------------------------- GOT-10k, TrackingNet

_PARTS = tuple(f"TRAIN_{number}" for number in range(12))


def read_got10k(reading: Reading, split: str) -> Iterator[Sequence]:
    """GOT-10k: ``<split>/<name>/{%08d.jpg,groundtruth.txt,...}``; the split may be the root."""
    root = reading.root / split if (reading.root / split).is_dir() else reading.root
    if reading.training and not (root / "list.txt").is_file():
        raise FileNotFoundError(f"list of videos not found: {reading.root / split / 'list.txt'}")
    for name in listed(root, "*/groundtruth.txt"):
        folder = root / name
        source = BoxFile(
            name,
            folder,
            folder / "groundtruth.txt",
            start=1,
            category=_category(folder / "meta_info.ini") if reading.training else "",
            flags={"cover": folder / "cover.label"},
            hidden=(folder / "absence.label",),
            first_only=split == "test",
        )
        yield read_boxes(source, reading)


def _category(path: Path) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8-sig")
    except (configparser.Error, UnicodeDecodeError):
        return ""
    return parser.get("METAINFO", "object_class", fallback="")


def read_trackingnet(reading: Reading, parts: Items[str]) -> Iterator[Sequence]:
    """TrackingNet: ``<part>/frames/<name>/<n>.jpg`` from 0, ``<part>/anno/<name>.txt``.

    A single part may be the root. Parts that are not there are left out.
    """
    roots = [reading.root / part for part in parts if (reading.root / part).is_dir()]
    found = 0
    for root in roots or [reading.root] * (len(parts) == 1):
        truths = files_of(root / "anno", ".txt")
        if reading.training and truths and (root / "frames").is_dir():
            used = [root / "frames" / truth.stem for truth in truths]
            note_unused(subfolders(root / "frames"), used, "file of it in anno", reading)
        for truth in truths:
            found += 1
            source = BoxFile(
                truth.stem,
                root / "frames" / truth.stem,
                truth,
                group=root.name,
                pattern="%d.jpg",
                start=0,
                first_only=True,
            )
            yield read_boxes(source, reading)
    if not found:
        raise FileNotFoundError(
            f"nothing found at {reading.root}/<{parts[0]} ...>/anno/<video>.txt"
        )


def _got10k(split: str) -> Format:
    return Format(
        (f"{split}/*/groundtruth.txt", "*/groundtruth.txt"), partial(read_got10k, split=split)
    )


# -------------------------------------------------------------------------------------------- LaSOT


_LASOT_MARKS = ("*/*/groundtruth.txt", "*/groundtruth.txt")


def read_lasot(reading: Reading, split: str = "test") -> Iterator[Sequence]:
    """LaSOT: ``<class>/<class>-<n>/{img,groundtruth.txt,...}``, or without the classes' folders.

    Testing expects all videos of the split, ``train``, ``test`` or ``all``; training uses those
    that are there.
    """
    names = None if split == "all" else table("lasot_splits")[split]
    folders = [_folder(reading.root, name) for name in names or ()]
    if reading.training:
        found = sorted(path.parent for path in reading.root.glob("*/*/groundtruth.txt"))
        found = without_links(found)
        images = sorted(reading.root.glob("*/*/img"))
        note_unused(images, (path / "img" for path in found), "groundtruth.txt", reading)
        if not found:
            raise FileNotFoundError(f"nothing found at {reading.root}/<class>/<video>")
        wanted = None if names is None else frozenset(names)
        folders = [path for path in found if wanted is None or path.name in wanted]
    for folder in folders:
        yield read_boxes(_source(folder, reading.root), reading)


def read_lasot_extension(reading: Reading) -> Iterator[Sequence]:
    """LaSOText: as LaSOT, all videos that are there and do not belong to LaSOT itself."""
    found = {path.parent for mark in _LASOT_MARKS for path in reading.root.glob(mark)}
    others = {name for names in table("lasot_splits").values() for name in names}
    folders = [folder for folder in without_links(found) if folder.name not in others]
    if not folders:
        raise FileNotFoundError(
            f"{reading.root} holds videos of LaSOT only; those of the extension are others, in "
            "folders as atv/atv-1"
        )
    for folder in sorted(folders):
        yield read_boxes(_source(folder, reading.root), reading)


def _folder(root: Path, name: str) -> Path:
    folder = root / name.rpartition("-")[0] / name
    return folder if folder.is_dir() else root / name


def _source(folder: Path, root: Path) -> BoxFile:
    return BoxFile(
        folder.name,
        folder / "img",
        folder / "groundtruth.txt",
        start=1,
        group=folder.parent.name,
        category=folder.name.rpartition("-")[0],
        hidden=(folder / "full_occlusion.txt", folder / "out_of_view.txt"),
        absent=True,
        attr_file=root / "att" / f"{folder.name}.txt",
        attr_names=table("attributes")["LaSOT"],
        surplus=folder.name in find_benchmark("LaSOT").cut_results,
    )


# --------------------------------------------------------------------------- YouTube-BoundingBoxes

_FIELDS = (
    "youtube_id", "timestamp_ms", "class_id", "class_name", "object_id", "object_presence",
    "xmin", "xmax", "ymin", "ymax",
)  # fmt: skip


def read_youtube_bb(reading: Reading, subset: str) -> Iterator[Sequence]:
    """Yield the annotated frames of a part of the set, one object each.

    The root has ``<subset>.csv``, with or without a line of names, and the images
    ``<subset>/<class id>/<youtube id>_<ms>_<class>_<object>.jpg``. The boxes of the file are
    fractions of the image; here they are pixels, for which the header of every image is read. An
    object that is absent, and one without an image (not every video can be downloaded), is left
    out; a note counts the latter.
    """
    path, missing = reading.root / f"{subset}.csv", 0
    if not path.is_file():
        raise FileNotFoundError(f"annotations not found: {path}")
    for _, rows in groupby(read_csv(path), lambda row: row[1][0]):
        videos: dict[str, Sequence] = {}
        for number, row in rows:
            if row[0] == "youtube_id" or (len(row) > 5 and row[5] == "absent"):
                continue
            try:
                entry = dict(zip(_FIELDS, row, strict=True))
                image = _image(reading.root / subset, entry)
                missing += not image.is_file()
                if image.is_file():
                    _annotate(videos, image, entry, subset)
            except (ValueError, OSError) as error:
                reading.report("unusable line", f"{path}, line {number}", error)
        yield from videos.values()
    if missing:
        reading.report("annotated frames without an image", path, missing, "note", "note")


def _image(root: Path, entry: dict[str, str]) -> Path:
    # names hold the numbers of the file as they are; PySOT's script could not form them
    name = "_".join(entry[key] for key in ("youtube_id", "timestamp_ms", "class_id", "object_id"))
    return root / entry["class_id"] / f"{name}.jpg"


def _annotate(videos: dict[str, Sequence], image: Path, entry: dict[str, str], subset: str) -> None:
    """Add a frame to the video of its class, by which rows of one video are kept apart."""
    width, height = image_size(image)
    x1, x2, y1, y2 = (float(entry[key]) for key in ("xmin", "xmax", "ymin", "ymax"))
    track, second = whole_number(entry["object_id"]), whole_number(entry["timestamp_ms"]) // 1000
    group = f"./{subset}/{entry['class_id']}"
    video = videos.setdefault(group, Sequence(entry["youtube_id"], [], [], [], group))
    video.images.append(image)
    video.regions.append({track: Corners(x1 * width, y1 * height, x2 * width, y2 * height)})
    video.numbers.append(second)
    video.categories[track] = entry["class_name"]


TESTING = {
    "GOT-10k": _got10k("test"),
    "GOT-10k_val": _got10k("val"),
    "TrackingNet": Format(
        ("TEST/anno/*.txt", "anno/*.txt"), partial(read_trackingnet, parts=("TEST",))
    ),
    "LaSOT": Format(_LASOT_MARKS, partial(read_lasot, split="test")),
    "LaSOText": Format(_LASOT_MARKS, read_lasot_extension),
}
TRAINING = {
    "got10k": TrainingSet(
        "GOT-10k: check, crops, annotations",
        "folder with train/list.txt or val/list.txt",
        read_got10k,
        {"--split": {"choices": ("train", "val"), "default": "train"}},
        "{split}.json",
    ),
    "trackingnet": TrainingSet(
        "TrackingNet: check, crops, annotations",
        "folder with TRAIN_0 to TRAIN_11, or some of them",
        read_trackingnet,
        {"--parts": {"nargs": "+", "choices": _PARTS, "default": _PARTS, "metavar": "TRAIN_n"}},
    ),
    "lasot": TrainingSet(
        "LaSOT: check, crops, annotations",
        "folder with <class>/<class>-<n>/",
        read_lasot,
        {"--split": {"choices": ("train", "test", "all"), "default": "train"}},
    ),
    "yt_bb": TrainingSet(
        "YouTube-BoundingBoxes: check, crops, annotations",
        "folder with <subset>.csv and <subset>/<class>/*.jpg",
        read_youtube_bb,
        {"--subset": {"default": "yt_bb_detection_train"}},
    ),
}
