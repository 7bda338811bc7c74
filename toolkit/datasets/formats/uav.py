"""UAV123 and its parts UAV123_10fps and UAV20L; Need for Speed (NFS)."""

from collections.abc import Iterator
from functools import partial

from toolkit.datasets.reading import BoxFile, Format, Reading, listed, read_boxes, table
from toolkit.datasets.regions import Region
from toolkit.datasets.sequence import Sequence
from toolkit.io.boxes import check_regions, split_fields


def read(
    reading: Reading, frames: str, images: str, truths: str, every: int = 1
) -> Iterator[Sequence]:
    """UAV123 and its kin: ``data_seq/<images>/<folder>/%06d.jpg``, ``anno/<truths>/<name>.txt``.

    Args:
        reading: The root, which holds ``data_seq`` and ``anno``, and the log.
        frames: Which table of frames: several videos share a folder.
        images: Folder of the frames in ``data_seq``.
        truths: Folder of the boxes in ``anno``.
        every: One of so many frames of the table was kept, and these were numbered anew.
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
            parse=parse_tracks,
            step=240 // rate,
            slack=1,
        )
        yield read_boxes(source, reading)


def parse_tracks(text: str) -> list[Region]:
    """Read lines of NFS: a track's id, left, top, right, bottom, and fields that are not needed."""
    lines = [",".join(line.split(",")[1:5]) for line in split_fields(text)]
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in check_regions(lines)]


def _uav(name: str, frames: str, images: str, every: int = 1) -> Format:
    find = partial(read, frames=frames, images=images, truths=name, every=every)
    return Format((f"anno/{name}/*.txt",), find)


TESTING = {
    "UAV123": _uav("UAV123", "UAV123", "UAV123"),
    "UAV123_10fps": _uav("UAV123_10fps", "UAV123", "UAV123_10fps", every=3),
    "UAV20L": _uav("UAV20L", "UAV20L", "UAV123"),
    "NFS30": Format(("*/30/*.txt",), partial(_read_nfs, rate=30)),
    "NFS240": Format(("*/240/*.txt",), partial(_read_nfs, rate=240)),
}
