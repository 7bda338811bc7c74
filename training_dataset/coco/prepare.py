"""Prepare COCO, or any set in its format: check, crops with masks, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "coco")
    run_command("prepare")
