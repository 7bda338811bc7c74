"""Cut the crops of COCO: ``python par_crop.py 511 12`` in the folder that holds the set."""

from itertools import chain

from pysot.cli import run
from pysot.cli.prepare import crop_like_pysot
from toolkit.datasets.formats import coco


def main() -> None:
    """Write ``crop<size>/<subset>/<image>/``, with masks."""
    subsets = ("val2017", "train2017")
    crop_like_pysot(__doc__, lambda r: chain.from_iterable(coco.read(r, name) for name in subsets))


if __name__ == "__main__":
    run(main)
