"""Readers of ImageNet VID and DET."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pysot.datasets.prepare.frames import Frame, Problems

_VID_PARTS = ("a", "b", "c", "d", "e")

VidFrame = dict[str, Any]
"""``frame_sz`` [w, h], ``img_path`` and ``objs``: [{``c``, ``bbox``, ``trackid``, ``occ``}]."""
VidVideo = dict[str, Any]
"""``base_path`` "a/<video>" and ``frame``: a list of :data:`VidFrame`."""


def parse_vid(root: Path, problems: Problems) -> list[list[VidVideo]]:
    """Read the XML files of VID, as ``vid.json`` holds them.

    Args:
        root: ``ILSVRC2015``; has ``Annotations/VID/train/<part>/<video>/*.xml``, part "a" to "e".
        problems: Is told about files that cannot be read.

    Returns:
        The videos of each of the five parts, in order of their names; [] for one that is not there.

    Raises:
        FileNotFoundError: If none is there.
    """
    train = root / "Annotations" / "VID" / "train"
    there = {part.name: part for part in _folders(train)}
    if not there.keys() & set(_VID_PARTS):
        raise FileNotFoundError(f"{train}: found no folder {', '.join(_VID_PARTS)}")
    videos = [_folders(there[part]) if part in there else [] for part in _VID_PARTS]
    return [[_vid_video(video, problems) for video in part] for part in videos]


def _vid_video(folder: Path, problems: Problems) -> VidVideo:
    frames = []
    for path in sorted(folder.glob("*.xml")):
        try:
            frames.append(_vid_frame(path))
        except (ElementTree.ParseError, ValueError, OSError) as error:
            problems.add("unreadable annotation", path, error)
    return {"base_path": f"{folder.parent.name}/{folder.name}", "frame": frames}


def _vid_frame(path: Path) -> VidFrame:
    tree = ElementTree.parse(path).getroot()
    return {
        "frame_sz": [int(text(tree, f"size/{side}")) for side in ("width", "height")],
        "img_path": f"{text(tree, 'filename')}.JPEG",
        "objs": [
            {
                "c": text(item, "name"),
                "bbox": xml_box(item),
                "trackid": int(text(item, "trackid")),
                "occ": int(text(item, "occluded")),
            }
            for item in tree.iter("object")
        ],
    }


def vid_frames(parts: list[list[VidVideo]], root: Path) -> Iterator[Frame]:
    """Yield the frames of VID with all their objects.

    Args:
        parts: Of :func:`parse_vid`.
        root: ``ILSVRC2015``; has ``Data/VID/train``.
    """
    images = root / "Data" / "VID" / "train"
    for video in (video for part in parts for video in part):
        for frame in video["frame"]:
            name = frame["img_path"]
            yield Frame(
                video["base_path"],
                int(Path(name).stem),
                images / video["base_path"] / name,
                {o["trackid"]: tuple(o["bbox"]) for o in frame["objs"]},
                kinds={o["trackid"]: o["c"] for o in frame["objs"]},
                size=tuple(frame["frame_sz"]),
            )


def keep_runs(frames: Iterable[Frame], shortest: int = 2) -> Iterator[Frame]:
    """Leave out objects that are seen for too short a time.

    Args:
        frames: In order, all frames of a video one after the other.
        shortest: An object stays in the frames of every run of so many frames in a row, counted
            in the frames that are there, or more.

    Yields:
        The same frames, some with fewer boxes.
    """
    for video in _videos(frames):
        keep: list[set[int]] = [set() for _ in video]
        for track in {track for frame in video for track in frame.boxes}:
            run: list[int] = []
            for place, frame in enumerate([*video, None]):
                if frame is not None and track in frame.boxes:
                    run.append(place)
                    continue
                for kept in run if len(run) >= shortest else ():
                    keep[kept].add(track)
                run = []
        for frame, tracks in zip(video, keep, strict=True):
            boxes = {track: box for track, box in frame.boxes.items() if track in tracks}
            yield Frame(
                frame.video,
                frame.number,
                frame.image,
                boxes,
                frame.masks,
                frame.kinds,
                size=frame.size,
            )


def read_det(root: Path, problems: Problems) -> Iterator[Frame]:
    """Yield the images of DET.

    Args:
        root: ``ILSVRC``; has ``Annotations/DET/train/<part>`` and ``Data/DET/train/<part>``, part
            "a" to "i" (a has one more level of folders, which is not part of a video's name).
        problems: Is told about files that cannot be read.
    """
    annotations, images = root / "Annotations" / "DET" / "train", root / "Data" / "DET" / "train"
    for part in _folders(annotations):
        for path in sorted(part.rglob("*.xml")):
            image = (images / path.relative_to(annotations)).with_suffix(".JPEG")
            try:
                yield _still(path, image, f"{part.name}/{path.stem}")
            except (ElementTree.ParseError, ValueError, OSError) as error:
                problems.add("unreadable annotation", path, error)


def _still(path: Path, image: Path, video: str) -> Frame:
    tree = ElementTree.parse(path).getroot()
    items = list(tree.iter("object"))
    boxes = {track: tuple(xml_box(item)) for track, item in enumerate(items)}
    boxes = {t: b for t, b in boxes.items() if b[2] > b[0] and b[3] > b[1]}
    kinds = {track: text(items[track], "name") for track in boxes}
    size = tuple(int(text(tree, f"size/{side}")) for side in ("width", "height"))
    return Frame(video, 0, image, boxes, kinds=kinds, size=size)


def text(item: ElementTree.Element, path: str) -> str:
    """Text of an element below another one.

    Raises:
        ValueError: If there is none.
    """
    found = item.findtext(path)
    if found is None:
        raise ValueError(f"no <{path}> in <{item.tag}>")
    return found.strip()


def xml_box(item: ElementTree.Element) -> list[int | float]:
    """Read ``<bndbox>`` as x1, y1, x2, y2; whole numbers are integers.

    Raises:
        ValueError: If a side is missing or no number.
    """
    values = [float(text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
    return [int(value) if value.is_integer() else value for value in values]


def _videos(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    video: list[Frame] = []
    for frame in frames:
        if video and frame.video != video[0].video:
            yield video
            video = []
        video.append(frame)
    if video:
        yield video


def _folders(root: Path) -> list[Path]:
    """Folders below another one, in order.

    Raises:
        FileNotFoundError: If there is no such folder, or nothing in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder of annotations not found: {root}")
    return sorted(path for path in root.iterdir() if path.is_dir())
