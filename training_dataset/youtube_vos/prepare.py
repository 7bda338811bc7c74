"""Prepare YouTube-VOS: check, crops with masks, annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["youtube_vos", *sys.argv[1:]]))
