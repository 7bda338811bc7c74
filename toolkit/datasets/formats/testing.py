"""Sets to test on: OTB, VOT, UAV123 and its parts, NFS, TC128, AVisT, TNL2K, VisDrone, UAVDT."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.datasets.benchmarks import OTB, find_benchmark, table
from toolkit.datasets.reading import (
    BoxFile,
    Format,
    Reading,
    files_of,
    first_file,
    image_folder,
    listed,
    read_boxes,
    read_text,
    subfolders,
    without_links,
)
from toolkit.datasets.video import Sequence
from toolkit.io.boxes import Region, check_regions, split_fields, whole_number

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


# -------------------------------------------------------------------------------- TC128, TNL2K


def read_tc128(reading: Reading) -> Iterator[Sequence]:
    """TC128: ``<name>/img/%04d.jpg``, ``<name>/<name>_gt.txt``, ``<name>/<name>_frames.txt``.

    The last one has the numbers of the first and the last image that count.
    """
    for name in listed(reading.root, "*/*_gt.txt"):
        folder = reading.root / name
        try:
            frames = _frames(folder / f"{name}_frames.txt")
        except ValueError as error:
            reading.report("unreadable annotation", folder, error)
            yield Sequence(name)
            continue
        truth = folder / f"{name}_gt.txt"
        yield read_boxes(
            BoxFile(name, folder / "img", truth, frames=frames, pattern="%04d.jpg"), reading
        )


def _frames(path: Path) -> tuple[int | None, int | None]:
    """Read two numbers; where there is no such file, all images count."""
    if not path.is_file():
        return None, None
    try:
        first, last = map(whole_number, split_fields(read_text(path).strip())[0].split(","))
    except (ValueError, IndexError):
        raise ValueError(f"{path}: expected the first and the last number, as 1,271") from None
    return first, last


_TNL2K = ("*/groundtruth.txt", "*/*/groundtruth.txt")


def read_tnl2k(reading: Reading) -> Iterator[Sequence]:
    """TNL2K: ``<name>/{imgs,groundtruth.txt}``, also in the folders of its archives.

    Those of the training archives are left out, by their name.
    """
    root = reading.root
    found = without_links({path.parent for mark in _TNL2K for path in root.glob(mark)})
    folders = [f for f in found if "train" not in f.parent.relative_to(root).as_posix().lower()]
    if not folders:
        raise FileNotFoundError(f"{root} holds no test videos, but those of {found[0].parent}")
    for folder in sorted(folders):
        source = BoxFile(folder.name, folder / "imgs", folder / "groundtruth.txt")
        yield read_boxes(source, reading)


# ------------------------------------------------------------------------ AVisT, VisDrone, UAVDT


def read_apart(
    reading: Reading,
    images: tuple[str, ...],
    truths: tuple[str, ...],
    end: str = ".txt",
    pattern: str = "%08d.jpg",
    hidden: tuple[str, ...] = (),
    attributes: tuple[str, str] | None = None,
) -> Iterator[Sequence]:
    """Sets that keep images and boxes apart: ``<images>/<name>/``, ``<truths>/<name><end>``.

    Folders are below the root, and the first of several that is there is taken. ``hidden`` has
    paths of files with ``{name}`` in them, see `BoxFile`; ``attributes`` such a path and the row of
    the table ``attributes``.
    """
    root = reading.root
    folder = next((root / path for path in truths if (root / path).is_dir()), root / truths[0])
    for truth in files_of(folder, end):
        name = truth.name[: -len(end)]
        source = BoxFile(
            name,
            image_folder(root, (f"{path}/{name}" for path in images)),
            truth,
            pattern=pattern,
            hidden=tuple(root / path.format(name=name) for path in hidden),
            absent=bool(hidden),
            attr_file=root / attributes[0].format(name=name) if attributes else None,
            attr_names=table("attributes")[attributes[1]] if attributes else (),
        )
        yield read_boxes(source, reading)


_AVIST = partial(
    read_apart,
    images=("sequences",),
    truths=("anno",),
    pattern="img_%05d.jpg",
    hidden=("full_occlusion/{name}_full_occlusion.txt", "out_of_view/{name}_out_of_view.txt"),
)
_VISDRONE = partial(
    read_apart,
    images=("sequences",),
    truths=("annotations",),
    pattern="img%07d.jpg",
    attributes=("attributes/{name}_attr.txt", "VisDrone-SOT"),
)
_UAVDT = partial(
    read_apart,
    images=(".", "UAV-benchmark-S"),
    truths=("anno", "UAV-benchmark-SOT_v1.0/anno"),
    end="_gt.txt",
    pattern="img%06d.jpg",
)


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
    "TC128": Format(("*/*_gt.txt",), read_tc128),
    "TNL2K": Format(_TNL2K, read_tnl2k),
    "AVisT": Format(("anno/*.txt",), _AVIST),
    "VisDrone-SOT": Format(("annotations/*.txt",), _VISDRONE),
    "UAVDT-SOT": Format(("anno/*_gt.txt", "UAV-benchmark-SOT_v1.0/anno/*_gt.txt"), _UAVDT),
}
