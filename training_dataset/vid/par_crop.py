"""Cut the crops of ImageNet VID: ``python par_crop.py 511 12`` beside ``ILSVRC2015/``."""

from collections.abc import Sequence
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import crop_like_pysot, crop_size_and_workers
from pysot.datasets.prepare.frames import Problems
from pysot.datasets.prepare.imagenet import parse_vid, vid_frames

ROOT = Path("ILSVRC2015")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``crop<size>/<a to e>/<video>/``."""
    size, workers = crop_size_and_workers(__doc__, argv)
    problems = Problems()
    frames = vid_frames(parse_vid(ROOT, problems), ROOT)
    crop_like_pysot(frames, size, workers, problems)


if __name__ == "__main__":
    run(main)
