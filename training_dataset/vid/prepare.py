"""Prepare ImageNet VID: check, crops, annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["vid", *sys.argv[1:]]))
