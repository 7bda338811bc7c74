"""Prepare your own data: check, crops (with masks where there are any), annotations."""

import sys

from pysot.cli import run
from pysot.cli.prepare import main

if __name__ == "__main__":
    run(lambda: main(["own", *sys.argv[1:]]))
