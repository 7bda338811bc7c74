"""Cut the crops of ImageNet VID: ``python par_crop.py 511 12`` beside ``ILSVRC2015/``."""

from functools import partial
from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import crop_like_pysot
from toolkit.datasets.formats.voc import read_vid

if __name__ == "__main__":
    read = partial(read_vid, shortest=1)
    run(lambda: crop_like_pysot(__doc__, read, Path("ILSVRC2015")))
