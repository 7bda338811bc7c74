"""Prepare GOT-10k: check, crops, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "got10k")
    run_command("prepare")
