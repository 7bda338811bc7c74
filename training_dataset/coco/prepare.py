"""Prepare COCO, or any set in its format: check, crops with masks, annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["coco", *sys.argv[1:]]))
