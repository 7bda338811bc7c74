"""LaSOT: 1,120 videos to train on, 280 to test on."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.datasets.benchmarks import find_benchmark
from toolkit.datasets.reading import BoxFile, Format, Reading, TrainingSet, read_boxes, table
from toolkit.datasets.sequence import Sequence


def read(reading: Reading, split: str = "test") -> Iterator[Sequence]:
    """LaSOT: ``<class>/<class>-<n>/{img,groundtruth.txt,...}``, or without the classes' folders.

    Testing expects all videos of the split, ``train``, ``test`` or ``all``; training uses those
    that are there.
    """
    names = None if split == "all" else table("lasot_splits")[split]
    folders = [_folder(reading.root, name) for name in names or ()]
    if reading.training:
        found = sorted(path.parent for path in reading.root.glob("*/*/groundtruth.txt"))
        if not found:
            raise FileNotFoundError(f"nothing found at {reading.root}/<class>/<video>")
        listed = None if names is None else frozenset(names)
        folders = [path for path in found if listed is None or path.name in listed]
    for folder in folders:
        yield read_boxes(_source(folder, reading.root), reading)


def _folder(root: Path, name: str) -> Path:
    folder = root / name.rpartition("-")[0] / name
    return folder if folder.is_dir() else root / name


def _source(folder: Path, root: Path) -> BoxFile:
    return BoxFile(
        folder.name,
        folder / "img",
        folder / "groundtruth.txt",
        group=folder.parent.name,
        category=folder.name.rpartition("-")[0],
        hidden=(folder / "full_occlusion.txt", folder / "out_of_view.txt"),
        absent=True,
        attr_file=root / "att" / f"{folder.name}.txt",
        attr_names=table("attributes")["LaSOT"],
        surplus=folder.name in find_benchmark("LaSOT").cut_results,
    )


TESTING = {
    "LaSOT": Format(("*/*/groundtruth.txt", "*/groundtruth.txt"), partial(read, split="test"))
}
TRAINING = {
    "lasot": TrainingSet(
        "LaSOT: check, crops, annotations",
        "folder with <class>/<class>-<n>/",
        read,
        {"--split": {"choices": ("train", "test", "all"), "default": "train"}},
    )
}
