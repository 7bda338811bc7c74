"""The folders in which the owners of the benchmarks distribute them, as a table.

A layout is a function that lists the videos below a root as `Source`; what all of them share, the
reading of images, boxes and labels, is in `toolkit.datasets.sources`.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from toolkit.datasets.benchmarks import find_benchmark
from toolkit.datasets.sources import Flags, Report, Source, list_images, parse_tracks, read_source

OTB_TRUTH = "groundtruth_rect.txt"
#: Frames that count where a folder of OTB has others too: number of the first and last image.
OTB_FRAMES: dict[str, tuple[int, int | None]] = {
    "BlurCar1": (247, None),
    "BlurCar3": (3, None),
    "BlurCar4": (18, None),
    "David": (300, 770),
    "Tiger1": (6, None),
}
#: Videos that share a folder with another target: folder and file of the boxes.
OTB_TARGETS = {
    "Jogging-1": ("Jogging", "groundtruth_rect.1.txt"),
    "Jogging-2": ("Jogging", "groundtruth_rect.2.txt"),
    "Skating2-1": ("Skating2", "groundtruth_rect.1.txt"),
    "Skating2-2": ("Skating2", "groundtruth_rect.2.txt"),
    "Human4-2": ("Human4", "groundtruth_rect.2.txt"),
}
OTB_SURPLUS = frozenset({"Football1", "Diving", "Freeman3", "Freeman4"})
OTB_PATTERNS = {"Board": "%05d.jpg"}

# columns of the evaluation kits' attribute files; the names are those of PySOT's JSON files
LASOT_ATTRIBUTES = (
    "Illumination Variation",
    "Partial Occlusion",
    "Deformation",
    "Motion Blur",
    "Camera Motion",
    "Rotation",
    "Background Clutter",
    "Viewpoint Change",
    "Scale Variation",
    "Full Occlusion",
    "Fast Motion",
    "Out-of-View",
    "Low Resolution",
    "Aspect Ration Change",
)
UAV_ATTRIBUTES = (
    "Scale Variation",
    "Aspect Ratio Change",
    "Low Resolution",
    "Fast Motion",
    "Full Occlusion",
    "Partial Occlusion",
    "Out-of-View",
    "Background Clutter",
    "Illumination Variation",
    "Viewpoint Change",
    "Camera Motion",
    "Similar Object",
)

#: Files that may hold the boxes of a user's own video, the better known first.
OWN_TRUTHS = ("groundtruth.txt", "groundtruth_rect.txt", "init_rect.txt")
CSV_COLUMNS = ("video", "frame", "x", "y", "w", "h")


@dataclass(frozen=True)
class Layout:
    """A way in which a set may lie below its root.

    Attributes:
        marks: Patterns of paths of which one must be there for the layout to be recognised.
        find: Lists its videos, given the root.
    """

    marks: tuple[str, ...]
    find: Callable[[Path], Iterator[Source]]

    def fits(self, root: Path) -> bool:
        """Tell whether the root holds a set of this layout."""
        return any(next(root.glob(mark), None) for mark in self.marks)


def read_native(root: Path, name: str) -> tuple[dict[str, dict[str, Any]], Report]:
    """Read a set from its owner's folders, or from the user's own.

    Returns:
        The records of the videos that can be used, sorted by name, in the form of PySOT's JSON,
        and all that is wrong with the set.

    Raises:
        FileNotFoundError: If no layout of this set is recognised; says what was looked for.
        ValueError: If a table of boxes cannot be read.
    """
    layouts = LAYOUTS.get(name) or own_layouts(name)
    layout = next((layout for layout in layouts if layout.fits(root)), None)
    sources = sorted(layout.find(root), key=lambda source: source.name) if layout else []
    if not sources:
        marks = " or ".join(mark for layout in layouts for mark in layout.marks)
        raise FileNotFoundError(f"no folders of {name} in {root}: looked for {marks}")
    report, records = Report(), {}
    for source in sources:
        if source.name in records:
            report.add("error", source.name, f"is there twice, again in {source.images}")
        elif record := read_source(source, root, report):
            records[source.name] = record
    return records, report


# ------------------------------------------------------------------------------------- layouts


def otb(root: Path, subset: str | None = None) -> Iterator[Source]:
    """OTB: ``<name>/img`` and ``<name>/groundtruth_rect.txt``, numbered where there are two."""
    shared = {folder for folder, _ in OTB_TARGETS.values()}
    folders = {path.name for path in root.iterdir() if any(path.glob("groundtruth_rect*.txt"))}
    for name in _table("otb_splits")[subset] if subset else folders - shared | set(OTB_TARGETS):
        folder, truth = OTB_TARGETS.get(name, (name, OTB_TRUTH))
        if folder not in folders and name in folders:  # copied, as PySOT's users were told to
            folder, truth = name, _first_file(root / name, (truth, OTB_TRUTH))
        frames = OTB_FRAMES.get(name, (None, None))
        yield Source(
            name,
            root / folder / "img",
            root / folder / truth,
            frames,
            OTB_PATTERNS.get(name, "%04d.jpg"),
            origin=1,
            surplus=name in OTB_SURPLUS,
        )


def vot(root: Path, tags: tuple[str, ...] = ()) -> Iterator[Source]:
    """VOT: ``<name>/color/%08d.jpg`` or ``<name>/%08d.jpg``, ``groundtruth.txt``, ``<tag>.tag``."""
    for name in _listed(root, "*/groundtruth.txt"):
        folder = root / name
        flags = {tag: Flags((folder / f"{tag}.tag",), missing="warning") for tag in tags}
        images = _image_folder(folder, ("color", "."))
        yield Source(name, images, folder / "groundtruth.txt", flags=flags)


def lasot(root: Path, split: str) -> Iterator[Source]:
    """LaSOT: ``<class>/<class>-<n>/{img,groundtruth.txt,...}``, or without the classes' folders."""
    for name in _table("lasot_splits")[split]:
        folder = root / name.rpartition("-")[0] / name
        folder = folder if folder.is_dir() else root / name
        absent = (folder / "full_occlusion.txt", folder / "out_of_view.txt")
        yield Source(
            name,
            folder / "img",
            folder / "groundtruth.txt",
            flags={"absent": Flags(absent, invert=True)},
            attr_file=root / "att" / f"{name}.txt",
            attr_names=LASOT_ATTRIBUTES,
            surplus=name in find_benchmark("LaSOT").cut_results,
        )


def uav(root: Path, frames: str, images: str, truths: str, every: int = 1) -> Iterator[Source]:
    """UAV123 and its kin: ``data_seq/<images>/<folder>/%06d.jpg``, ``anno/<truths>/<name>.txt``.

    Args:
        root: Folder of ``data_seq`` and ``anno``.
        frames: Which table of frames: several videos share a folder.
        images: Folder of the frames in ``data_seq``.
        truths: Folder of the boxes in ``anno``.
        every: One of so many frames of the table was kept, and these were numbered anew.
    """
    for name, (folder, first, last) in _table("uav123_frames")[frames].items():
        yield Source(
            name,
            root / "data_seq" / images / folder,
            root / "anno" / truths / f"{name}.txt",
            ((first - 1) // every + 1, (last - 1) // every + 1),
            "%06d.jpg",
            attr_file=root / "anno" / truths / "att" / f"{name}.txt",
            attr_names=UAV_ATTRIBUTES,
        )


def nfs(root: Path, rate: int) -> Iterator[Source]:
    """NFS: ``<name>/<rate>/<name>.txt``, boxes at 240 fps; images in a folder ``<name>`` there."""
    for name in _listed(root, f"*/{rate}/*.txt", levels=2):
        folder = root / name / str(rate)
        yield Source(
            name,
            folder / name,
            folder / f"{name}.txt",
            pattern="%05d.jpg",
            parse=parse_tracks,
            step=240 // rate,
            slack=1,
        )


def got10k(root: Path, split: str) -> Iterator[Source]:
    """GOT-10k: ``<split>/<name>/{%08d.jpg,groundtruth.txt,cover.label}``; the split may be root."""
    root = root / split if (root / split).is_dir() else root
    for name in _listed(root, "*/groundtruth.txt"):
        folder = root / name
        cover = Flags((folder / "cover.label",), missing="nothing")
        yield Source(
            name,
            folder,
            folder / "groundtruth.txt",
            flags={"cover": cover},
            first_only=split == "test",
        )


def trackingnet(root: Path, split: str) -> Iterator[Source]:
    """TrackingNet: ``<split>/frames/<name>/<n>.jpg`` from 0, ``<split>/anno/<name>.txt``."""
    root = root / split if (root / split).is_dir() else root
    for truth in (root / "anno").glob("*.txt"):
        images = root / "frames" / truth.stem
        yield Source(truth.stem, images, truth, pattern="%d.jpg", start=0, first_only=True)


def davis(root: Path, year: int, split: str = "val") -> Iterator[Source]:
    """DAVIS: ``{JPEGImages,Annotations}/480p/<name>/%05d.{jpg,png}``, ``ImageSets/<year>``."""
    listing = root / "ImageSets" / str(year) / f"{split}.txt"
    names = listing.read_text(encoding="utf-8").split() if listing.is_file() else []
    # lists of 2016 name image and mask of every frame, those of 2017 the videos
    names = dict.fromkeys(name.split("/")[-2] for name in names if "/" in name) or names
    masks = root / "Annotations" / "480p"
    for name in names or [path.name for path in masks.iterdir() if path.is_dir()]:
        yield Source(name, root / "JPEGImages" / "480p" / name, None, masks=masks / name)


def youtube_vos(root: Path, split: str = "valid") -> Iterator[Source]:
    """YouTube-VOS: ``<split>/{JPEGImages,Annotations}/<name>/%05d.{jpg,png}``, few masks."""
    root = root / split if (root / split).is_dir() else root
    for masks in (root / "Annotations").iterdir():
        yield Source(masks.name, root / "JPEGImages" / masks.name, None, masks=masks)


def own_folders(root: Path, name: str) -> Iterator[Source]:
    """A user's own videos: ``<root>/<video>`` with images, in it or its ``img``, and boxes."""
    folders = [path for path in root.iterdir() if path.is_dir()]
    if _first_file(root, OWN_TRUTHS):
        yield _own_video(root, name, _first_file(root, OWN_TRUTHS))
        return
    for folder in folders:
        truth = _first_file(folder, (*OWN_TRUTHS, f"{folder.name}.txt", f"../{folder.name}.txt"))
        images = _image_folder(folder, ("img", "color", "."))
        if truth or list_images(images):
            yield _own_video(folder, folder.name, truth or OWN_TRUTHS[0])


def _own_video(folder: Path, name: str, truth: str) -> Source:
    images = _image_folder(folder, ("img", "color", "."))
    return Source(name, images, Path(os.path.normpath(folder / truth)), first_only=True)


def own_table(root: Path, name: str) -> Iterator[Source]:
    """A user's own videos with one table of boxes, ``<root>/<name>.csv``.

    Its header names the columns video, frame, x, y, w and h in any order. ``frame`` is the number
    in the image's file name (``0007.jpg`` is 7); frames without a row have no box, and a video
    begins at its first row.

    Raises:
        ValueError: If the header lacks a column or a row is not of that form.
    """
    for video, boxes in _read_table(root / f"{name}.csv").items():
        images = _image_folder(root / video, ("img", "color", "."))
        frames = (min(boxes), None)
        yield Source(video, images, root / f"{name}.csv", frames, boxes=boxes)


def own_layouts(name: str) -> tuple[Layout, ...]:
    """Layouts in which a set that is no known benchmark may lie."""
    folders = ("*/groundtruth.txt", "*/groundtruth_rect.txt", "*.txt", "*/init_rect.txt", "*/*.txt")
    return (
        Layout((f"{name}.csv",), partial(own_table, name=name)),
        Layout(folders, partial(own_folders, name=name)),
    )


# ------------------------------------------------------------------------------------- helpers


def _table(name: str) -> Mapping[str, Any]:
    """A list of names that belongs to a set; see the folder ``data``."""
    return json.loads((files("toolkit.datasets") / "data" / f"{name}.json").read_bytes())


def _first_file(folder: Path, names: tuple[str, ...]) -> str:
    return next((name for name in names if (folder / name).is_file()), "")


def _image_folder(folder: Path, below: tuple[str, ...]) -> Path:
    """First of some folders that has images, or the first of all."""
    paths = [folder / name for name in below]
    return next((path for path in paths if list_images(path)), paths[0])


def _listed(root: Path, mark: str, levels: int = 1) -> list[str]:
    """Names in ``list.txt``, or else the folders in which the mark is found."""
    listing = root / "list.txt"
    if listing.is_file():
        return listing.read_text(encoding="utf-8-sig").split()
    return sorted({path.parents[levels - 1].name for path in root.glob(mark)})


def _read_table(path: Path) -> dict[str, dict[int, list[float]]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = set(CSV_COLUMNS) - set(reader.fieldnames or ())
        if missing:
            there = ", ".join(reader.fieldnames or ()) or "nothing"
            raise ValueError(
                f"{path}: expected a header with {','.join(CSV_COLUMNS)}; there is {there}"
            )
        boxes: dict[str, dict[int, list[float]]] = {}
        for row in reader:
            try:
                box = [float(row[key]) for key in CSV_COLUMNS[2:]]
                frame = int(row["frame"])
            except (ValueError, TypeError):
                raise ValueError(
                    f"{path}: line {reader.line_num}: expected a whole number and four numbers "
                    f"for frame, x, y, w and h, got {list(row.values())}"
                ) from None
            if math.inf in map(abs, box) or frame in boxes.setdefault(row["video"], {}):
                raise ValueError(f"{path}: line {reader.line_num}: second box, or an infinite one")
            boxes[row["video"]][frame] = box
    return boxes


_OTB = ("*/groundtruth_rect*.txt",)
_VOT = ("*/groundtruth.txt",)
_LASOT = ("*/*/groundtruth.txt", "*/groundtruth.txt")


def _got10k(split: str) -> tuple[Layout, ...]:
    return (Layout((f"{split}/*/groundtruth.txt", *_VOT), partial(got10k, split=split)),)


def _uav(name: str, frames: str, images: str, every: int = 1) -> tuple[Layout, ...]:
    find = partial(uav, frames=frames, images=images, truths=name, every=every)
    return (Layout((f"anno/{name}/*.txt",), find),)


def _vot(name: str) -> tuple[Layout, ...]:
    return (Layout(_VOT, partial(vot, tags=find_benchmark(name).tags)),)


#: Layouts by benchmark; a set of another name is one of the user's own.
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "OTB100": (Layout(_OTB, otb),),
    "OTB2015": (Layout(_OTB, otb),),
    "OTB50": (Layout(_OTB, partial(otb, subset="OTB50")),),
    "CVPR13": (Layout(_OTB, partial(otb, subset="CVPR13")),),
    "UAV123": _uav("UAV123", "UAV123", "UAV123"),
    "UAV123_10fps": _uav("UAV123_10fps", "UAV123", "UAV123_10fps", every=3),
    "UAV20L": _uav("UAV20L", "UAV20L", "UAV123"),
    "NFS30": (Layout(("*/30/*.txt",), partial(nfs, rate=30)),),
    "NFS240": (Layout(("*/240/*.txt",), partial(nfs, rate=240)),),
    "LaSOT": (Layout(_LASOT, partial(lasot, split="test")),),
    "TrackingNet": (Layout(("TEST/anno/*.txt", "anno/*.txt"), partial(trackingnet, split="TEST")),),
    "GOT-10k": _got10k("test"),
    "GOT-10k_val": _got10k("val"),
    "VOT2016": _vot("VOT2016"),
    "VOT2017": _vot("VOT2017"),
    "VOT2018": _vot("VOT2018"),
    "VOT2019": _vot("VOT2019"),
    "VOT2018-LT": _vot("VOT2018-LT"),
    "DAVIS2016": (Layout(("Annotations/480p/*/*.png",), partial(davis, year=2016)),),
    "DAVIS2017": (Layout(("Annotations/480p/*/*.png",), partial(davis, year=2017)),),
    "YouTube-VOS": (Layout(("valid/Annotations/*/*.png", "Annotations/*/*.png"), youtube_vos),),
}
