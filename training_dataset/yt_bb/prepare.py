"""Prepare YouTube-BoundingBoxes: check, crops, annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["yt_bb", *sys.argv[1:]]))
