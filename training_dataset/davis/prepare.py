"""Prepare DAVIS 2016 or 2017: check, crops with masks, annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["davis", *sys.argv[1:]]))
