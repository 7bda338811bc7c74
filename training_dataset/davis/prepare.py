"""Prepare DAVIS 2016 or 2017: check, crops with masks, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "davis")
    run_command("prepare")
