"""Prepare TrackingNet: check, crops, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "trackingnet")
    run_command("prepare")
