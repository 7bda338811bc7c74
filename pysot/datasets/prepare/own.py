"""Reader of a user's own data, in any of a few plain forms."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from pysot.datasets.prepare.coco import read_coco
from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.imagenet import text, xml_box
from pysot.datasets.prepare.segmentation import label_frames
from pysot.datasets.prepare.tracking import line_frames
from toolkit.io.images import IMAGE_SUFFIXES, list_images

BOX_FILES = ("groundtruth.txt", "groundtruth_rect.txt")
COLUMNS = ("video", "frame", "image", "x", "y", "w", "h")


def read_own(root: Path, masks: Path | None, problems: Problems) -> Iterator[Frame]:
    """Find out what a path holds, and yield its frames.

    Args:
        root: One of
            - a folder of videos, or of one: each a folder of frames (or with the frames in
              ``img``) with ``groundtruth.txt`` (or ``groundtruth_rect.txt``), a line x, y, w, h
              for each frame;
            - the same with masks, PNG files named as the frames, in ``<video>/mask`` or in
              ``<masks>/<video>``;
            - a JSON file in COCO's format, beside its images;
            - a folder with XML files as PASCAL VOC has them, each beside its image, or in
              ``Annotations`` with the images in ``JPEGImages`` or ``images``;
            - a CSV file with the columns of :data:`COLUMNS` and perhaps ``track`` and ``kind``;
              images are relative to its folder.
        masks: Folder of masks that is not within ``root``.
        problems: Is told what makes no sense.

    Raises:
        FileNotFoundError: If there is nothing at ``root``.
        ValueError: If it is none of these.
    """
    if not root.exists():
        raise FileNotFoundError(f"no such file or folder: {root}")
    if root.suffix.lower() == ".json":
        return read_coco(root, root.parent, "", problems)
    if root.suffix.lower() == ".csv":
        return read_csv(root, problems)
    if root.is_dir():
        if any(root.rglob("*.xml")):
            return read_voc(root, problems)
        videos = _videos(root, masks)
        if videos:
            return (frame for video in videos for frame in _video(video, root, masks, problems))
    raise ValueError(
        f"{root}: found neither videos (folders of frames with {BOX_FILES[0]} or masks), nor a "
        "JSON file of COCO's format, VOC's XML files or a CSV file; see training_dataset/README.md"
    )


def _videos(root: Path, masks: Path | None) -> list[Path]:
    """Folders at ``root`` or below it that have annotations and frames."""
    candidates = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    return [folder for folder in candidates if _annotation(folder, root, masks)]


def _annotation(folder: Path, root: Path, masks: Path | None) -> Path | None:
    if masks is not None:
        found = masks / folder.relative_to(root)
        return found if any(found.glob("*.png")) else None
    beside = [folder / name for name in (*BOX_FILES, "mask")]
    return next((path for path in beside if path.exists()), None)


def _video(folder: Path, root: Path, masks: Path | None, problems: Problems) -> Iterator[Frame]:
    name = str(folder.relative_to(root)) if folder != root else root.resolve().name
    images = folder / "img" if (folder / "img").is_dir() else folder
    annotation = _annotation(folder, root, masks)
    if annotation.is_dir():
        return label_frames(name, images, annotation, problems)
    return line_frames(name, list_images(images), annotation, problems)


def read_voc(root: Path, problems: Problems) -> Iterator[Frame]:
    """Yield the images that XML files of PASCAL VOC's form describe, each a video of one frame."""
    for path in sorted(root.rglob("*.xml")):
        try:
            tree = ElementTree.parse(path).getroot()
            items = list(tree.iter("object"))
            image = _voc_image(path, tree)
            boxes = {track: tuple(xml_box(item)) for track, item in enumerate(items)}
            kinds = {track: text(item, "name") for track, item in enumerate(items)}
            size = tuple(int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        except (ElementTree.ParseError, ValueError, OSError) as error:
            problems.add("unreadable annotation", path, error)
            continue
        yield Frame(
            str(path.relative_to(root).with_suffix("")), 0, image, boxes, {}, kinds, size=size
        )


def _voc_image(path: Path, tree: ElementTree.Element) -> Path:
    """The image of an XML file: the one it names, or the one that is named as it is."""
    folders = [path.parent, path.parent.parent / "JPEGImages", path.parent.parent / "images"]
    named = tree.findtext("filename") or f"{path.stem}.jpg"
    candidates = [folder / named for folder in folders]
    candidates += [f / f"{path.stem}{suffix}" for f in folders for suffix in sorted(IMAGE_SUFFIXES)]
    return next((image for image in candidates if image.is_file()), candidates[0])


def read_csv(path: Path, problems: Problems) -> Iterator[Frame]:
    """Yield the rows of a CSV file, see :func:`read_own`; rows of one frame may be apart.

    Raises:
        ValueError: If a column is missing.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; expected {list(COLUMNS)}")
        found: dict[tuple[str, int, str], list[tuple[int, tuple, str]]] = {}
        for row in rows:
            try:
                x, y, w, h = (float(row[name]) for name in "xywh")
                key = row["video"], int(row["frame"]), row["image"]
                entry = int(row.get("track") or 0), (x, y, x + w, y + h), row.get("kind") or ""
            except (TypeError, ValueError) as error:
                problems.add("unusable line", f"{path}, line {rows.line_num}", error)
                continue
            found.setdefault(key, []).append(entry)
    for (video, number, image), entries in sorted(found.items()):
        boxes = {track: box for track, box, _ in entries}
        kinds = {track: kind for track, _, kind in entries if kind}
        yield Frame(video, number, path.parent / image, boxes, {}, kinds)
