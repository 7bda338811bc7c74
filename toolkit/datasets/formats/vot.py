"""VOT challenge: short-term sets and the long-term set."""

from collections.abc import Iterator
from functools import partial

from toolkit.datasets.benchmarks import find_benchmark
from toolkit.datasets.reading import BoxFile, Format, Reading, image_folder, listed, read_boxes
from toolkit.datasets.sequence import Sequence


def read(reading: Reading, tags: tuple[str, ...] = ()) -> Iterator[Sequence]:
    """VOT: ``<name>/color/%08d.jpg`` or ``<name>/%08d.jpg``, ``groundtruth.txt``, ``<tag>.tag``."""
    for name in listed(reading.root, "*/groundtruth.txt"):
        folder = reading.root / name
        flags = {tag: folder / f"{tag}.tag" for tag in tags}
        images = image_folder(folder, ("color", "."))
        truth = folder / "groundtruth.txt"
        yield read_boxes(BoxFile(name, images, truth, flags=flags, expected=True), reading)


TESTING = {
    name: Format(("*/groundtruth.txt",), partial(read, tags=find_benchmark(name).tags))
    for name in ("VOT2016", "VOT2017", "VOT2018", "VOT2019", "VOT2018-LT")
}
