"""XML files in PASCAL VOC's form: PASCAL VOC itself, ImageNet VID and DET."""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.datasets.reading import Reading, TrainingSet, files_of, folders_below, subfolders
from toolkit.datasets.video import Corners, Sequence
from toolkit.io.boxes import whole_number
from toolkit.io.images import list_images

_VID_PARTS = ("a", "b", "c", "d", "e")
_UNREADABLE = (ElementTree.ParseError, ValueError, OSError)

VidFrame = dict[str, Any]
"""``frame_sz`` [w, h], ``img_path`` and ``objs``: [{``c``, ``bbox``, ``trackid``, ``occ``}]."""
VidVideo = dict[str, Any]
"""``base_path`` "a/<video>" and ``frame``: a list of :data:`VidFrame`."""


def is_voc(path: Path) -> bool:
    """Return whether a file begins as VOC's XML files do."""
    try:
        with open(path, "rb") as file:
            start = file.read(2000).replace(b"\0", b"")
    except OSError:
        return False
    return re.search(rb"<annotation[\s>/]", start) is not None


def read_voc(reading: Reading) -> Iterator[Sequence]:
    """Yield the images that XML files describe, each a video of one frame named as the XML file.

    An image is beside its file, or in ``JPEGImages`` or ``images`` beside the folder of that.
    """
    for folder in folders_below(reading.root):
        places = [folder, folder.parent / "JPEGImages", folder.parent / "images"]
        names: dict[str, list[Path]] = {}  # images by name and by stem, in small letters
        for image in (image for place in dict.fromkeys(places) for image in list_images(place)):
            for key in (image.name, image.stem):
                names.setdefault(key.lower(), []).append(image)
        for path in files_of(folder, ".xml"):
            name = str(path.relative_to(reading.root).with_suffix(""))
            try:
                tree = ElementTree.parse(path).getroot()
                if tree.tag != "annotation":
                    reading.report("XML file of another kind", path, tree.tag, "note", "note")
                    continue
                image = _voc_image(path, tree, names, reading)
                yield _still(name, image, path, tree, reading)
            except _UNREADABLE as error:
                reading.report("unreadable annotation", path, error)


def _voc_image(
    path: Path, tree: ElementTree.Element, names: Mapping[str, list[Path]], reading: Reading
) -> Path:
    """Image of an XML file: the one it names, or the one that is named as it is, in any case."""
    named = (tree.findtext("filename") or path.stem).strip().replace("\\", "/")
    stated = named.rpartition("/")[2]
    given, own = (names.get(name.lower(), []) for name in (stated, path.stem))
    if given and own and given[0] not in own:
        text = f"it names {given[0].name}, which is used, but {own[0].name} is there, too"
        reading.report("XML file that names another image", path, text, "warning", "warning")
    return next(iter([*given, *own]), path.parent / named)


def read_det(reading: Reading) -> Iterator[Sequence]:
    """Yield the images of DET: ``{Annotations,Data}/DET/train/<part>``, part "a" to "i".

    Part "a" has one more level of folders, which is not part of a video's name. Without PySOT's
    links the parts have the names in which they are distributed, and "val" is one of them.
    """
    for name, part in _parts(reading.root, "DET").items():
        for folder in folders_below(part):
            images = _images(folder, reading.root)
            yield from _stills(files_of(folder, ".xml"), images, name, reading)


def _stills(
    paths: Iterable[Path], images: Path, group: str, reading: Reading
) -> Iterator[Sequence]:
    for path in paths:
        try:
            tree = ElementTree.parse(path).getroot()
            video = _still(path.stem, images / f"{path.stem}.JPEG", path, tree, reading, group)
            for track, box in [*video.regions[0].items()]:
                if not (box.x2 > box.x1 and box.y2 > box.y1):
                    del video.regions[0][track]
                    where = f"{path}, object {track}"
                    reading.report("box without area", where, [*box], "note", "note")
            yield video
        except _UNREADABLE as error:
            reading.report("unreadable annotation", path, error)


def _parts(root: Path, name: str) -> dict[str, Path]:
    """Return the folders of annotations of a set's parts by name, each once; PySOT's links first.

    A link may be a text file that names its target, as where a file system has no links. A part of
    another name is left out if a link names it, or a copy: one of the same files. The validation
    set beside ``train`` is a part where there are no links.
    """
    annotations = root / "Annotations" / name
    parts = {part.name: part for part in subfolders(annotations / "train")}
    found = {key: part for key, part in parts.items() if len(key) == 1}
    for file in (path for path in (annotations / "train").glob("?") if path.is_file()):
        target = file.read_bytes()[:200].decode("utf-8", "replace").strip()
        if target and (file.parent / target).is_dir():
            found[file.name] = Path(os.path.normpath(file.parent / target))
    if not found:
        return parts | ({"val": annotations / "val"} if (annotations / "val").is_dir() else {})
    known = [(os.path.realpath(part), sorted(os.listdir(part))) for part in found.values()]
    for key, part in parts.items():
        real, names = os.path.realpath(part), sorted(os.listdir(part))
        if not any(real == other or names == listed for other, listed in known):
            found[key] = part
    return dict(sorted(found.items(), key=lambda item: (len(item[0]) > 1, item[0])))


def _images(folder: Path, root: Path) -> Path:
    """Return the folder of images to one of annotations, of which links need not be in both."""
    below = folder.relative_to(root / "Annotations")
    real = os.path.relpath(os.path.realpath(folder), os.path.realpath(root / "Annotations"))
    paths = [root / "Data" / below, root / "Data" / real]
    return next((path for path in paths if path.is_dir()), paths[0])


def _still(
    name: str,
    image: Path,
    path: Path,
    tree: ElementTree.Element,
    reading: Reading,
    group: str = "",
) -> Sequence:
    boxes: dict[int, Corners] = {}
    categories: dict[int, str] = {}
    for track, item in enumerate(tree.iter("object")):
        where = f"{path}, object {track}"
        try:
            boxes[track] = _box(item)
        except ValueError as error:
            reading.report("unusable annotation", where, error)
            continue
        try:
            categories[track] = _text(item, "name")
        except ValueError as error:
            reading.report("unusable category", where, error, "warning", "warning")
    size = reading.size(path, tree.findtext("size/width"), tree.findtext("size/height"))
    return Sequence(name, [image], [boxes], group=group, categories=categories, sizes=[size])


# ----------------------------------------------------------------------------------------- VID


def read_vid(reading: Reading, split: str = "", shortest: int = 1) -> Iterator[Sequence]:
    """VID: ``{Annotations,Data}/VID/train/<part>/<video>``; names of videos contain ``split``.

    Without PySOT's links "a" to "e" the parts have the names in which they are distributed.
    """
    for name, folders in _vid_parts(reading.root).items():
        for folder in folders:
            video = _vid_video(name, folder, reading)
            video = vid_sequence(video, _images(folder, reading.root))
            if split in folder.name:
                yield keep_runs(video, shortest)


def _shown(videos: Iterable[Sequence]) -> Iterator[Sequence]:
    """Leave out the frames without an object."""
    for video in videos:
        video.visible = [bool(boxes) for boxes in video.regions]
        yield video


def parse_vid(reading: Reading) -> list[list[VidVideo]]:
    """Read the videos of VID's parts, as ``vid.json`` holds them; [] for a missing one of five."""
    parts = _vid_parts(reading.root).items()
    return [[_vid_video(name, folder, reading) for folder in folders] for name, folders in parts]


def _vid_parts(root: Path) -> dict[str, list[Path]]:
    """Return the folders of the videos in ``Annotations/VID/train/<part>`` by part."""
    parts = {name: subfolders(part) or [part] for name, part in _parts(root, "VID").items()}
    if not parts:
        raise FileNotFoundError(f"{root / 'Annotations' / 'VID' / 'train'}: found no folder in it")
    if parts.keys() & set(_VID_PARTS):
        parts = {name: [] for name in _VID_PARTS} | parts
    return parts


def _vid_video(part: str, folder: Path, reading: Reading) -> VidVideo:
    frames = []
    for path in files_of(folder, ".xml"):
        try:
            frames.append(_vid_frame(path, reading))
        except _UNREADABLE as error:
            reading.report("unreadable annotation", path, error)
    return {"base_path": f"{part}/{folder.name}", "frame": frames}


def _vid_frame(path: Path, reading: Reading) -> VidFrame:
    tree = ElementTree.parse(path).getroot()
    name = _text(tree, "filename")
    if not name.isdecimal():
        raise ValueError(f"expected the number of an image as <filename>, got {name[:60]!r}")
    objects: dict[int, dict[str, Any]] = {}
    for index, item in enumerate(tree.iter("object")):
        try:
            found = {"c": (item.findtext("name") or "").strip(), "bbox": list(_box(item))}
            found["trackid"] = whole_number(_text(item, "trackid"))
            found["occ"] = whole_number(item.findtext("occluded") or 0)
            if objects.setdefault(found["trackid"], found) is not found:
                raise ValueError(f"track {found['trackid']} is there twice")
        except ValueError as error:
            reading.report("unusable annotation", f"{path}, object {index}", error)
    sides = (tree.findtext(f"size/{side}") for side in ("width", "height"))
    return {
        "frame_sz": list(reading.size(path, *sides)),
        "img_path": f"{name}.JPEG",
        "objs": list(objects.values()),
    }


def vid_sequence(video: VidVideo, folder: Path) -> Sequence:
    """Make the sequence of a video with all its objects, whose images are in ``folder``."""
    group, _, name = video["base_path"].rpartition("/")
    frames = video["frame"]
    return Sequence(
        name,
        [folder / frame["img_path"] for frame in frames],
        [{o["trackid"]: Corners(*o["bbox"]) for o in frame["objs"]} for frame in frames],
        numbers=[int(Path(frame["img_path"]).stem) for frame in frames],
        group=group,
        categories={o["trackid"]: o["c"] for frame in frames for o in frame["objs"] if o["c"]},
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
    if not all(map(math.isfinite, values)):
        raise ValueError(f"expected four finite numbers in <bndbox>, got {values}")
    whole = (value.is_integer() and abs(value) < 1 << 53 for value in values)
    return Corners(*(int(v) if is_whole else v for v, is_whole in zip(values, whole, strict=True)))


TRAINING = {
    "vid": TrainingSet(
        "ImageNet VID: check, crops, annotations",
        "folder ILSVRC2015, with Annotations/VID and Data/VID",
        lambda reading, split: _shown(read_vid(reading, split, shortest=2)),
        {"--split": {"choices": ("train", "val"), "default": "train"}},
        "{split}.json",
    ),
    "det": TrainingSet(
        "ImageNet DET: check, crops, annotations",
        "folder ILSVRC, with Annotations/DET and Data/DET",
        lambda reading: _shown(read_det(reading)),
    ),
}
