"""XML files in PASCAL VOC's form: PASCAL VOC itself, ImageNet VID and DET."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.datasets.reading import Reading, TrainingSet, subfolders
from toolkit.datasets.video import Corners, Sequence
from toolkit.io.images import IMAGE_SUFFIXES

_VID_PARTS = ("a", "b", "c", "d", "e")
_UNREADABLE = (ElementTree.ParseError, ValueError, OSError)

VidFrame = dict[str, Any]
"""``frame_sz`` [w, h], ``img_path`` and ``objs``: [{``c``, ``bbox``, ``trackid``, ``occ``}]."""
VidVideo = dict[str, Any]
"""``base_path`` "a/<video>" and ``frame``: a list of :data:`VidFrame`."""


def read_voc(reading: Reading) -> Iterator[Sequence]:
    """Yield the images that XML files describe, each a video of one frame named as the XML file.

    An image is beside its file, or in ``JPEGImages`` or ``images`` beside the folder of that.
    """
    for path in sorted(reading.root.rglob("*.xml")):
        name = str(path.relative_to(reading.root).with_suffix(""))
        try:
            tree = ElementTree.parse(path).getroot()
            size = tuple(int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
            yield _still(name, _voc_image(path, tree), tree, size)
        except _UNREADABLE as error:
            reading.report("unreadable annotation", path, error)


def _voc_image(path: Path, tree: ElementTree.Element) -> Path:
    """Image of an XML file: the one it names, or the one that is named as it is."""
    folders = [path.parent, path.parent.parent / "JPEGImages", path.parent.parent / "images"]
    named = tree.findtext("filename") or f"{path.stem}.jpg"
    candidates = [folder / named for folder in folders]
    candidates += [f / f"{path.stem}{suffix}" for f in folders for suffix in sorted(IMAGE_SUFFIXES)]
    return next((image for image in candidates if image.is_file()), candidates[0])


def read_det(reading: Reading) -> Iterator[Sequence]:
    """Yield the images of DET: ``{Annotations,Data}/DET/train/<part>``, part "a" to "i".

    Part "a" has one more level of folders, which is not part of a video's name.
    """
    annotations = reading.root / "Annotations" / "DET" / "train"
    images = reading.root / "Data" / "DET" / "train"
    for part in subfolders(annotations):
        for path in sorted(part.rglob("*.xml")):
            image = (images / path.relative_to(annotations)).with_suffix(".JPEG")
            try:
                tree = ElementTree.parse(path).getroot()
                size = tuple(int(_text(tree, f"size/{side}")) for side in ("width", "height"))
                video = _still(path.stem, image, tree, size, part.name)
                boxes = video.regions[0].items()
                video.regions = [{t: b for t, b in boxes if b.x2 > b.x1 and b.y2 > b.y1}]
                yield video
            except _UNREADABLE as error:
                reading.report("unreadable annotation", path, error)


def _still(
    name: str, image: Path, tree: ElementTree.Element, size: tuple[int, ...], group: str = ""
) -> Sequence:
    items = list(tree.iter("object"))
    boxes = dict(enumerate(map(_box, items)))
    categories = {track: _text(item, "name") for track, item in enumerate(items)}
    return Sequence(name, [image], [boxes], group=group, categories=categories, sizes=[size])


# ----------------------------------------------------------------------------------------- VID


def read_vid(reading: Reading, split: str = "", shortest: int = 1) -> Iterator[Sequence]:
    """VID: ``{Annotations,Data}/VID/train/<part>/<video>``; names of videos contain ``split``."""
    images = reading.root / "Data" / "VID" / "train"
    for folder in (folder for part in _parts(reading.root) for folder in part):
        video = vid_sequence(_vid_video(folder, reading), images)
        if split in folder.name:
            yield keep_runs(video, shortest)


def _shown(videos: Iterable[Sequence]) -> Iterator[Sequence]:
    """Leave out the frames without an object."""
    for video in videos:
        video.visible = [bool(boxes) for boxes in video.regions]
        yield video


def parse_vid(reading: Reading) -> list[list[VidVideo]]:
    """Read the videos of VID's five parts, as ``vid.json`` holds them; [] for a missing part."""
    return [[_vid_video(folder, reading) for folder in part] for part in _parts(reading.root)]


def _parts(root: Path) -> list[list[Path]]:
    """Return the folders of the videos in ``Annotations/VID/train/<part>``."""
    train = root / "Annotations" / "VID" / "train"
    there = {part.name: part for part in subfolders(train)}
    if not there.keys() & set(_VID_PARTS):
        raise FileNotFoundError(f"{train}: found no folder {', '.join(_VID_PARTS)}")
    return [subfolders(there[part]) if part in there else [] for part in _VID_PARTS]


def _vid_video(folder: Path, reading: Reading) -> VidVideo:
    frames = []
    for path in sorted(folder.glob("*.xml")):
        try:
            frames.append(_vid_frame(path))
        except _UNREADABLE as error:
            reading.report("unreadable annotation", path, error)
    return {"base_path": f"{folder.parent.name}/{folder.name}", "frame": frames}


def _vid_frame(path: Path) -> VidFrame:
    tree = ElementTree.parse(path).getroot()
    return {
        "frame_sz": [int(_text(tree, f"size/{side}")) for side in ("width", "height")],
        "img_path": f"{_text(tree, 'filename')}.JPEG",
        "objs": [
            {
                "c": _text(item, "name"),
                "bbox": list(_box(item)),
                "trackid": int(_text(item, "trackid")),
                "occ": int(_text(item, "occluded")),
            }
            for item in tree.iter("object")
        ],
    }


def vid_sequence(video: VidVideo, images: Path) -> Sequence:
    """Make the sequence of a video with all its objects; ``images`` is ``Data/VID/train``."""
    group, _, name = video["base_path"].rpartition("/")
    frames, folder = video["frame"], images / video["base_path"]
    return Sequence(
        name,
        [folder / frame["img_path"] for frame in frames],
        [{o["trackid"]: Corners(*o["bbox"]) for o in frame["objs"]} for frame in frames],
        numbers=[int(Path(frame["img_path"]).stem) for frame in frames],
        group=group,
        categories={o["trackid"]: o["c"] for frame in frames for o in frame["objs"]},
        sizes=[tuple(frame["frame_sz"]) for frame in frames],
    )


def keep_runs(video: Sequence, shortest: int = 2) -> Sequence:
    """Leave out objects in runs of fewer than ``shortest`` of the frames that are there."""
    keep: list[set[int]] = [set() for _ in video.regions]
    for track in {track for tracks in video.regions for track in tracks}:
        run: list[int] = []
        for place, tracks in enumerate([*video.regions, {}]):
            if track in tracks:
                run.append(place)
                continue
            for kept in run if len(run) >= shortest else ():
                keep[kept].add(track)
            run = []
    kept = zip(video.regions, keep, strict=True)
    video.regions = [{t: r for t, r in regions.items() if t in tracks} for regions, tracks in kept]
    return video


# ----------------------------------------------------------------------------------------- XML


def _text(item: ElementTree.Element, path: str) -> str:
    found = item.findtext(path)
    if found is None:
        raise ValueError(f"no <{path}> in <{item.tag}>")
    return found.strip()


def _box(item: ElementTree.Element) -> Corners:
    """Read ``<bndbox>``; whole numbers are integers."""
    values = [float(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
    return Corners(*(int(value) if value.is_integer() else value for value in values))


TRAINING = {
    "vid": TrainingSet(
        "ImageNet VID: check, crops, annotations",
        "folder ILSVRC2015, with Annotations/VID/train and Data/VID/train",
        lambda reading, split: _shown(read_vid(reading, split, shortest=2)),
        {"--split": {"choices": ("train", "val"), "default": "train"}},
        "{split}.json",
    ),
    "det": TrainingSet(
        "ImageNet DET: check, crops, annotations",
        "folder ILSVRC, with Annotations/DET/train and Data/DET/train",
        lambda reading: _shown(read_det(reading)),
    ),
}
