"""Prepare YouTube-VOS: check, crops with masks, annotations."""

import sys

from pysot.cli import run_command

if __name__ == "__main__":
    sys.argv.insert(1, "youtube_vos")
    run_command("prepare")
