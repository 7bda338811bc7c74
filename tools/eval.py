"""Score the result files of trackers; the same as ``pysot eval``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run_command

if __name__ == "__main__":
    run_command("eval")
