"""Cut the crops of COCO: ``python par_crop.py 511 12`` in the folder that holds the set."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import crop_like_pysot, crop_size_and_workers
from pysot.datasets.prepare.coco import read_coco
from pysot.datasets.prepare.frames import Problems

SUBSETS = ("val2017", "train2017")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``crop<size>/<subset>/<image>/``, with masks."""
    size, workers = crop_size_and_workers(__doc__, argv)
    problems = Problems()
    frames = chain.from_iterable(
        read_coco(Path("annotations", f"instances_{name}.json"), Path(name), name, problems)
        for name in SUBSETS
    )
    crop_like_pysot(frames, size, workers, problems)


if __name__ == "__main__":
    run(main)
