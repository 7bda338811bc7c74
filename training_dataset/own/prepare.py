"""Prepare your own data: check, crops (with masks where there are any), annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "own")
    run_command("prepare")
