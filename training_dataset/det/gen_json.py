"""Write ``train.json`` and ``val.json`` (part "i" or "val") of ImageNet DET from ``ILSVRC/``."""

from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import finish
from pysot.datasets.prepare import annotate, frames_of
from toolkit.datasets.formats.voc import read_det
from toolkit.datasets.reading import Reading
from toolkit.io.issues import IssueLog


def main() -> None:
    """Write both files, and the categories of the objects beside them."""
    reading = Reading(Path("ILSVRC"), IssueLog(), training=True)
    annotations = annotate(frames_of(read_det(reading), reading.log))
    held_out = ("i/", "val/")
    annotations.part(lambda video: not video.startswith(held_out)).write(Path("train.json"))
    annotations.part(lambda video: video.startswith(held_out)).write(Path("val.json"))
    finish(reading.log, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
