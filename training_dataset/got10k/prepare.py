"""Prepare GOT-10k: check, crops, annotations."""

import sys

from pysot.cli.prepare import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(lambda: main(["got10k", *sys.argv[1:]]))
