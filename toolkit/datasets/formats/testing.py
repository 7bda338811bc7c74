"""Sets to test on: OTB, VOT, UAV123 with its parts, and Need for Speed (NFS)."""

from collections.abc import Iterator
from functools import partial

from toolkit.datasets.benchmarks import OTB, find_benchmark, table
from toolkit.datasets.reading import (
    BoxFile,
    Format,
    Reading,
    first_file,
    image_folder,
    listed,
    read_boxes,
    subfolders,
)
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region, check_regions, split_fields

# --------------------------------------------------------------------------------------------- OTB

_TRUTH = "groundtruth_rect.txt"
_SURPLUS = frozenset({"Football1", "Diving", "Freeman3", "Freeman4"})
_PATTERNS = {"Board": "%05d.jpg"}
_MARKS = ("*/groundtruth_rect*.txt",)


def read_otb(reading: Reading, subset: str | None = None) -> Iterator[Sequence]:
    """OTB: ``<name>/img`` and ``<name>/groundtruth_rect.txt``, numbered where there are two."""
    root = reading.root
    shared = set(OTB.folders.values())
    folders = {path.name for path in subfolders(root) if any(path.glob("groundtruth_rect*.txt"))}
    for name in table("otb_splits")[subset] if subset else folders - shared | set(OTB.folders):
        folder = OTB.folders.get(name, name)
        truth = _TRUTH if folder == name else f"groundtruth_rect.{name[-1]}.txt"
        if folder not in folders and name in folders:  # a copy, as PySOT's users made it
            folder, truth = name, first_file(root / name, (truth, _TRUTH))
        source = BoxFile(
            name,
            root / folder / "img",
            root / folder / truth,
            frames=OTB.frames.get(name, (None, None)),
            pattern=_PATTERNS.get(name, "%04d.jpg"),
            origin=1,
            surplus=name in _SURPLUS,
        )
        yield read_boxes(source, reading)


# --------------------------------------------------------------------------------------------- VOT


def read_vot(reading: Reading, tags: tuple[str, ...] = ()) -> Iterator[Sequence]:
    """VOT: ``<name>/color/%08d.jpg`` or ``<name>/%08d.jpg``, ``groundtruth.txt``, ``<tag>.tag``."""
    for name in listed(reading.root, "*/groundtruth.txt"):
        folder = reading.root / name
        flags = {tag: folder / f"{tag}.tag" for tag in tags}
        images = image_folder(folder, ("color", "."))
        truth = folder / "groundtruth.txt"
        source = BoxFile(name, images, truth, start=1, flags=flags, expected=True)
        yield read_boxes(source, reading)


# ------------------------------------------------------------------------------------- UAV123, NFS


def read_uav(
    reading: Reading, frames: str, images: str, truths: str, every: int = 1
) -> Iterator[Sequence]:
    """UAV123 and its kin: ``data_seq/<images>/<folder>/%06d.jpg``, ``anno/<truths>/<name>.txt``.

    Several videos share a folder; ``frames`` names their table. One in ``every`` frames of it was
    kept, and these were numbered anew.
    """
    annotations = reading.root / "anno" / truths
    for name, (folder, first, last) in table("uav123_frames")[frames].items():
        source = BoxFile(
            name,
            reading.root / "data_seq" / images / folder,
            annotations / f"{name}.txt",
            frames=((first - 1) // every + 1, (last - 1) // every + 1),
            pattern="%06d.jpg",
            attr_file=annotations / "att" / f"{name}.txt",
            attr_names=table("attributes")["UAV123"],
        )
        yield read_boxes(source, reading)


def _read_nfs(reading: Reading, rate: int) -> Iterator[Sequence]:
    """NFS: ``<name>/<rate>/<name>.txt``, boxes at 240 fps; images in a folder ``<name>`` there."""
    for name in listed(reading.root, f"*/{rate}/*.txt", levels=2):
        folder = reading.root / name / str(rate)
        source = BoxFile(
            name,
            folder / name,
            folder / f"{name}.txt",
            pattern="%05d.jpg",
            start=1,
            parse=parse_tracks,
            step=240 // rate,
            slack=1,
        )
        yield read_boxes(source, reading)


def parse_tracks(text: str) -> list[Region]:
    """Read lines of NFS: a track's id, left, top, right, bottom, and fields that are not needed."""
    lines = [",".join(line.split(",")[1:5]) for line in split_fields(text)]
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in check_regions(lines)]


def _vot(name: str) -> Format:
    return Format(("*/groundtruth.txt",), partial(read_vot, tags=find_benchmark(name).tags))


def _uav(name: str, frames: str, images: str, every: int = 1) -> Format:
    find = partial(read_uav, frames=frames, images=images, truths=name, every=every)
    return Format((f"anno/{name}/*.txt",), find)


TESTING = {
    "OTB100": Format(_MARKS, read_otb),
    "OTB2015": Format(_MARKS, read_otb),
    "OTB50": Format(_MARKS, partial(read_otb, subset="OTB50")),
    "CVPR13": Format(_MARKS, partial(read_otb, subset="CVPR13")),
    "VOT2016": _vot("VOT2016"),
    "VOT2017": _vot("VOT2017"),
    "VOT2018": _vot("VOT2018"),
    "VOT2019": _vot("VOT2019"),
    "VOT2018-LT": _vot("VOT2018-LT"),
    "UAV123": _uav("UAV123", "UAV123", "UAV123"),
    "UAV123_10fps": _uav("UAV123_10fps", "UAV123", "UAV123_10fps", every=3),
    "UAV20L": _uav("UAV20L", "UAV20L", "UAV123"),
    "NFS30": Format(("*/30/*.txt",), partial(_read_nfs, rate=30)),
    "NFS240": Format(("*/240/*.txt",), partial(_read_nfs, rate=240)),
}
