"""Write ``train.json`` and ``val.json`` (part "i") of ImageNet DET from ``ILSVRC/``."""

from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import finish, split_notes, write_notes
from pysot.datasets.prepare.cropper import annotate
from pysot.datasets.prepare.frames import Problems
from pysot.datasets.prepare.imagenet import read_det


def main() -> None:
    """Write both files, and the kinds of the objects beside them."""
    problems = Problems()
    notes = annotate(read_det(Path("ILSVRC"), problems))
    write_notes(Path("train.json"), split_notes(notes, lambda video: "i/" not in video))
    write_notes(Path("val.json"), split_notes(notes, lambda video: "i/" in video))
    finish(problems, Path("gen_json.problems.txt"))


if __name__ == "__main__":
    run(main)
