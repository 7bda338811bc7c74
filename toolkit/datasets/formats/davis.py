"""Sets whose annotations are label images: DAVIS and YouTube-VOS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.datasets.reading import (
    Format,
    Reading,
    TrainingSet,
    read_labels,
    read_text,
    subfolders,
    without_links,
)
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import whole_number


def read(reading: Reading, year: int | str, split: str = "val") -> Iterator[Sequence]:
    """DAVIS: ``{JPEGImages,Annotations}/480p/<name>/%05d.{jpg,png}``, ``ImageSets/<year>``.

    A ``split`` is ``train``, ``val``, or ``all`` for every annotated video there is.
    """
    annotations = reading.root / "Annotations" / "480p"
    listing = reading.root / "ImageSets" / str(year) / f"{split}.txt"
    if split == "all" or (not listing.is_file() and not reading.training):
        names = [path.name for path in without_links(subfolders(annotations))]
    else:
        names = _listed(listing)
    for name in names:
        images = reading.root / "JPEGImages" / "480p" / name
        yield read_labels(name, images, annotations / name, reading)


def _listed(path: Path) -> list[str]:
    """Names of videos: 2016 lists image and mask of every frame, 2017 the videos."""
    if not path.is_file():
        raise FileNotFoundError(f'list of videos not found: {path} (split "all" needs none)')
    words = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    return list(dict.fromkeys(w.split("/")[-2] if "/" in w else w for w in words))


def read_youtube_vos(reading: Reading, split: str = "valid") -> Iterator[Sequence]:
    """YouTube-VOS: ``<split>/{JPEGImages,Annotations}/<name>/%05d.{jpg,png}``, ``meta.json``.

    Few frames are annotated: each fifth in ``train``, the first with an object in ``valid``.
    """
    root = reading.root / split if (reading.root / split).is_dir() else reading.root
    names = _categories(root / "meta.json", reading) if reading.training else {}
    for masks in without_links(subfolders(root / "Annotations")):
        images = root / "JPEGImages" / masks.name
        yield read_labels(masks.name, images, masks, reading, names.get(masks.name))


def _categories(path: Path, reading: Reading) -> dict[str, dict[int, str]]:
    """Categories by video and label; {} without the file, and of what is damaged."""
    names = {}
    try:
        videos = json.loads(read_text(path)).get("videos", {}) if path.is_file() else {}
        videos = list(videos.items())
    except (ValueError, AttributeError, RecursionError) as error:
        reading.report("unusable annotation", path, f"{error}: no categories")
        return {}
    for name, video in videos:
        try:
            objects = video.get("objects", {}).items()
            names[name] = {whole_number(n): str(item.get("category") or "") for n, item in objects}
        except (AttributeError, ValueError):
            text = 'expected {"objects": {number: {"category": name}}}'
            reading.report(
                "unusable category", f"{path}: videos: {name}", text, "warning", "warning"
            )
    return names


_MARKS = ("Annotations/480p/*/*.png",)
TESTING = {
    "DAVIS2016": Format(_MARKS, partial(read, year=2016)),
    "DAVIS2017": Format(_MARKS, partial(read, year=2017)),
    "YouTube-VOS": Format(("valid/Annotations/*/*.png", "Annotations/*/*.png"), read_youtube_vos),
}
TRAINING = {
    "davis": TrainingSet(
        "DAVIS 2016 or 2017: check, crops with masks, annotations",
        "folder with JPEGImages/480p, Annotations/480p and ImageSets",
        read,
        {
            "--year": {"choices": ("2016", "2017"), "default": "2017"},
            "--split": {"choices": ("train", "val", "all"), "default": "train"},
        },
    ),
    "youtube_vos": TrainingSet(
        "YouTube-VOS: check, crops with masks, annotations",
        "folder with train/ or valid/",
        read_youtube_vos,
        {"--split": {"choices": ("train", "valid"), "default": "train"}},
    ),
}
