"""Prepare ImageNet DET: check, crops, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "det")
    run_command("prepare")
