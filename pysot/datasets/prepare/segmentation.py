"""Readers of sets whose annotations are images of labels: DAVIS and YouTube-VOS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pysot.datasets.prepare.frames import Frame, Problems
from toolkit.io.images import list_images


def read_davis(root: Path, year: str, split: str, problems: Problems) -> Iterator[Frame]:
    """Yield the frames of DAVIS at 480p.

    Args:
        root: Has ``JPEGImages/480p``, ``Annotations/480p`` and ``ImageSets``.
        year: "2016" (one object per video) or "2017".
        split: "train", "val", or "all" for every annotated video there is.
        problems: Is told about masks without an image, and videos that are listed and not there.

    Raises:
        FileNotFoundError: If there are no annotations, or no list of the split.
    """
    annotations = root / "Annotations" / "480p"
    if split == "all":
        names = [path.name for path in _folders(annotations)]
    else:
        listed = root / "ImageSets" / year / f"{split}.txt"
        if not listed.is_file():
            raise FileNotFoundError(f'list of videos not found: {listed} (split "all" needs none)')
        # 2016 lists pairs of files, /JPEGImages/480p/<name>/00000.jpg; 2017 lists names
        lines = listed.read_text(encoding="utf-8").split("\n")
        words = [line.split()[0] for line in lines if line.strip()]
        names = list(dict.fromkeys(w.split("/")[-2] if "/" in w else w for w in words))
    for name in names:
        images = root / "JPEGImages" / "480p" / name
        yield from label_frames(name, images, annotations / name, problems)


def read_youtube_vos(root: Path, split: str, problems: Problems) -> Iterator[Frame]:
    """Yield the annotated frames, every fifth one, of YouTube-VOS.

    Args:
        root: Has ``<split>/JPEGImages``, ``<split>/Annotations`` and ``<split>/meta.json``, which
            names the kinds of objects.
        split: "train" or "valid" (there, objects are annotated in their first frame only).
        problems: Is told about masks without an image.

    Raises:
        FileNotFoundError: If there are no annotations.
    """
    folder = root / split
    meta = folder / "meta.json"
    content = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    for masks in _folders(folder / "Annotations"):
        objects = content.get("videos", {}).get(masks.name, {}).get("objects", {})
        kinds = {int(number): str(item.get("category", "")) for number, item in objects.items()}
        images = folder / "JPEGImages" / masks.name
        yield from label_frames(masks.name, images, masks, problems, kinds)


def label_frames(
    video: str,
    images: Path,
    masks: Path,
    problems: Problems,
    kinds: dict[int, str] | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a video that have an image of labels.

    Args:
        video: Its name.
        images: Folder of the frames; frames and masks belong together by their names.
        masks: Folder of PNG files.
        problems: Is told about masks without an image.
        kinds: Label -> kind of object.
    """
    frames = {path.stem: path for path in list_images(images)}
    order = {stem: place for place, stem in enumerate(sorted(frames))}
    found = sorted(masks.glob("*.png"))
    if not found:
        problems.add("video without a mask", masks)
    for labels in found:
        image = frames.get(labels.stem)
        if image is None:
            problems.add("mask without an image", labels, f"none of that name in {images}")
            continue
        number = int(image.stem) if image.stem.isdecimal() else order[image.stem]
        yield Frame(video, number, image, kinds=kinds or {}, labels=labels)


def _folders(root: Path) -> Sequence[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"folder of annotations not found: {root}")
    return sorted(path for path in root.iterdir() if path.is_dir())
