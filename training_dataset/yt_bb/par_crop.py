"""Cut the crops of YouTube-BB: ``python par_crop.py`` in the folder that holds the set."""

from itertools import chain

from pysot.cli import run
from pysot.cli.prepare import crop_like_pysot
from toolkit.datasets.formats.tracking import read_youtube_bb


def main() -> None:
    """Write ``crop<size>/<subset>/<class>/<youtube id>/``."""
    subsets = ("yt_bb_detection_validation", "yt_bb_detection_train")
    crop_like_pysot(
        __doc__, lambda r: chain.from_iterable(read_youtube_bb(r, name) for name in subsets)
    )


if __name__ == "__main__":
    run(main)
