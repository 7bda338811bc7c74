"""Cut the crops of YouTube-BB: ``python par_crop.py`` in the folder that holds the set."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import crop_like_pysot, crop_size_and_workers
from pysot.datasets.prepare.frames import Problems
from pysot.datasets.prepare.youtube_bb import read_youtube_bb

SUBSETS = ("yt_bb_detection_validation", "yt_bb_detection_train")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``crop<size>/<subset>/<class>/<youtube id>/``."""
    size, workers = crop_size_and_workers(__doc__, argv)
    problems = Problems()
    frames = chain.from_iterable(read_youtube_bb(Path(), name, problems) for name in SUBSETS)
    crop_like_pysot(frames, size, workers, problems)


if __name__ == "__main__":
    run(main)
