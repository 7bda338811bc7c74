"""OTB (Visual Tracker Benchmark): OTB100, OTB50 and CVPR13."""

from collections.abc import Iterator
from functools import partial

from toolkit.datasets.reading import BoxFile, Format, Reading, first_file, read_boxes, table
from toolkit.datasets.sequence import Sequence

_TRUTH = "groundtruth_rect.txt"
# Frames that count where a folder of OTB has others too: number of the first and last image.
_FRAMES: dict[str, tuple[int, int | None]] = {
    "BlurCar1": (247, None),
    "BlurCar3": (3, None),
    "BlurCar4": (18, None),
    "David": (300, 770),
    "Tiger1": (6, None),
}
# Videos that share a folder with another target: folder and file of the boxes.
_TARGETS = {
    "Jogging-1": ("Jogging", "groundtruth_rect.1.txt"),
    "Jogging-2": ("Jogging", "groundtruth_rect.2.txt"),
    "Skating2-1": ("Skating2", "groundtruth_rect.1.txt"),
    "Skating2-2": ("Skating2", "groundtruth_rect.2.txt"),
    "Human4-2": ("Human4", "groundtruth_rect.2.txt"),
}
_SURPLUS = frozenset({"Football1", "Diving", "Freeman3", "Freeman4"})
_PATTERNS = {"Board": "%05d.jpg"}


def read(reading: Reading, subset: str | None = None) -> Iterator[Sequence]:
    """OTB: ``<name>/img`` and ``<name>/groundtruth_rect.txt``, numbered where there are two."""
    root = reading.root
    shared = {folder for folder, _ in _TARGETS.values()}
    folders = {path.name for path in root.iterdir() if any(path.glob("groundtruth_rect*.txt"))}
    for name in table("otb_splits")[subset] if subset else folders - shared | set(_TARGETS):
        folder, truth = _TARGETS.get(name, (name, _TRUTH))
        if folder not in folders and name in folders:  # a copy, as PySOT's users made it
            folder, truth = name, first_file(root / name, (truth, _TRUTH))
        source = BoxFile(
            name,
            root / folder / "img",
            root / folder / truth,
            frames=_FRAMES.get(name, (None, None)),
            pattern=_PATTERNS.get(name, "%04d.jpg"),
            origin=1,
            surplus=name in _SURPLUS,
        )
        yield read_boxes(source, reading)


_MARKS = ("*/groundtruth_rect*.txt",)
TESTING = {
    "OTB100": Format(_MARKS, read),
    "OTB2015": Format(_MARKS, read),
    "OTB50": Format(_MARKS, partial(read, subset="OTB50")),
    "CVPR13": Format(_MARKS, partial(read, subset="CVPR13")),
}
