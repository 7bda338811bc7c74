"""Prepare YouTube-BoundingBoxes: check, crops, annotations."""

import sys

from pysot.cli.prepare import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(lambda: main(["yt_bb", *sys.argv[1:]]))
