"""Cut the crops of ImageNet DET: ``python par_crop.py 511 12`` beside ``ILSVRC/``."""

from collections.abc import Sequence
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import crop_like_pysot, crop_size_and_workers
from pysot.datasets.prepare.frames import Problems
from pysot.datasets.prepare.imagenet import read_det


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``crop<size>/<a to i>/<image>/``."""
    size, workers = crop_size_and_workers(__doc__, argv)
    problems = Problems()
    crop_like_pysot(read_det(Path("ILSVRC"), problems), size, workers, problems)


if __name__ == "__main__":
    run(main)
