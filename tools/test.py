"""Run a tracker over a benchmark; `pysot.cli.test` has the options."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli.test import main
from pysot.core.errors import run

if __name__ == "__main__":
    run(main)
