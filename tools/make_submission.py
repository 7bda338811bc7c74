"""Pack results for the server of a benchmark; the same as ``pysot submit``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run_command

if __name__ == "__main__":
    run_command("submit")
