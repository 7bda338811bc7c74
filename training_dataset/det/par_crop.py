"""Cut the crops of ImageNet DET: ``python par_crop.py 511 12`` beside ``ILSVRC/``."""

from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import crop_like_pysot
from toolkit.datasets.formats.voc import read_det

if __name__ == "__main__":
    run(lambda: crop_like_pysot(__doc__, read_det, Path("ILSVRC")))
