"""GOT-10k and TrackingNet: large sets of short videos, whose servers score the test split."""

import configparser
from collections.abc import Iterator
from collections.abc import Sequence as Items
from functools import partial
from pathlib import Path

from toolkit.datasets.reading import BoxFile, Format, Reading, TrainingSet, listed, read_boxes
from toolkit.datasets.sequence import Sequence

_PARTS = tuple(f"TRAIN_{number}" for number in range(12))


def read(reading: Reading, split: str) -> Iterator[Sequence]:
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
            category=_category(folder / "meta_info.ini") if reading.training else "",
            flags={"cover": folder / "cover.label"},
            hidden=(folder / "absence.label",),
            first_only=split == "test",
        )
        yield read_boxes(source, reading)


def _category(path: Path) -> str:
    parser = configparser.ConfigParser()
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
        for truth in sorted((root / "anno").glob("*.txt")):
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
    return Format((f"{split}/*/groundtruth.txt", "*/groundtruth.txt"), partial(read, split=split))


TESTING = {
    "GOT-10k": _got10k("test"),
    "GOT-10k_val": _got10k("val"),
    "TrackingNet": Format(
        ("TEST/anno/*.txt", "anno/*.txt"), partial(read_trackingnet, parts=("TEST",))
    ),
}
TRAINING = {
    "got10k": TrainingSet(
        "GOT-10k: check, crops, annotations",
        "folder with train/list.txt or val/list.txt",
        read,
        {"--split": {"choices": ("train", "val"), "default": "train"}},
        "{split}.json",
    ),
    "trackingnet": TrainingSet(
        "TrackingNet: check, crops, annotations",
        "folder with TRAIN_0 to TRAIN_11, or some of them",
        read_trackingnet,
        {"--parts": {"nargs": "+", "choices": _PARTS, "default": _PARTS, "metavar": "TRAIN_n"}},
    ),
}
